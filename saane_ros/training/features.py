"""Frozen-trunk features of a training set, computed once and kept on disk.

The trunks never change while a head is trained, so an epoch over cached features costs seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.model.saane import SaaneNetwork
from saane_ros.progress import progress
from saane_ros.types import Rgb

BATCH = 16


def read_rgb(path: Path) -> Rgb:
    """An image file as RGB; a file that cannot be decoded is named."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SaaneError(f"{path} is no readable image: remove it or copy it again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)


class FeatureCache:
    """appearance and semantic features of every image, float16 (N, C, H, W), memory-mapped."""

    def __init__(self, appearance: NDArray[np.float16], semantic: NDArray[np.float16] | None):
        self.appearance, self.semantic = appearance, semantic

    def __len__(self) -> int:
        return len(self.appearance)

    def batch(
        self, indices: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor, Tensor | None]:
        """Features of some images as float32 (B, C, H, W)."""
        return self._tensor(self.appearance, indices, device), (
            None if self.semantic is None else self._tensor(self.semantic, indices, device)
        )

    @staticmethod
    def _tensor(
        source: NDArray[np.float16], indices: NDArray[np.int64], device: torch.device
    ) -> Tensor:
        return torch.from_numpy(source[indices]).to(device).float()


def cached_features(
    network: SaaneNetwork,
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    trunk_fingerprint: str,
    folder: Path,
    what: str,
) -> FeatureCache:
    """Features of `paths`, from the cache where it is complete; a cut run goes on where it was."""
    key = _key(paths, trunk_fingerprint, preprocessing)
    target = folder / key
    target.mkdir(parents=True, exist_ok=True)
    done_file = target / "done.json"
    done = json.loads(done_file.read_text())["images"] if done_file.exists() else 0
    arrays = _open_arrays(network, preprocessing, len(paths), target)
    device = next(network.parameters()).device
    starts = range(done, len(paths), BATCH)
    for start in progress(starts, what, unit="batch") if starts else ():
        stop = min(start + BATCH, len(paths))
        images = [read_rgb(path) for path in paths[start:stop]]
        output = network.trunk_features(preprocessing(images, device))
        arrays[0][start:stop] = output.appearance.cpu().numpy()
        if output.semantic is not None:
            arrays[1][start:stop] = output.semantic.cpu().numpy()
        if (start // BATCH) % 20 == 0 or stop == len(paths):
            _mark_done(done_file, arrays, stop)
    return FeatureCache(arrays[0], arrays[1] if len(arrays) > 1 else None)


def _open_arrays(
    network: SaaneNetwork, preprocessing: Preprocessing, count: int, target: Path
) -> list[np.memmap]:
    device = next(network.parameters()).device
    blank = np.zeros((preprocessing.height, preprocessing.width, 3), np.uint8)
    probe = network.trunk_features(preprocessing([blank], device))
    shapes = {"appearance": probe.appearance.shape[1:]}
    if probe.semantic is not None:
        shapes["semantic"] = probe.semantic.shape[1:]
    arrays = []
    for name, shape in shapes.items():
        path = target / f"{name}.npy"
        mode = "r+" if path.exists() else "w+"
        arrays.append(
            np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=(count, *shape))
        )
    return arrays


def _mark_done(done_file: Path, arrays: list[np.memmap], count: int) -> None:
    for array in arrays:
        array.flush()
    with replacing_file(done_file) as temporary:
        temporary.write_text(json.dumps({"images": count}))


def _key(paths: Sequence[Path], trunk_fingerprint: str, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(trunk_fingerprint.encode())
    digest.update(f"{preprocessing.height}x{preprocessing.width}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
