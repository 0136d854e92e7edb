"""Vehicles and people cut out of labelled images, to stand in the way of places.

A place looks the same to attention in all of its views unless something that moves covers a part
of one of them; then it pays to look elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.labelled import LabelledImages
from saane_ros.errors import SaaneError
from saane_ros.types import Rgb

LEAST_AREA, MOST_AREA = 0.01, 0.3
"""Shares of its image that a cutout covers."""
SIZES = (0.8, 1.4)
"""By what factor a pasted one is larger than it was in its image."""


@dataclass(frozen=True)
class Cutout:
    """pixels: h x w x 3 with its mask h x w.  height, width, foot: shares of the image's sides.

    foot: where its lower edge stood, which perspective ties to its size.
    """

    pixels: Rgb
    mask: NDArray[np.bool_]
    height: float
    width: float
    foot: float


def read_cutouts(images: LabelledImages, objects: Sequence[str], most: int) -> tuple[Cutout, ...]:
    """Up to `most` connected parts of the named classes, spread over all images."""
    strangers = [name for name in objects if name not in images.class_names]
    if strangers:
        raise SaaneError(
            f"There is no class {strangers[0]} among {', '.join(images.class_names)}: correct "
            "`movables.objects`."
        )
    wanted = [images.class_names.index(name) for name in objects]
    found: list[Cutout] = []
    for index in range(len(images)):
        image, labels = images.read(index)
        sized = cv2.resize(image, labels.shape[::-1], interpolation=cv2.INTER_AREA)
        found += _parts(sized.astype(np.uint8), np.isin(labels, wanted))
    if not found:
        raise SaaneError(
            f"The labelled images show no {' or '.join(objects)} that covers {LEAST_AREA:.0%} of "
            "one: name other classes in `movables.objects`."
        )
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).astype(int))
    return tuple(found[i] for i in chosen)


def _parts(image: Rgb, mask: NDArray[np.bool_]) -> Iterator[Cutout]:
    rows, columns = mask.shape
    count, parts, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for part in range(1, count):
        left, top, width, height, area = (int(value) for value in figures[part])
        if not LEAST_AREA <= area / mask.size <= MOST_AREA:
            continue
        box = np.s_[top : top + height, left : left + width]
        yield Cutout(
            image[box].copy(),
            parts[box] == part,
            height / rows,
            width / columns,
            (top + height) / rows,
        )


def with_movables(
    image: Rgb, cutouts: Sequence[Cutout], random: np.random.Generator, most: int
) -> Rgb:
    """The image with up to `most` cutouts in it, each at its own height above the ground."""
    result = image.copy()
    for _ in range(int(random.integers(0, most + 1))):
        chosen = cutouts[int(random.integers(len(cutouts)))]
        _paste(result, chosen, random.uniform(*SIZES), random.uniform(), random.random() < 0.5)
    return result


def _paste(image: Rgb, cutout: Cutout, size: float, across: float, mirrored: bool) -> None:
    rows, columns = image.shape[:2]
    tall = min(rows, max(2, round(cutout.height * size * rows)))
    wide = min(columns, max(2, round(cutout.width * size * columns)))
    pixels = cv2.resize(cutout.pixels, (wide, tall), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(cutout.mask.astype(np.uint8), (wide, tall), interpolation=cv2.INTER_NEAREST)
    if mirrored:
        pixels, mask = np.flip(pixels, 1), np.flip(mask, 1)
    top = min(max(round(cutout.foot * rows) - tall, 0), rows - tall)
    left = round(across * (columns - wide))
    window = image[top : top + tall, left : left + wide]
    window[mask > 0] = pixels[mask > 0]
