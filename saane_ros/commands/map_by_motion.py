"""Poses for `saane map build --structure-from-motion`, from the images of a folder alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.transforms import IDENTITY, compose, inverse
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import LocalFeatures
from saane_ros.metric.motion import motion
from saane_ros.progress import progress
from saane_ros.types import Frame, Pose


def frames_by_motion(
    folder: ImageFolder,
    every: tuple[float | None, float | None],
    camera: Camera | None,
    mount: Pose | None,
    features: LocalFeatures,
) -> tuple[Iterator[Frame], Camera, int, str]:
    """Frames with a pose each, what took them, how many, and a sentence on their scale.

    camera: None is estimated.  mount: of the camera on what the poses are of. Poses of the folder
    align the drive. Images that could not be joined are left out. Raises SaaneError.
    """
    on_body = mount or IDENTITY
    names, keypoints, known, shapes = [], [], [], set()
    total = len(folder.selected(*every))
    for frame in progress(folder.frames(*every), "keypoints", total=total, unit="image"):
        if not frame.image.size:
            continue
        names.append(frame.name)
        keypoints.append(features.extract(frame.image))
        known.append(None if frame.pose is None else compose(frame.pose, on_body))
        shapes.add(frame.image.shape[:2])
    if len(shapes) != 1:
        raise SaaneError(
            f"{folder.path} has images of {len(shapes)} sizes, which tell no drive: give images of "
            "one camera."
        )
    told = motion(keypoints, shapes.pop(), camera, known, features)
    poses = {n: compose(p, inverse(on_body)) for n, p in zip(names, told.poses, strict=True) if p}
    frames = (
        replace(frame, pose=poses[frame.name])
        for frame in folder.frames(*every)
        if frame.name in poses
    )
    scale = "in metres, by known positions" if told.scaled else "the median step is 1, not metres"
    note = (
        f"{len(poses)} of {total} images got a pose by structure from motion ({scale}; focal "
        f"length {told.camera.focal:.0f} pixels)."
    )
    return frames, told.camera, len(poses), note
