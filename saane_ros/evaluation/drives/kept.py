"""Embeddings of a drive, kept on disk while it is embedded: a run that is cut goes on there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.types import Embedding, Rgb

KEY_BYTES = 16


class KeptEmbedder:
    """An embedder that asks another one and remembers, by the pixels, what it said.

    path: its file, which belongs to one embedder (by fingerprint) and one shape of grids; rows of a
    key, a descriptor and a grid, the last torn off where a run was cut.  Attention and labels are
    not kept, and not asked for.
    """

    def __init__(self, embedder: Embedder, path: Path) -> None:
        self.name, self.fingerprint = embedder.name, embedder.fingerprint
        self.descriptor_size, self.class_names = embedder.descriptor_size, embedder.class_names
        self._embedder, self._path = embedder, path
        self._shape = path.with_suffix(".shape")
        self._rows: dict[bytes, int] = {}
        self._grid = self._read_shape()
        if self._grid is not None:
            self._find_rows()

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        """As the other embedder; descriptors and grids are what it said, to the bit."""
        assert not attention, "only descriptors and grids are kept"
        assert not labels, "alike"
        return [self._one(image, grid) for image in images]

    def forget(self) -> None:
        """Remove the file, once what it was for is done."""
        self._rows = {}
        for path in (self._path, self._shape):
            path.unlink(missing_ok=True)

    def _one(self, image: Rgb, grid: bool) -> Embedding:
        key = hashlib.blake2b(
            np.ascontiguousarray(image).data, digest_size=KEY_BYTES, salt=_salt(image)
        ).digest()
        row = self._rows.get(key)
        if row is None:
            found = self._embedder.embed([image], grid=True)[0]
            self._append(key, found)
        else:
            found = self._read(row)
        return found if grid else Embedding(found.descriptor)

    def _append(self, key: bytes, found: Embedding) -> None:
        grid = np.empty((0, 0, 0), np.float32) if found.grid is None else found.grid
        try:
            if self._grid is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._shape.write_text(" ".join(map(str, grid.shape)))
                self._grid = grid.shape
            with self._path.open("ab") as stream:
                values = np.concatenate((found.descriptor.ravel(), grid.ravel()))
                stream.write(key + values.astype(np.float32).tobytes())
        except OSError as error:
            raise SaaneError(
                f"Embeddings cannot be kept in {self._path} ({error.strerror}): free space and "
                "give the same command again; what was embedded until now is kept."
            ) from error
        self._rows[key] = len(self._rows)

    def _read(self, row: int) -> Embedding:
        values = np.fromfile(
            self._path, np.float32, self._values, offset=row * self._row_bytes + KEY_BYTES
        )
        assert self._grid is not None, "a row was written"
        grid: NDArray[np.float32] = values[self.descriptor_size :].reshape(self._grid)
        return Embedding(values[: self.descriptor_size], grid=grid if grid.size else None)

    @property
    def _values(self) -> int:
        assert self._grid is not None, "asked for behind the first row"
        return self.descriptor_size + int(np.prod(self._grid))

    @property
    def _row_bytes(self) -> int:
        return KEY_BYTES + 4 * self._values

    def _read_shape(self) -> tuple[int, ...] | None:
        try:
            shape = tuple(int(part) for part in self._shape.read_text().split())
        except (OSError, ValueError):
            shape = ()
        if len(shape) != 3:
            self._path.unlink(missing_ok=True)
            return None
        return shape

    def _find_rows(self) -> None:
        """The keys that are there, without the row that a cut run left half."""
        if not self._path.exists():
            return
        with self._path.open("r+b") as stream:
            count = stream.seek(0, 2) // self._row_bytes
            stream.truncate(count * self._row_bytes)
            for row in range(count):
                stream.seek(row * self._row_bytes)
                self._rows[stream.read(KEY_BYTES)] = row


def _salt(image: Rgb) -> bytes:
    """Of the shape: two images of the same bytes may differ by it."""
    return np.array(image.shape[:2], np.int64).tobytes()
