"""The frames that `saane map build` makes a map of, from a folder of images or a bag."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.commands.map_by_motion import frames_by_motion
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.transforms import IDENTITY, frame_name, read_mount
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import LocalFeatures
from saane_ros.metric.recorded import intrinsics_of_bag, intrinsics_of_folder
from saane_ros.route_map.info import Origin
from saane_ros.types import Frame, Pose

if TYPE_CHECKING:
    from saane_ros.data.bags import BagReader


@dataclass(frozen=True)
class Source:
    """Frames for a map. `label` names them, so that an interrupted build is known again."""

    frames: Iterator[Frame]
    label: str
    origin: Origin | None
    grid: str
    total: int | None
    notes: list[str]
    body: str
    camera: Pose | None
    intrinsics: Camera | None


@contextmanager
def frames_for(options: argparse.Namespace, features: LocalFeatures | None) -> Iterator[Source]:
    """The frames that the options name, as long as the context lasts.

    features: what poses by structure from motion are found with. Raises SaaneError.
    """
    every = (options.every_metres, options.every_seconds)
    label = f"every {every[0]} m or {every[1]} s of "
    camera = read_mount(options.camera_pose)
    total: int | None = None
    notes: list[str] = []
    if options.images is not None:
        if options.image_topic or options.pose_topic:
            raise SaaneError("--image-topic and --pose-topic go with --bag: leave them out.")
        folder = ImageFolder(options.images, options.poses)
        label += f"images {folder.path.resolve()}"
        if folder.pose_file is not None:
            label += f" with poses {sha256_of(folder.pose_file)}"
        total = len(folder.selected(*every))
        frames, body = folder.frames(*every), frame_name(options.base_frame)
        seen = _intrinsics_of_folder(options, folder)
        origin = folder.origin
        if options.structure_from_motion and features is not None:
            moved = frames_by_motion(
                lambda: folder.frames(*every), total, seen, camera, features, options.out
            )
            frames, seen, total, notes = moved.frames, moved.camera, moved.count, [moved.note]
            label, camera = f"motion of {label}", camera or IDENTITY
            origin = folder.origin if moved.scaled else None
        yield Source(frames, label, origin, folder.grid, total, notes, body, camera, seen)
        return
    if options.poses:
        raise SaaneError("--poses goes with --images: give --pose-topic for a bag.")
    if not options.image_topic:
        raise SaaneError("--bag needs --image-topic: name the topic with the images.")
    from saane_ros.data.bags import BagReader
    from saane_ros.data.bags.mounts import body_of, camera_on

    by_motion = options.structure_from_motion
    (path,) = options.bag
    with BagReader(path) as bag:
        # Before the frames, which tell the origin.
        seen = None
        if options.metric or by_motion:
            seen = intrinsics_of_bag(bag, options.image_topic, options.camera_info)
        frames = bag.frames(options.image_topic, options.pose_topic, *every)
        if options.pose_topic and not by_motion:
            # One place without a pose would cost the whole map its distances along the route.
            frames = (frame for frame in frames if frame.pose is not None)
        label += f"bag {path.resolve()} {options.image_topic} {options.pose_topic}"
        body = frame_name(options.base_frame)
        if options.pose_topic:
            body = body or body_of(bag, options.pose_topic)
            camera = camera or camera_on(bag, options.image_topic, body)
        origin = bag.origin
        if by_motion and features is not None:
            moved = frames_by_motion(
                lambda: bag.frames(options.image_topic, options.pose_topic, *every),
                None,
                seen,
                camera,
                features,
                options.out,
            )
            frames, seen, total = moved.frames, moved.camera, moved.count
            label, camera = f"motion of {label}", camera or IDENTITY
            origin = bag.origin if moved.scaled else None
            notes.append(moved.note)
        noted = _with_notes(frames, bag, notes)
        yield Source(noted, label, origin, bag.grid, total, notes, body, camera, seen)


def _intrinsics_of_folder(options: argparse.Namespace, folder: ImageFolder) -> Camera | None:
    if not (options.camera_info if options.structure_from_motion else options.metric):
        return None
    if not options.camera_info:
        raise SaaneError("--metric of a folder needs --camera-info: name a file of intrinsics.")
    return intrinsics_of_folder(folder, Path(options.camera_info))


def _with_notes(frames: Iterator[Frame], bag: BagReader, notes: list[str]) -> Iterator[Frame]:
    """The frames, and then the notes: what a bag holds is known once all of it was read."""
    yield from frames
    notes += [*bag.report.sentences(), *bag.notes]
