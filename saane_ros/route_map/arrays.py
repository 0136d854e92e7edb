"""The .npz files of a route map, which may be anything once a disk or a hand has changed them."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays by name, all at once: an archive that lacked room would fail twice."""
    content = io.BytesIO()
    # Before NumPy 2, which ROS 2 Jazzy lacks, `allow_pickle` would be written as one more array.
    np.savez(content, **arrays)  # type: ignore[arg-type]
    path.write_bytes(content.getbuffer())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file by name; SaaneError where it is no .npz of NumPy arrays."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    # A changed bit may also say that an archive is encrypted or compressed in an unknown way.
    except (
        OSError,
        ValueError,
        EOFError,
        TypeError,
        AttributeError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise SaaneError(
            f"{path} is no .npz of NumPy arrays: build the map again or restore a copy."
        ) from error
