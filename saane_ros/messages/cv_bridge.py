"""cv_bridge where it works: which encodings it may convert is found out once, by trying.

An installed cv_bridge may be built for another NumPy or OpenCV than the ones in use: built for
NumPy 1 it raises or crashes under NumPy 2, and built for OpenCV 4 it misreads the type numbers of
OpenCV 5. A child process converts one image per encoding, so that a crash is the child's alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from saane_ros.messages.encodings import ENCODINGS
from saane_ros.types import Rgb

_CHILD_SECONDS = 60


@lru_cache(maxsize=1)
def cv_bridge_encodings() -> frozenset[str]:
    """The encodings that the installed cv_bridge converts to the bytes of our own converters.

    Empty without cv_bridge. The first call takes about a second where cv_bridge is installed.
    """
    if sys.byteorder != "little" or importlib.util.find_spec("cv_bridge") is None:
        return frozenset()
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.run(
            [sys.executable, "-m", __name__],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            timeout=_CHILD_SECONDS,
            check=True,
        )
        return frozenset(json.loads(child.stdout))
    except (subprocess.SubprocessError, ValueError):
        return frozenset()


def cv_bridge_to_rgb(message: Any) -> Rgb:
    """Convert a sensor_msgs/Image whose encoding is one of `cv_bridge_encodings()`."""
    return _bridge().imgmsg_to_cv2(message, "rgb8")


@lru_cache(maxsize=1)
def _bridge() -> Any:
    from cv_bridge import CvBridge

    return CvBridge()


def _gives_our_bytes(encoding: str) -> bool:
    ours = ENCODINGS[encoding]
    if ours.value_bytes > 1 or ours.rows_of_two != 2:
        return False  # 16 bits are stretched here alone, and of planes its releases know no height
    data = np.random.default_rng(0).integers(0, 256, 6 * 8 * ours.pixel_bytes).astype(np.uint8)
    message = SimpleNamespace(
        height=6,
        width=8,
        encoding=encoding,
        is_bigendian=0,
        step=8 * ours.pixel_bytes,
        data=data.tobytes(),
    )
    shape = (6, 8) if ours.channels == 1 else (6, 8, ours.channels)
    try:
        return np.array_equal(cv_bridge_to_rgb(message), ours.to_rgb(data.reshape(shape)))
    except Exception:  # whatever it raises, this encoding is not its to convert
        return False


if __name__ == "__main__":
    print(json.dumps([name for name in ENCODINGS if _gives_our_bytes(name)]))
