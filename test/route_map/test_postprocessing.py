"""Post-processing of descriptors, recomputed by hand, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.route_map.postprocessing import (
    DEVIATION_FLOOR,
    ENOUGH_PLACES,
    KINDS,
    SHRINKAGE,
    VARIED,
    Postprocessing,
    chosen,
    fit,
    pooled,
    statistics_of,
    whitened,
)
from saane_ros.route_map.postprocessing_file import read_postprocessing, write_postprocessing

SEEDS = st.integers(0, 2**32 - 1)


def drive(seed: int, places: int = 30, size: int = 12) -> np.ndarray:
    """Raw descriptors of norm 10 around a mean; the last dimension never changes."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(places, size)) * rng.uniform(0.1, 3, size) + rng.normal(size=size)
    rows[:, -1] = 0
    rows[:, -2] *= 1e-4
    return (10 * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fitted(kind: str, rows: np.ndarray) -> Postprocessing:
    found = fit(kind, rows)
    assert found is not None
    return found


def unit(row: np.ndarray) -> np.ndarray:
    return 10 * row / np.linalg.norm(row)


@given(SEEDS)
def test_mean_and_deviation_are_taken_out_row_by_row(seed: int) -> None:
    references, queries = drive(seed), drive(seed + 1)
    for kind in ("mean", "standardise"):
        found = fitted(kind, references)
        for rows, processed in (
            (references, found.apply(references)),
            (queries, found.apply(queries, statistics_of(queries))),
        ):
            wide = rows.astype(np.float64)
            deviation = np.array([column.std() for column in wide.T])
            scale = np.maximum(deviation, DEVIATION_FLOOR * deviation.mean())
            for row, before in zip(processed, wide, strict=True):
                wanted = before - wide.mean(axis=0)
                if kind == "standardise":
                    wanted = wanted / scale
                np.testing.assert_allclose(row, unit(wanted), atol=1e-4)
                assert row[-1] == 0


@given(SEEDS, st.sampled_from([(30, 12), (9, 12), (14, 12)]))
def test_whitening_against_the_covariance_itself(seed: int, shape: tuple[int, int]) -> None:
    references, queries = drive(seed, *shape), drive(seed + 1, *shape)
    found = fitted("pca512", references)
    centred = np.stack([unit(row) for row in references.astype(np.float64) - references.mean(0)])
    moments = sum(np.outer(row, row) for row in centred) / len(centred)
    eigenvalues, vectors = np.linalg.eigh(moments)
    kept = eigenvalues > 1e-6 * eigenvalues[-1]
    values, directions = eigenvalues[kept], vectors[:, kept]
    assert found.size == kept.sum() <= min(shape[0], shape[1] - 2)
    # Distances do not depend on the signs and the order of directions.
    shrunk = values + SHRINKAGE * values.mean()
    metric = directions / np.sqrt(shrunk)
    mean = queries.astype(np.float64).mean(axis=0)
    wanted = np.stack([unit(unit(row - mean) @ metric) for row in queries])
    processed = found.apply(queries, statistics_of(queries))
    assert processed.dtype == np.float32
    for i in range(len(queries)):
        for j in range(i):
            assert np.linalg.norm(processed[i] - processed[j]) == pytest.approx(
                np.linalg.norm(wanted[i] - wanted[j]), abs=2e-3
            )


def test_a_projection_keeps_at_most_what_it_is_called_by() -> None:
    rows = np.random.default_rng(0).normal(size=(700, 600)).astype(np.float32)
    half = fitted("pca512", rows)
    whole = fitted("pca1024", rows)
    assert (half.size, whole.size) == (512, 600)
    np.testing.assert_allclose(np.linalg.norm(half.apply(rows), axis=1), 10, rtol=1e-5)
    # The leading directions are those along which rows vary most, the least scaled up.
    spread = np.linalg.norm(half.projection, axis=1)
    assert (np.diff(spread) > -1e-6).all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_half_precision_and_a_query_that_is_the_mean(kind: str) -> None:
    rows = drive(3).astype(np.float16)
    found = fitted(kind, rows)
    np.testing.assert_allclose(np.linalg.norm(found.apply(rows), axis=1), 10, rtol=1e-5)
    same = found.statistics.mean.astype(np.float32)[None]
    assert not found.apply(same, statistics_of(same)).any()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_places_that_do_not_differ_have_no_statistics(kind: str) -> None:
    for copies in (1, 2, 3, 5, 7):
        rows = np.repeat(drive(0, places=1), copies, axis=0)
        with pytest.raises(SaaneError, match=r"needs places that differ.*add places or choose"):
            fit(kind, rows)
    two = drive(0, places=2)
    processed = fitted(kind, two).apply(two)
    # Two places lie on either side of their mean.
    np.testing.assert_allclose(processed[0], -processed[1], atol=1e-4)


@given(SEEDS, st.floats(0.01, 2.0))
def test_a_drive_of_enough_places_that_differ_chooses_the_mean(seed: int, width: float) -> None:
    elsewhere, places = drive(seed, 48), width * drive(seed + 1, 2 * ENOUGH_PLACES)

    def spread(rows: np.ndarray) -> float:
        apart = [np.linalg.norm(row - rows.astype(float).mean(axis=0)) ** 2 for row in rows]
        return float(np.sqrt(np.mean(apart)))

    own = np.random.default_rng(seed).permutation(len(places))[:ENOUGH_PLACES].tolist()
    varied = spread(places[own]) / spread(elsewhere)
    kind, why = chosen(places, own, elsewhere)
    assert kind == ("mean" if varied >= VARIED else "none")
    assert f"{ENOUGH_PLACES} places differ {varied:.2f} times as much" in why
    kind, why = chosen(places, own[1:], elsewhere)
    assert (kind, why.split(",")[0]) == ("none", f"of {ENOUGH_PLACES - 1} places")
    one = np.repeat(places[:1], ENOUGH_PLACES, axis=0)
    assert chosen(one, range(ENOUGH_PLACES), elsewhere)[0] == "none"


def test_no_postprocessing_and_an_unknown_one() -> None:
    assert fit("none", drive(0)) is None
    with pytest.raises(SaaneError, match="no post-processing zca: choose one of none, mean"):
        fit("zca", drive(0))


@given(SEEDS)
def test_pooled_statistics_are_weighted_by_the_places(seed: int) -> None:
    long, short = drive(seed, places=20), drive(seed + 1, places=10)
    parts = [fitted("standardise", rows) for rows in (long, short)]
    found = pooled(parts)
    assert found.statistics.count == 30
    np.testing.assert_allclose(
        found.statistics.mean, np.concatenate([long, short]).astype(float).mean(axis=0), atol=1e-6
    )
    within = np.concatenate([rows - rows.astype(float).mean(axis=0) for rows in (long, short)])
    np.testing.assert_allclose(found.statistics.deviation, within.std(axis=0), atol=1e-6)
    assert found.step == pytest.approx((2 * parts[0].step + parts[1].step) / 3)


def test_rows_without_their_means_are_whitened_together() -> None:
    parts = [fitted("mean", drive(seed)) for seed in (0, 1)]
    rows = np.concatenate([part.apply(drive(seed)) for seed, part in enumerate(parts)])
    found = whitened(pooled(parts), "pca512", rows)
    assert (found.kind, found.size) == ("pca512", 10)
    queries = drive(5)
    np.testing.assert_allclose(
        found.apply(queries, statistics_of(queries)),
        found.projected(parts[0].apply(queries, statistics_of(queries))),
        atol=1e-5,
    )
    for kind in ("standardise", "pca512"):
        with pytest.raises(SaaneError, match=f"went through {kind} cannot become pca1024"):
            whitened(fitted(kind, drive(0)), "pca1024", rows)


@given(SEEDS, st.sampled_from(KINDS[1:]))
def test_the_file_comes_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    path = tmp_path_factory.mktemp("post") / "postprocessing.npz"
    found = fitted(kind, drive(seed))
    write_postprocessing(path, found)
    back = read_postprocessing(path, kind)
    np.testing.assert_array_equal(back.apply(drive(9)), found.apply(drive(9)))
    assert (back.kind, back.step, back.statistics.count) == (kind, found.step, 30)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mean": np.full(12, np.nan)}, "values that are no statistics"),
        ({"deviation": np.zeros(12)}, "values that are no statistics"),
        ({"deviation": np.full(12, -1.0)}, "values that are no statistics"),
        ({"deviation": np.ones(11)}, "arrays that do not fit"),
        ({"projection": np.ones((4, 11), np.float32)}, "arrays that do not fit"),
        ({"step": np.ones(2)}, "arrays that do not fit"),
        ({"mean": np.array(["a"] * 12)}, "values that are no statistics"),
        ({"mean": np.array([{}] * 12)}, "file of NumPy arrays"),
        ({"more": np.ones(2)}, "holds .*more.* and not count, deviation, mean, projection, step"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, change: dict[str, np.ndarray], reason: str) -> None:
    path = tmp_path / "postprocessing.npz"
    write_postprocessing(path, fitted("pca512", drive(0)))
    with np.load(path) as content:
        arrays = dict(content)
    np.savez(path, **{**arrays, **change})
    with pytest.raises(SaaneError, match=reason):
        read_postprocessing(path, "pca512")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "postprocessing.npz"
    for content in (b"", b"PK\x03\x04 cut", b"text"):
        path.write_bytes(content)
        with pytest.raises(SaaneError, match=r"file of NumPy arrays"):
            read_postprocessing(path, "mean")
