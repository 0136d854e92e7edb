"""What the fleet store knows of one version of a map: enough to list it, and to make its folder.

A version is named after its content: the same places, files and head are the same version, whoever
pushes them and when. Its manifest is the last thing that a push writes, so what has one is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.fleet.engine import SIDES, STATE, Box
from saane_ros.metric.store import ROWS_FILE
from saane_ros.reading import parsing
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.verification import DESCRIPTOR_FILE, GRIDS_FILE

FORMAT = 1
VERSION_LETTERS = 12
MANIFEST_ROOM = "saane_maps"
PIECE_ROOM = "saane_pieces"

PENDING, WHOLE, REMOVING = "pending", "whole", "removing"
"""States of a version: all is sent and is looked at once more; to be had; on its way out. What was
pushed by a release without states is whole."""


@dataclass(frozen=True)
class Pieces:
    """A file, cut in pieces.  size: bytes.  ids: of the pieces, in order."""

    size: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A version of a map.

    pushed: ISO 8601, UTC.  condition: of all its drives, empty where they tell it or nobody does.
    box: where its places lie, None without poses.  heads: what comes before the rows in the arrays
    that are kept place by place, in hexadecimal.  shown: whether places have thumbnails.
    files: the other files.  table: 32 bytes a place, ids of its point and of its piece.
    """

    map: str
    version: str
    created: str
    pushed: str
    condition: str
    model: str
    fingerprint: str
    places: int
    size: int
    dtype: str
    postprocessing: str
    grid: str
    origin: tuple[float, float, float] | None
    box: Box | None
    heads: dict[str, str]
    shown: bool
    files: dict[str, Pieces] = field(default_factory=dict)
    table: Pieces = Pieces(0, ())

    @property
    def room(self) -> str:
        """The room of its places: those of one model, which one search may compare."""
        return place_room(self.fingerprint, self.size)

    @property
    def id(self) -> str:
        """Of its point."""
        return manifest_id(self.map, self.version)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Of a place's feature grid; empty in a map without, SaaneError where its head is none."""
        if GRIDS_FILE not in self.heads:
            return ()
        with parsing("The fleet store has a damaged entry", "push the folder of the map again"):
            stream = io.BytesIO(bytes.fromhex(self.heads[GRIDS_FILE]))
            np.lib.format.read_magic(stream)
            shape, _, _ = np.lib.format.read_array_header_1_0(stream)
            return tuple(int(n) for n in shape[1:])

    @property
    def place_bytes(self) -> int:
        """Of its descriptor and its grid, which tell how many places a call takes."""
        return 4 * self.size + math.prod(self.grid_shape or (0,))

    @property
    def title(self) -> str:
        return f"{self.map} version {self.version}"

    def payload(self) -> dict[str, Any]:
        """What its point holds: itself as text, so that no engine's numbers can change it.

        Its box on earth is told beside, for the engine to choose by.
        """
        text = json.dumps(asdict(self))
        head = {"format": FORMAT, "map": self.map, "version": self.version, STATE: WHOLE}
        sides = {}
        if self.origin is not None and self.box is not None:
            sides = dict(zip(SIDES, self.box, strict=True))
        return {**head, **sides, "manifest": text, "digest": _digest(text)}


def place_id(text: str, vector: NDArray[np.float32]) -> str:
    """The id of a place, by what is told of it and its descriptor."""
    return id_of(text.encode() + np.ascontiguousarray(vector, "<f4").tobytes())


def manifest_id(name: str, version: str) -> str:
    """The id of the manifest of a version."""
    return id_of(f"{name}\n{version}".encode(errors="surrogateescape"))


def place_room(fingerprint: str, size: int) -> str:
    """The room of the places of a model with descriptors of so many values."""
    return f"saane_places_{hashlib.sha256(fingerprint.encode()).hexdigest()[:12]}_{size}"


def id_of(content: bytes) -> str:
    """The id of what it is the content of: half of its SHA-256 as a UUID."""
    return str(uuid.UUID(bytes=hashlib.sha256(content).digest()[:16]))


def version_of(info: MapInfo) -> str:
    """The version of a map: a digest of its head without its name and time, and so of its files."""
    values = {**asdict(info), "name": "", "created": ""}
    return _digest(values)[:VERSION_LETTERS]


def membership_token(versions: list[str]) -> str:
    """What a place's list of versions was when it was read: a change to a list that another has
    changed meanwhile finds no such place, and is made again.
    """
    return _digest(sorted(versions))[:16]


def read_manifest(values: dict[str, Any], where: str) -> Manifest:
    """Check a payload; SaaneError says what is wrong with it."""
    if values.get("format") != FORMAT:
        raise SaaneError(
            f"{where} has a map {str(values.get('map'))[:40]} of format "
            f"{str(values.get('format'))[:20]} and this version reads {FORMAT}: update this "
            "software, or push its maps into another store."
        )
    try:
        if values["digest"] != _digest(values["manifest"]):
            raise ValueError
        plain = json.loads(values["manifest"])
        files = {name: _pieces(one) for name, one in plain.pop("files").items()}
        origin, box = (None if plain[n] is None else tuple(plain[n]) for n in ("origin", "box"))
        named = {**plain, "origin": origin, "box": box, "table": _pieces(plain["table"])}
        manifest = Manifest(**named, files=files)
        numbers = (manifest.places, manifest.size, *(origin or ()), *(box or ()))
        if min(manifest.places, manifest.size) < 1 or not all(map(math.isfinite, numbers)):
            raise ValueError
        if len(origin or (0,) * 3) != 3 or len(box or (0,) * 4) != 4:
            raise ValueError
        known = {DESCRIPTOR_FILE, GRIDS_FILE, ROWS_FILE}
        if not {DESCRIPTOR_FILE} <= set(manifest.heads) <= known:
            raise ValueError
        texts = [getattr(manifest, name) for name in _TEXTS]
        kinds = {type(text) is str for text in texts} | {type(manifest.shown) is bool}
        kinds |= {type(n) is int for n in (manifest.places, manifest.size)}
        if kinds != {True} or manifest.dtype not in ("float16", "float32"):
            raise ValueError
        return manifest
    except _FAULTS as error:
        raise SaaneError(
            f"{where} has a damaged entry of map {str(values.get('map'))[:40]}: push its folder "
            "again with --everything."
        ) from error


_TEXTS = (
    *("map", "version", "created", "pushed", "condition", "model", "fingerprint"),
    *("dtype", "postprocessing", "grid"),
)
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading a payload may raise that is anything."""


def _pieces(values: Any) -> Pieces:
    return Pieces(int(values["size"]), tuple(str(uuid.UUID(one)) for one in values["ids"]))


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
