"""Frozen-trunk features of labelled images and of augmented copies of them, kept on disk.

Where the trunk keeps its weights, it sees every picture once and the network behind it trains on
what it said; the price is a fixed number of augmented copies instead of endless new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.data.images.labelled import LabelledImages
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.files import replacing_file
from saane_ros.model.appearance import Trunk
from saane_ros.progress import progress
from saane_ros.training.label_augmentation import augment

BATCH = 8


class LabelFeatures:
    """Per level float16 (N, C, h, w) and labels uint8 (N, H, W), memory-mapped."""

    def __init__(self, levels: dict[str, np.memmap], labels: np.memmap) -> None:
        self.levels, self.labels = levels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Sequence[int] | NDArray[np.int64], device: torch.device
    ) -> tuple[SimpleNamespace, Tensor]:
        """Float32 features, a TrunkFeatures of the kept levels; int64 labels (B, H, W)."""
        features = {
            name: torch.from_numpy(values[indices]).to(device).float()
            for name, values in self.levels.items()
        }
        return SimpleNamespace(**features), torch.from_numpy(self.labels[indices]).to(device).long()


@torch.no_grad()
def label_features(
    trunk: Trunk,
    levels: Sequence[str],
    preprocessing: Preprocessing,
    images: LabelledImages,
    copies: int,
    scale: tuple[float, float],
    folder: Path,
    what: str,
) -> LabelFeatures:
    """Features of every image and of `copies` augmented ones; a cut run goes on where it was.

    Rows i * (1 + copies) belong to image i as it is. The cache in `folder` is keyed by the trunk's
    weights, the files and the options.
    """
    device = next(trunk.parameters()).device
    per_image = 1 + copies
    target = folder / _key(trunk, levels, preprocessing, images, copies, scale)
    target.mkdir(parents=True, exist_ok=True)
    maps = _open(trunk, levels, preprocessing, len(images) * per_image, target)
    done_file = target / "done.json"
    done = json.loads(done_file.read_text())["rows"] if done_file.exists() else 0
    starts = range(done, len(maps.labels), BATCH)
    for start in progress(starts, what, unit="batch") if starts else ():
        rows = range(start, min(start + BATCH, len(maps.labels)))
        pairs = [_view(images, *divmod(row, per_image), preprocessing, scale) for row in rows]
        output = trunk.eval()(preprocessing([image for image, _ in pairs], device))
        for level in levels:
            maps.levels[level][rows.start : rows.stop] = getattr(output, level).cpu().numpy()
        maps.labels[rows.start : rows.stop] = np.stack([labels for _, labels in pairs])
        if (start // BATCH) % 20 == 0 or rows.stop == len(maps.labels):
            for array in (*maps.levels.values(), maps.labels):
                array.flush()
            with replacing_file(done_file) as temporary:
                temporary.write_text(json.dumps({"rows": rows.stop}))
    return maps


def _view(
    images: LabelledImages,
    index: int,
    copy: int,
    preprocessing: Preprocessing,
    scale: tuple[float, float],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image, labels = preprocessing.resize_labelled(*images.read(index))
    if copy == 0:
        return image, labels
    return augment(image, labels, np.random.default_rng([index, copy]), scale)


def _open(
    trunk: Trunk,
    levels: Sequence[str],
    preprocessing: Preprocessing,
    rows: int,
    target: Path,
) -> LabelFeatures:
    height, width = preprocessing.height, preprocessing.width
    blank = np.zeros((height, width, 3), np.uint8)
    probe = trunk.eval()(preprocessing([blank], next(trunk.parameters()).device))
    shapes = {level: tuple(getattr(probe, level).shape[1:]) for level in levels}
    arrays = {
        level: _memmap(target / f"{level}.npy", (rows, *shape), np.float16)
        for level, shape in shapes.items()
    }
    return LabelFeatures(arrays, _memmap(target / "labels.npy", (rows, height, width), np.uint8))


def _memmap(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    mode = "r+" if path.exists() else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=shape)


def _key(
    trunk: Trunk,
    levels: Sequence[str],
    preprocessing: Preprocessing,
    images: LabelledImages,
    copies: int,
    scale: tuple[float, float],
) -> str:
    digest = hashlib.sha256()
    for tensor in trunk.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    size = preprocessing.height, preprocessing.width, preprocessing.interpolation
    digest.update(f"{tuple(levels)} {size} {copies} {scale}".encode())
    digest.update(f"{len(images.class_names)}".encode() + b"".join(images.tables))
    for path in (*images.images, *images.labels):
        status = path.stat()
        digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
