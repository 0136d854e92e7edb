"""What of a route map ROS shows: its places as a path."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from std_msgs.msg import Header

from saane_ros.ros.localizer.match_messages import to_pose
from saane_ros.types import Place

MOST = 20_000
"""Poses of a path: RViz draws no more in time, and a million would take a minute to send."""


def route_message(places: Sequence[Place], header: Header) -> Path:
    """`~/route`: the places that have a pose, in route order, `MOST` of them evenly spread."""
    spread = range(0, len(places), max(1, -(-len(places) // MOST)))
    poses = [
        PoseStamped(header=header, pose=to_pose(place.pose))
        for place in map(places.__getitem__, spread)
        if place.pose is not None
    ]
    return Path(header=header, poses=poses)
