"""Learned keypoints through the extra `transformers`: SuperPoint, matched by LightGlue where given.

DeTone et al. 2018, Lindenberger et al. 2023. Models come from local folders as `save_pretrained`
writes them; only safetensors are loaded and no code of a checkpoint is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.metric.features import MOST, PIXELS, RATIO, Keypoints, Matches, nearest, spread
from saane_ros.types import Rgb

MIDDLE, SCALE = 128.0, 381.0
"""Stored value of 0, and steps to 1: a value of a unit vector seldom leaves -1/3 to 1/3."""


class SuperPoint:
    """SuperPoint of a folder; matches by nearest descriptors, or by the LightGlue of `matcher`.

    Raises SaaneError where transformers is not installed or a folder holds no such model.
    """

    def __init__(self, folder: Path, matcher: Path | None = None, most: int = MOST) -> None:
        self._most = most
        self._model = _loaded(folder, "SuperPointForKeypointDetection", "superpoint")
        self.size: int = self._model.config.descriptor_decoder_dim
        self.name = f"superpoint-{self.size}"
        self._matcher: Any = None
        if matcher is not None:
            self._matcher = _loaded(matcher, "LightGlueForKeypointMatching", "lightglue")

    @torch.inference_mode()
    def extract(self, image: Rgb) -> Keypoints:
        """The strongest keypoints of every cell of a grid over the image."""
        height, width = image.shape[:2]
        shrink = min(1.0, (PIXELS / (height * width)) ** 0.5)
        # The network's cells are of 8 pixels.
        small = tuple(max(8, 8 * round(side * shrink / 8)) for side in (width, height))
        resized = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(resized.astype(np.float32) / 255).permute(2, 0, 1)[None]
        found = self._model(pixel_values=pixels)
        there = found.mask[0].bool()
        share = found.keypoints[0][there].numpy().astype(np.float32)
        scores = found.scores[0][there].numpy()
        xy = share * np.array([width, height], np.float32)
        rows = spread(xy, scores, (height, width), self._most)
        unit = found.descriptors[0][there].numpy()[rows]
        # Keypoints are told as shares of pixel numbers, not of pixel edges.
        scale = np.array([width / small[0], height / small[1]], np.float32)
        centred = (share[rows] * np.array(small, np.float32) + 0.5) * scale - np.float32(0.5)
        return Keypoints(centred, stored(unit))

    def match(self, first: Keypoints, second: Keypoints, ratio: float = RATIO) -> Matches:
        """Pairs by LightGlue where there is one, else mutual nearest ones with the ratio test."""
        if self._matcher is None or not len(first) or not len(second):
            return nearest(first.descriptors, second.descriptors, ratio, MIDDLE)
        return self._glued(first, second)

    @torch.inference_mode()
    def _glued(self, first: Keypoints, second: Keypoints) -> Matches:
        most = max(len(first), len(second))
        xy, descriptors = torch.zeros(1, 2, most, 2), torch.zeros(1, 2, most, self.size)
        mask = torch.zeros(1, 2, most, dtype=torch.int32)
        for side, one in enumerate((first, second)):
            xy[0, side, : len(one)] = torch.from_numpy(one.xy)
            descriptors[0, side, : len(one)] = torch.from_numpy(restored(one.descriptors))
            mask[0, side, : len(one)] = 1
        # Keypoints are normalised by a size; that of their own extent does for both.
        width, height = (int(value) + 1 for value in xy.amax(dim=(0, 1, 2)))
        there = self._matcher._match_image_pair(xy, descriptors, height, width, mask=mask)[0]
        second_of = there[0, 0, : len(first)].numpy()
        mine = np.flatnonzero((second_of >= 0) & (second_of < len(second)))
        pairs = np.column_stack([mine, second_of[mine]]).astype(np.int64)
        apart = first.descriptors[mine].astype(np.float32) - second.descriptors[pairs[:, 1]]
        return Matches(pairs, np.linalg.norm(apart, axis=1).astype(np.float32))


def stored(unit: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Unit descriptors (n, D) as uint8."""
    return np.clip(np.rint(MIDDLE + SCALE * unit), 0, 255).astype(np.uint8)


def restored(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit descriptors (n, D) of stored ones."""
    values = (descriptors.astype(np.float32) - MIDDLE) / SCALE
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.float32(1e-9))


def _loaded(folder: Path, kind: str, family: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise SaaneError(
            f"Features of {folder} need the package transformers, which is not installed: "
            "pip install 'saane_ros[transformers]'."
        ) from None
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise SaaneError(
            f"{folder} holds no {family} model, as it lacks config.json or model.safetensors: give "
            "a folder that save_pretrained wrote."
        )
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.model_type != family:
            raise SaaneError(f"{folder} holds a {config.model_type} model: give a {family}.")
        model, report = getattr(transformers, kind).from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise SaaneError(
            f"{folder} cannot be loaded as a {family} model ({str(error).splitlines()[0]}): give "
            "a folder that save_pretrained wrote."
        ) from error
    if report["missing_keys"]:
        raise SaaneError(f"{folder} lacks weights of its {family} network: give whole weights.")
    return model.eval()
