"""Frozen-trunk features of a set of images: made anew for every batch, or once and kept on disk.

The trunks never change while a head is trained, so an epoch over cached features costs seconds. A
cache takes some hundred kilobytes an image; what no disk can take is streamed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.model.saane import SaaneNetwork
from saane_ros.progress import progress
from saane_ros.training.reading_ahead import Images, ReadAhead
from saane_ros.weights.tensors import tensors_digest


class Batches(Protocol):
    """What a model takes, for any images of a set. batch_size: how many go at once."""

    @property
    def batch_size(self) -> int: ...

    def __len__(self) -> int: ...

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Tell that these are asked for soon, so that their images can be read meanwhile."""

    def batch(
        self, indices: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor | None, ...]: ...


class Features(Batches, Protocol):
    """Features of frozen trunks, cached or streamed."""

    def batch(
        self, indices: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor, Tensor | None]:
        """Appearance and semantic features of some images as float32 (B, C, H, W)."""


Keeping = Literal["auto", "cache", "stream"]

TRUNK_BATCH = 16
MARK_EVERY = 5
"""Batches between two notes of how far the cache is complete."""
USABLE = 0.9
"""Of the free disk: `auto` leaves a tenth to checkpoints and to others."""


class StreamedFeatures:
    """Every batch goes through the trunks anew; no more than two batches are in memory.

    bf16: let the trunks compute in bfloat16 where it is safe, which is faster on some devices.
    """

    batch_size = 64

    def __init__(
        self,
        network: SaaneNetwork,
        preprocessing: Preprocessing,
        images: Images,
        bf16: bool = False,
    ) -> None:
        self.network, self.preprocessing, self.images = network, preprocessing, images
        self.bf16 = bf16
        self.reader = ReadAhead(images, preprocessing.resize)

    def __len__(self) -> int:
        return len(self.images)

    def expect(self, indices: NDArray[np.int64]) -> None:
        self.reader.expect(indices)

    def batch(
        self, indices: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor, Tensor | None]:
        """Features float32 (B, C, H, W), without gradient; later images are read meanwhile."""
        images = self.reader.read(indices)
        parts = []
        while some := list(islice(images, TRUNK_BATCH)):
            parts.append([None if x is None else x.to(device) for x in self._features(some)])
        appearance, semantic = (
            torch.cat([x for x in stream if x is not None]) if stream[0] is not None else None
            for stream in zip(*parts, strict=True)
        )
        assert appearance is not None
        return appearance, semantic

    def _features(self, images: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor | None]:
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            output = self.network.trunk_features(self.preprocessing(images, device))
        semantic = None if output.semantic is None else output.semantic.float()
        return output.appearance.float(), semantic

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the features of all images (N, C, H, W), by modality."""
        blank = np.zeros((self.preprocessing.height, self.preprocessing.width, 3), np.uint8)
        appearance, semantic = self._features([blank])
        modalities = {"appearance": appearance, "semantic": semantic}
        return {k: (len(self), *x.shape[1:]) for k, x in modalities.items() if x is not None}

    @property
    def key(self) -> str:
        """Changes with the images and with the weights of the trunks."""
        digest = hashlib.sha256(self.images.key.encode())
        made = self.preprocessing
        digest.update(f"{made.height}x{made.width} {made.interpolation}".encode())
        digest.update(f"{made.mean.tolist()}{made.std.tolist()}".encode())
        digest.update(tensors_digest(self.network.appearance.state_dict()).encode())
        if self.network.semantics is not None:
            digest.update(tensors_digest(self.network.semantics.state_dict()).encode())
        return digest.hexdigest()[:16] + ("-bf16" if self.bf16 else "")


class FeatureCache:
    """appearance and semantic features of every image, float16 (N, C, H, W), memory-mapped."""

    batch_size = 64

    def __init__(self, appearance: NDArray[np.float16], semantic: NDArray[np.float16] | None):
        self.appearance, self.semantic = appearance, semantic

    def __len__(self) -> int:
        return len(self.appearance)

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Nothing: a memory map is quick enough."""

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


def in_turn(
    batches: Batches, device: torch.device, start: int = 0
) -> Iterator[tuple[NDArray[np.int64], tuple[Tensor | None, ...]]]:
    """Indices and what a model takes of all images from `start` on, batch by batch."""
    size, total = batches.batch_size, len(batches)
    for first in range(start, total, size):
        indices, following = (
            np.arange(begin, min(begin + size, total)) for begin in (first, first + size)
        )
        batches.expect(indices)
        if len(following):
            batches.expect(following)
        yield indices, batches.batch(indices, device)


def chosen_features(
    stream: StreamedFeatures, folder: Path, what: str, keeping: Keeping, first: bool = True
) -> Features:
    """The features as they are wanted; `auto` tells on standard error what it chose, and why.

    It takes the cache where that is complete or fits the disk of `folder`. first: whether this is
    the first of several processes, which chooses; the others find its cache complete or stream.
    """
    if keeping == "stream":
        return stream
    target = folder / stream.key
    if keeping == "auto":
        chosen, reason = _choice(stream, target, first)
        if first:
            print(f"{what}: {chosen}, as {reason}", file=sys.stderr)
        if chosen == "streamed":
            return stream
    return cached_features(stream, target, what)


def _choice(stream: StreamedFeatures, target: Path, first: bool) -> tuple[str, str]:
    if _images_done(target) == len(stream):
        return "cached", f"{target} is complete"
    needed, free = missing_bytes(stream, target), free_bytes(target)
    reason = f"a cache takes {needed / 1e9:.1f} GB more and its disk has {free / 1e9:.1f} GB free"
    return "cached" if first and needed <= USABLE * free else "streamed", reason


def cached_features(stream: StreamedFeatures, target: Path, what: str) -> FeatureCache:
    """The stream written down in `target`, which is its own; a cut run goes on where it was."""
    arrays = _open_arrays(stream, target)
    done, total = _images_done(target), len(stream)
    if done < total:
        batches = in_turn(stream, torch.device("cpu"), done)
        count = -(-(total - done) // stream.batch_size)
        for indices, features in progress(batches, what, count, "batch"):
            stop = int(indices[-1]) + 1
            for array, values in zip(arrays, features, strict=False):
                assert values is not None
                array[indices[0] : stop] = values.numpy()
            if (indices[0] // stream.batch_size) % MARK_EVERY == 0 or stop == total:
                _mark_done(target, arrays, stop)
    return FeatureCache(arrays[0], arrays[1] if len(arrays) > 1 else None)


def _open_arrays(stream: StreamedFeatures, target: Path) -> list[np.memmap]:
    require_space(stream, target)
    arrays = []
    for name, shape in stream.shapes().items():
        path = target / f"{name}.npy"
        mode = "r+" if path.exists() else "w+"
        arrays.append(np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape))
    return arrays


def require_space(stream: StreamedFeatures, target: Path) -> None:
    """Create the folder; SaaneError where its disk cannot take the rest of the cache.

    A full disk below a memory map would end the process without a word.
    """
    target.mkdir(parents=True, exist_ok=True)
    needed, free = missing_bytes(stream, target), free_bytes(target)
    if needed > free:
        raise SaaneError(
            f"The feature cache {target} needs {needed / 1e9:.1f} GB and its disk has "
            f"{free / 1e9:.1f} GB left: free some, give --out on another disk, or set `features: "
            "stream` in the configuration."
        )


def missing_bytes(stream: StreamedFeatures, target: Path) -> int:
    """What the disk has yet to take of a cache."""
    size = sum(2 * int(np.prod(shape)) for shape in stream.shapes().values())
    return size - sum(path.stat().st_blocks * 512 for path in target.glob("*.npy"))


def free_bytes(folder: Path) -> int:
    """Of the disk that a folder lies on or would lie on."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _images_done(target: Path) -> int:
    file = target / "done.json"
    return int(json.loads(file.read_text())["images"]) if file.exists() else 0


def _mark_done(target: Path, arrays: list[np.memmap], count: int) -> None:
    for array in arrays:
        array.flush()
    with replacing_file(target / "done.json") as temporary:
        temporary.write_text(json.dumps({"images": count}))
