"""Frozen-trunk features of a set of images, computed once and kept on disk.

The trunks never change while a head is trained, so an epoch over cached features costs seconds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Protocol

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
from saane_ros.weights.tensors import tensors_digest


class Images(Protocol):
    """Images in a fixed order. key: changes when the list, a file or the decoding changes."""

    @property
    def key(self) -> str: ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Rgb: ...


class Batches(Protocol):
    """What a model takes, for any images of a set. batch_size: how many go at once."""

    batch_size: int

    def __len__(self) -> int: ...

    def batch(
        self, indices: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor | None, ...]: ...


BATCH = 16
MARK_EVERY = 20
"""Batches between two notes of how far the cache is complete."""


class FeatureCache:
    """appearance and semantic features of every image, float16 (N, C, H, W), memory-mapped."""

    batch_size = 64

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
    images: Images,
    folder: Path,
    what: str,
    bf16: bool = False,
) -> FeatureCache:
    """Features of `images`, from the cache where it is complete; a cut run goes on where it was.

    The cache is keyed by the images and by the weights of the trunks.
    bf16: let the trunks compute in bfloat16 where it is safe, which is faster on some devices.
    """
    target = folder / (_key(network, preprocessing, images) + ("-bf16" if bf16 else ""))
    done_file = target / "done.json"
    done = json.loads(done_file.read_text())["images"] if done_file.exists() else 0
    arrays = _open_arrays(network, preprocessing, len(images), target)
    device = next(network.parameters()).device
    starts = range(done, len(images), BATCH)
    for start in progress(starts, what, unit="batch") if starts else ():
        stop = min(start + BATCH, len(images))
        pixels = [images.read(index) for index in range(start, stop)]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = network.trunk_features(preprocessing(pixels, device))
        arrays[0][start:stop] = output.appearance.float().cpu().numpy()
        if output.semantic is not None:
            arrays[1][start:stop] = output.semantic.float().cpu().numpy()
        if (start // BATCH) % MARK_EVERY == 0 or stop == len(images):
            _mark_done(done_file, arrays, stop)
    return FeatureCache(arrays[0], arrays[1] if len(arrays) > 1 else None)


def _open_arrays(
    network: SaaneNetwork, preprocessing: Preprocessing, count: int, target: Path
) -> list[np.memmap]:
    device = next(network.parameters()).device
    blank = np.zeros((preprocessing.height, preprocessing.width, 3), np.uint8)
    probe = network.trunk_features(preprocessing([blank], device))
    shapes = {"appearance": (count, *probe.appearance.shape[1:])}
    if probe.semantic is not None:
        shapes["semantic"] = (count, *probe.semantic.shape[1:])
    require_space(target, sum(2 * int(np.prod(shape)) for shape in shapes.values()))
    arrays = []
    for name, shape in shapes.items():
        path = target / f"{name}.npy"
        mode = "r+" if path.exists() else "w+"
        arrays.append(np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape))
    return arrays


def require_space(target: Path, size: int) -> None:
    """Create the folder; SaaneError where its disk cannot take `size` more bytes.

    A full disk below a memory map would end the process without a word.
    """
    target.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_blocks * 512 for path in target.glob("*.npy"))
    free = shutil.disk_usage(target).free
    if size - there > free:
        raise SaaneError(
            f"The feature cache {target} needs {(size - there) / 1e9:.1f} GB and its disk has "
            f"{free / 1e9:.1f} GB left: free some, or give --out on another disk."
        )


def _mark_done(done_file: Path, arrays: list[np.memmap], count: int) -> None:
    for array in arrays:
        array.flush()
    with replacing_file(done_file) as temporary:
        temporary.write_text(json.dumps({"images": count}))


def _key(network: SaaneNetwork, preprocessing: Preprocessing, images: Images) -> str:
    digest = hashlib.sha256(images.key.encode())
    digest.update(f"{preprocessing.height}x{preprocessing.width}".encode())
    digest.update(f"{preprocessing.mean.tolist()}{preprocessing.std.tolist()}".encode())
    digest.update(tensors_digest(network.appearance.state_dict()).encode())
    if network.semantics is not None:
        digest.update(tensors_digest(network.semantics.state_dict()).encode())
    return digest.hexdigest()[:16]
