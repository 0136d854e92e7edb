"""What strong networks say of a picture in the names of a student's classes, and where they agree.

The lesson is the poster's: pseudo-labels by a strong network, learned by a light one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from saane_ros.data.images.labelled import IGNORED
from saane_ros.embedding.segmenting import Segmentation
from saane_ros.types import Rgb

STEP = 32
"""Sides of a scaled input are multiples of it, which suits every network."""


class Teacher:
    """A segmentation that answers in the student's classes.

    meant: the student's class of each of its own that has a counterpart.  classes: of the student.
    flip: average over the image and its mirror image.  scales: of the network's input, averaged.
    known: bool (classes,), those that it can answer.
    """

    def __init__(
        self,
        segmentation: Segmentation,
        meant: Mapping[int, int],
        classes: int,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        self.flip = flip
        self.scaled = [_scaled(segmentation, scale) for scale in scales]
        table = torch.zeros(len(segmentation.class_names), classes + 1)
        for own in range(len(table)):
            table[own, meant.get(own, classes)] = 1
        self.table = table.to(segmentation.device)
        self.known = table[:, :classes].any(dim=0)

    @torch.inference_mode()
    def answer(self, image: Rgb, size: tuple[int, int]) -> Tensor:
        """Probabilities float32 (classes + 1, *size) on the CPU, summing to 1.

        They are summed over the own classes that mean one of the student's; the last is the share
        of those that mean none.
        """
        views = [image, np.ascontiguousarray(image[:, ::-1])] if self.flip else [image]
        answers = []
        for segmentation in self.scaled:
            own = segmentation.logits(views).softmax(dim=1)
            if self.flip:
                own = (own[:1] + own[1:].flip(-1)) / 2
            meant = torch.einsum("bmhw,mk->bkhw", own, self.table)
            answers.append(
                functional.interpolate(meant, size=size, mode="bilinear", align_corners=False)
            )
        return torch.stack(answers).mean(dim=0)[0].cpu()


def _scaled(segmentation: Segmentation, scale: float) -> Segmentation:
    if scale == 1:
        return segmentation
    scaled = copy(segmentation)
    scaled.preprocessing = copy(segmentation.preprocessing)
    for side in ("height", "width"):
        pixels = scale * getattr(segmentation.preprocessing, side)
        setattr(scaled.preprocessing, side, max(STEP, round(pixels / STEP) * STEP))
    return scaled


class Verdict(NamedTuple):
    """Of one image: labels uint8 (H, W), 255 where ignored, and the confidence in each, (H, W).

    asked, agreed, refused: pixels on which each further teacher counted, named the first's class,
    and had the pixel ignored.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    asked: tuple[int, ...]
    agreed: tuple[int, ...]
    refused: tuple[int, ...]


def verdict(answers: Sequence[Tensor], known: Sequence[Tensor], confidence: float) -> Verdict:
    """One label a pixel from the answers of one or several teachers, the first of which leads.

    answers: (classes + 1, H, W) each.  known: bool (classes,) each.  A label below `confidence` is
    ignored.
    """
    # A network that knows streets alone is sure of itself in a corridor, too, and wrong: so a
    # further teacher never moves the first away from what it cannot say itself. It divides anew
    # the probability that the first gives to the classes that it knows, and its contradiction
    # counts only where the first's class is one of them.
    first = answers[0]
    classes = len(first) - 1
    sure, chosen = first.max(dim=0)
    total = first.clone()
    ignored = torch.zeros_like(chosen, dtype=torch.bool)
    counts = []
    for answer, knows in zip(answers[1:], known[1:], strict=True):
        divided = first.clone()
        divided[:classes][knows] = first[:classes][knows].sum(dim=0) * answer[:classes][knows]
        total += divided
        asked = torch.cat([knows, torch.tensor([False])])[chosen]
        certain, other = answer.max(dim=0)
        refused = asked & (other != chosen) & (sure >= confidence) & (certain >= confidence)
        ignored |= refused
        counts.append([int(m.sum()) for m in (asked, asked & (other == chosen), refused)])
    mean, label = (total / len(answers)).max(dim=0)
    ignored |= (label == classes) | (mean < confidence)
    labels = label.masked_fill(ignored, IGNORED).to(torch.uint8).numpy()
    asked_, agreed, refused_ = zip(*counts, strict=True) if counts else ((), (), ())
    return Verdict(labels, mean.numpy(), asked_, agreed, refused_)
