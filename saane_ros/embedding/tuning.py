"""Which engine is fastest on this machine and finds as many places: measured, and what wins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding.choice import Choice
from saane_ros.embedding.engines import COMPILED, ONNX, OPENVINO, TORCH
from saane_ros.embedding.graphs import INT8
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.errors import SaaneError
from saane_ros.simulation import Camera, Town, Traverse, render_many
from saane_ros.simulation.seeds import VALIDATION_SEEDS
from saane_ros.types import Rgb

ALLOWED_LOSS = 0.005
"""Recall@1 that a faster engine may lose beyond chance: half a point."""
TIMED = 30
CANDIDATES = {
    "cpu": (
        Choice(TORCH, "fp32"),
        Choice(TORCH, "bf16"),
        Choice(ONNX, "fp32"),
        Choice(OPENVINO, "fp32"),
        Choice(OPENVINO, "bf16"),
    ),
    "cuda": (
        Choice(TORCH, "fp32"),
        Choice(TORCH, "fp16"),
        Choice(COMPILED, "fp16"),
        Choice(ONNX, "fp32"),
        Choice(ONNX, "fp16"),
    ),
}
"""By device, the reference first. On CPUs torch.compile takes a minute for a fifth."""
QUANTISED = (Choice(ONNX, INT8), Choice(OPENVINO, INT8))
METRES = 10.0
"""A reference of the synthetic town this near is right."""

_WARM_UPS = 5
_BATCH = 8
_SEED = VALIDATION_SEEDS.start
_SPACING = 3.0


@dataclass(frozen=True, eq=False)
class TuningImages:
    """Queries to be found among references.

    correct: per query the rows of the references that show its place.
    """

    queries: Sequence[Rgb]
    references: Sequence[Rgb]
    correct: Sequence[NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of one engine and precision.

    ms: median of an image by itself.  megabytes: of the weights, as they lie in memory or in the
    graph.  cosine: the least and the mean to PyTorch's float32 over all queries.  hits: which
    queries' nearest reference, by PyTorch in float32, is right.  fault: why there is none.
    """

    choice: Choice
    ms: float = 0.0
    megabytes: float = 0.0
    cosine: tuple[float, float] = (0.0, 0.0)
    hits: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, bool))
    fault: str = ""

    @property
    def recall(self) -> float:
        return float(self.hits.mean())


def town_images(count: int) -> TuningImages:
    """`count` queries by night and as many references by day, of a synthetic town."""
    town = Town(_SEED, max(200.0, count * _SPACING))
    sides = []
    for drive, condition in enumerate(("day", "night")):
        traverse = Traverse(town, condition, seed=100 * _SEED + drive, camera=Camera())
        travelled = np.asarray(traverse.travelled)
        wanted = np.linspace(0.0, travelled[-1], count)
        rows = np.searchsorted(travelled, wanted).clip(max=len(travelled) - 1)
        rendered = [frame.image for frame in render_many(traverse, rows.tolist())]
        sides.append((rendered, travelled[rows]))
    (references, there), (queries, here) = sides
    correct = [np.flatnonzero(np.abs(there - metres) <= METRES) for metres in here]
    return TuningImages(queries, references, correct)


def drive_images(images: Sequence[Rgb]) -> TuningImages:
    """Every other image of a drive, in its order, is to be found between its two neighbours."""
    references, queries = images[::2], images[1::2]
    if len(queries) < 2:
        raise SaaneError("Tuning needs at least 4 images of a drive: give a folder with more.")
    last = len(references) - 1
    correct = [np.arange(row, min(row + 1, last) + 1) for row in range(len(queries))]
    return TuningImages(queries, references, correct)


def trials(
    choices: Sequence[Choice],
    load: Callable[[Choice], NetworkEmbedder],
    images: TuningImages,
) -> Iterator[Trial]:
    """Measure each engine, the reference (PyTorch, float32) first.

    load: the embedder of a choice; where it comes back on another engine, this one cannot be had.
    """
    references = expected = None
    for choice in choices:
        try:
            embedder = load(choice)
        except SaaneError as error:
            yield Trial(choice, fault=str(error))
            continue
        if references is None or expected is None:
            references = described(embedder, images.references)
            expected = described(embedder, images.queries)
        found = described(embedder, images.queries)
        cosines = np.sum(found * expected, axis=1) / (
            np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        )
        yield Trial(
            choice,
            timed(embedder, images.queries),
            embedder.model_bytes / 1e6,
            (float(cosines.min()), float(cosines.mean())),
            hits_at_1(found, references, images.correct),
        )


def fastest(measured: Sequence[Trial]) -> Trial:
    """The fastest trial that finds as many places as the first; see `equal`."""
    return min((trial for trial in measured if equal(trial, measured[0])), key=lambda t: t.ms)


def equal(trial: Trial, reference: Trial) -> bool:
    """Whether an engine serves, and loses no more of the reference's hits than allowed.

    Digits that are rounded otherwise turn some queries to the right place and some to a wrong one.
    Of n such queries the difference has a standard deviation of sqrt(n), which is allowed for.
    """
    if trial.fault:
        return False
    lost = np.count_nonzero(reference.hits & ~trial.hits)
    won = np.count_nonzero(trial.hits & ~reference.hits)
    return bool(lost - won - np.sqrt(lost + won) <= ALLOWED_LOSS * len(reference.hits))


def described(embedder: NetworkEmbedder, images: Sequence[Rgb]) -> NDArray[np.float32]:
    """Descriptors (N, D)."""
    rows = [
        embedding.descriptor
        for start in range(0, len(images), _BATCH)
        for embedding in embedder.embed(images[start : start + _BATCH])
    ]
    return np.stack(rows)


def hits_at_1(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    correct: Sequence[NDArray[np.int64]],
) -> NDArray[np.bool_]:
    """Whether the nearest reference of (N, D) is a correct one, for each of the queries (Q, D)."""
    # Where all norms are alike the nearest has the largest product; in general this is subtracted.
    half = 0.5 * np.sum(references**2, axis=1)
    nearest = np.argmax(queries @ references.T - half, axis=1)
    return np.array([row in rows for row, rows in zip(nearest, correct, strict=True)])


def timed(embedder: NetworkEmbedder, images: Sequence[Rgb]) -> float:
    """Median milliseconds of embedding one image, as the nodes do."""
    spent = []
    for turn in range(_WARM_UPS + TIMED):
        image = images[turn % len(images)]
        start = time.perf_counter()
        embedder.embed([image], grid=True)
        spent.append(time.perf_counter() - start)
    return 1e3 * float(np.median(spent[_WARM_UPS:]))
