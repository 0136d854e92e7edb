"""The .npz files of a route map, which may be anything once a disk or a hand has changed them."""

from __future__ import annotations

import io
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros import reading

REMEDY = "build the map again or restore a copy"


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays by name, all at once: an archive that lacked room would fail twice."""
    content = io.BytesIO()
    # Before NumPy 2, which ROS 2 Jazzy lacks, `allow_pickle` would be written as one more array.
    np.savez(content, **arrays)  # type: ignore[arg-type]
    path.write_bytes(content.getbuffer())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file by name; SaaneError where it is no .npz of NumPy arrays."""
    return reading.read_arrays(path, REMEDY)


def let_go(array: NDArray[Any]) -> None:
    """Give a memory-mapped array's pages back, which stay in the system's memory."""
    pages = getattr(array, "_mmap", None)
    if isinstance(pages, mmap.mmap):
        pages.madvise(mmap.MADV_DONTNEED)


def unique(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct ones of few values (n,), ascending. NumPy's own takes longer to begin."""
    ascending = np.sort(values)
    new = np.ones(len(ascending), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return ascending[new]


def members(values: NDArray[np.integer], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of values (n,) are among others (m,), which ascend."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    at = ascending.searchsorted(values)
    return np.asarray(ascending[np.minimum(at, len(ascending) - 1)] == values)
