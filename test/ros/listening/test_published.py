"""Messages of the real node, read back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from saane_ros.errors import SaaneError
from saane_ros.ros.listening.published import candidates_from, cloud_fields, match_from
from saane_ros.ros.localizer.candidates_cloud import candidates_cloud_fields
from saane_ros.ros.localizer.match_messages import match_message
from saane_ros.types import Candidates, Match, MatchState, Place

HEADER = Header(stamp=Time(sec=1_700_000_000, nanosec=123_456_789), frame_id="map")
STAMP_NS = 1_700_000_000_123_456_789


def test_a_match_comes_back_as_it_was_published() -> None:
    match = Match(
        stamp_ns=STAMP_NS,
        state=MatchState.LOCALIZED,
        place=Place(id=42, name="/camera/image#84", stamp_ns=0),
        distance=3.25,
        ratio=1.125,
        confidence=0.875,
        off_route=0.0625,
        candidates=Candidates(np.array([41, 42]), np.array([3.0, 3.25], np.float32), 1.125),
        probabilities=np.array([0.1, 0.9], np.float32),
        timings_ms={"embed": 20.5, "search": 1.0, "filter": 0.5},
    )
    found = match_from(match_message(match, HEADER, "localizer: place match", "m", 33.5, None))
    assert found.stamp_ns == STAMP_NS
    assert (found.state, found.place, found.place_name) == ("localized", 42, "/camera/image#84")
    assert (found.distance, found.ratio, found.confidence) == (3.25, 1.125, 0.875)
    assert (found.image_age_ms, found.inference_ms) == (33.5, 20.5)


def test_an_infinite_ratio_is_read() -> None:
    message = DiagnosticArray(header=HEADER)
    match = Match(
        stamp_ns=STAMP_NS,
        state=MatchState.LOST,
        place=Place(id=0, name="", stamp_ns=0),
        distance=0.0,
        ratio=float("inf"),
        confidence=0.0,
        off_route=0.5,
        candidates=Candidates(np.array([0]), np.zeros(1, np.float32), float("inf")),
        probabilities=np.zeros(1, np.float32),
        timings_ms={"embed": 1.0, "search": 1.0, "filter": 1.0},
    )
    message = match_message(match, HEADER, "n", "m", 1.0, 2.0)
    assert match_from(message).ratio == float("inf")
    message.status[0].values = [v for v in message.status[0].values if v.key != "ratio"]
    with pytest.raises(SaaneError, match="lacks its key ratio"):
        match_from(message)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 100, width=32)), max_size=20))
def test_candidates_come_back_as_they_were_published(rows: list[tuple[int, float]]) -> None:
    places = np.array([place for place, _ in rows], np.int64)
    distances = np.array([distance for _, distance in rows], np.float32)
    fields = candidates_cloud_fields(
        HEADER, np.zeros((len(rows), 3), np.float32), places, distances, distances / 200
    )
    found = candidates_from(PointCloud2(**fields))
    assert found.stamp_ns == STAMP_NS
    np.testing.assert_array_equal(found.places, places)
    np.testing.assert_array_equal(found.distances, distances.astype(float))
    np.testing.assert_array_equal(found.probabilities, (distances / 200).astype(float))


def test_a_big_endian_cloud_with_gaps_between_points() -> None:
    fields = [PointField(name="place", offset=4, datatype=PointField.UINT32, count=1)]
    data = bytes(4) + (7).to_bytes(4, "big") + bytes(8) + (9).to_bytes(4, "big") + bytes(4)
    cloud = PointCloud2(
        header=HEADER,
        height=1,
        width=2,
        fields=fields,
        is_bigendian=True,
        point_step=12,
        row_step=24,
        data=data,
    )
    assert cloud_fields(cloud)["place"].tolist() == [7, 9]


def test_an_unknown_field_type_is_named() -> None:
    fields = [PointField(name="x", offset=0, datatype=PointField.INT8, count=1)]
    with pytest.raises(SaaneError, match="type 1"):
        cloud_fields(PointCloud2(header=HEADER, width=1, height=1, fields=fields, point_step=1))
