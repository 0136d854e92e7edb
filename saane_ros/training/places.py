"""Images whose folder is their place: the training contract of fixed cameras and of the town."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saane_ros.errors import SaaneError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class PlaceImages:
    """paths: image files.  labels: place of each.  groups: region of each, such as one town."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)


def read_places(root: Path) -> PlaceImages:
    """Every folder below `root` that holds images is a place; its parent folder is its group."""
    folders = sorted({p.parent for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES})
    if not folders:
        raise SaaneError(
            f"No image was found below {root}: expected one folder per place, "
            f"<root>/<place>/*.jpg or <root>/<group>/<place>/*.jpg."
        )
    parents = sorted({folder.parent for folder in folders})
    group_of = {parent: index for index, parent in enumerate(parents)}
    paths: list[Path] = []
    labels: list[int] = []
    groups: list[int] = []
    for label, folder in enumerate(folders):
        images = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        paths += images
        labels += [label] * len(images)
        groups += [group_of[folder.parent]] * len(images)
    names = tuple(str(folder.relative_to(root)) for folder in folders)
    return PlaceImages(tuple(paths), tuple(labels), tuple(groups), names)
