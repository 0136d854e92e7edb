"""Light and weather of a traverse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.simulation.mesh import Colour
from saane_ros.simulation.seeds import stream

CONDITIONS: tuple[str, ...] = (
    "day",
    "overcast",
    "dusk",
    "night",
    "rain",
    "fog",
    "snow",
    "leaves_off",
)


@dataclass(frozen=True)
class Light:
    """What a condition does to the picture; colours are linear RGB.

    sun, ambient: irradiance by the sun (0: none) and by the sky.  sun_direction: towards it, ENU.
    zenith, horizon, clouds: the sky.  haze: fog density per metre.
    lamps: street lamps and lit windows, 0 to 1.  headlights: of the ego vehicle.
    key: brightness that the automatic exposure aims at.  noise: of the sensor.
    cast: colour error of the white balance.  blur: of the lens, pixels at 320 x 240.
    """

    sun: Colour
    sun_direction: Colour
    ambient: Colour
    zenith: Colour
    horizon: Colour
    clouds: float
    haze: float = 0.0008
    haze_colour: Colour = (0.6, 0.66, 0.74)
    lamps: float = 0.0
    headlights: float = 0.0
    key: float = 0.2
    noise: float = 0.006
    cast: Colour = (1.0, 1.0, 1.0)
    wet: float = 0.0
    streaks: float = 0.0
    snow: float = 0.0
    flakes: float = 0.0
    leaves: bool = True
    walkers: float = 1.0
    blur: float = 0.45
    vignette: float = 0.12


def light_for(condition: str, seed: int) -> Light:
    """The light of one traverse: the condition, and this hour's variation of it."""
    if condition not in CONDITIONS:
        raise SaaneError(
            f"Unknown condition {condition!r}: the conditions are {', '.join(CONDITIONS)}."
        )
    rng = stream(seed, "light", condition)
    light = _BASE[condition]
    azimuth = rng.uniform(0, 2 * np.pi)
    low, high = _ELEVATIONS[condition]
    elevation = np.radians(rng.uniform(low, high))
    direction = (
        float(np.cos(elevation) * np.cos(azimuth)),
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
    )
    cast = np.asarray(light.cast) * rng.uniform(0.96, 1.04, 3)
    return replace(
        light,
        sun_direction=direction,
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        key=light.key * float(rng.uniform(0.85, 1.2)),
        haze=light.haze * float(rng.uniform(0.75, 1.3)),
        clouds=light.clouds * float(rng.uniform(0.6, 1.2)),
        noise=light.noise * float(rng.uniform(0.8, 1.25)),
    )


_ELEVATIONS = {
    "day": (32, 58),
    "overcast": (30, 60),
    "dusk": (5, 10),
    "night": (10, 20),
    "rain": (30, 60),
    "fog": (30, 60),
    "snow": (20, 40),
    "leaves_off": (16, 28),
}

_UP = (0.0, 0.0, 1.0)

_BASE: dict[str, Light] = {
    "day": Light(
        sun=(1.6, 1.5, 1.3),
        sun_direction=_UP,
        ambient=(0.42, 0.47, 0.56),
        zenith=(0.2, 0.38, 0.75),
        horizon=(0.68, 0.8, 0.95),
        clouds=0.75,
        key=0.33,
    ),
    "overcast": Light(
        sun=(0.0, 0.0, 0.0),
        sun_direction=_UP,
        ambient=(0.8, 0.84, 0.9),
        zenith=(0.7, 0.74, 0.8),
        horizon=(0.88, 0.9, 0.92),
        clouds=0.3,
        haze=0.002,
        haze_colour=(0.8, 0.82, 0.85),
        cast=(0.98, 1.0, 1.03),
        key=0.3,
    ),
    "dusk": Light(
        sun=(1.0, 0.45, 0.14),
        sun_direction=_UP,
        ambient=(0.2, 0.2, 0.3),
        zenith=(0.1, 0.13, 0.32),
        horizon=(0.95, 0.45, 0.2),
        clouds=0.6,
        haze=0.003,
        haze_colour=(0.6, 0.36, 0.28),
        lamps=0.3,
        headlights=0.15,
        key=0.17,
        noise=0.014,
        cast=(1.1, 0.98, 0.9),
        walkers=0.8,
    ),
    "night": Light(
        sun=(0.0, 0.0, 0.0),
        sun_direction=_UP,
        ambient=(0.013, 0.013, 0.017),
        zenith=(0.01, 0.01, 0.015),
        horizon=(0.04, 0.033, 0.03),
        clouds=0.3,
        haze=0.003,
        haze_colour=(0.03, 0.025, 0.022),
        lamps=1.0,
        headlights=1.0,
        key=0.06,
        noise=0.028,
        cast=(1.1, 0.98, 0.86),
        walkers=0.4,
        blur=0.6,
        vignette=0.3,
    ),
    "rain": Light(
        sun=(0.0, 0.0, 0.0),
        sun_direction=_UP,
        ambient=(0.42, 0.46, 0.52),
        zenith=(0.36, 0.4, 0.46),
        horizon=(0.55, 0.58, 0.62),
        clouds=0.3,
        haze=0.009,
        haze_colour=(0.48, 0.51, 0.55),
        lamps=0.12,
        key=0.22,
        noise=0.014,
        cast=(0.97, 1.0, 1.04),
        wet=0.75,
        streaks=1.0,
        walkers=0.5,
        blur=0.6,
    ),
    "fog": Light(
        sun=(0.0, 0.0, 0.0),
        sun_direction=_UP,
        ambient=(0.7, 0.72, 0.74),
        zenith=(0.78, 0.8, 0.82),
        horizon=(0.76, 0.78, 0.8),
        clouds=0.0,
        haze=0.032,
        haze_colour=(0.76, 0.78, 0.8),
        lamps=0.15,
        key=0.42,
        noise=0.012,
        wet=0.15,
        walkers=0.7,
    ),
    "snow": Light(
        sun=(0.0, 0.0, 0.0),
        sun_direction=_UP,
        ambient=(0.75, 0.79, 0.86),
        zenith=(0.72, 0.75, 0.8),
        horizon=(0.82, 0.84, 0.87),
        clouds=0.15,
        haze=0.009,
        haze_colour=(0.8, 0.82, 0.85),
        key=0.4,
        noise=0.01,
        cast=(0.98, 1.0, 1.04),
        snow=1.0,
        flakes=1.0,
        leaves=False,
        walkers=0.6,
    ),
    "leaves_off": Light(
        sun=(1.2, 1.02, 0.76),
        sun_direction=_UP,
        ambient=(0.42, 0.46, 0.52),
        zenith=(0.4, 0.52, 0.72),
        horizon=(0.82, 0.84, 0.86),
        clouds=0.9,
        haze=0.0015,
        leaves=False,
        cast=(1.03, 1.0, 0.96),
        key=0.31,
    ),
}
