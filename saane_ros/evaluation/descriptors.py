"""Descriptors of whole image lists, kept in the cache folder by fingerprint.

A run that is cut goes on where it stopped; one that has been made before costs only reading.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.lists import ImageList
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder
from saane_ros.progress import progress

BATCH = 8


@dataclass(frozen=True)
class Described:
    """descriptors: float32 (n, D).  milliseconds: for one image, in batches of `BATCH`."""

    descriptors: NDArray[np.float32]
    milliseconds: float | None


def describe(embedder: Embedder, identity: str, images: ImageList, what: str) -> Described:
    """Descriptors of every image, from the cache as far as they are in it.

    identity: of the embedder with its input size and precision, part of the cache's key.
    Raises SaaneError for an unreadable image, values that are not finite and a full disk; what
    was described until then is kept.
    """
    folder = cache_folder() / "descriptors"
    key = hashlib.sha256(f"{identity}|{images.key}".encode()).hexdigest()[:24]
    file, timing = folder / f"{key}.f32", folder / f"{key}.json"
    row_bytes = 4 * embedder.descriptor_size
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            done, torn = divmod(stream.seek(0, 2), row_bytes)
            if torn:
                stream.truncate(done * row_bytes)
            if done < len(images):
                seconds = _embed(embedder, images, range(done, len(images)), stream, what)
                _write_timing(timing, 1000 * seconds / (len(images) - done))
    except OSError as error:
        raise SaaneError(
            f"Descriptors cannot be kept in {folder} ({error.strerror}): free space or set "
            "SAANE_CACHE to another folder; what was described until now is kept."
        ) from error
    rows = np.fromfile(file, np.float32).reshape(-1, embedder.descriptor_size)
    return Described(rows[: len(images)], _read_timing(timing))


def _embed(
    embedder: Embedder, images: ImageList, rows: range, stream: BinaryIO, what: str
) -> float:
    """Append the descriptors of some images; seconds spent in the embedder."""
    seconds = 0.0
    with progress(rows, what, len(rows), "image") as bar:
        for batch in _batches(rows):
            pixels = [images.read(row) for row in batch]
            start = time.perf_counter()
            embedded = embedder.embed(pixels)
            seconds += time.perf_counter() - start
            values = np.stack([one.descriptor for one in embedded]).astype(np.float32)
            if not np.isfinite(values).all():
                raise SaaneError(
                    f"{embedder.name} gives values that are not finite for one of "
                    f"{images.names[batch[0]]} ... {images.names[batch[-1]]}: try --precision fp32."
                )
            stream.write(values.tobytes())
            stream.flush()
            bar.update(len(batch))
    return seconds


def _batches(rows: range) -> Iterator[range]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _write_timing(path: Path, milliseconds: float) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps({"milliseconds": milliseconds}), encoding="utf-8")


def _read_timing(path: Path) -> float | None:
    """None where a run was cut after its last image and before its timing."""
    if not path.is_file():
        return None
    return float(json.loads(path.read_text(encoding="utf-8"))["milliseconds"])
