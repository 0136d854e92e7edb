"""What can stand in a result table: models, descriptors from elsewhere, recorded scores."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.descriptors import describe
from saane_ros.evaluation.memory import Memory, measured_memory
from saane_ros.evaluation.postprocessed import RAW, Processing, processed
from saane_ros.evaluation.reranking import reranked
from saane_ros.evaluation.searches import Search, search_descriptors
from saane_ros.reading import read_arrays
from saane_ros.types import Rgb

STRIDE = 16
WRITE_AGAIN = "write it with numpy.save or numpy.savez"


class System(Protocol):
    """name: as in the table.  embedder: what shows attention, or None."""

    name: str

    @property
    def embedder(self) -> NetworkEmbedder | None: ...

    def search(self, dataset: Dataset) -> Search:
        """Distances of every query to every reference."""
        ...


@dataclass(frozen=True)
class InputSize:
    """Overrides the resolution of a model's card: height and width, or the longer side.

    The longer side keeps the aspect of the data set's first reference; both sides are rounded to
    multiples of 16, the stride of the trunks.
    """

    height: int = 0
    width: int = 0
    longer: int = 0

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Input height and width for images of this size."""
        if not self.longer:
            return self.height, self.width
        scale = self.longer / max(height, width)
        rounded = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width)]
        return rounded[0], rounded[1]


class ModelSystem:
    """An embedder, its descriptors as they are or post-processed.

    rerank: how the first places are put in order anew, one of `reranking.KINDS`; empty for not.
    """

    def __init__(
        self,
        name: str,
        embedder: NetworkEmbedder,
        processing: Processing = RAW,
        size: InputSize | None = None,
        rerank: str = "",
    ) -> None:
        self.name = f"{name}+{rerank}" if rerank else name
        self._rerank = rerank
        self._embedder, self._processing, self._size = embedder, processing, size
        self._memory: dict[tuple[int, ...], Memory] = {}

    @property
    def embedder(self) -> NetworkEmbedder:
        return self._embedder

    def search(self, dataset: Dataset) -> Search:
        embedder = self._embedder
        if self._size is not None:
            size = self._size.of(*dataset.references.read(0).shape[:2])
            embedder.preprocessing = copy.copy(embedder.preprocessing)
            embedder.preprocessing.height, embedder.preprocessing.width = size
        height, width = embedder.preprocessing.height, embedder.preprocessing.width
        identity = (
            f"{embedder.fingerprint}|{height}x{width}|{embedder.dtype}|{embedder.device.type}"
        )
        title = f"{self.name} on {dataset.name}"
        references = describe(embedder, identity, dataset.references, f"{title}: references")
        queries = describe(embedder, identity, dataset.queries, f"{title}: queries")
        rows = processed(self._processing, queries.descriptors, references.descriptors)
        found = search_descriptors(
            rows.queries,
            rows.references,
            references.milliseconds,
            f"{height}x{width}",
            rows.query_ms,
            self._memory_for(dataset.queries.read(0)),
        )
        if not self._rerank:
            return found
        return reranked(found, embedder, identity, dataset, self._rerank, title)

    def _memory_for(self, image: Rgb) -> Memory:
        """Measured once for images of one size at one input size."""
        preprocessing = self._embedder.preprocessing
        key = (preprocessing.height, preprocessing.width, *image.shape)
        if key not in self._memory:
            self._memory[key] = measured_memory(self._embedder, image)
        return self._memory[key]


class DescriptorSystem:
    """Descriptors computed elsewhere.

    .npz: arrays `queries` (Q, D) and `references` (N, D).  .npy: one array (N + Q, D), the
    references first.
    """

    embedder = None

    def __init__(self, path: Path) -> None:
        self.name, self._path = path.stem, path

    def search(self, dataset: Dataset) -> Search:
        queries, references = self._split(dataset)
        for what, rows, images in (
            ("query", queries, dataset.queries),
            ("reference", references, dataset.references),
        ):
            if rows.ndim != 2 or len(rows) != len(images) or not np.isfinite(rows).all():
                raise SaaneError(
                    f"The {what} descriptors of {self._path} have shape {rows.shape} or values "
                    f"that are not finite, for {len(images)} images of {dataset.name}: describe "
                    "the same images in the same order."
                )
        if queries.shape[1] != references.shape[1]:
            raise SaaneError(
                f"{self._path} holds descriptors of {queries.shape[1]} and {references.shape[1]} "
                "dimensions: describe both with one model."
            )
        return search_descriptors(queries.astype(np.float32), references.astype(np.float32))

    def _split(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        arrays = read_arrays(self._path, WRITE_AGAIN)
        if "" in arrays:
            count = len(dataset.references)
            return arrays[""][count:], arrays[""][:count]
        if not {"queries", "references"} <= arrays.keys():
            raise SaaneError(
                f"{self._path} holds the arrays {', '.join(arrays)}: it needs `queries` and "
                "`references`, or `similarity` of recorded scores."
            )
        return arrays["queries"], arrays["references"]


class RecordedSystem:
    """Similarities (Q, N) recorded by others, with the seconds that they took.

    The distance is 1 - similarity. For cosines of unit vectors that is half the squared Euclidean
    distance, so that matches, ratio order and curves are those of the vectors themselves.
    """

    embedder = None

    def __init__(self, path: Path) -> None:
        self.name, self._path = path.stem, path

    def search(self, dataset: Dataset) -> Search:
        arrays = read_arrays(self._path, WRITE_AGAIN)
        similarity = np.asarray(arrays["similarity"], np.float64)
        expected = (len(dataset.queries), len(dataset.references))
        if similarity.shape != expected or not np.isfinite(similarity).all():
            raise SaaneError(
                f"The scores of {self._path} have shape {similarity.shape} or values that are not "
                f"finite, and {dataset.name} is {expected}: give scores of this dataset."
            )
        encode, match = arrays.get("encode_s"), arrays.get("match_s_per_pair")
        return Search(
            (max(1.0, float(similarity.max())) - similarity).astype(np.float32),
            embed_ms=None if encode is None else 1000 * float(encode),
            search_ms=None if match is None else 1000 * float(match) * expected[1],
            resolution="as recorded",
        )


def recorded_systems(folder: Path, dataset: Dataset) -> list[System]:
    """One system a score file of a folder, or of its sub-folder with the dataset's name.

    None where the folder has a sub-folder for other datasets alone, so that one table may hold
    datasets with and without recorded scores.
    """
    inside = folder / dataset.name
    files = sorted((inside if inside.is_dir() else folder).glob("*.npz"))
    if not files and not inside.is_dir() and any(folder.glob("*/*.npz")):
        return []
    if not files:
        raise SaaneError(
            f"{folder} holds no recorded scores (*.npz) of {dataset.name}: give the folder that "
            "holds them, or one with a folder per dataset."
        )
    return [file_system(file) for file in files]


def file_system(path: Path) -> System:
    """Recorded scores where the file has an array `similarity`, else descriptors."""
    return (
        RecordedSystem(path)
        if "similarity" in read_arrays(path, WRITE_AGAIN)
        else DescriptorSystem(path)
    )


def distinct_names(systems: Sequence[System]) -> None:
    """SaaneError where two rows of a table would have one name."""
    names = [system.name for system in systems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SaaneError(
            f"Two models of the table are called {twice[0]}: give the file or card another name."
        )
