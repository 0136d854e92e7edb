"""The steps of the walk that need a drive on which the robot is localized: a synthetic street."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import tf2_messages
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from robot import Launched, Robot, SkippedError
from ros_world import Peer, image_message, spinning, values
from sensor_msgs.msg import Image

from saane_ros.data.bags import BagWriter
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.ros.shared.qos import TF
from saane_ros.simulation import Town, Traverse
from saane_ros.types import Frame

IMAGE, WHEELS = "/camera/image", "/odom"
MAPPED = 90
"""Frames of the street that are in the map; the others are new road."""
LENGTH_M, STREET = 320.0, 3


class Drive:
    """A robot's camera and wheels on a street, of one condition of the light."""

    def __init__(self, condition: str = "day", seed: int = 0) -> None:
        self._traverse = Traverse(Town(STREET, LENGTH_M), condition, seed=seed, speed_mps=8.0)
        self.frames: list[Frame] = list(self._traverse.frames())

    def record(self, path: Path, frames: slice) -> None:
        with BagWriter(path) as bag:
            for frame in self.frames[frames]:
                assert frame.pose is not None
                bag.write_odometry(WHEELS, frame.stamp_ns, frame.pose, frame_id="odom")
                bag.write_image(f"{IMAGE}/compressed", frame.image, frame.stamp_ns, "camera", 95)


class Camera:
    """Publishes frames of a drive to a running localizer, one at a time, and hears what it says."""

    def __init__(self, peer: Peer, launched: Launched) -> None:
        self.launched = launched
        self.matches = peer.hear(DiagnosticArray, "/localizer/place_match")
        self._image, self._odometry = peer.talk(Image, IMAGE), peer.talk(Odometry, WHEELS)

    def show(self, frame: Frame) -> dict[str, str]:
        """Until it was matched, as the first ones may come before anybody listens."""
        before, stamp = len(self.matches), time.time_ns()

        def matched() -> bool:
            self._odometry.publish(_odometry(frame, stamp))
            self._image.publish(image_message(frame.image, stamp))
            time.sleep(0.1)
            return len(self.matches) > before

        self.launched.until(matched, "a match")
        return values(self.matches[-1].status[0])


def _odometry(frame: Frame, stamp_ns: int) -> Odometry:
    assert frame.pose is not None
    message = Odometry(child_frame_id="base_link")
    message.header.frame_id, message.header.stamp = "odom", to_stamp(stamp_ns)
    pose = message.pose.pose
    pose.position.x, pose.position.y, pose.position.z = frame.pose.position
    x, y, z, w = frame.pose.orientation
    pose.orientation.x, pose.orientation.y = x, y
    pose.orientation.z, pose.orientation.w = z, w
    return message


def build_street(robot: Robot) -> Drive:
    """A map of the first frames of a street, and a drive along all of it."""
    Drive().record(robot.folder / "mapping", slice(0, MAPPED))
    robot.saane(
        "map", "build", "--bag", "mapping", "--image-topic", f"{IMAGE}/compressed",
        "--pose-topic", WHEELS, "--model", "saane-town", "--every-metres", "1.5",
        "--out", "avenue.routemap",
    )  # fmt: skip
    return Drive(seed=1)


def speak_tf(robot: Robot) -> str:
    """Let the nodes and this process speak transforms; else the reason why they cannot."""
    folder = robot.folder / "tf"
    reason = tf2_messages.provide(folder)
    if not reason and folder.is_dir():
        for variable, path in (("PYTHONPATH", folder), ("LD_LIBRARY_PATH", folder / "tf2_msgs")):
            others = robot.environment.get(variable)
            robot.environment[variable] = os.pathsep.join(filter(None, [str(path), others]))
    return reason


def told_pose_and_transform(robot: Robot, drive: Drive) -> None:
    """A click, images that agree, map -> odom, and the pose that is kept for the next start."""
    reason = speak_tf(robot)
    (robot.folder / "tf.yaml").write_text(
        "/**:\n  ros__parameters:\n"
        f"    publish_tf: {str(not reason).lower()}\n    keep_pose: {robot.folder}/pose.json\n"
    )
    words = ["map:=avenue.routemap", f"image_topic:={IMAGE}", f"odometry_topic:={WHEELS}"]
    words += ["params_file:=tf.yaml"]
    with spinning(Peer) as peer, robot.launch("localize.launch.py", *words) as launched:
        clicks = peer.talk(PoseWithCovarianceStamped, "/initialpose")
        transforms: list[Any] = []
        if not reason:
            from tf2_msgs.msg import TFMessage

            transforms = peer.hear(TFMessage, "/tf", TF)
        launched.says("Subscribed to")
        launched.until(clicks.get_subscription_count, "a listener on /initialpose")
        camera = Camera(peer, launched)
        clicks.publish(_click(drive.frames[20], "map"))
        states = [camera.show(frame)["state"] for frame in drive.frames[20:45]]
        assert states[-1] == "localized", states
        if not reason:
            launched.until(lambda: transforms, "map -> odom")
            (stamped,) = transforms[-1].transforms
            assert (stamped.header.frame_id, stamped.child_frame_id) == ("map", "odom")
            # Here the odometry has the map's own coordinates.
            assert abs(stamped.transform.translation.x) < 5
            assert abs(stamped.transform.translation.y) < 5
        assert launched.stop() == 0
    with spinning(Peer) as peer, robot.launch("localize.launch.py", *words) as launched:
        launched.says(f"Beginning at the last pose, of {robot.folder}/pose.json")
        assert launched.stop() == 0
    if reason:
        raise SkippedError(f"all but map -> odom is ok; {reason}")


def _click(frame: Frame, frame_id: str) -> PoseWithCovarianceStamped:
    assert frame.pose is not None
    message = PoseWithCovarianceStamped()
    message.header.frame_id = frame_id
    message.pose.pose = _odometry(frame, 0).pose.pose
    message.pose.covariance[0] = message.pose.covariance[7] = 4.0
    message.pose.covariance[35] = 0.07
    return message


def switch_and_extend(robot: Robot, drive: Drive) -> str:
    """Another map and back while images come, then new road that joins the map."""
    words = ["map:=avenue.routemap", f"image_topic:={IMAGE}", f"odometry_topic:={WHEELS}"]
    with spinning(Peer) as peer, robot.launch("localize.launch.py", *words) as launched:
        launched.says("Subscribed to")
        camera = Camera(peer, launched)
        assert camera.show(drive.frames[40])["map"] == "avenue"
        robot.ros2("param", "set", "/localizer", "map", f"{robot.folder}/street.routemap")
        launched.until(lambda: camera.show(drive.frames[40])["map"] == "street", "the other map")
        url = f"{{map_url: {robot.folder}/avenue.routemap}}"
        type_ = robot.ros2("service", "type", "/localizer/load_map").strip()
        assert "result=0" in robot.ros2("service", "call", "/localizer/load_map", type_, url)
        states = [camera.show(frame)["state"] for frame in drive.frames[50:80]]
        assert "localized" in states, states
        service = ("/localizer/extend", "std_srvs/srv/SetBool")
        robot.ros2("service", "call", *service, "{data: true}")
        beyond = [camera.show(frame)["state"] for frame in drive.frames[80:]]
        told = robot.ros2("service", "call", *service, "{data: false}")
        assert "success=True" in told, told
        assert launched.stop() == 0
    if "off_route" not in beyond:
        raise SkippedError("the new road was never OFF_ROUTE to the model, so nothing was added")
    return told.split("message='")[1].split("'")[0]
