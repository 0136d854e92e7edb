"""A RobotCar traversal as a rosbag2 bag."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.bags.resume import resumable_bag
from saane_ros.data.bags.writer import BagWriter, image_fields, serializable
from saane_ros.data.in_order import in_order
from saane_ros.data.robotcar.drive_messages import BODY_FRAME, DriveMessages
from saane_ros.data.robotcar.extrinsics import camera_on_body
from saane_ros.data.robotcar.images import (
    CAMERAS,
    ImageListing,
    image_path,
    list_images,
    pattern_of,
    pattern_to_bgr,
    read_bayer,
    sampled,
)
from saane_ros.data.robotcar.lens import LensTable, Pinhole, read_lens_table, read_pinhole
from saane_ros.data.robotcar.poses import PoseRecord, find_pose_record
from saane_ros.data.selection import Selector
from saane_ros.errors import SaaneError
from saane_ros.messages.encode import bgr_to_jpeg_fields
from saane_ros.progress import progress
from saane_ros.reading import no_folder
from saane_ros.types import Pose


@dataclass(frozen=True)
class Conversion:
    """What goes into the bag.

    every_seconds: the frames nearest to t0 + k seconds.  every_metres: a frame a distance step.
    Without either all frames.  undistort: by the table of `models`.  jpeg_quality: None writes
    raw images.  poses: auto, rtk, ins or gps.  models, extrinsics: folders of the RobotCar SDK.
    """

    camera: str = "stereo/centre"
    every_seconds: float | None = None
    every_metres: float | None = None
    undistort: bool = False
    jpeg_quality: int | None = 90
    poses: str = "auto"
    models: Path | None = None
    extrinsics: Path | None = None

    def __post_init__(self) -> None:
        Selector(self.every_metres, self.every_seconds)
        if self.camera not in CAMERAS:
            raise SaaneError(
                f"{self.camera} is no camera of RobotCar: give one of {', '.join(CAMERAS)}."
            )
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise SaaneError(f"JPEG quality is {self.jpeg_quality}: give 1 to 100.")

    @property
    def image_topic(self) -> str:
        name = "image_rect" if self.undistort else "image_raw"
        return f"/{self.camera}/{name}{'' if self.jpeg_quality is None else '/compressed'}"

    @property
    def camera_frame(self) -> str:
        return self.camera.replace("/", "_")


@dataclass
class ConversionReport:
    """What became of a traversal.

    frames: in the bag, those taken over from an interrupted conversion included.  unusable: why
    each other image was left out.  without_pose: frames in the bag without odometry and fix.
    notes: about files.
    """

    listing: ImageListing
    frames: int = 0
    continued: int = 0
    unusable: list[str] = field(default_factory=list)
    unusable_before: int = 0
    without_pose: int = 0
    notes: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """For a person to read."""
        told = [f"Frames in the bag: {self.frames} of {len(self.listing.stamps_ns)} on disk."]
        if self.continued:
            told.append(f"Taken over from an interrupted conversion: {self.continued}.")
        if self.unusable or self.unusable_before:
            count = len(self.unusable) + self.unusable_before
            first = f", the first: {self.unusable[0]}" if self.unusable else "."
            told.append(f"Images left out as unusable: {count}{first}")
        if self.without_pose:
            told.append(f"Frames without a pose at their time: {self.without_pose}.")
        return [*told, *self.listing.sentences(), *self.notes]


def convert(traversal: Path, out: Path, options: Conversion) -> ConversionReport:
    """Write a traversal's camera, poses and calibration as a bag; goes on where it was cut off.

    Per frame, all stamped with the image's time: CameraInfo (with `models`), Odometry and
    NavSatFix (where there is a pose), and the image. Once: /tf_static (with `extrinsics` and
    `models`) and the map frame's origin. Odometry is the body's pose in UTM metres from that
    origin. Raises SaaneError where there is no image.
    """
    if not traversal.is_dir():
        raise no_folder(traversal, "the folder of a traversal")
    listing = list_images(traversal, options.camera)
    if not listing.stamps_ns:
        raise SaaneError(
            f"{traversal / options.camera} holds no usable image ("
            f"{' '.join(listing.sentences()) or 'the folder is empty or absent.'}): extract the "
            "archives of this camera into the traversal."
        )
    report = ConversionReport(listing)
    record, notes = find_pose_record(traversal, options.poses)
    report.notes += notes
    stamps = _chosen(listing.stamps_ns, record, options)
    sensor = _Sensor(traversal, options, report)
    with resumable_bag(out, _source(traversal, options, stamps), options.image_topic) as bag:
        done = bag.taken_over
        left = [stamp for stamp in stamps if not done or stamp > done[-1]]
        report.continued = report.frames = len(done)
        report.unusable_before = len(stamps) - len(left) - len(done)
        drive = None if record is None else DriveMessages(record)
        if record is not None:
            report.without_pose = sum(record.track.at(stamp) is None for stamp in done)
        if not done:
            _write_constants(bag.writer, stamps[0], sensor, drive)
        frames = progress(_images(left, sensor), "convert", len(left), "frame")
        for stamp, fields in frames:
            if isinstance(fields, SaaneError):
                report.unusable.append(str(fields))
                continue
            sensor.write_info(bag.writer, stamp)
            if drive is None or not drive.write(bag.writer, stamp):
                report.without_pose += 1
            bag.writer.write_image_fields(options.image_topic, fields, stamp, options.camera_frame)
            report.frames += 1
        if not report.frames:
            raise SaaneError(f"No image of {traversal} can be used: {report.unusable[0]}")
    return report


def _chosen(stamps: list[int], record: PoseRecord | None, options: Conversion) -> list[int]:
    if options.every_seconds is not None:
        return sampled(stamps, 1 / options.every_seconds)
    if options.every_metres is None:
        return stamps
    if record is None:
        raise SaaneError(
            "Frames every x metres need a pose file: download the gps archive of this traversal, "
            "or take frames every x seconds."
        )
    selector, chosen = Selector(options.every_metres), []
    for stamp in stamps:
        found = record.track.at(stamp)
        if found is not None and selector.keep(stamp, found[1]):
            chosen.append(stamp)
    if not chosen:
        raise SaaneError("No image lies within the times of the poses: check the pose file.")
    return chosen


def _source(traversal: Path, options: Conversion, stamps: list[int]) -> str:
    """Names what is converted; images that came since an interruption make it another source."""
    digest = hashlib.sha256(str(stamps).encode()).hexdigest()
    named = {"traversal": str(traversal.resolve()), "stamps": digest, **asdict(options)}
    return json.dumps(named, default=str)


def _images(
    stamps: list[int], sensor: _Sensor
) -> Iterator[tuple[int, dict[str, Any] | SaaneError]]:
    """Encoded images in order; an unusable one as the reason why it is."""

    def encoded(stamp: int) -> tuple[int, dict[str, Any] | SaaneError]:
        try:
            return stamp, sensor.encoded(stamp)
        except SaaneError as error:
            return stamp, error

    return in_order(encoded, stamps)


class _Sensor:
    """One camera: its images and its calibration, of which what is missing is told once."""

    def __init__(self, traversal: Path, options: Conversion, report: ConversionReport) -> None:
        self.options = options
        self._traversal = traversal
        self._pattern = pattern_of(options.camera)
        self.pinhole: Pinhole | None = None
        self.table: LensTable | None = None
        self.size = self._first_size(report.listing.stamps_ns)
        if options.models is not None:
            self.pinhole = read_pinhole(options.models, options.camera)
        else:
            report.notes.append("No CameraInfo, as no folder models/ of the SDK is given.")
        if options.undistort:
            if options.models is None:
                raise SaaneError("Undistortion needs the lens tables: give the SDK's models/.")
            self.table = read_lens_table(options.models, options.camera, self.size)
        self.pose: Pose | None = None
        if options.extrinsics is None or self.pinhole is None:
            report.notes.append(
                "No static transforms, as extrinsics/ or models/ of the SDK is not given."
            )
        else:
            self.pose = camera_on_body(options.extrinsics, options.camera, self.pinhole)

    def encoded(self, stamp_ns: int) -> dict[str, Any]:
        """The image as the fields of its message."""
        quality = self.options.jpeg_quality
        if quality is None:
            return image_fields(self._read(stamp_ns, self._pattern))
        # Through RGB another copy of each image would cost more than writing all of it.
        bgr = self._read(stamp_ns, pattern_to_bgr(self._pattern))
        return serializable(bgr_to_jpeg_fields(bgr, quality))

    def _read(self, stamp_ns: int, pattern: int) -> NDArray[np.uint8]:
        path = image_path(self._traversal, stamp_ns, self.options.camera)
        image = read_bayer(path, pattern)
        if image.shape[:2] != self.size:
            height, width = image.shape[:2]
            raise SaaneError(
                f"{path} is {width}x{height} and not {self.size[1]}x{self.size[0]} like the first "
                "image: extract the original archive again."
            )
        return image if self.table is None else self.table.undistort(image)

    def write_info(self, writer: BagWriter, stamp_ns: int) -> None:
        """CameraInfo; that of a distorted image has no distortion model, as a table is none."""
        if self.pinhole is None:
            return
        distortion = (0.0,) * 5 if self.options.undistort else ()
        writer.write_camera_info(
            f"/{self.options.camera}/camera_info",
            stamp_ns,
            (self.size[1], self.size[0]),
            self.pinhole.matrix,
            distortion,
            self.options.camera_frame,
        )

    def _first_size(self, stamps: list[int]) -> tuple[int, int]:
        """Height and width of the first image that can be read."""
        problem = None
        for stamp in stamps:
            path = image_path(self._traversal, stamp, self.options.camera)
            try:
                height, width = read_bayer(path, self._pattern).shape[:2]
                return height, width
            except SaaneError as error:
                problem = problem or error
        raise SaaneError(f"No image of {self._traversal} can be used: {problem}") from problem


def _write_constants(
    writer: BagWriter, stamp_ns: int, sensor: _Sensor, drive: DriveMessages | None
) -> None:
    if sensor.pose is not None:
        frame = sensor.options.camera_frame
        writer.write_static_transform(stamp_ns, sensor.pose, BODY_FRAME, frame)
    if drive is not None:
        drive.write_origin(writer, stamp_ns)
