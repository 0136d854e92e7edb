"""The index of a large map, `index.faiss`: which places are worth an exact look.

Descriptors are turned onto their leading principal directions, which keeps their distances where
whitening would weigh them anew, stored with 8 bits a value, and sorted into lists by the nearest of
some centroids; a query looks into a few lists (inverted file with scalar quantiser; Jegou, Douze &
Schmid, PAMI 2011). What is found is ranked by exact distances afterwards, see `search.py`.

The file is one of faiss with a seal behind it: version, size and count of the descriptors it was
made of, and a digest of some of them. It is memory-mapped: a frame reads the lists it looks into.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.progress import progress
from saane_ros.route_map.postprocessing import principal_directions

INDEX_VERSION = 1
INDEXED_FROM = 2**22
"""Values (places x size) from which on a map has an index: 547 places of 7,680 values or 8,192 of
512, which a flat search reads in about a millisecond on one core."""
LARGE = 2**25
"""Values from which on an index has `INDEX_SIZE` of a place, at most; below `FEW` of longer ones,
as to turn a query onto more takes longer than to compare more places exactly. Of maps of 250 to
2,000 places of 7,680 values (Nordland, a synthetic town) 128 find 0.998 of the 64 nearest."""
INDEX_SIZE = 512
FEW = 128
PROBED = 32
"""Lists that a query looks into. In a drive of 1,000,000 places of 512 values 16 of 2,000 missed
one nearest place of 400, 24 none; 32 find 0.97 of the 64 nearest."""
FOUND = 256
"""Places that the index finds, to be ranked exactly."""

_LISTS_MOST = 2048
_PER_LIST = 32
"""Places per list that centroids are learned from: with `_LISTS_MOST` it bounds the time."""
_ITERATIONS = 6
_FITTED = 2048
"""Places at most, evenly spread, that principal directions are fitted to."""
_BLOCK = 4096
_PROOFS = 16
"""Places, evenly spread, whose digest tells the map that an index is of."""
_SEAL = struct.Struct("<8sIIQ32s")
_MAGIC = b"SAANEIDX"


@dataclass(frozen=True)
class IndexChoice:
    """values: of a place in the index, at most; None by the size of the map.  probed: lists that a
    query looks into.
    """

    values: int | None = None
    probed: int = PROBED


def wants_index(count: int, size: int) -> bool:
    """Whether a map of `count` places of `size` values is searched by an index."""
    return count * size >= INDEXED_FROM


class PlaceIndex(Protocol):
    """Tells which places are worth an exact look; a map's own, or an engine's that holds them."""

    def find(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """About the k nearest places of a descriptor (D,), about in the order of distance."""
        ...


class FaissIndex:
    """The map folder's end of `PlaceIndex`, in memory or memory-mapped; see `build_index` and
    `read_index`.

    bytes: what a search may touch of it.  values: of a place in it.  lists, probed: how many there
    are, and a query looks into.
    """

    def __init__(self, index: faiss.IndexPreTransform) -> None:
        self._index = index
        lists: Any = faiss.downcast_index(index.index)
        self._lists = lists
        self.values, self.lists = int(self._lists.d), int(self._lists.nlist)

    @property
    def probed(self) -> int:
        return int(self._lists.nprobe)

    @property
    def bytes(self) -> int:
        codes = self._lists.ntotal * (self._lists.code_size + 8)
        return int(codes + 4 * self.values * (self.lists + self._index.d))

    def find(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """About the k nearest places of a descriptor (D,), by their codes the nearest first."""
        # With all values nothing is turned.
        index = self._lists if self.values == self._index.d else self._index
        _, found = index.search(query[None], min(k, self._lists.ntotal))
        return np.asarray(found[0][found[0] >= 0], np.int64)

    def let_go(self) -> None:
        """Give pages of the memory-mapped file back, which stay in the system's memory."""
        lists = faiss.downcast_InvertedLists(self._lists.invlists)
        if isinstance(lists, faiss.OnDiskInvertedLists):
            start, size = ctypes.c_void_p(int(lists.ptr)), ctypes.c_size_t(lists.totsize)
            ctypes.CDLL(None).madvise(start, size, mmap.MADV_DONTNEED)

    def probing(self, lists: int) -> FaissIndex:
        """The same index, looking into so many lists from now on."""
        self._lists.nprobe = min(lists, self.lists)
        return self


def build_index(descriptors: NDArray[np.floating], choice: IndexChoice | None = None) -> FaissIndex:
    """Build the index of descriptors (N, D); N should be a few hundred at least."""
    choice = choice or IndexChoice()
    count, size = descriptors.shape
    most = choice.values or _values(count, size)
    values = min(most, size, count)
    turn = _turn(descriptors, values)
    lists = max(1, min(_LISTS_MOST, round(2 * np.sqrt(count)), count // _PER_LIST))
    centroids = faiss.IndexFlatL2(values)
    inverted = faiss.IndexIVFScalarQuantizer(
        centroids, values, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2, False
    )
    inverted.cp.niter, inverted.cp.max_points_per_centroid = _ITERATIONS, _PER_LIST
    inverted.cp.min_points_per_centroid = 1
    index = faiss.IndexPreTransform(turn, inverted)
    for part in (centroids, turn, inverted):  # owned by Python
        index.__dict__.setdefault("parts", []).append(part)
    some = _spread(count, _PER_LIST * lists)
    inverted.train(turn.apply(_rows(descriptors, some)))
    index.is_trained = True
    blocks = range(0, count, _BLOCK)
    for start in progress(blocks, "search index", unit="block", delay_s=2.0):
        index.add(np.ascontiguousarray(descriptors[start : start + _BLOCK], np.float32))
    return FaissIndex(index).probing(choice.probed)


def _values(count: int, size: int) -> int:
    return INDEX_SIZE if size <= INDEX_SIZE or count * size >= LARGE else FEW


def write_index(index: FaissIndex, descriptors: NDArray[np.floating], path: Path) -> None:
    """Write an index and its seal, by which it is known to be of these descriptors."""
    # By a stream of Python's, which tells why a write failed.
    with path.open("wb") as stream:
        writer = faiss.PyCallbackIOWriter(stream.write)  # type: ignore[attr-defined]
        faiss.write_index(index._index, writer)
        stream.write(_seal(descriptors))


def read_index(path: Path, descriptors: NDArray[np.floating]) -> FaissIndex:
    """Open the index of a map's descriptors; SaaneError where it is damaged or of others."""
    _check_seal(path, descriptors)
    flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
    try:
        index: Any = faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise _unusable(path, "is no index of faiss") from error
    turned = isinstance(index, faiss.IndexPreTransform)
    inner: Any = faiss.downcast_index(index.index) if turned else None
    if not isinstance(inner, faiss.IndexIVFScalarQuantizer) or inner.invlists is None:
        raise _unusable(path, "is no inverted file")
    if (index.ntotal, index.d) != descriptors.shape or inner.ntotal != index.ntotal:
        raise _unusable(path, "is of another number of places")
    # Threads that read ahead cost more than they spare: lists that are used are in memory.
    lists: Any = faiss.downcast_InvertedLists(inner.invlists)
    lists.prefetch_nthread = 0
    return FaissIndex(index)


def _turn(descriptors: NDArray[np.floating], values: int) -> faiss.LinearTransform:
    """The turn onto the leading principal directions, or none where all values are kept."""
    size = descriptors.shape[1]
    turn = faiss.LinearTransform(size, values, False)
    if values == size:
        matrix = np.eye(size, dtype=np.float32)
    else:
        rows = _rows(descriptors, _spread(len(descriptors), _FITTED))
        directions, _ = principal_directions(rows - rows.mean(axis=0), values)
        matrix = np.zeros((values, size), np.float32)  # rows of few places have few directions
        matrix[: directions.shape[1]] = directions.T
    faiss.copy_array_to_vector(matrix.ravel(), turn.A)
    turn.is_trained = True
    return turn


def _seal(descriptors: NDArray[np.floating]) -> bytes:
    count, size = descriptors.shape
    proof = hashlib.sha256(_rows(descriptors, _spread(count, _PROOFS)).tobytes())
    return _SEAL.pack(_MAGIC, INDEX_VERSION, size, count, proof.digest())


def _check_seal(path: Path, descriptors: NDArray[np.floating]) -> None:
    try:
        with path.open("rb") as stream:
            stream.seek(-min(_SEAL.size, path.stat().st_size), 2)
            seal = stream.read()
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror})") from error
    if len(seal) < _SEAL.size or not seal.startswith(_MAGIC):
        raise _unusable(path, "is no whole index")
    _, version, size, count, _ = _SEAL.unpack(seal)
    if version != INDEX_VERSION:
        raise _unusable(path, f"has version {version} and this software reads {INDEX_VERSION}")
    if (count, size) != descriptors.shape:
        raise _unusable(path, f"is of {count} places of {size} values")
    if seal != _seal(descriptors):
        raise _unusable(path, "is of other descriptors than the map's")


def _unusable(path: Path, what: str) -> SaaneError:
    return SaaneError(
        f"{path} {what}, so all places are searched, which takes longer: run "
        f"`saane map index {path.parent}` to make it anew."
    )


def _rows(descriptors: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(descriptors[rows], np.float32)


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
