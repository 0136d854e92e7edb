"""Keypoints by a network, quantised to uint8, matched by nearest descriptors or by LightGlue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.metric.features import MOST, PIXELS, RATIO, Keypoints, Matches, nearest, spread
from saane_ros.types import Rgb

MIDDLE, SCALE = 128.0, 381.0
"""Stored value of 0, and steps to 1: a value of a unit vector seldom leaves -1/3 to 1/3."""


@dataclass(frozen=True, eq=False)
class Found:
    """xy: (n, 2), pixels, the first one's centre is 0.  unit: descriptors (n, D).  scores: (n,)."""

    xy: Tensor
    unit: Tensor
    scores: Tensor


class Extractor(Protocol):
    """A network that finds keypoints. size: D.  cell: pixels that sides are a multiple of."""

    size: int
    cell: int

    def found(self, pixels: Tensor) -> Found:
        """Of RGB pixels 1 x 3 x h x w from 0 to 1."""
        ...


class Glue(Protocol):
    """LightGlue, Lindenberger et al. 2023."""

    def pairs(
        self, xy: tuple[Tensor, Tensor], unit: tuple[Tensor, Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Rows (m, 2) of two images' keypoints (n, 2) that are the same; (width, height)."""
        ...


class LearnedFeatures:
    """LocalFeatures by networks, in float32 on a device."""

    def __init__(
        self,
        name: str,
        extractor: Extractor,
        glue: Glue | None,
        device: torch.device,
        most: int = MOST,
    ) -> None:
        self.name, self.size = name, extractor.size
        self._extractor, self._glue = extractor, glue
        self._device, self._most = device, most

    @torch.inference_mode()
    def extract(self, image: Rgb) -> Keypoints:
        """The strongest keypoints of every cell of a grid over the image."""
        height, width = image.shape[:2]
        shrink = min(1.0, (PIXELS / (height * width)) ** 0.5)
        cell = self._extractor.cell
        small = tuple(max(cell, cell * round(side * shrink / cell)) for side in (width, height))
        resized = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(resized).to(self._device).permute(2, 0, 1)[None].float() / 255
        found = self._extractor.found(pixels)
        xy = found.xy.cpu().numpy().astype(np.float32)
        rows = spread(xy, found.scores.cpu().numpy(), (small[1], small[0]), self._most)
        scale = np.array([width / small[0], height / small[1]], np.float32)
        centred = (xy[rows] + 0.5) * scale - np.float32(0.5)
        return Keypoints(centred, stored(found.unit.cpu().numpy()[rows]))

    def match(self, first: Keypoints, second: Keypoints, ratio: float = RATIO) -> Matches:
        """Pairs by LightGlue where there is one, else mutual nearest ones with the ratio test."""
        if self._glue is None or not len(first) or not len(second):
            return nearest(first.descriptors, second.descriptors, ratio, MIDDLE)
        return self._glued(self._glue, first, second)

    @torch.inference_mode()
    def _glued(self, glue: Glue, first: Keypoints, second: Keypoints) -> Matches:
        # An image smaller than a cell has keypoints half a pixel outside.
        both = [np.maximum(one.xy, 0) for one in (first, second)]
        # Keypoints are normalised by a size; that of their own extent does for both.
        width, height = (int(value) + 1 for value in np.concatenate(both).max(axis=0))
        xy = [torch.from_numpy(one).to(self._device) for one in both]
        unit = [
            torch.from_numpy(restored(one.descriptors)).to(self._device) for one in (first, second)
        ]
        found = glue.pairs((xy[0], xy[1]), (unit[0], unit[1]), (width, height))
        pairs = found.cpu().numpy().astype(np.int64).reshape(-1, 2)
        a, b = first.descriptors[pairs[:, 0]], second.descriptors[pairs[:, 1]]
        apart = a.astype(np.float32) - b.astype(np.float32)
        return Matches(pairs, np.linalg.norm(apart, axis=1))


def stored(unit: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Unit descriptors (n, D) as uint8."""
    return np.clip(np.rint(MIDDLE + SCALE * unit), 0, 255).astype(np.uint8)


def restored(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit descriptors (n, D) of stored ones."""
    values = (descriptors.astype(np.float32) - MIDDLE) / SCALE
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.float32(1e-9))
