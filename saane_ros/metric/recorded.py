"""The intrinsics of a recorded camera: of a file, or of the CameraInfo in a bag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.data.images.folders import ImageFolder
from saane_ros.metric.cameras import Camera, camera_of_message, read_camera, steady

if TYPE_CHECKING:
    from saane_ros.data.bags import BagReader


def intrinsics_of_folder(folder: ImageFolder, file: Path) -> Camera:
    """By a file, for the images of a folder."""
    shapes = (frame.image.shape for frame in folder.frames() if frame.image.size)
    return read_camera(file, next(shapes, (1, 1)))


def intrinsics_of_bag(bag: BagReader, image_topic: str, given: str) -> Camera | None:
    """By a file or the messages of a topic; None of none. SaaneError where they changed.

    given: file or topic; empty: the topic beside the images.
    """
    if Path(given).is_file():
        shapes = (f.image.shape for f in bag.frames(image_topic) if f.image.size)
        return read_camera(Path(given), next(shapes, (1, 1)))
    from saane_ros.data.bags.mounts import camera_infos

    infos = camera_infos(bag, image_topic, given)
    return steady(camera_of_message(info, given or image_topic) for info in infos)
