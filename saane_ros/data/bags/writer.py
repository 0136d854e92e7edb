"""Writing rosbag2 bags: MCAP with zstd chunks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from saane_ros.data.bags.raw_messages import STATIC_TRANSFORMS, RawMessage, message_types
from saane_ros.data.bags.reader import COMPRESSED_IMAGE, ORIGIN_NAME
from saane_ros.errors import SaaneError
from saane_ros.files import replace_folder, workspace
from saane_ros.messages.encode import rgb_to_image_fields, rgb_to_jpeg_fields
from saane_ros.types import Pose, Rgb

_NO_COVARIANCE = np.zeros(36)
_FOREVER = QosTime(9223372036, 854775807)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)


def check_place(path: Path) -> None:
    """SaaneError where something else than a bag stands where one is to be written."""
    if path.exists() and not (path / "metadata.yaml").is_file():
        raise SaaneError(f"{path} exists and is no bag: name another folder, or remove it first.")


class BagWriter:
    """Writes one bag as a stream; a context manager whose folder appears once the block ends well.

    A bag of the same name is replaced then. Stamps are int nanoseconds, both of the header and of
    the recording. /tf_static and topics named origin are marked as latched, for players.
    unfinished: folder in which the bag is written; where the block fails, what was written stays
    there. By default it is removed.  Raises SaaneError where `path` is something else than a bag.
    """

    def __init__(self, path: Path | str, unfinished: Path | None = None) -> None:
        self.path = Path(path)
        check_place(self.path)
        self._unfinished = unfinished
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        with ExitStack() as stack:
            if self._unfinished is None:
                folder = stack.enter_context(workspace(self.path))
            else:
                folder = self._unfinished
                shutil.rmtree(folder, ignore_errors=True)
            # rosbag2 names the file in a bag after the bag's folder, hence a folder in a folder.
            self._bag = folder / self.path.name
            self._writer = Writer(
                self._bag,
                version=8,  # the latest that Humble's rosbag2 reads as well as the newer ones
                storage_plugin=StoragePlugin.MCAP,
            )
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is not None:
                self._writer.abort()
                return
            self._writer.close()
            replace_folder(self._bag, self.path)
            if self._unfinished is not None:
                shutil.rmtree(self._unfinished, ignore_errors=True)

    def write_image(
        self,
        topic: str,
        image: Rgb,
        stamp_ns: int,
        frame_id: str = "camera",
        jpeg_quality: int | None = None,
    ) -> None:
        """A sensor_msgs/Image (rgb8), or with a quality (1 to 100) a CompressedImage (JPEG)."""
        self.write_image_fields(topic, image_fields(image, jpeg_quality), stamp_ns, frame_id)

    def write_image_fields(
        self, topic: str, fields: dict[str, Any], stamp_ns: int, frame_id: str = "camera"
    ) -> None:
        """The same of `image_fields`, which may be made on other threads."""
        type_ = "sensor_msgs/msg/Image" if "encoding" in fields else COMPRESSED_IMAGE
        self._write(topic, type_, stamp_ns, frame_id, **fields)

    def write_camera_info(
        self,
        topic: str,
        stamp_ns: int,
        size: tuple[int, int],
        matrix: Sequence[Sequence[float]],
        distortion: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.0),
        frame_id: str = "camera",
    ) -> None:
        """A sensor_msgs/CameraInfo: size (width, height), 3 x 3 camera matrix, plumb_bob model.

        Without any distortion coefficients the model is left empty: it is not known.
        """
        k = np.asarray(matrix, np.float64)
        self._write(
            topic,
            "sensor_msgs/msg/CameraInfo",
            stamp_ns,
            frame_id,
            height=size[1],
            width=size[0],
            distortion_model="plumb_bob" if len(distortion) else "",
            d=np.asarray(distortion, np.float64),
            k=k.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=self._new(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
        )

    def write_fix(
        self,
        topic: str,
        stamp_ns: int,
        latitude: float,
        longitude: float,
        altitude: float,
        frame_id: str = "gps",
    ) -> None:
        """A sensor_msgs/NavSatFix: degrees, and metres above the WGS84 ellipsoid."""
        self._write(
            topic,
            "sensor_msgs/msg/NavSatFix",
            stamp_ns,
            frame_id,
            status=self._new("sensor_msgs/msg/NavSatStatus", status=0, service=1),
            latitude=latitude,
            longitude=longitude,
            altitude=altitude,
            position_covariance=np.zeros(9),
            position_covariance_type=0,
        )

    def write_odometry(
        self,
        topic: str,
        stamp_ns: int,
        pose: Pose,
        linear: tuple[float, float, float] = (0.0, 0.0, 0.0),
        angular: tuple[float, float, float] = (0.0, 0.0, 0.0),
        frame_id: str = "odom",
        child_frame_id: str = "base_link",
    ) -> None:
        """A nav_msgs/Odometry: pose in `frame_id`, velocities (m/s, rad/s) in `child_frame_id`."""
        twist = self._new(
            "geometry_msgs/msg/Twist", linear=self._vector(linear), angular=self._vector(angular)
        )
        self._write(
            topic,
            "nav_msgs/msg/Odometry",
            stamp_ns,
            frame_id,
            child_frame_id=child_frame_id,
            pose=self._new(
                "geometry_msgs/msg/PoseWithCovariance",
                pose=self._pose(pose),
                covariance=_NO_COVARIANCE,
            ),
            twist=self._new(
                "geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=_NO_COVARIANCE
            ),
        )

    def write_pose(self, topic: str, stamp_ns: int, pose: Pose, frame_id: str = "map") -> None:
        """A geometry_msgs/PoseStamped."""
        self._write(
            topic, "geometry_msgs/msg/PoseStamped", stamp_ns, frame_id, pose=self._pose(pose)
        )

    def write_static_transform(
        self, stamp_ns: int, pose: Pose, frame_id: str, child_frame_id: str
    ) -> None:
        """A tf2_msgs/TFMessage on /tf_static: the pose of the child in its parent."""
        x, y, z, w = pose.orientation
        transform = self._new(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp_ns, frame_id),
            child_frame_id=child_frame_id,
            transform=self._new(
                "geometry_msgs/msg/Transform",
                translation=self._vector(pose.position),
                rotation=self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
            ),
        )
        type_ = "tf2_msgs/msg/TFMessage"
        message = self._new(type_, transforms=[transform])
        data = message_types().serialize_cdr(message, type_)
        self.write_raw(RawMessage(STATIC_TRANSFORMS, type_, stamp_ns, data))

    def write_raw(self, message: RawMessage) -> None:
        """A message as another bag had it."""
        topic = message.topic
        if topic not in self._connections:
            latched = topic == STATIC_TRANSFORMS or topic.split("/")[-1] == ORIGIN_NAME
            self._connections[topic] = self._writer.add_connection(
                topic,
                message.type,
                typestore=message_types(),
                offered_qos_profiles=[_LATCHED] if latched else [],
            )
        self._writer.write(self._connections[topic], message.stamp_ns, message.data)

    def _write(self, topic: str, type_: str, stamp_ns: int, frame_id: str, **fields: Any) -> None:
        message = self._new(type_, header=self._header(stamp_ns, frame_id), **fields)
        data = message_types().serialize_cdr(message, type_)
        self.write_raw(RawMessage(topic, type_, stamp_ns, data))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        stamp = self._new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _pose(self, pose: Pose) -> Any:
        x, y, z, w = pose.orientation
        return self._new(
            "geometry_msgs/msg/Pose",
            position=self._new(
                "geometry_msgs/msg/Point",
                x=pose.position[0],
                y=pose.position[1],
                z=pose.position[2],
            ),
            orientation=self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )

    def _vector(self, values: tuple[float, float, float]) -> Any:
        x, y, z = values
        return self._new("geometry_msgs/msg/Vector3", x=x, y=y, z=z)

    @staticmethod
    def _new(type_: str, **fields: Any) -> Any:
        return message_types().types[type_](**fields)


def image_fields(image: Rgb, jpeg_quality: int | None = None) -> dict[str, Any]:
    """Fields of an Image (rgb8), or with a quality (1 to 100) of a CompressedImage (JPEG)."""
    return serializable(
        rgb_to_image_fields(image)
        if jpeg_quality is None
        else rgb_to_jpeg_fields(image, jpeg_quality)
    )


def serializable(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of an image message as `BagWriter.write_image_fields` takes them."""
    return {**fields, "data": np.frombuffer(fields["data"], np.uint8)}
