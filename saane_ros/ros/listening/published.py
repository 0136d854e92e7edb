"""What the localizer published, taken out of its messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError

PICTURE_TITLES = {
    "matched_image": "matched place",
    "attention/appearance": "appearance attention",
    "attention/semantic": "semantic attention",
    "segmentation": "segmentation",
}
"""Picture topics of the localizer and what they show, in the order in which they are shown."""

_FLOAT32, _FLOAT64, _INT32, _UINT32 = 7, 8, 5, 6  # sensor_msgs/PointField
_DTYPES = {_FLOAT32: "f4", _FLOAT64: "f8", _INT32: "i4", _UINT32: "u4"}


@dataclass(frozen=True)
class PublishedMatch:
    """One `place_match` message. Times in milliseconds; stamp in nanoseconds is the image's."""

    stamp_ns: int
    state: str
    place: int
    place_name: str
    confidence: float
    distance: float
    ratio: float
    image_age_ms: float
    inference_ms: float


@dataclass(frozen=True)
class PublishedCandidates:
    """One `candidates` message: the k nearest places, best first. All arrays (k,)."""

    stamp_ns: int
    places: NDArray[np.int64]
    distances: NDArray[np.float64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class Replay:
    """Everything heard of one replay.

    images: stamp and digest in order of arrival; the rest by the stamp of the image.
    pictures: JPEG by topic.  counts: the last `/diagnostics` of the localizer.
    """

    images: list[tuple[int, bytes]]
    matches: dict[int, PublishedMatch]
    candidates: dict[int, PublishedCandidates]
    pictures: dict[int, dict[str, bytes]]
    counts: dict[str, str]


def stamp_of(message: Any) -> int:
    """Nanoseconds of a message's header."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def match_from(message: Any) -> PublishedMatch:
    """A match from a diagnostic_msgs/DiagnosticArray."""
    values = status_values(message.status[0])
    return PublishedMatch(
        stamp_ns=stamp_of(message),
        state=_value(values, "state"),
        place=int(_value(values, "place")),
        place_name=_value(values, "place_name"),
        confidence=float(_value(values, "confidence")),
        distance=float(_value(values, "distance")),
        ratio=float(_value(values, "ratio")),
        image_age_ms=float(_value(values, "image_age_ms")),
        inference_ms=float(_value(values, "inference_ms")),
    )


def status_values(status: Any) -> dict[str, str]:
    """The key-value pairs of a diagnostic_msgs/DiagnosticStatus."""
    return {pair.key: pair.value for pair in status.values}


def candidates_from(message: Any) -> PublishedCandidates:
    """Candidates from a sensor_msgs/PointCloud2."""
    points = cloud_fields(message)
    return PublishedCandidates(
        stamp_ns=stamp_of(message),
        places=points["place"].astype(np.int64),
        distances=points["distance"].astype(np.float64),
        probabilities=points["probability"].astype(np.float64),
    )


def cloud_fields(message: Any) -> dict[str, NDArray[Any]]:
    """Every field of a PointCloud2 by name, each (points,); SaaneError for a type unknown here."""
    order = ">" if message.is_bigendian else "<"
    unknown = sorted({field.datatype for field in message.fields} - set(_DTYPES))
    if unknown:
        raise SaaneError(f"The candidates hold fields of type {unknown[0]}, which is not read.")
    layout = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [order + _DTYPES[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    points = np.frombuffer(bytes(message.data), layout, count=message.width * message.height)
    return {name: points[name] for name in points.dtype.names or ()}


def _value(values: Mapping[str, str], key: str) -> str:
    if key not in values:
        raise SaaneError(f"A place match lacks its key {key}: are node and demo of one version?")
    return values[key]
