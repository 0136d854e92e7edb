"""How the vehicle drives: speed, lateral position and the small movements of its body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.route import Route
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.streets import LANE_M

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drive:
    """Per frame: s (m along the centreline), lateral (m), yaw, pitch, roll (radians); each (n,)."""

    s: Array
    lateral: Array
    yaw: Array
    pitch: Array
    roll: Array


def plan_drive(
    route: Route, seed: int, rate_hz: float, speed_mps: float, lateral_m: float | None
) -> Drive:
    """From s = 0 to the route's end, one sample per frame."""
    rng = stream(seed, "drive")
    steps = int(np.ceil(route.length / (0.4 * speed_mps) * rate_hz)) + 2
    time = np.arange(steps) / rate_hz
    speed = speed_mps * (1 + 0.3 * _wander(rng, time, 5.0, 18.0))
    s = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2) / rate_hz])
    count = int(np.searchsorted(s, route.length, side="right"))
    s, time = s[:count], time[:count]
    base = -LANE_M + float(rng.uniform(-0.7, 0.7)) if lateral_m is None else lateral_m
    phases = rng.uniform(0, 2 * np.pi, 2)
    lateral = base + 0.22 * np.sin(s / 17 + phases[0]) + 0.12 * np.sin(s / 7.3 + phases[1])
    slope = 0.22 / 17 * np.cos(s / 17 + phases[0]) + 0.12 / 7.3 * np.cos(s / 7.3 + phases[1])
    return Drive(
        s=s,
        lateral=lateral,
        yaw=route.heading(s) + np.arctan(slope),
        pitch=np.radians(0.5) * _wander(rng, time, 0.7, 2.5),
        roll=np.radians(0.4) * _wander(rng, time, 0.9, 3.0),
    )


def _wander(rng: np.random.Generator, time: Array, shortest: float, longest: float) -> Array:
    """A smooth random function of time in -1..1 with periods between the two."""
    periods, phases = rng.uniform(shortest, longest, 4), rng.uniform(0, 2 * np.pi, 4)
    waves = np.sin(2 * np.pi * time[:, None] / periods + phases)
    return np.asarray(waves.mean(axis=1))
