"""The head of a route map, `map.yaml`: what it is, who made it, and checksums of the rest."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE
from saane_ros.reading import YAML_FAULTS
from saane_ros.route_map.postprocessing import KINDS, NONE

PLAIN_FORMAT, POSTPROCESSED_FORMAT, CALIBRATED_FORMAT = 1, 2, 3
"""The first two lack graph, cohort and calibration, which `saane map calibrate` adds."""
INFO_FILE = "map.yaml"

_MOST = sys.float_info.max

Origin = tuple[float, float, float]
"""Latitude and longitude in degrees, altitude in metres above the WGS84 ellipsoid."""


@dataclass(frozen=True)
class MapInfo:
    """What `map.yaml` says.

    fingerprint, model: of the embedder.  frame_id: frame of the poses (ENU, metres).
    origin: where that frame's zero lies on the Earth, if known.  grid: "enu" where the frame is
    the plane that touches the Earth there, "utm_30N" where it is that zone's grid.
    created: ISO 8601, UTC.
    descriptor_size: values of a stored descriptor.  postprocessing: what it went through.
    calibrated: whether the map has what a localizer needs to know when it is lost.
    index: "flat" or "hnsw".  files: SHA-256 by name; a folder's is over its names and bytes.
    """

    name: str
    fingerprint: str
    model: str
    frame_id: str
    origin: Origin | None
    created: str
    count: int
    descriptor_size: int
    dtype: str
    index: str = "flat"
    files: dict[str, str] = field(default_factory=dict)
    grid: str = PLANE
    postprocessing: str = NONE
    calibrated: bool = True


def info_text(info: MapInfo) -> str:
    """The content of `map.yaml`."""
    values = {"format": CALIBRATED_FORMAT, **asdict(info)}
    del values["calibrated"]
    values["origin"] = None if info.origin is None else list(info.origin)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_info(folder: Path) -> MapInfo:
    """Read and check `map.yaml`; SaaneError says what is wrong with it."""
    path = folder / INFO_FILE
    if not folder.is_dir():
        only = ", only a file, and a map is a folder" if folder.exists() else ""
        raise SaaneError(
            f"There is no route map at {folder}{only}: build one with `saane map build`."
        )
    if not path.is_file():
        raise SaaneError(
            f"{folder} is no route map, as it has no {INFO_FILE}: name another folder."
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except YAML_FAULTS as error:
        raise _damaged(path, "it is not YAML") from error
    if not isinstance(values, dict) or "format" not in values:
        raise _damaged(path, "it does not name its format")
    version = values.pop("format")
    if version not in (PLAIN_FORMAT, POSTPROCESSED_FORMAT, CALIBRATED_FORMAT):
        raise SaaneError(
            f"Route map {folder} has format {version} and this version reads formats up to "
            f"{CALIBRATED_FORMAT}: build the map again."
        )
    if version == PLAIN_FORMAT:
        values["postprocessing"] = NONE
    return replace(_checked(path, values), calibrated=version == CALIBRATED_FORMAT)


def _damaged(path: Path, what: str) -> SaaneError:
    return SaaneError(f"{path} is damaged, {what}: build the map again or restore a copy.")


_KINDS: dict[str, type] = {
    "name": str,
    "fingerprint": str,
    "model": str,
    "frame_id": str,
    "created": str,
    "count": int,
    "descriptor_size": int,
    "dtype": str,
    "index": str,
    "files": dict,
    "postprocessing": str,
}


def _checked(path: Path, values: dict[str, Any]) -> MapInfo:
    for name, kind in _KINDS.items():
        if type(values.get(name)) is not kind:
            raise _damaged(path, f"{name} is missing or no {kind.__name__}")
    allowed = {
        "dtype": ("float16", "float32"),
        "index": ("flat", "hnsw"),
        "postprocessing": KINDS,
    }
    for name, choices in allowed.items():
        if values[name] not in choices:
            raise _damaged(path, f"{name} is none of {', '.join(choices)}")
    if values["count"] < 1 or values["descriptor_size"] < 1:
        raise _damaged(path, "it counts no places or no descriptor values")
    return MapInfo(
        **{name: values[name] for name in _KINDS},
        origin=_origin(path, values.get("origin")),
        grid=_grid(path, values.get("grid", PLANE)),
    )


def _grid(path: Path, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(
        rf"{PLANE}|utm_([1-9]|[1-5]\d|60)[NS]", value
    ):
        raise _damaged(path, f"grid is neither {PLANE} nor utm_<zone><N or S>")
    return value


def _origin(path: Path, value: Any) -> Origin | None:
    if value is None:
        return None
    numbers = _finite(value, 3) if isinstance(value, list) else None
    if numbers is None:
        raise _damaged(path, "origin is not latitude, longitude, altitude")
    return (numbers[0], numbers[1], numbers[2])


def _finite(values: list[Any], size: int) -> list[float] | None:
    if len(values) != size or not all(type(v) in (int, float) and abs(v) <= _MOST for v in values):
        return None
    return [float(value) for value in values]
