"""Images with per-pixel labels: folders of pictures and label maps, and the file of classes."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Image files, the PNG label map of each, the names of the classes and the ignored labels."""

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    class_names: tuple[str, ...]
    ignored: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[Rgb, NDArray[np.uint8]]:
        """One image and its labels (ignored ones as 255), each at the size of its file."""
        return read_image(self.images[index]), self._read_labels(self.labels[index])

    def _read_labels(self, path: Path) -> NDArray[np.uint8]:
        labels = read_pixels(path)
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise SaaneError(f"{path} is no readable label map: write it as an 8-bit grey PNG.")
        labels[np.isin(labels, self.ignored)] = IGNORED
        strange = labels[(labels >= len(self.class_names)) & (labels != IGNORED)]
        if strange.size:
            raise SaaneError(
                f"{path} holds label {strange[0]}, and there are {len(self.class_names)} classes: "
                "add the class, or list the label under `ignored` in the file of classes."
            )
        return labels.astype(np.uint8)


def read_classes(path: Path) -> LabelClasses:
    """The classes in a YAML file with the keys `classes`, `dynamic` and `ignored`."""
    values = read_yaml(path, "File of classes")
    problems: list[str] = []
    found = read_mapping(LabelClasses, values, "", problems)
    if found is not None:
        strangers = set(found.dynamic) - set(found.classes)
        problems += [f"dynamic names {name!r}, not in classes" for name in sorted(strangers)]
    if found is None or problems:
        raise SaaneError(f"File of classes {path} has mistakes: {'; '.join(problems)}. Correct it.")
    return found


def read_label_folder(images: Path, labels: Path, classes: LabelClasses) -> LabelledImages:
    """All images of one folder with the label maps of the same name (.png) in another."""
    paths = tuple(sorted(p for p in images.rglob("*") if is_image(p)))
    if not paths:
        raise SaaneError(f"No image was found below {images}: give the folder of a split.")
    maps = tuple((labels / path.relative_to(images)).with_suffix(".png") for path in paths)
    absent = [path for path in maps if not path.is_file()]
    if absent:
        raise SaaneError(
            f"{len(absent)} of {len(maps)} label maps are missing, the first is {absent[0]}: "
            "every image needs a .png of its own name."
        )
    return LabelledImages(paths, maps, classes.classes, classes.ignored)
