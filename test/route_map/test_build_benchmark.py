"""The figures of building beside embedding, of a few images."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import ColourGridEmbedder

from saane_ros.route_map.benchmark import measured, pictures


def test_every_image_of_the_benchmark_is_embedded_once() -> None:
    assert len({image.tobytes() for image in pictures(40)}) == 40


def test_the_ratio_is_that_of_the_rates() -> None:
    figures = measured(ColourGridEmbedder(), 20)
    assert figures["images"] == 20
    assert figures["ratio"] == pytest.approx(figures["building_per_s"] / figures["embedding_per_s"])
    assert all(np.isfinite(value) and value > 0 for value in figures.values())
