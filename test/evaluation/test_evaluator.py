"""What is reported of a search, recomputed query by query."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import NoImages
from saane_ros.errors import SaaneError
from saane_ros.evaluation.evaluation_report import matrix_picture, worst_failures
from saane_ros.evaluation.evaluator import evaluate
from saane_ros.evaluation.predictions import write_predictions
from saane_ros.evaluation.results_table import SCORES, TITLES, as_text, blocks
from saane_ros.evaluation.searches import Search, search_descriptors


def line_dataset(name: str = "line", group: str = "", all_queries: bool = False) -> Dataset:
    """Twenty references 10 m apart and five queries, the last of them far away."""
    references = np.column_stack([10.0 * np.arange(20), np.zeros(20)])
    queries = np.array([[1.0, 0.0], [52.0, 0.0], [98.0, 0.0], [150.0, 3.0], [900.0, 0.0]])
    correct = tuple(
        np.flatnonzero(np.linalg.norm(references - q, axis=1) <= 12).astype(np.int64)
        for q in queries
    )
    return Dataset(
        name,
        NoImages([f"q{i}" for i in range(5)]),
        NoImages([f"r{i}" for i in range(20)]),
        correct,
        "a line",
        "within 12 m",
        queries,
        references,
        all_queries,
        group,
    )


def line_search(seed: int = 0) -> Search:
    rng = np.random.default_rng(seed)
    distances = rng.uniform(5, 10, (5, 20)).astype(np.float32)
    for query, place in enumerate((0, 5, 3, 15, 7)):  # query 2 is wrong, 4 has no match
        distances[query, place] = 1.0 + query
    return Search(distances, 256, 12.5, 0.25, "224x224")


def test_figures_are_those_of_counting_by_hand() -> None:
    evaluation = evaluate("mine", line_dataset(), line_search())
    assert evaluation.result.queries == 4
    assert evaluation.result.excluded == 1
    assert evaluation.result.recall[1] == 3 / 4
    assert evaluation.matches.correct.tolist() == [True, True, False, True, False]
    np.testing.assert_allclose(evaluation.matches.error[:4], [1, 2, 68, 3])
    assert evaluation.metric_recall[5][1] == 3 / 5
    assert evaluation.metric_recall[10][1] == 3 / 5
    assert evaluation.errors[0.5] == 3.0
    assert "4 with a match and 1 without" in evaluation.protocol
    assert "input 224x224" in evaluation.protocol
    assert worst_failures(evaluation) == [2]


def test_a_protocol_over_all_queries_counts_those_without_a_match() -> None:
    evaluation = evaluate("mine", line_dataset(all_queries=True), line_search())
    assert evaluation.result.recall[1] == 3 / 5
    assert "Recall@N counts all queries" in evaluation.protocol


def test_the_table_marks_the_two_named_figures_and_the_best_row() -> None:
    good, bad = line_search(), line_search()
    bad.distances[0, 9] = 0.1
    rows = [evaluate(name, line_dataset(), s) for name, s in (("bad", bad), ("good", good))]
    (block,) = blocks(rows)
    assert [row[0] for row in block.rows] == ["bad", "good"]
    assert block.best == 1
    text = as_text([block])
    assert "plain+R1*" in text
    assert "window+R2**" in text
    cells = dict(zip(TITLES, block.rows[1], strict=True))
    assert cells["R@1"] == "0.750"
    assert cells["bytes"] == "256"
    assert cells["err p50 m"] == "3.0"


def test_a_group_has_its_average_and_its_worst() -> None:
    rows = []
    for number, seed in enumerate((0, 1)):
        search = line_search(seed)
        if number:
            search.distances[0, 9] = 0.1
        rows.append(evaluate("mine", line_dataset(f"day/{number}", "day"), search))
    found = blocks(rows)
    assert [block.title for block in found] == ["day/0", "day/1", "day"]
    average, worst = found[-1].rows
    for column, (mean, low) in enumerate(zip(average[1:], worst[1:], strict=True)):
        if column < len(SCORES):
            values = [SCORES[column].value(row) for row in rows]
            assert mean == f"{np.mean(values):.3f}"
            assert low == f"{min(values):.3f}"
    assert average[0] == "mine (average)"


def test_predictions_tell_every_query(tmp_path: Path) -> None:
    evaluation = evaluate("mine", line_dataset(), line_search())
    write_predictions([evaluation], tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["found"] for row in rows] == ["r0", "r5", "r3", "r15", "r7"]
    assert [row["correct"] for row in rows] == ["1", "1", "0", "1", "0"]
    assert rows[4]["has_match"] == "0"
    assert rows[4]["first_correct_rank"] == ""
    order = np.argsort(evaluation.search.distances[2], kind="stable").tolist()
    assert int(rows[2]["first_correct_rank"]) == 1 + min(order.index(r) for r in (9, 10, 11))


def test_json_holds_plain_numbers() -> None:
    values = evaluate("mine", line_dataset(), line_search()).as_dict()
    again = json.loads(json.dumps(values, allow_nan=False))
    assert again["recall"]["1"] == 0.75
    assert set(again["curves"]) == {
        f"{second}+R{n}" for second in ("plain", "windowed") for n in (1, 2, 3)
    }
    assert again["localisation_error_m"]["p50"] == 3.0


@given(st.integers(0, 2**32 - 1))
def test_distances_are_euclidean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, references = (rng.normal(size=(n, 6)).astype(np.float32) for n in (3, 5))
    search = search_descriptors(queries, references)
    for q in range(3):
        for r in range(5):
            expected = float(np.sqrt(((queries[q] - references[r]) ** 2).sum()))
            assert search.distances[q, r] == pytest.approx(expected, rel=1e-5)
    assert search.descriptor_bytes == 24


def test_a_distance_matrix_is_bright_where_places_are_near() -> None:
    distances = np.abs(np.arange(50)[:, None] - np.arange(80)[None]).astype(np.float32)
    picture = matrix_picture(distances)
    assert picture.shape == (225, 360, 3)
    bright = picture.astype(int).sum(axis=2)
    assert bright[112, 112] > bright[10, 350] + 300


def test_ground_truth_of_another_length_is_refused() -> None:
    dataset = line_dataset()
    with pytest.raises(SaaneError, match="4 entries for 5 queries"):
        Dataset("x", dataset.queries, dataset.references, dataset.correct[:4], "", "")
    outside = (*dataset.correct[:4], np.array([20]))
    with pytest.raises(SaaneError, match="reference 20 for query 4, of 20"):
        Dataset("x", dataset.queries, dataset.references, outside, "", "")
