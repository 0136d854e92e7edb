"""Local features: keypoints of an image, their descriptors, and which of two images' are the same.

Descriptors are uint8 everywhere, so that a map of them is small. SIFT (Lowe 2004) as RootSIFT
(Arandjelovic and Zisserman 2012) is the default and needs nothing but OpenCV. It is upright, as
cameras on vehicles are: on the synthetic town that finds a third more than turned patches do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb

PIXELS = 140_000
"""Images are shrunk to this area before features are looked for: so goes the time."""
MOST = 600
"""Keypoints of an image."""
MOST_OF_MAP = 1000
"""Those of a map's image, of which those that become points are kept."""
CELLS = 8
"""Of the longer side of the grid over which keypoints are spread."""
SMOOTH, BLUR = 0.7, 1.0
"""Pixels by which the image is smoothed before corners are looked for, and their strength after."""
CORNER = 1e-8
"""Least strength of a corner, of values up to 1."""
MARGIN = 4
MOST_ASIDE = 0.7
PATCH = 2.67
"""Diameter that a corner has as a keypoint: SIFT then looks at 16 x 16 pixels around it."""
ROOT_SCALE = 512.0
"""A RootSIFT value is at most 1 and seldom above 0.5."""
RATIO = 0.85
"""Nearest over second nearest distance (Lowe 2004), above which a match is ambiguous."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """xy: float32 (n, 2), pixels of the whole image.  descriptors: uint8 (n, D)."""

    xy: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True, eq=False)
class Matches:
    """pairs: int64 (m, 2), rows of the one and of the other.  distances: float32 (m,)."""

    pairs: NDArray[np.int64]
    distances: NDArray[np.float32]


class LocalFeatures(Protocol):
    """What finds and matches keypoints.

    name: in the map's file, which is only used with features of that name.  size: bytes of a
    descriptor.
    """

    name: str
    size: int

    def extract(self, image: Rgb) -> Keypoints:
        """Keypoints of an RGB image, some hundred at most, spread over it."""
        ...

    def match(self, first: Keypoints, second: Keypoints, ratio: float = RATIO) -> Matches:
        """Which keypoints of two images are the same; none is in two pairs."""
        ...


class RootSift:
    """SIFT descriptors at corners (Harris and Stephens 1988) of the image and of its half.

    Upright, and with the square roots of L1-normalised values in uint8 steps of 1/512. Corners are
    found in an eighth of the time of SIFT's own keypoints, which need the image doubled, and carry
    about as many poses.
    """

    name = "rootsift-corners"
    size = 128

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._sift: Any = cv2.SIFT_create()  # type: ignore[attr-defined]

    def extract(self, image: Rgb) -> Keypoints:
        """Keypoints of an RGB image, the strongest of every cell of a grid over it."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        shrink = min(1.0, (PIXELS / (height * width)) ** 0.5)
        small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        if shrink < 1:
            grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        halved = (max(1, small[0] // 2), max(1, small[1] // 2))
        half = cv2.resize(grey, halved, interpolation=cv2.INTER_AREA)
        levels = [corners(level) for level in (grey, half)]
        sizes = np.array([small, halved], np.float32)
        steps = sizes[0] / sizes
        xy = np.concatenate(
            [(at + 0.5) * step - 0.5 for step, (at, _) in zip(steps, levels, strict=True)]
        )
        octave = np.repeat(np.arange(len(levels)), [len(at) for at, _ in levels])
        strength = np.concatenate([strength for _, strength in levels])
        rows = spread(xy, strength, (small[1], small[0]), self._most)
        if not len(rows):
            return Keypoints(np.empty((0, 2), np.float32), np.empty((0, self.size), np.uint8))
        points = [
            cv2.KeyPoint(float(x), float(y), PATCH * 2.0**level, 0.0, 1.0, int(level))
            for (x, y), level in zip(xy[rows], octave[rows], strict=True)
        ]
        raw = self._sift.compute(grey, points)[1]
        scale = np.array([width / small[0], height / small[1]], np.float32)
        return Keypoints((xy[rows] + np.float32(0.5)) * scale - np.float32(0.5), rooted(raw))

    def match(self, first: Keypoints, second: Keypoints, ratio: float = RATIO) -> Matches:
        """Mutual nearest neighbours that pass the ratio test."""
        return nearest(first.descriptors, second.descriptors, ratio)


def corners(
    grey: NDArray[np.integer | np.floating],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where an image (H, W) has corners (n, 2), to a part of a pixel, and how strong (n,)."""
    if min(grey.shape) <= 2 * MARGIN:
        return np.empty((0, 2), np.float32), np.empty(0, np.float32)
    smooth = cv2.GaussianBlur(grey.astype(np.float32) / 255, (0, 0), SMOOTH)
    response = cv2.GaussianBlur(cv2.cornerHarris(smooth, 3, 3, 0.04), (0, 0), BLUR)
    peaks = (response == cv2.dilate(response, np.ones((3, 3), np.uint8))) & (response > CORNER)
    inner = np.zeros_like(peaks)
    inner[MARGIN:-MARGIN, MARGIN:-MARGIN] = peaks[MARGIN:-MARGIN, MARGIN:-MARGIN]
    y, x = np.nonzero(inner)
    # The top of the parabola through the nine responses around a peak.
    around = {(i, j): response[y + i, x + j] for i in (-1, 0, 1) for j in (-1, 0, 1)}
    along_x = (around[0, 1] - around[0, -1]) / 2
    along_y = (around[1, 0] - around[-1, 0]) / 2
    xx = around[0, 1] + around[0, -1] - 2 * around[0, 0]
    yy = around[1, 0] + around[-1, 0] - 2 * around[0, 0]
    xy = (around[1, 1] - around[1, -1] - around[-1, 1] + around[-1, -1]) / 4
    curved = xx * yy - xy * xy
    curved = np.where(np.abs(curved) > 1e-20, curved, np.inf)
    off = np.stack([xy * along_y - yy * along_x, xy * along_x - xx * along_y], axis=1)
    off = np.clip(off / curved[:, None], -MOST_ASIDE, MOST_ASIDE)
    return (np.column_stack([x, y]) + off).astype(np.float32), around[0, 0].astype(np.float32)


def rooted(raw: NDArray[np.floating]) -> NDArray[np.uint8]:
    """RootSIFT of SIFT descriptors (n, 128)."""
    share = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9)
    return np.minimum(ROOT_SCALE * np.sqrt(share) + 0.5, 255).astype(np.uint8)


def spread(
    xy: NDArray[np.float32], strength: NDArray[np.float32], shape: tuple[int, int], most: int
) -> NDArray[np.int64]:
    """Rows of at most so many points of an image (H, W), the strongest of each cell in turn."""
    side = max(shape) / CELLS
    cells = (xy // side).astype(np.int64) @ np.array([1, CELLS + 1])
    order = np.lexsort((-strength, cells))
    ordered = cells[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else order
    # The rank of a point in its cell: the best of all cells come first, then all second best.
    sizes = np.diff(np.r_[starts, len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    turn = np.lexsort((-strength[order], rank))
    return order[turn[:most]]


def nearest(
    first: NDArray[np.uint8], second: NDArray[np.uint8], ratio: float, middle: float = 0.0
) -> Matches:
    """Mutual nearest rows (n, D) and (m, D) by Euclidean distance, with the ratio test.

    middle: the value that stands for 0.
    """
    if not len(first) or len(second) < 2:
        return Matches(np.empty((0, 2), np.int64), np.empty(0, np.float32))
    a, b = first.astype(np.float32) - middle, second.astype(np.float32) - middle
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
    there = squares.argmin(axis=1)
    here = np.flatnonzero(squares.argmin(axis=0)[there] == np.arange(len(a)))
    there = there[here]
    rows = squares[here]
    best = np.maximum(rows[np.arange(len(here)), there], 0)
    rows[np.arange(len(here)), there] = np.inf
    good = best < ratio**2 * rows.min(axis=1)
    pairs = np.column_stack([here[good], there[good]]).astype(np.int64)
    return Matches(pairs, np.sqrt(best[good]))
