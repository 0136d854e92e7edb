"""VLAD layers again, cell by cell in float64: what the vectorised ones are held to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(values: Array) -> Array:
    return values / max(math.sqrt(sum(float(v) ** 2 for v in values)), 1e-12)


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def naive_vlad(
    features: Array,
    weight: Array,
    bias: Array,
    centroids: Array,
    shadows: int = 0,
    static: Array | None = None,
    residual_gate: bool = False,
) -> tuple[Array, Array]:
    """Descriptor (K * D,) and saliency (H, W) of one image D x H x W."""
    words, channels = centroids.shape
    _, height, width = features.shape
    sums = np.zeros((words, channels))
    saliency = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x = unit(features[:, row, column])
            scores = [
                sum(float(weight[o, d] * x[d]) for d in range(channels)) + float(bias[o])
                for o in range(words * (1 + shadows))
            ]
            assigned = softmax([scores[k * (1 + shadows)] for k in range(words)])
            for k in range(words):
                own = scores[k * (1 + shadows) : (k + 1) * (1 + shadows)]
                counts = assigned[k] * softmax(own)[0]
                saliency[row, column] += counts
                if residual_gate:
                    counts += assigned[k]
                if static is not None:
                    counts *= static[row, column]
                for d in range(channels):
                    sums[k, d] += counts * (x[d] - centroids[k, d])
    return unit(np.concatenate([unit(row) for row in sums])), saliency
