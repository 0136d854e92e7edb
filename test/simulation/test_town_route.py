from __future__ import annotations

import numpy as np
import pytest

from saane_ros.simulation.drive import plan_drive
from saane_ros.simulation.route import Route
from saane_ros.simulation.streets import Street

SEEDS = (7, 1000, 1500, 2000)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_centreline_is_parametrised_by_metres(seed: int) -> None:
    route = Route(seed, 500.0)
    np.testing.assert_allclose(route.point(0.0), [0.0, 0.0], atol=1e-9)
    steps = np.linalg.norm(np.diff(route.points, axis=0), axis=1)
    np.testing.assert_allclose(steps, 1.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_lateral_is_metres_to_the_left_of_the_direction_of_travel(seed: int) -> None:
    route = Route(seed, 500.0)
    for s in (10.5, 250.0, 490.0):
        step = route.point(s + 0.01) - route.point(s - 0.01)
        across = route.point(s, 3.0) - route.point(s)
        assert np.linalg.norm(across) == pytest.approx(3.0)
        assert step[0] * across[1] - step[1] * across[0] > 0
        assert abs(step @ across) / np.linalg.norm(step) / 3.0 < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_the_route_bends_and_never_meets_itself(seed: int) -> None:
    route = Route(seed, 500.0)
    assert np.ptp(route.heading_at_s) > np.radians(20)
    far = np.abs(route.s[:, None] - route.s[None, :]) > 60
    gaps = np.linalg.norm(route.points[:, None] - route.points[None], axis=2)
    assert gaps[far].min() > 25


@pytest.mark.parametrize("seed", SEEDS)
def test_frontages_lie_beyond_pavement_and_carriageway(seed: int) -> None:
    street = Street(seed, Route(seed, 500.0))
    s = np.linspace(0, 500, 200)
    assert (street.half_road(s) >= 4.4 - 1e-9).all()
    assert (street.frontage(s) >= street.half_road(s) + street.pavement(s) - 1e-9).all()
    assert len({street.district(float(v)) for v in s}) >= 3


def test_a_drive_keeps_its_speed_near_what_was_asked_and_reaches_the_end() -> None:
    route = Route(7, 400.0)
    for speed in (4.0, 12.0):
        drive = plan_drive(route, 3, 10.0, speed, None)
        steps = np.diff(drive.s) * 10.0
        assert steps.min() > 0.65 * speed
        assert steps.max() < 1.35 * speed
        assert np.ptp(steps) > 0.1 * speed
        assert 400.0 - 1.4 * speed / 10 < drive.s[-1] <= 400.0


def test_a_given_lateral_position_is_kept_within_the_wobble() -> None:
    drive = plan_drive(Route(7, 400.0), 3, 10.0, 8.0, -1.0)
    assert np.abs(drive.lateral + 1.0).max() <= 0.34 + 1e-9
