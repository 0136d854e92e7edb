"""A synthetic town that no training sees: one drive by day, others by night or in snow.

The towns of EVALUATION_SEEDS are for result tables alone: they are neither training nor
validation nor demo towns.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.images.lists import ImageFiles
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder
from saane_ros.progress import progress
from saane_ros.simulation import Town as SimulatedTown
from saane_ros.simulation import Traverse, render_many
from saane_ros.simulation.seeds import purpose_of

EVALUATION_SEEDS = range(3_000, 3_100)


@dataclass(frozen=True)
class Town:
    """seed: of the town, one of EVALUATION_SEEDS.  every: metres between images.

    metres: a reference this near along the route is right.
    """

    queries: str
    references: str = "day"
    seed: int = EVALUATION_SEEDS.start
    length: float = 500.0
    every: float = 4.0
    metres: float = 10.0

    def __post_init__(self) -> None:
        if self.seed not in EVALUATION_SEEDS or purpose_of(self.seed) != "free":
            raise SaaneError(
                f"Town seed {self.seed} is not kept for evaluation: give one from "
                f"{EVALUATION_SEEDS.start} to {EVALUATION_SEEDS.stop - 1}."
            )


def read(where: Where, options: Town) -> list[Dataset]:
    """One dataset, rendered into the cache folder the first time."""
    town = SimulatedTown(options.seed, options.length)
    sides = [_side(town, options, c, drive) for drive, c in enumerate(_conditions(options))]
    (references, there, at), (queries, here, along) = sides
    correct = tuple(
        np.flatnonzero(np.abs(at - s) <= options.metres).astype(np.int64) for s in along
    )
    return [
        Dataset(
            where.name,
            queries,
            references,
            correct,
            f"{options.queries} searched in {options.references}, synthetic town {options.seed}, "
            f"{options.length:g} m, an image every {options.every:g} m, other lane position, "
            "speed and traffic",
            f"within {options.metres:g} m along the route",
            here,
            there,
        )
    ]


def _conditions(options: Town) -> tuple[str, str]:
    return options.references, options.queries


def _side(
    town: SimulatedTown, options: Town, condition: str, drive: int
) -> tuple[ImageFiles, np.ndarray, np.ndarray]:
    """Images, positions (n, 2) and metres along the route (n,) of one drive."""
    traverse = Traverse(town, condition, seed=options.seed * 100 + drive)
    travelled = np.asarray(traverse.travelled)
    wanted = np.arange(0.0, travelled[-1], options.every)
    indices = np.unique([int(np.abs(travelled - s).argmin()) for s in wanted])
    paths = _rendered(traverse, indices, _folder(options, condition, drive))
    positions = np.array([traverse.poses[i].position[:2] for i in indices])
    return ImageFiles(paths), positions, travelled[indices]


def _folder(options: Town, condition: str, drive: int) -> Path:
    values = {**asdict(options), "queries": condition, "references": str(drive), "metres": 0.0}
    key = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:12]
    return cache_folder() / "evaluation_towns" / f"{options.seed}-{condition}-{key}"


def _rendered(traverse: Traverse, indices: np.ndarray, folder: Path) -> list[Path]:
    """Image files of the given frames; those that a cut run left are not rendered again."""
    paths = [folder / f"{index:06d}.png" for index in indices]
    missing = [int(i) for i, path in zip(indices, paths, strict=True) if not path.is_file()]
    frames = render_many(traverse, missing) if missing else iter(())
    named = zip(missing, frames, strict=True)
    for index, frame in progress(named, f"rendering {traverse.condition}", len(missing), "image"):
        data = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
        with replacing_file(folder / f"{index:06d}.png") as temporary:
            temporary.write_bytes(data)
    return paths
