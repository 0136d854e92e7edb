"""Two folders of images in which equal file names show the same place (SPEDTEST, GRIEF, ...)."""

from __future__ import annotations

from dataclasses import dataclass

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.truth import frames_in_words, within_frames
from saane_ros.data.images.folders import image_files
from saane_ros.data.images.lists import ImageFiles
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class Pairs:
    """references, queries: folders.  frames: tolerance, counted after the subset is taken.

    first: keep that many images of each folder (0: all), then of those every `every`-th.
    """

    references: str = "ref"
    queries: str = "query"
    frames: int = 0
    first: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1 or self.first < 0 or self.frames < 0:
            raise SaaneError(
                f"A subset of the first {self.first} images, every {self.every}, at {self.frames} "
                "frames cannot be taken: give every >= 1, first >= 0 and frames >= 0."
            )


def read(where: Where, options: Pairs) -> list[Dataset]:
    """One dataset; a query whose name no reference has is one without a match."""
    chosen = [
        image_files(where.folder(folder))[: options.first or None][:: options.every]
        for folder in (options.references, options.queries)
    ]
    references, queries = (ImageFiles(files) for files in chosen)
    rows = {path.stem: row for row, path in enumerate(references.paths)}
    correct = within_frames(
        [rows.get(path.stem) for path in queries.paths], options.frames, len(references)
    )
    words = f"{options.queries} searched in {options.references}, paired by file name"
    if options.first:
        words += f", the first {options.first} images"
    if options.every > 1:
        words += f", one image in {options.every}"
    return [
        Dataset(where.name, queries, references, correct, words, frames_in_words(options.frames))
    ]
