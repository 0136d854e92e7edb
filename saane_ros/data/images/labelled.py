"""Images with per-pixel labels: folders of pictures and label maps, and the file of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.files import is_image, read_image, read_pixels
from saane_ros.errors import SaaneError
from saane_ros.reading import read_yaml
from saane_ros.types import Rgb
from saane_ros.weights.schema import read_mapping

IGNORED = 255
"""The label of pixels that neither training nor figures count."""
STRANGE = 254
"""What a label that nobody explained is turned into, to be told of."""


@dataclass(frozen=True)
class LabelClasses:
    """classes: names by label.  dynamic: those that move or change.

    ignored: labels, beside 255, of pixels that do not count.
    """

    classes: tuple[str, ...]
    dynamic: tuple[str, ...] = ()
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True)
class LabelledImages:
    """Image files, the PNG label map of each, and the names of the classes.

    tables: for each image the class of its map's every label, 256 bytes; none where maps hold the
        classes themselves.
    """

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    class_names: tuple[str, ...]
    tables: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def known(self) -> tuple[int, ...]:
        """The classes that its maps can hold; not all, where others drew them for other classes."""
        tables = set(self.tables) or {_table(self.class_names)}
        return tuple(sorted(set(b"".join(tables)) - {IGNORED, STRANGE}))

    def read(self, index: int) -> tuple[Rgb, NDArray[np.uint8]]:
        """One image and its labels (ignored ones as 255), each at the size of its file."""
        table = self.tables[index] if self.tables else _table(self.class_names)
        return read_image(self.images[index]), _read_labels(self.labels[index], table)

    def translated(self, class_names: tuple[str, ...], meant: Mapping[int, int]) -> LabelledImages:
        """The same maps read as other classes; `meant` gives those that have a counterpart."""
        change = bytearray([IGNORED]) * 256
        change[STRANGE] = STRANGE
        for own, other in meant.items():
            change[own] = other
        tables = tuple(table.translate(bytes(change)) for table in self.tables)
        return replace(self, class_names=class_names, tables=tables)


def _table(class_names: Sequence[str], ignored: Sequence[int] = ()) -> bytes:
    known = len(class_names)
    table = bytearray(range(known)) + bytearray([STRANGE]) * (256 - known)
    for label in (*ignored, IGNORED):
        table[label] = IGNORED
    return bytes(table)


def _read_labels(path: Path, table: bytes) -> NDArray[np.uint8]:
    labels = read_pixels(path)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise SaaneError(f"{path} is no readable label map: write it as an 8-bit grey PNG.")
    classes = np.frombuffer(table, np.uint8)[labels]
    strange = labels[classes == STRANGE]
    if strange.size:
        raise SaaneError(
            f"{path} holds label {strange[0]}, and there are {table.index(STRANGE)} classes: "
            "add the class, or list the label under `ignored` in the file of classes."
        )
    return classes


def joined(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Images of several folders with the same classes, one after the other."""
    names = parts[0].class_names
    assert all(part.class_names == names and part.tables for part in parts)
    images, labels, tables = (
        tuple(item for part in parts for item in getattr(part, field))
        for field in ("images", "labels", "tables")
    )
    return LabelledImages(images, labels, names, tables)


def read_classes(path: Path) -> LabelClasses:
    """The classes in a YAML file with the keys `classes`, `dynamic` and `ignored`."""
    values = read_yaml(path, "File of classes")
    problems: list[str] = []
    found = read_mapping(LabelClasses, values, "", problems)
    if found is not None:
        strangers = set(found.dynamic) - set(found.classes)
        problems += [f"dynamic names {name!r}, not in classes" for name in sorted(strangers)]
        problems += [f"ignored has {n}, not 0 to 255" for n in found.ignored if not 0 <= n <= 255]
        if len(found.classes) > STRANGE:
            problems.append(f"classes has {len(found.classes)} names, more than {STRANGE}")
    if found is None or problems:
        raise SaaneError(f"File of classes {path} has mistakes: {'; '.join(problems)}. Correct it.")
    return found


def read_counterparts(path: Path) -> dict[str, str]:
    """A YAML file that calls foreign classes by one's own names, `vegetation: tree`.

    A class that has no counterpart is left out.
    """
    values = read_yaml(path, "File of counterparts")
    if not isinstance(values, dict) or not all(
        isinstance(name, str) for pair in values.items() for name in pair
    ):
        raise SaaneError(
            f"File of counterparts {path} is no mapping of class names: write lines such as "
            "`vegetation: tree`."
        )
    return values


def counterparts(
    foreign: Sequence[str], own: Sequence[str], path: Path | None = None
) -> dict[int, int]:
    """Foreign class to own class, by index: as the file at `path` says, else of equal names."""
    if path is None:
        names = {name: name for name in foreign if name in own}
        if not names:
            raise SaaneError(
                f"The classes {_some(foreign)} and {_some(own)} have no name in common: give a "
                "file of counterparts."
            )
    else:
        names = read_counterparts(path)
        for known, strangers in ((foreign, set(names) - set(foreign)), (own, _targets(names, own))):
            if strangers:
                raise SaaneError(
                    f"File of counterparts {path} names {min(strangers)!r}, which is not among "
                    f"{_some(known)}: correct it."
                )
    return {foreign.index(theirs): own.index(ours) for theirs, ours in names.items()}


def _targets(names: Mapping[str, str], own: Sequence[str]) -> set[str]:
    return set(names.values()) - set(own)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def read_label_folder(
    images: Path,
    labels: Path,
    classes: LabelClasses,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> LabelledImages:
    """All images of one folder with the label maps of the same name (.png) in another.

    only, without: names of folders on the way to an image, to keep or to leave out.
    """
    found = sorted(path for path in images.rglob("*") if is_image(path))
    if not found:
        raise SaaneError(f"No image was found below {images}: give the folder of a split.")
    paths = tuple(path for path in found if _wanted(path.relative_to(images), only, without))
    if not paths:
        raise SaaneError(f"No image below {images} is left by `only` and `without`: correct them.")
    maps = tuple((labels / path.relative_to(images)).with_suffix(".png") for path in paths)
    absent = [path for path in maps if not path.is_file()]
    if absent:
        raise SaaneError(
            f"{len(absent)} of {len(maps)} label maps are missing, the first is {absent[0]}: "
            "every image needs a .png of its own name."
        )
    table = _table(classes.classes, classes.ignored)
    return LabelledImages(paths, maps, classes.classes, (table,) * len(paths))


def _wanted(path: Path, only: Sequence[str], without: Sequence[str]) -> bool:
    folders = set(path.parts[:-1])
    return (not only or bool(folders & set(only))) and not folders & set(without)
