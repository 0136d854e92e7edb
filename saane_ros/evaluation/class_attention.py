"""Which classes each modality attends to: attention by the segmentation's own classes.

An attention map is divided by its mean over the image, so that 1 is what the image gets on average;
the figures are over all cells of a class in all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.lists import ImageList
from saane_ros.embedding import Embedder
from saane_ros.evaluation.charts import Axis, Bars, bar_chart
from saane_ros.evaluation.descriptors import BATCH
from saane_ros.evaluation.results_table import Section
from saane_ros.progress import progress
from saane_ros.types import Embedding

CHARTED = 16
CHARTED_SHARE = 0.002
"""Least share of the cells that gives a class a bar: of fewer the mean says little."""


@dataclass(frozen=True)
class ClassAttention:
    """cells: of each class, int64 (K,).  mean: by modality, of the attention by its image's mean.

    spread: its standard deviation over cells.  Both float64 (K,), NaN where a class has no cell.
    """

    system: str
    class_names: tuple[str, ...]
    images: int
    cells: NDArray[np.int64]
    mean: dict[str, NDArray[np.float64]]
    spread: dict[str, NDArray[np.float64]]

    def section(self, dataset: str) -> Section:
        """Table and bar chart, the class that gets most first."""
        order = np.argsort(-np.mean(list(self.mean.values()), axis=0), kind="stable")
        rows = order[self.cells[order] > 0]
        share = self.cells / max(1, int(self.cells.sum()))
        table = [
            [
                self.class_names[k],
                f"{100 * share[k]:.2f}",
                *(f"{self.mean[one][k]:.3f} ± {self.spread[one][k]:.3f}" for one in self.mean),
            ]
            for k in rows
        ]
        words = (
            f"attention by the mean of its image, mean ± standard deviation over the cells of a "
            f"class, in {self.images} images; above 1 a class gets more than its area."
        )
        title = f"Attention by class, {self.system} on {dataset}"
        columns = ["class", "% of cells", *self.mean]
        shown = [k for k in rows if share[k] >= CHARTED_SHARE][:CHARTED]
        return Section(title, words, columns, table, [self._chart(shown)] if shown else [])

    def _chart(self, shown: Sequence[int]) -> tuple[str, str]:
        bars = [Bars(one, self.mean[one][shown], self.spread[one][shown]) for one in self.mean]
        ends = [sign * bar.spreads + bar.values for bar in bars for sign in (-1, 1)]
        low, high = min(0.95, float(np.min(ends))), max(1.05, float(np.max(ends)))
        axis = Axis("attention by the image's mean", low, high)
        names = [self.class_names[k] for k in shown]
        caption = (
            f"{self.system}: mean, and the standard deviation as a line; classes of "
            f"{100 * CHARTED_SHARE:g} % of the cells or more."
        )
        return bar_chart(names, bars, axis, 1.0), caption


def class_attention(embedder: Embedder, lists: Sequence[ImageList]) -> ClassAttention | None:
    """Over all images of some lists; None of a system without attention or without classes."""
    size = len(embedder.class_names)
    if not size:
        return None
    cells = np.zeros(size, np.int64)
    sums: dict[str, NDArray[np.float64]] = {}
    for images in lists:
        starts = range(0, len(images), BATCH)
        for start in progress(starts, f"attention of {embedder.name}", unit="batch"):
            rows = range(start, min(start + BATCH, len(images)))
            pixels = [images.read(row) for row in rows]
            for one in embedder.embed(pixels, attention=True, labels=True):
                if one.labels is None or not one.attention:
                    return None
                cells += _add(one, size, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = {name: total[0] / cells for name, total in sums.items()}
        spread = {
            name: np.sqrt(np.maximum(total[1] / cells - off[name] ** 2, 0))
            for name, total in sums.items()
        }
    return ClassAttention(
        embedder.name,
        tuple(embedder.class_names),
        sum(len(images) for images in lists),
        cells,
        {name: 1 + values for name, values in off.items()},
        spread,
    )


def _add(
    embedding: Embedding, size: int, sums: dict[str, NDArray[np.float64]]
) -> NDArray[np.int64]:
    """Add an image's distances from its own mean and their squares by class; its cells by class."""
    assert embedding.labels is not None
    counts = np.zeros(size, np.int64)
    for name, attention in embedding.attention.items():
        classes = cell_classes(embedding.labels, attention.shape, size).ravel()
        relative = attention.astype(np.float64).ravel() / max(float(attention.mean()), 1e-12) - 1
        total = sums.setdefault(name, np.zeros((2, size)))
        total[0] += np.bincount(classes, relative, size)
        total[1] += np.bincount(classes, relative**2, size)
        counts = np.bincount(classes, minlength=size)
    return counts


def cell_classes(labels: NDArray[np.uint8], grid: Sequence[int], classes: int) -> NDArray[np.int64]:
    """The class of most pixels (H, W) in each cell (h, w) of a grid; of equally many the first."""
    height, width = grid
    down = np.arange(labels.shape[0]) * height // labels.shape[0]
    right = np.arange(labels.shape[1]) * width // labels.shape[1]
    at = (down[:, None] * width + right[None, :]) * classes + labels
    votes = np.bincount(at.ravel(), minlength=height * width * classes)
    return votes.reshape(height, width, classes).argmax(axis=2)
