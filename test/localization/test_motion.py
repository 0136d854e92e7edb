"""Speeds that are learned, and the kernel of a step, against naive sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.localization.motion import (
    FARTHEST,
    FIRST_SPEED,
    ODOMETRY_DRIFT,
    ODOMETRY_NOISE_M,
    PLACE_NOISE,
    SLOWEST_STEP,
    SPEED_NOISE,
    SPEEDS,
    STANDS,
    WRONG_ODOMETRY,
    Interval,
    Motion,
)

STEP_M = 2.0


def naive_parts(
    speeds: np.ndarray, ratio: float, steps: float | None
) -> list[tuple[float, float, float]]:
    """Mean, deviation and weight of each part of a kernel."""
    parts = []
    for speed, share in zip(SPEEDS, speeds, strict=True):
        mean = speed * ratio
        still = 1 - STANDS * math.exp(-0.5 * (mean / SLOWEST_STEP) ** 2)
        parts.append((mean, PLACE_NOISE + SPEED_NOISE * abs(mean), share * still))
    whole = sum(weight for _, _, weight in parts)
    parts = [(mean, sigma, weight / whole) for mean, sigma, weight in parts]
    if steps is None:
        return parts
    sigma = math.hypot(PLACE_NOISE, ODOMETRY_NOISE_M / STEP_M + ODOMETRY_DRIFT * abs(steps))
    return [(m, s, WRONG_ODOMETRY * w) for m, s, w in parts] + [(steps, sigma, 1 - WRONG_ODOMETRY)]


def naive_density(parts: list[tuple[float, float, float]], at: float) -> float:
    near = (part for part in parts if abs(part[0]) <= FARTHEST)
    return sum(w / s * math.exp(-0.5 * ((at - m) / s) ** 2) for m, s, w in near)


@given(
    st.sampled_from([None, 0.0, 0.3, -7.0, 31.0, 250.0]), st.sampled_from([0.5, 1.0, 3.0, 400.0])
)
def test_the_kernel_is_its_mixture(steps: float | None, ratio: float) -> None:
    motion = Motion(STEP_M)
    motion.learn(motion.kernel(Interval(0.1, None)), np.ones(1), np.ones(1), Interval(0.1, None))
    interval = Interval(0.1 * ratio, steps)
    kernel = motion.kernel(interval)
    parts = naive_parts(motion.speed, ratio, steps)
    behind, ahead = kernel.reach
    wanted = {at: naive_density(parts, at) for at in np.arange(-behind, ahead + 1, 0.5)}
    at = np.array(list(wanted))
    np.testing.assert_allclose(kernel.components(at).sum(axis=0), list(wanted.values()), rtol=1e-9)
    peak = max(wanted.values())
    np.testing.assert_allclose(kernel.density(at), list(wanted.values()), atol=0.05 * peak + 1e-12)
    far = sum(weight for mean, _, weight in parts if abs(mean) > FARTHEST)
    assert kernel.beyond == pytest.approx(far)
    assert kernel.total == pytest.approx((1 - far) * math.sqrt(2 * math.pi))
    assert max(behind, ahead) < 2 * FARTHEST
    # Hardly anything of what can be followed lies beyond the reach.
    inside = sum(
        w * 0.5 * (math.erf((ahead - m) / s / 2**0.5) - math.erf((-behind - m) / s / 2**0.5))
        for m, s, w in parts
        if abs(m) <= FARTHEST
    )
    assert inside >= 0.93 * (1 - far)


@given(st.lists(st.floats(-8, 12), min_size=1, max_size=30), st.integers(0, 2**31))
def test_shares_are_the_responsibilities(steps: list[float], seed: int) -> None:
    motion = Motion(STEP_M)
    kernel = motion.kernel(Interval(0.1, None))
    mass = np.random.default_rng(seed).dirichlet(np.ones(len(steps)))
    joint = kernel.components(np.array(steps))[: kernel.speeds] + 1e-12
    exact = (joint / joint.sum(axis=0)) @ mass
    shares = kernel.shares(np.array(steps), mass)
    assert shares.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(shares, exact, atol=0.02)


def drive(motion: Motion, speed: float, frames: int = 40, seconds: float = 0.1) -> None:
    """Frames that are certain of their step, to the nearest place."""
    at = 0.0
    for _ in range(frames):
        interval = Interval(seconds, None)
        before, at = round(at), at + speed
        kernel = motion.kernel(interval)
        motion.learn(kernel, np.array([float(round(at) - before)]), np.ones(1), interval)


@pytest.mark.parametrize("speed", [0.25, 1.0, 8.0, 20.0, -0.25, -1.0, -6.0])
def test_a_steady_speed_is_learned(speed: float) -> None:
    motion = Motion(STEP_M)
    drive(motion, speed)
    assert motion.speed.sum() == pytest.approx(1.0)
    within = 0.75 + 0.35 * abs(speed)
    assert motion.speed[np.abs(SPEEDS - speed) <= within].sum() > 0.75
    mean = float(motion.speed @ SPEEDS)
    assert mean == pytest.approx(speed, abs=0.6 + 0.2 * abs(speed))
    # It is never closed to a change, and forgotten with a reset.
    assert (motion.speed > 0).all()
    drive(motion, -speed if abs(speed) < 7 else 1.0, 60)
    assert motion.speed[np.abs(SPEEDS - speed) <= within].sum() < 0.6
    motion.reset()
    np.testing.assert_array_equal(motion.speed, FIRST_SPEED)


def test_a_longer_interval_is_a_longer_way() -> None:
    motion = Motion(STEP_M)
    drive(motion, 1.0)
    steps = np.arange(0, 12.0)
    for times in (1, 3, 6):
        density = motion.kernel(Interval(0.1 * times, None)).density(steps)
        assert abs(int(density.argmax()) - times) <= 1
    # Stamps that go back or repeat tell nothing.
    for seconds in (0.0, -7.0):
        assert motion.kernel(Interval(seconds, None)).density(steps).argmax() == 1


def test_a_pause_is_not_how_often_frames_come() -> None:
    """A first interval of a day must not make every later one look like no time at all."""
    motion = Motion(STEP_M)
    drive(motion, 1.0, frames=1, seconds=86400.0)
    drive(motion, 1.0)
    assert motion.kernel(Interval(0.1, None)).density(np.arange(0, 5.0)).argmax() == 1
