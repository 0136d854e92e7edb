"""What the fleet asks of a vector engine: points in rooms, filters, and changes that never collide.

A room is a collection. Its points have an id (UUID), a payload of JSON, and in a room with a size a
vector of so many float32, compared by Euclidean distance. Two ends speak it: `edge.py`, an engine
in this process and its folder, and `remote.py`, a server or cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""South, west, north, east in degrees; of a map without an origin least y, x and greatest y, x."""
STATE = "state"
"""Field of what is not there for good: it is being made, or removed."""
SIDES = ("south", "west", "north", "east")
"""Fields of what has a box on earth."""
PLACE_FIELDS = {
    "map": "keyword",
    "versions": "keyword",
    "token": "keyword",
    "condition": "keyword",
    "model": "keyword",
    "time": "integer",
    "location": "geo",
}
"""Fields of places that are indexed: a search goes by them at no price."""
MANIFEST_FIELDS = {"map": "keyword", STATE: "keyword", **dict.fromkeys(SIDES, "float")}
PIECE_FIELDS = {STATE: "keyword"}


@dataclass(frozen=True, eq=False)
class Stored:
    """A point.  vector: float32 (D,), None in a room without and where it was not asked for."""

    id: str
    payload: dict[str, Any]
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Where:
    """Which points are meant; a field that is left alone asks nothing.

    map, version, condition, model: of a place.  other_model: anything but this fingerprint.
    since_s, until_s: seconds since 1970, both included.  near: latitude, longitude, metres.
    versions: of one of these at least.  ids: only among these.  token: see `membership_token`.
    state, other_states: in this one, in none of these.  touching: whose box touches this one, and
    what was pushed before such boxes were kept.
    """

    map: str = ""
    version: str = ""
    versions: tuple[str, ...] = ()
    condition: str = ""
    model: str = ""
    other_model: str = ""
    since_s: int | None = None
    until_s: int | None = None
    near: tuple[float, float, float] | None = None
    ids: tuple[str, ...] = ()
    token: str | None = None
    state: str = ""
    other_states: tuple[str, ...] = ()
    touching: Box | None = None


class Engine(Protocol):
    """One end; all methods raise SaaneError where the engine does not do it."""

    def rooms(self) -> dict[str, int]:
        """The rooms there are, and the size of their vectors, 0 without."""
        ...

    def make_room(self, room: str, size: int, fields: Mapping[str, str]) -> None:
        """Make a room with vectors of so many values, or without for 0; nothing where it is.

        fields: those that are indexed, and their kinds; what a room that is there lacks is added.
        """
        ...

    def insert(self, room: str, points: Sequence[Stored]) -> None:
        """Add points; one whose id is there already stays as it is."""
        ...

    def replace(self, room: str, points: Sequence[Stored]) -> None:
        """Add points; one whose id is there already is given this content."""
        ...

    def get(
        self,
        room: str,
        ids: Sequence[str],
        fields: Sequence[str] | None = None,
        vectors: bool = False,
    ) -> dict[str, Stored]:
        """Those of the points that there are.  fields: of the payload, all of it for None."""
        ...

    def set_fields(self, room: str, where: Where, fields: dict[str, Any]) -> None:
        """Set fields of the points that are meant, in one step for each point."""
        ...

    def delete(self, room: str, where: Where) -> None:
        """Remove the points that are meant, each in one step with the look whether it is."""
        ...

    def scroll(self, room: str, where: Where) -> Iterator[Stored]:
        """All points that are meant, without vectors."""
        ...

    def count(self, room: str, where: Where) -> int:
        """How many points are meant."""
        ...

    def nearest(self, room: str, query: NDArray[np.float32], k: int, where: Where) -> list[Stored]:
        """About the k nearest of the points that are meant, the nearest first.

        Of the payload they have `versions`, and no vectors.
        """
        ...

    def settle(self, room: str) -> None:
        """Make what was inserted last, and quick to search."""
        ...

    def close(self) -> None:
        """Let others have it."""
        ...


def filter_of(where: Where, kit: Any, between: Any, has_id: Any, lacks: Any) -> Any:
    """The filter in the words of a library, whose two editions agree in most; None for all points.

    kit: module with the words.  between: its range of numbers.  has_id: of a list of ids.
    lacks: of a field that a point has not.
    """

    def equal(key: str, value: str) -> Any:
        return kit.FieldCondition(key=key, match=kit.MatchValue(value=value))

    pairs = {
        "map": where.map,
        "versions": where.version,
        "condition": where.condition,
        "model": where.model,
        STATE: where.state,
    }
    must = [equal(key, value) for key, value in pairs.items() if value]
    if where.versions:
        some = kit.MatchAny(any=list(where.versions))
        must.append(kit.FieldCondition(key="versions", match=some))
    if where.token is not None:
        must.append(equal("token", where.token))
    if where.since_s is not None or where.until_s is not None:
        span = between(gte=where.since_s, lte=where.until_s)
        must.append(kit.FieldCondition(key="time", range=span))
    if where.near is not None:
        latitude, longitude, metres = where.near
        circle = kit.GeoRadius(center=kit.GeoPoint(lat=latitude, lon=longitude), radius=metres)
        must.append(kit.FieldCondition(key="location", geo_radius=circle))
    if where.ids:
        must.append(has_id(list(where.ids)))
    if where.touching is not None:
        low = [between(gte=None, lte=limit) for limit in where.touching[2:]]
        high = [between(gte=limit, lte=None) for limit in where.touching[:2]]
        sides = zip(SIDES, low + high, strict=True)
        meets = kit.Filter(must=[kit.FieldCondition(key=key, range=span) for key, span in sides])
        must.append(kit.Filter(should=[meets, lacks(STATE)]))
    without = [equal("model", where.other_model)] if where.other_model else []
    if where.other_states:
        some = kit.MatchAny(any=list(where.other_states))
        without.append(kit.FieldCondition(key=STATE, match=some))
    return kit.Filter(must=must or None, must_not=without or None) if must or without else None
