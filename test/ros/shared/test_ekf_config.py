"""The shipped configuration of robot_localization fits what the localizer says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from saane_ros.ros.shared.interface import OUTPUTS
from saane_ros.settings import Settings, default_settings

ROOT = Path(__file__).resolve().parents[3]
SENSORS = ("odom0", "imu0", "pose0")
# x y z, roll pitch yaw, their velocities, and the acceleration.
X, Y, YAW = 0, 1, 5


@pytest.fixture(scope="module")
def filters() -> dict[str, dict[str, Any]]:
    text = (ROOT / "config" / "ekf.yaml").read_text(encoding="utf-8")
    return {
        name.removeprefix("/**/"): section["ros__parameters"]
        for name, section in yaml.safe_load(text).items()
    }


def test_the_pose_is_that_of_the_localizer(filters: dict[str, dict[str, Any]]) -> None:
    told = filters["ekf_map"]
    assert told["pose0"] == OUTPUTS["pose"].name.replace("~", "/localizer")
    assert OUTPUTS["pose"].type_name == "geometry_msgs/msg/PoseWithCovarianceStamped"
    assert [n for n, used in enumerate(told["pose0_config"]) if used] == [X, Y, YAW]
    # Where the robot is, not how it moved.
    assert told["pose0_differential"] is told["pose0_relative"] is False
    assert "pose0" not in filters["ekf_odom"]


def test_every_transform_has_one_publisher(filters: dict[str, dict[str, Any]]) -> None:
    """A filter whose world is `map` publishes map -> odom: then the localizer must not."""
    published = [told["world_frame"] for told in filters.values() if told["publish_tf"]]
    assert sorted(published) == ["map", "odom"]
    assert default_settings()["publish_tf"] is False
    for told in filters.values():
        frames = [told[name] for name in ("map_frame", "odom_frame", "base_link_frame")]
        assert frames == ["map", "odom", Settings().base_frame]


def test_every_sensor_has_its_fifteen_flags(filters: dict[str, dict[str, Any]]) -> None:
    for told in filters.values():
        for sensor in SENSORS:
            assert (sensor in told) == (f"{sensor}_config" in told)
            if sensor in told:
                flags = told[f"{sensor}_config"]
                assert len(flags) == 15
                assert {type(flag) for flag in flags} == {bool}
