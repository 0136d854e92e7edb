"""Agreement with scikit-learn and with results recorded for published methods."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from saane_ros.evaluation.metrics import precision_recall, recall_at

PEERS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "peer_scores"


@pytest.mark.parametrize("seed", range(5))
def test_r3_is_the_curve_of_scikit_learn(seed: int) -> None:
    library = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(seed)
    scores = np.round(1 + rng.random(200), 2)  # with ties
    correct = rng.random(200) < scores - 0.9
    curve = precision_recall(scores, correct, "R3")
    precision, recall, thresholds = library.precision_recall_curve(correct, scores)
    np.testing.assert_allclose(curve.precision[1:], precision[-2::-1])
    np.testing.assert_allclose(curve.recall[1:], recall[-2::-1])
    np.testing.assert_allclose(curve.thresholds[1:], thresholds[::-1])
    average = library.average_precision_score(correct, scores)
    assert curve.average_precision == pytest.approx(average)


@pytest.mark.skipif(not PEERS.is_dir(), reason="recorded peer scores are not at ../shared/data")
@pytest.mark.parametrize(
    ("dataset", "method", "expected"),
    [
        ("SPEDTEST", "AMOSNet", 0.794),
        ("SPEDTEST", "HybridNet", 0.794),
        ("SPEDTEST", "denseVLAD", 0.728),
        ("SPEDTEST", "NetVLAD", 0.679),
        ("SPEDTEST", "CALC", 0.427),
        ("corridor", "HybridNet", 0.901),
        ("corridor", "AMOSNet", 0.847),
        ("corridor", "denseVLAD", 0.703),
        ("corridor", "NetVLAD", 0.676),
    ],
)
def test_recorded_recall_of_published_methods(dataset: str, method: str, expected: float) -> None:
    similarity = np.load(PEERS / dataset / f"{method}.npz", allow_pickle=False)["similarity"]
    with (PEERS / dataset / "ground_truth.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    correct = [[int(place) for place in row["correct_reference_indices"].split()] for row in rows]
    distances = similarity.max() - similarity
    assert round(recall_at(distances, correct, (1,))[1], 3) == expected
