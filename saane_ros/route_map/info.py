"""The head of a route map, `map.yaml`: what it is, who made it, and checksums of all files.

Its own checksum is its last line, over all lines before.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from saane_ros.data.poses.transforms import valid_pose
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE
from saane_ros.reading import YAML_FAULTS
from saane_ros.route_map.feature_grids import GRIDS, RERANKS
from saane_ros.route_map.postprocessing import KINDS, NONE
from saane_ros.types import Pose
from saane_ros.weights.card_files import card_names

PLAIN_FORMAT, POSTPROCESSED_FORMAT, CALIBRATED_FORMAT, SEALED_FORMAT, COLUMNS_FORMAT = range(1, 6)
"""The first two lack graph, cohort and calibration, which `saane map calibrate` adds; the first
three lack the checksum of `map.yaml`; the first four have no columns of places, and where they are
large an index that this version does not read."""
INFO_FILE = "map.yaml"
SEAL_NAME = "sha256"

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
    chosen: why the build chose that, one sentence without its full stop; empty where it was told.
    calibrated: whether the map has what a localizer needs to know when it is lost.
    rerank: what the feature grids of candidates are compared by, one of `RERANKS`.
    columns: whether its places are there as columns too.
    body: frame that the poses are of, empty where unknown.  camera: pose of the camera on it, axes
    x forward, y left, z up; None where unknown, as in maps made before it was told.
    index: "flat" or "ivf"; "hnsw" in older maps.
    files: SHA-256 by name; a folder's is over its names and bytes.
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
    body: str = ""
    camera: Pose | None = None
    chosen: str = ""
    rerank: str = GRIDS
    columns: bool = True


def info_text(info: MapInfo) -> str:
    """The content of `map.yaml`."""
    values = {"format": COLUMNS_FORMAT, **asdict(info)}
    del values["calibrated"], values["columns"]
    values["origin"] = None if info.origin is None else list(info.origin)
    camera = info.camera
    values["camera"] = None if camera is None else [*camera.position, *camera.orientation]
    return sealed(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def sealed(text: str) -> str:
    """A text and its checksum as a last line."""
    return f"{text}{SEAL_NAME}: {hashlib.sha256(text.encode()).hexdigest()}\n"


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
        content = path.read_bytes()
        values = yaml.safe_load(content.decode())
    except OSError as error:
        raise SaaneError(
            f"{path} cannot be read ({error.strerror}): check the disk and the permissions."
        ) from error
    except YAML_FAULTS as error:
        raise _damaged(path, "it is not YAML") from error
    if not isinstance(values, dict) or "format" not in values:
        raise _damaged(path, "it does not name its format")
    version = values.pop("format")
    if type(version) is not int or not PLAIN_FORMAT <= version <= COLUMNS_FORMAT:
        raise SaaneError(
            f"Route map {folder} has format {version} and this version reads formats up to "
            f"{COLUMNS_FORMAT}: build the map again."
        )
    if version >= SEALED_FORMAT or SEAL_NAME in values:
        _check_seal(path, content)
    if version == PLAIN_FORMAT:
        values["postprocessing"] = NONE
    return replace(
        _checked(path, values),
        calibrated=version >= CALIBRATED_FORMAT,
        columns=version >= COLUMNS_FORMAT,
    )


@contextmanager
def knowing_its_maker(what: str, made_by: str, model: str) -> Iterator[None]:
    """Around loading a model: SaaneError says what to name where it is known by the map alone.

    what: the map, as a sentence begins with it.  made_by: the model that made it.  model: the one
    that is loaded.  A map keeps no path of a card, as cards move.
    """
    try:
        yield
    except SaaneError as error:
        if model != made_by or made_by in card_names():
            raise
        raise SaaneError(
            f"{what} was made by model {made_by!r}, which is no card of the package: name its card "
            "by --model (the node: parameter model)."
        ) from error


def _check_seal(path: Path, content: bytes) -> None:
    text, seal, digest = content.rpartition(f"{SEAL_NAME}: ".encode())
    if not seal or digest.rstrip(b"\n") != hashlib.sha256(text).hexdigest().encode():
        raise SaaneError(
            f"{path} was edited or damaged, as the checksum in its last line is not that of the "
            "lines before: undo the edit, restore a copy or build the map again."
        )


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
        "index": ("flat", "ivf", "hnsw"),
        "postprocessing": KINDS,
    }
    if not all(type(text) is str for pair in values["files"].items() for text in pair):
        raise _damaged(path, "files are not names and checksums")
    for name, choices in allowed.items():
        if values[name] not in choices:
            raise _damaged(path, f"{name} is none of {', '.join(choices)}")
    if values["count"] < 1 or values["descriptor_size"] < 1:
        raise _damaged(path, "it counts no places or no descriptor values")
    return MapInfo(
        **{name: values[name] for name in _KINDS},
        origin=_origin(path, values.get("origin")),
        grid=_grid(path, values.get("grid", PLANE)),
        body=_text(path, values.get("body", ""), "body is no name of a frame"),
        camera=_camera(path, values.get("camera")),
        chosen=_text(path, values.get("chosen", ""), "chosen is no sentence"),
        rerank=_rerank(path, values.get("rerank", GRIDS)),
    )


def _grid(path: Path, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(
        rf"{PLANE}|utm_([1-9]|[1-5]\d|60)[NS]", value
    ):
        raise _damaged(path, f"grid is neither {PLANE} nor utm_<zone><N or S>")
    return value


def _rerank(path: Path, value: Any) -> str:
    if not isinstance(value, str) or value not in RERANKS:
        raise _damaged(path, f"rerank is none of {', '.join(RERANKS)}")
    return value


def _text(path: Path, value: Any, fault: str) -> str:
    if not isinstance(value, str):
        raise _damaged(path, fault)
    return value


def _camera(path: Path, value: Any) -> Pose | None:
    if value is None:
        return None
    numbers = _finite(value, 7) if isinstance(value, list) else None
    if numbers is not None:
        x, y, z, qx, qy, qz, qw = numbers
        pose = valid_pose((x, y, z), (qx, qy, qz, qw))
        if pose is not None:
            return pose
    raise _damaged(path, "camera is not x y z and a quaternion x y z w")


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
