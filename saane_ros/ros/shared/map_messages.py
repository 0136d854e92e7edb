"""What of a route map ROS shows: its places as a path."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from std_msgs.msg import Header

from saane_ros.ros.localizer.match_messages import to_pose
from saane_ros.types import Place


def route_message(places: Sequence[Place], header: Header) -> Path:
    """`~/route`: the places that have a pose, in route order."""
    poses = [
        PoseStamped(header=header, pose=to_pose(place.pose))
        for place in places
        if place.pose is not None
    ]
    return Path(header=header, poses=poses)
