"""Fixed cameras or any other folders that are places: `<root>/<place>/**/*.jpg` (SPED, AMOS)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saane_ros.data.datasets.dataset import Dataset, Where, split_places
from saane_ros.data.images.files import is_image
from saane_ros.data.images.folders import natural_key
from saane_ros.data.images.places import PlaceImages, grouped
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class Cameras:
    """references: images of every place that the others are searched in, for an evaluation."""

    references: int = 1


def read(where: Where, options: Cameras) -> list[Dataset]:
    return [split_places(where.name, places(where, options), options.references)]


def places(where: Where, options: Cameras) -> PlaceImages:
    """The first folder below the root is the place, whatever lies between it and the image."""
    root = where.folder()
    rows = [
        (camera.name, root.name, path)
        for camera in sorted(root.iterdir(), key=lambda path: natural_key(path.name))
        if camera.is_dir()
        for path in _images(camera)
    ]
    if not rows:
        raise SaaneError(
            f"No image was found in folders of {root} (expected <place>/*.jpg): {where.source}"
        )
    return grouped(rows)


def _images(camera: Path) -> list[Path]:
    return sorted(path for path in camera.rglob("*") if is_image(path))
