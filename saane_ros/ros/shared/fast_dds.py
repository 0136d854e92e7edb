"""The Fast DDS profile for the processes that this package starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder, share_folder

_VARIABLE, _OLD_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
_OLD_DISTRIBUTIONS = ("humble", "iron", "jazzy")
"""Their Fast DDS 2 reads the old variable only; later ones warn of it."""
_SHARED_MEMORY = Path("/dev/shm")
_PROCESSES = 4
"""Camera, localizer, recorder and RViz each take a segment of their own."""
_SMALLEST = 8 << 20
"""Bytes. Two 1280 x 960 rgb8 images; a segment below is of no use."""
_SEGMENT = re.compile(r"(<segment_size>)(\d+)(</segment_size>)")


def profile_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to add to the environment of a process, so that images pass by shared memory.

    One variable names config/fast_dds.xml or, where /dev/shm has no room for four of its segments
    (Docker gives 64 MB), a copy with a smaller segment in the cache folder. Empty where the user
    has set a profile already, or where there is no room for any: Fast DDS's defaults stay, under
    which only a reliable subscription receives large images.
    """
    if environment.get(_VARIABLE) or environment.get(_OLD_VARIABLE):
        return {}
    profile = _fitting_profile(_free_bytes(_SHARED_MEMORY))
    is_old = environment.get("ROS_DISTRO") in _OLD_DISTRIBUTIONS
    return {} if profile is None else {_OLD_VARIABLE if is_old else _VARIABLE: str(profile)}


def _fitting_profile(free: int) -> Path | None:
    shipped = share_folder() / "config" / "fast_dds.xml"
    text = shipped.read_text(encoding="utf-8")
    found = _SEGMENT.search(text)
    if found is None:
        raise SaaneError(f"{shipped} names no segment_size: install the package again.")
    wanted = int(found[2])
    size = wanted
    while size * _PROCESSES > free:
        size //= 2
    if size == wanted:
        return shipped
    if size < _SMALLEST:
        return None
    fitted = cache_folder() / f"fast_dds_{size >> 20}_mb.xml"
    with replacing_file(fitted) as temporary:
        temporary.write_text(_SEGMENT.sub(rf"\g<1>{size}\3", text), encoding="utf-8")
    return fitted


def _free_bytes(folder: Path) -> int:
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize
