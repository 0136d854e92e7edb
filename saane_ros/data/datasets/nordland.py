"""Nordland: one railway in four seasons, aligned frame by frame, 1 frame/s.

Folders `spring`, `summer`, `fall`, `winter` of `images-00001.png` ... and `cleanImageNames.txt`
with the names outside tunnels and stops, as prepared for place recognition. SAANE reports 1403
frames of the first hour; the public list keeps 2123 of it, so both subsets have a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.truth import FRAMES, frames_in_words, within_frames
from saane_ros.data.images.lists import ImageFiles
from saane_ros.errors import SaaneError
from saane_ros.reading import read_text

Season = Literal["spring", "summer", "fall", "winter"]
CLEAN_NAMES = "cleanImageNames.txt"


@dataclass(frozen=True)
class Nordland:
    """last_number: highest number of a frame, which is its second in the video (0: all).

    first: keep that many of the clean frames (0: all).  frames: tolerance in frames.
    """

    references: Season = "summer"
    queries: Season = "winter"
    last_number: int = 3600
    first: int = 0
    frames: int = FRAMES


def read(where: Where, options: Nordland) -> list[Dataset]:
    """Both seasons by the same list of clean names: the same row is the same place."""
    names = clean_names(where.file(CLEAN_NAMES), options.last_number)[: options.first or None]
    if not names:
        raise SaaneError(
            f"{where.root / CLEAN_NAMES} names no frame up to {options.last_number}: {where.source}"
        )
    references, queries = (
        ImageFiles(where.files([where.folder(season) / name for name in names]))
        for season in (options.references, options.queries)
    )
    return [
        Dataset(
            where.name,
            queries,
            references,
            within_frames(range(len(names)), options.frames, len(names)),
            f"{options.queries} searched in {options.references}, {len(names)} clean frames at "
            "1 frame/s" + (f" up to second {options.last_number}" if options.last_number else ""),
            frames_in_words(options.frames),
        )
    ]


def clean_names(path: Path, last_number: int = 0) -> list[str]:
    """Names of a list, one a line, in its order, up to the given frame number."""
    names = [line.strip() for line in read_text(path, "The list of names").splitlines()]
    return [name for name in names if name and not 0 < last_number < frame_number(path, name)]


def frame_number(path: Path, name: str) -> int:
    """The number at the end of a frame's name."""
    digits = re.search(r"(\d+)\.\w+$", name)
    if digits is None:
        raise SaaneError(
            f"{path} has the line {name[:60]!r}, which is no numbered image: correct it."
        )
    return int(digits.group(1))
