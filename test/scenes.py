"""Images and a fast embedder that every part of the suite shares."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from saane_ros.types import Embedding, Rgb


class ColourGridEmbedder:
    """A real, fast embedder for tests: the image's mean colours on a 4 x 6 grid, norm 10."""

    name = "colour-grid"
    fingerprint = "colour-grid-4x6"
    descriptor_size = 72
    class_names = ("dark", "bright")

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        return [self._embed_one(image, attention, labels) for image in images]

    def _embed_one(self, image: Rgb, attention: bool, labels: bool) -> Embedding:
        grid = cv2.resize(image, (6, 4), interpolation=cv2.INTER_AREA).astype(np.float32)
        values = (grid - grid.mean()).ravel()
        descriptor = 10 * values / max(float(np.linalg.norm(values)), 1e-12)
        brightness = grid.mean(axis=2) / 255
        return Embedding(
            descriptor=descriptor.astype(np.float32),
            attention={"appearance": brightness, "semantic": 1 - brightness} if attention else {},
            labels=(image.mean(axis=2) > 127).astype(np.uint8) if labels else None,
        )


def smooth_scene(seed: int, height: int = 120, width: int = 160) -> Rgb:
    """A random smooth colour image; two seeds give two clearly different places."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
