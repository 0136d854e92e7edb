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

    def apply(self, features: Tensor) -> Tensor:
        """Features B x C x H x W, not negative, with the styles of some mixed."""
        share = self.share.to(features)[:, None, None, None]
        partner = self.partner.to(features.device)
        mean = features.mean(dim=(2, 3), keepdim=True)
        deviation = features.std(dim=(2, 3), keepdim=True) + SMALLEST_DEVIATION
        other_mean = share * mean + (1 - share) * mean[partner]
        other_deviation = share * deviation + (1 - share) * deviation[partner]
        return ((features - mean) / deviation * other_deviation + other_mean).clamp(min=0)


def draw_styles(count: int, probability: float, generator: torch.Generator) -> StyleMix:
    """A partner for each of `count` images; each changes with the given probability."""
    partner = torch.randperm(count, generator=generator)
    changed = torch.rand(count, generator=generator) < probability
    seed = int(torch.randint(2**31, (1,), generator=generator))
    own = np.random.default_rng(seed).beta(CONCENTRATION, CONCENTRATION, count)
    return StyleMix(partner, torch.where(changed, torch.from_numpy(own).float(), 1.0))
