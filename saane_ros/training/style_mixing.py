"""Other lights and seasons for cached features: images of a batch lend each other their style.

A change of light or season moves the mean and deviation of every channel over an image far more
than it moves where things stand. So these moments are mixed with those of another image of the
batch (MixStyle: Zhou, Yang, Qiao & Xiang 2021, here behind the frozen trunk), and the head sees
places in styles that no camera has recorded there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CONCENTRATION = 0.3
"""Of the Beta distribution of shares: most images keep nearly all of their style or hardly any."""
SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class StyleMix:
    """partner: of each image (B,).  share: of its own style that each keeps, (B,) in [0, 1].

    One draw serves both streams of an image: a stream that kept its style beside one that did not
    would be trusted as if no season could touch it.
    """

    partner: Tensor
    share: Tensor

    def apply(self, features: Tensor, moments: Tensor | None = None, first: int = 0) -> Tensor:
        """Features B x C x H x W, not negative, with the styles of some mixed.

        Of a part of a batch that begins with its image `first`, where the moments of all its
        images are given.
        """
        own = moments_of(features)
        rows = slice(first, first + len(features))
        partner = self.partner.to(features.device)[rows]
        lent = (own if moments is None else moments)[partner]
        share = self.share.to(features)[rows, None, None, None, None]
        (mean, deviation), mixed = own.unbind(1), (share * own + (1 - share) * lent).unbind(1)
        return ((features - mean) / deviation * mixed[1] + mixed[0]).clamp(min=0)


def moments_of(features: Tensor) -> Tensor:
    """Mean and deviation of every channel over an image, (B, 2, C, 1, 1)."""
    mean = features.mean(dim=(2, 3), keepdim=True)
    deviation = features.std(dim=(2, 3), keepdim=True) + SMALLEST_DEVIATION
    return torch.stack([mean, deviation], dim=1)


def draw_styles(count: int, probability: float, generator: torch.Generator) -> StyleMix:
    """A partner for each of `count` images; each changes with the given probability."""
    partner = torch.randperm(count, generator=generator)
    changed = torch.rand(count, generator=generator) < probability
    seed = int(torch.randint(2**31, (1,), generator=generator))
    own = np.random.default_rng(seed).beta(CONCENTRATION, CONCENTRATION, count)
    return StyleMix(partner, torch.where(changed, torch.from_numpy(own).float(), 1.0))
