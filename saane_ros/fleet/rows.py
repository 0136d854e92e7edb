"""What is kept place by place, as it comes, and as the arrays and files of a map."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.metric.store import ROWS_FILE
from saane_ros.route_map.places_csv import THUMBNAIL_FOLDER, thumbnail_name
from saane_ros.route_map.verification import DESCRIPTOR_FILE, GRIDS_FILE

_BLOCK = 1024


class RowFiles:
    """Vectors and pieces of places in files that are only ever appended to.

    A kill leaves whole rows and perhaps half a one, which is cut off.
    """

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(exist_ok=True)
        self._size = size
        self._vectors, self._pieces = folder / "vectors.f32", folder / "pieces"
        self._ends = folder / "ends.i64"
        for path in (self._vectors, self._pieces, self._ends):
            path.touch()
        ends = np.fromfile(self._ends, np.int64)
        whole = min(len(ends), self._vectors.stat().st_size // (4 * size))
        there = self._pieces.stat().st_size
        while whole and not 0 <= ends[whole - 1] <= there:
            whole -= 1
        self._count, self._end = whole, int(ends[whole - 1]) if whole else 0
        os.truncate(self._vectors, whole * 4 * size)
        os.truncate(self._ends, whole * 8)
        os.truncate(self._pieces, self._end)

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: NDArray[np.float32], pieces: Sequence[bytes]) -> None:
        """Add places: vectors (n, D), and of each its piece."""
        ends = self._end + np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        for path, content in (
            (self._pieces, b"".join(pieces)),
            (self._vectors, vectors.astype(np.float32).tobytes()),
            (self._ends, ends.tobytes()),
        ):
            with path.open("ab") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        self._count, self._end = self._count + len(pieces), int(ends[-1])

    def vectors(self) -> NDArray[np.float32]:
        """All vectors (n, D), memory-mapped."""
        return np.memmap(self._vectors, np.float32, "r", shape=(self._count, self._size))

    def pieces(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Where each piece begins and the last ends (n + 1,), and the bytes of all."""
        starts = np.concatenate([[0], np.fromfile(self._ends, np.int64)]).astype(np.int64)
        content: NDArray[np.uint8] = np.empty(0, np.uint8)
        if self._end:
            content = np.memmap(self._pieces, np.uint8, "r")
        return starts, content


@dataclass(frozen=True, eq=False)
class Split:
    """How the pieces of some places are cut.

    grid: shape of a feature grid, empty without.  starts: where the rows of points of each place
    begin (n + 1,), None without.  item: bytes of such a row.  shown: whether the rest is a
    thumbnail.  fault: raised where a piece cannot be cut so.
    """

    grid: tuple[int, ...]
    starts: NDArray[np.int64] | None
    item: int
    shown: bool
    fault: SaaneError

    def write(
        self, kept: RowFiles, folder: Path, heads: dict[str, bytes], dtype: np.dtype | None
    ) -> None:
        """Write arrays, each behind its head where it has one, and thumbnails into a folder.

        dtype: of descriptors, None leaves them out.
        """
        begins, content = kept.pieces()
        at, ends = begins[:-1].copy(), begins[1:]
        if dtype is not None:
            vectors = kept.vectors()
            with (folder / DESCRIPTOR_FILE).open("wb") as stream:
                stream.write(heads[DESCRIPTOR_FILE])
                for start in range(0, len(vectors), _BLOCK):
                    stream.write(vectors[start : start + _BLOCK].astype(dtype).tobytes())
        parts = []
        if self.grid:
            parts.append((GRIDS_FILE, np.full(len(at), math.prod(self.grid), np.int64)))
        if self.starts is not None:
            parts.append((ROWS_FILE, np.diff(self.starts) * self.item))
        for name, sizes in parts:
            with (folder / name).open("wb") as stream:
                stream.write(heads.get(name, b""))
                for begin, size, end in zip(at, sizes, ends, strict=True):
                    if begin + size > end:
                        raise self.fault
                    stream.write(content[begin : begin + size].tobytes())
            at += sizes
        if not self.shown:
            if (at != ends).any():
                raise self.fault
            return
        (folder / THUMBNAIL_FOLDER).mkdir()
        for number, (begin, end) in enumerate(zip(at, ends, strict=True)):
            jpeg = content[begin:end].tobytes()
            (folder / THUMBNAIL_FOLDER / thumbnail_name(number)).write_bytes(jpeg)
