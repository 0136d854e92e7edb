"""RootSIFT on a dense grid at several scales, by OpenCV's separable filters.

Upright SIFT (Lowe 2004) in the dense form of VLFeat's `vl_phow`: one orientation histogram per
pixel, pooled over 4 x 4 spatial bins with triangular weights, the Gaussian window replaced by its
mean over each bin. RootSIFT after Arandjelovic & Zisserman 2012.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

ORIENTATIONS = 8
BINS = 4
SIZE = BINS * BINS * ORIENTATIONS
SMOOTHING = 6.0
"""A bin of s pixels is computed on the image smoothed by a Gaussian of s / 6 pixels."""
WINDOW = 1.5
"""Deviation of the Gaussian window over the whole descriptor, in bins."""
CLIP = 0.2

Grey = NDArray[np.float32]
Descriptors = NDArray[np.float32]


@dataclass(frozen=True)
class DenseGrid:
    """bins: even pixels of a spatial bin, one for each scale.  step: pixels between centres.

    contrast: descriptors of a smaller gradient norm are left out; grey values are 0 to 1.
    """

    bins: tuple[int, ...] = (4, 6, 8, 10)
    step: int = 2
    contrast: float = 0.005

    @property
    def margin(self) -> int:
        """Pixels that centres keep from the border, so that all scales have the same centres."""
        return 3 * max(self.bins) // 2

    def centres(self, side: int) -> NDArray[np.int64]:
        """Rows or columns of the centres in a side of so many pixels; empty where it is short."""
        return np.arange(self.margin, side - self.margin, self.step)


def dense_rootsift(grey: Grey, grid: DenseGrid) -> Descriptors:
    """Every descriptor with contrast, (n, 128), float32 at unit length; grey: H x W in [0, 1]."""
    parts = [_root(_with_contrast(dense_sift(grey, size, grid), grid)) for size in grid.bins]
    return np.concatenate(parts)


def dense_sift(grey: Grey, size: int, grid: DenseGrid) -> Descriptors:
    """Unnormalised SIFT of bins of `size` pixels at every centre, row by row: (n, 128).

    Value (y * 4 + x) * 8 + o is orientation o, from 0 towards the y axis, of bin (x, y).
    """
    smoothed = np.asarray(
        cv2.GaussianBlur(grey, (0, 0), size / SMOOTHING, borderType=cv2.BORDER_REPLICATE),
        np.float32,
    )
    rows, columns = (grid.centres(side) for side in grey.shape)
    pooled = [_triangular(channel, size) for channel in orientation_channels(smoothed)]
    values = np.empty((len(rows), len(columns), BINS, BINS, ORIENTATIONS), np.float32)
    window = window_means(size)
    offsets = [(2 * index - BINS + 1) * size // 2 for index in range(BINS)]
    for y, down in enumerate(offsets):
        for x, right in enumerate(offsets):
            for o, channel in enumerate(pooled):
                cells = channel[np.ix_(rows + down, columns + right)]
                values[:, :, y, x, o] = window[y] * window[x] * cells
    return values.reshape(-1, SIZE)


def orientation_channels(grey: Grey) -> list[Grey]:
    """Gradient magnitude by orientation, H x W each, split linearly between the two nearest."""
    right = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
    magnitude, angle = cv2.cartToPolar(right, down)
    position = angle * (ORIENTATIONS / (2 * np.pi))
    lower = np.floor(position)
    share = position - lower
    first = lower.astype(np.int64) % ORIENTATIONS
    channels = []
    for orientation in range(ORIENTATIONS):
        here = np.where(first == orientation, 1 - share, 0)
        before = np.where((first + 1) % ORIENTATIONS == orientation, share, 0)
        channels.append((magnitude * (here + before)).astype(np.float32))
    return channels


def window_means(size: int) -> NDArray[np.float32]:
    """Mean of the Gaussian window over each of the four bins along one axis."""
    pixels = np.arange(-size + 1, size)
    centres = [size * (index - (BINS - 1) / 2) for index in range(BINS)]
    means = [np.exp(-0.5 * ((pixels + c) / (size * WINDOW)) ** 2).mean() for c in centres]
    return np.array(means, np.float32)


def _triangular(channel: Grey, size: int) -> Grey:
    """Linear interpolation between bins as a filter: a triangle of twice the bin, of sum 1."""
    kernel = (size - np.abs(np.arange(-size + 1, size))) / size**2
    return cv2.sepFilter2D(channel, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _with_contrast(values: Descriptors, grid: DenseGrid) -> Descriptors:
    return values[np.linalg.norm(values, axis=1) > grid.contrast]


def _root(values: Descriptors) -> Descriptors:
    """Clipped to 0.2 of its length as SIFT, then to sum 1, then the square root of every value."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    clipped = np.minimum(unit, CLIP)
    return np.sqrt(clipped / clipped.sum(axis=1, keepdims=True))
