"""Poses for `saane map build --structure-from-motion`, from the images of a drive alone."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from saane_ros.data.poses.transforms import IDENTITY, compose, inverse
from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder, replacing_file, telling_full_disk
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import Keypoints, LocalFeatures
from saane_ros.metric.motion import motion
from saane_ros.progress import progress
from saane_ros.route_map.arrays import read_arrays, write_arrays
from saane_ros.types import Frame, Pose, Rgb


@dataclass(frozen=True, eq=False)
class Moved:
    """frames: with a pose each.  camera: what took them.  count: how many.  scaled: whether they
    lie where known positions do.  note: a sentence on all that.
    """

    frames: Iterator[Frame]
    camera: Camera
    count: int
    scaled: bool
    note: str


def motion_folder(out: Path) -> Path:
    """Where keypoints and matches for a map lie until it is built, so that Ctrl-C loses none."""
    return out.with_name(f".{out.name}.motion")


def frames_by_motion(
    frames: Callable[[], Iterator[Frame]],
    total: int | None,
    camera: Camera | None,
    mount: Pose | None,
    features: LocalFeatures,
    out: Path,
) -> Moved:
    """Frames with poses that their images tell.

    frames: of a drive, the same every time.  total: of them, where that is known.  camera: None is
    estimated.  mount: of the camera on what the poses are of. Poses that frames have align the
    drive. Images that could not be joined are left out.  out: the map to be. Raises SaaneError.
    """
    folder = motion_folder(out)
    with telling_full_disk(out):
        lock = lock_folder(folder, f"build is writing {out}")
        try:
            return _moved(frames, total, camera, mount or IDENTITY, features, folder)
        except SaaneError:
            # The same command would come to the same end.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(lock)


def _moved(
    frames: Callable[[], Iterator[Frame]],
    total: int | None,
    camera: Camera | None,
    mount: Pose,
    features: LocalFeatures,
    folder: Path,
) -> Moved:
    drive = hashlib.blake2b(repr(camera).encode(), digest_size=8)
    stamps, keypoints, known, shapes = [], [], [], set()
    for frame in progress(frames(), "keypoints", total=total, unit="image"):
        if not frame.image.size:
            continue
        key = _key(frame.image, features.name)
        drive.update(key.encode())
        keypoints.append(_kept(folder / f"{key}.npz", frame.image, features))
        stamps.append((frame.stamp_ns, frame.name))
        known.append(None if frame.pose is None else compose(frame.pose, mount))
        shapes.add(frame.image.shape[:2])
    if len(shapes) != 1:
        raise SaaneError(
            f"The drive has images of {len(shapes)} sizes, which tell no drive: give images of one "
            "camera."
        )
    shape = shapes.pop()
    matches = folder / drive.hexdigest()
    matches.mkdir(exist_ok=True)
    own = None if camera is None else camera.fitting(shape)
    told = motion(keypoints, shape, own, known, features, matches)
    poses = {n: compose(p, inverse(mount)) for n, p in zip(stamps, told.poses, strict=True) if p}
    posed = (
        replace(frame, pose=poses[frame.stamp_ns, frame.name])
        for frame in frames()
        if (frame.stamp_ns, frame.name) in poses
    )
    scale = "in metres, by known positions" if told.scaled else "the median step is 1, not metres"
    note = (
        f"{len(poses)} of {len(stamps)} images got a pose by structure from motion ({scale}; focal "
        f"length {told.camera.focal:.0f} pixels)."
    )
    return Moved(posed, told.camera, len(poses), told.scaled, note)


def _kept(path: Path, image: Rgb, features: LocalFeatures) -> Keypoints:
    """The keypoints of an image, which an interrupted build may have left."""
    if path.is_file():
        arrays = read_arrays(path)
        return Keypoints(arrays["xy"], arrays["descriptors"])
    found = features.extract(image)
    with replacing_file(path) as part:
        write_arrays(part, {"xy": found.xy, "descriptors": found.descriptors})
    return found


def _key(image: Rgb, features: str) -> str:
    digest = hashlib.blake2b(f"{features} {image.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
