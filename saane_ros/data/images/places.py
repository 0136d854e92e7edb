"""Images grouped by place: what an embedding is trained on, whatever data set they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saane_ros.data.images.files import is_image
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class PlaceImages:
    """paths: image files.  labels: place of each.  groups: region of each, such as one town.

    names: of the places, by label.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)


def read_places(root: Path) -> PlaceImages:
    """Every folder below `root` that holds images is a place; its parent folder is its group."""
    folders = sorted({p.parent for p in root.rglob("*") if is_image(p)})
    if not folders:
        raise SaaneError(
            f"No image was found below {root}: expected one folder per place, "
            f"<root>/<place>/*.jpg or <root>/<group>/<place>/*.jpg."
        )
    return grouped(
        [
            (str(folder.relative_to(root)), str(folder.parent), path)
            for folder in folders
            for path in sorted(folder.iterdir())
            if is_image(path)
        ]
    )


def cell_name(easting: float, northing: float, metres: float, heading: float | None) -> str:
    """The place of an image by square cells of the ground; sectors 60 degrees wide are apart."""
    cells = [int(axis // metres) for axis in (easting, northing)]
    sector = "" if heading is None else f"-{int(heading % 360 // 60)}"
    return f"{cells[0]:08d}-{cells[1]:08d}{sector}"


def grouped(rows: list[tuple[str, str, Path]]) -> PlaceImages:
    """Place images from (place, group, image file) rows; places and groups numbered by name."""
    names = sorted({place for place, _, _ in rows})
    label_of = {name: label for label, name in enumerate(names)}
    group_of = {name: index for index, name in enumerate(sorted({group for _, group, _ in rows}))}
    ordered = sorted(rows, key=lambda row: label_of[row[0]])
    return PlaceImages(
        tuple(path for _, _, path in ordered),
        tuple(label_of[place] for place, _, _ in ordered),
        tuple(group_of[group] for _, group, _ in ordered),
        tuple(names),
    )
