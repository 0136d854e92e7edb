"""The .npz files of a route map, which may be anything once a disk or a hand has changed them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from saane_ros import reading

REMEDY = "build the map again or restore a copy"


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file by name; SaaneError where it is no .npz of NumPy arrays."""
    return reading.read_arrays(path, REMEDY)
