"""The logistic fit against a library, against theory, and the likelihoods that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saane_ros.localization.calibration import (
    RIDGE,
    fit_calibration,
    log_likelihood,
    published_rate,
    standardise,
)
from sklearn.linear_model import LogisticRegression

from saane_ros.errors import SaaneError
from saane_ros.types import Calibration


def test_the_fit_finds_the_log_ratio_of_two_normal_densities() -> None:
    """For N(-2, 0.5) against N(0, 0.5) log p1/p0 = -8 z - 8 exactly."""
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(-2, 0.5, 40_000), rng.normal(0, 0.5, 60_000)
    fitted = fit_calibration(genuine, impostor)
    assert fitted.slope == pytest.approx(8, rel=0.06)
    assert fitted.offset == pytest.approx(-8, rel=0.06)


def test_the_fit_equals_a_library_fit() -> None:
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(-1, 0.7, 300), rng.normal(0.1, 0.4, 5000)
    fitted = fit_calibration(genuine, impostor)
    z = np.concatenate((genuine, impostor))[:, None]
    label = np.repeat([1, 0], [300, 5000])
    weight = np.repeat([0.5 / 300, 0.5 / 5000], [300, 5000])
    # sklearn minimises C sum(loss) + w^2 / 2.
    library = LogisticRegression(C=1 / RIDGE, tol=1e-12, max_iter=1000)
    library.fit(z, label, sample_weight=weight)
    assert fitted.slope == pytest.approx(-library.coef_[0, 0], rel=1e-3)
    assert fitted.offset == pytest.approx(library.intercept_[0], rel=1e-3)


def test_perfect_separation_stays_finite() -> None:
    fitted = fit_calibration(np.full(50, -3.0), np.full(80, 0.5))
    assert 0 < fitted.slope < 100
    assert fitted.offset - fitted.slope * -3.0 > 2
    assert fitted.offset - fitted.slope * 0.5 < -2


def test_useless_pairs_are_told() -> None:
    with pytest.raises(SaaneError, match="needs genuine and impostor pairs"):
        fit_calibration(np.array([]), np.array([1.0]))
    with pytest.raises(SaaneError, match="no closer than impostors"):
        fit_calibration(np.array([1.0, 1.1]), np.array([0.0, 0.1]))


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=60),
    st.floats(0.1, 10),
    st.floats(-20, 20),
)
def test_standardised_distances_do_not_depend_on_scale(
    values: list[float], scale: float, shift: float
) -> None:
    distances = np.array(values)
    spread = np.quantile(distances, 0.975) - np.quantile(distances, 0.025)
    z = standardise(distances)
    if spread < 1e-3:
        return
    assert abs(np.median(z)) < 1e-6
    assert np.quantile(z, 0.975) - np.quantile(z, 0.025) == pytest.approx(1)
    np.testing.assert_allclose(standardise(scale * distances + shift), z, atol=1e-6)


def test_distances_without_spread_say_nothing() -> None:
    np.testing.assert_array_equal(standardise(np.full(9, 3.0)), np.zeros(9))
    assert published_rate(np.full(9, 3.0), 5.0) == 0.0


def test_one_frame_says_no_more_than_the_limit() -> None:
    distances = np.concatenate((np.linspace(9, 11, 200), [2.0, 2.1]))
    line = 0.5 * (-4 - 10 * standardise(distances))
    places, off = log_likelihood(distances, Calibration(10, -4), temper=0.5, limit=6.0)
    assert places[200] - off == pytest.approx(6.0)
    # The places keep their differences, and none falls below the limit.
    assert places[200] - places[201] == pytest.approx(line[200] - line[201])
    np.testing.assert_allclose(places, np.maximum(line, -6.0))
    quiet, quiet_off = log_likelihood(distances[:200], Calibration(10, -20), 0.5, 6.0)
    assert quiet_off == 0.0
    assert quiet.min() == -6.0


def test_the_published_rate_gives_the_central_distances_odds_of_delta() -> None:
    distances = np.random.default_rng(3).normal(10, 1, 1000)
    rate = published_rate(distances, 5.0)
    low, high = np.quantile(distances, (0.025, 0.975))
    assert np.exp(-rate * low) / np.exp(-rate * high) == pytest.approx(5.0)
