"""Images and a fast embedder that every part of the suite shares."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.place_graph import PlaceGraph
from saane_ros.types import Embedding, Rgb


class ColourGridEmbedder:
    """A real, fast embedder for tests: the image's mean colours on a 4 x 6 grid, norm 10, and a
    feature grid of ten rows.
    """

    name = "colour-grid"
    fingerprint = "colour-grid-4x6"
    descriptor_size = 72
    class_names = ("dark", "bright")
    device, dtype = "cpu", "float32"
    engine, precision = "torch", "fp32"

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        return [self._embed_one(image, attention, labels, grid) for image in images]

    def _embed_one(self, image: Rgb, attention: bool, labels: bool, grid: bool) -> Embedding:
        colours = cv2.resize(image, (6, 4), interpolation=cv2.INTER_AREA).astype(np.float32)
        values = (colours - colours.mean()).ravel()
        descriptor = 10 * values / max(float(np.linalg.norm(values)), 1e-12)
        brightness = colours.mean(axis=2) / 255
        return Embedding(
            descriptor=descriptor.astype(np.float32),
            attention={"appearance": brightness, "semantic": 1 - brightness} if attention else {},
            labels=(image.mean(axis=2) > 127).astype(np.uint8) if labels else None,
            grid=feature_grid(image) if grid else None,
        )


def feature_grid(image: Rgb) -> NDArray[np.float32]:
    """What lies where in an image: colours and their slopes at two scales, float32 (10, 14, 18)."""
    fine = cv2.resize(image, (28, 20), interpolation=cv2.INTER_AREA).astype(np.float32)
    scales = []
    for size in (3, 9):
        smooth = cv2.GaussianBlur(fine, (size, size), 0)
        down, right = np.gradient(smooth, axis=(0, 1))
        channels = np.concatenate((smooth - smooth.mean(), down, right), axis=2)
        scales.append(cv2.resize(channels, (14, 10), interpolation=cv2.INTER_AREA))
    return np.concatenate(scales, axis=2)


def line_graph(count: int, step: float = 0.0) -> PlaceGraph:
    """Places of a drive, each a spot and one step from the next."""
    edges = np.stack((np.arange(count - 1), np.arange(1, count)), axis=1)
    return PlaceGraph(np.arange(count), edges, np.ones(count - 1), step)


def smooth_scene(seed: int, height: int = 120, width: int = 160) -> Rgb:
    """A random smooth colour image; two seeds give two clearly different places."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def strange_scene(seed: int, patches: int = 16) -> Rgb:
    """A place of another kind than those of `smooth_scene`: of finer or coarser patches."""
    shape = (patches * 3 // 4, patches, 3)
    noise = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
