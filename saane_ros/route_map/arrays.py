"""The .npz files of a route map, which may be anything once a disk or a hand has changed them."""

from __future__ import annotations

import io
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
