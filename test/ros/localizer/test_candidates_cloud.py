"""The candidates' point cloud, read back by its own description."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from saane_ros.ros.localizer import candidates_cloud
from saane_ros.ros.localizer.candidates_cloud import candidates_cloud_fields
from saane_ros.ros.localizer.match_messages import cloud_message, marker_message, to_pose
from saane_ros.route_map.places_csv import read_places, write_places
from saane_ros.types import Candidates, Match, MatchState, Place, Pose

CODES = {PointField.FLOAT32: "f", PointField.FLOAT64: "d", PointField.UINT32: "I"}
NUMBERS = st.floats(-1e6, 1e6, width=32)


def read(cloud: PointCloud2) -> list[dict[str, float]]:
    order = ">" if cloud.is_bigendian else "<"
    return [
        {
            field.name: struct.unpack_from(
                order + CODES[field.datatype], cloud.data, row * cloud.point_step + field.offset
            )[0]
            for field in cloud.fields
        }
        for row in range(cloud.width * cloud.height)
    ]


@settings(deadline=None)
@given(st.data(), st.integers(0, 20))
def test_points_are_read_back_as_given(data, count):
    positions = data.draw(arrays(np.float64, (count, 3), elements=st.floats(-1e7, 1e7)))
    distances = data.draw(arrays(np.float32, count, elements=NUMBERS))
    probabilities = data.draw(arrays(np.float32, count, elements=st.floats(0, 1, width=32)))
    places = data.draw(arrays(np.int64, count, elements=st.integers(0, 2**32 - 1)))
    header = Header(frame_id="map")
    cloud = PointCloud2(
        **candidates_cloud_fields(header, positions, places, distances, probabilities)
    )
    assert (cloud.header, cloud.height, cloud.width) == (header, 1, count)
    assert cloud.row_step == len(cloud.data) == count * cloud.point_step
    points = read(cloud)
    assert [point["place"] for point in points] == places.tolist()
    exact = [(p["exact_x"], p["exact_y"], p["exact_z"]) for p in points]
    assert exact == list(map(tuple, positions.tolist()))
    drawn = [(p["x"], p["y"], p["z"]) for p in points]
    assert drawn == list(map(tuple, positions.astype(np.float32).tolist()))
    assert [point["distance"] for point in points] == distances.tolist()
    assert [point["probability"] for point in points] == probabilities.tolist()


def test_a_place_without_pose_lies_nowhere():
    positions = np.full((1, 3), np.nan)
    fields = candidates_cloud_fields(Header(), positions, np.array([4]), np.ones(1), np.ones(1))
    point = read(PointCloud2(**fields))[0]
    assert np.isnan(
        [point[name] for name in ("x", "y", "z", "exact_x", "exact_y", "exact_z")]
    ).all()
    assert not fields["is_dense"]


def test_a_place_of_a_utm_zone_is_drawn_nearby_and_told_exactly(tmp_path):
    place = Place(1, "bridge", 0, Pose((620034.117, 5735012.843, 61.502)))
    write_places(tmp_path / "places.csv", [Place(0, "before", 0), place])
    places = read_places(tmp_path / "places.csv")
    match = Match(
        stamp_ns=0,
        state=MatchState.LOCALIZED,
        place=place,
        distance=0.5,
        ratio=1.0,
        confidence=1.0,
        off_route=0.0,
        candidates=Candidates(np.array([1]), np.array([0.5], np.float32), 1.0),
        probabilities=np.ones(1, np.float32),
    )
    cloud = cloud_message(match, places, Header(frame_id="utm"))
    # Who reads x y z as float32 without a look at their type, as RViz does, has the map's frame.
    drawn = struct.unpack_from("<3f", cloud.data)
    np.testing.assert_allclose(drawn, place.pose.position, rtol=0, atol=0.25)
    assert abs(drawn[1] - 5735012.843) > 0.1
    point = read(cloud)[0]
    exact = [point["exact_x"], point["exact_y"], point["exact_z"]]
    np.testing.assert_allclose(exact, place.pose.position, rtol=0, atol=0.001)
    assert point["place"] == 1


def test_messages_of_places_share_nothing_that_changes(tmp_path):
    poses = [Pose((float(i), 2.0, 3.0), (0.0, 0.0, 0.6, 0.8)) for i in range(3)]
    write_places(tmp_path / "places.csv", [Place(i, str(i), 0, p) for i, p in enumerate(poses)])
    places = read_places(tmp_path / "places.csv")
    match = Match(
        stamp_ns=0,
        state=MatchState.LOCALIZED,
        place=places[2],
        distance=0.5,
        ratio=1.0,
        confidence=1.0,
        off_route=0.0,
        candidates=Candidates(np.arange(3), np.ones(3, np.float32), 1.0),
        probabilities=np.array([0.0, 0.5, 1.0], np.float32),
    )
    _, *balls, arrow, caption = marker_message(match, places, Header(frame_id="map")).markers
    assert [ball.pose.position.x for ball in balls] == [0.0, 1.0, 2.0]
    assert [ball.scale.x for ball in balls] == [0.5, 1.25, 2.0]
    assert (arrow.pose.position.z, caption.pose.position.z) == (3.0, 6.0)
    assert caption.text == "LOCALIZED\n2\n1.00"
    assert not arrow.text
    assert to_pose(Pose((0.0, 0.0, 0.0))).orientation.w == 1.0
    assert Marker().pose.position.x == 0.0


def test_sensor_msgs_py_gives_the_same_bytes(monkeypatch):
    pytest.importorskip("sensor_msgs_py.point_cloud2")
    given_values = (
        Header(frame_id="map"),
        np.random.default_rng(0).normal(size=(7, 3)),
        np.arange(7),
        np.linspace(0.1, 0.7, 7),
        np.linspace(1, 0, 7),
    )
    theirs = candidates_cloud_fields(*given_values)
    monkeypatch.setattr(candidates_cloud, "point_cloud2", None)
    ours = candidates_cloud_fields(*given_values)
    assert PointCloud2(**theirs) == PointCloud2(**ours)
