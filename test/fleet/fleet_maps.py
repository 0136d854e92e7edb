"""Small maps for the fleet's tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.metric.cameras import camera_of
from saane_ros.metric.store import Points, row_type
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.derived import write_derived
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Pose

START_S = 1_700_000_000


def drive(
    seed: int,
    places: Iterable[int],
    changed: Collection[int] = (),
    poses: bool = True,
    second: int = 0,
) -> list[Frame]:
    """Frames two metres and a second apart to the east; what `changed` looks different now."""
    return [
        Frame(
            smooth_scene(seed + i + (10_000 if i in changed else 0), 48, 64),
            10**9 * (START_S + second + i),
            f"{i}.png",
            Pose((2.0 * i, 0.0, 0.0)) if poses else None,
        )
        for i in places
    ]


def street(
    path: Path,
    seed: int = 0,
    places: int = 30,
    changed: Collection[int] = (),
    poses: bool = True,
    second: int = 0,
    **options: Any,
) -> RouteMap:
    """A map of such a drive."""
    frames = drive(seed, range(places), changed, poses, second)
    return build_map(frames, ColourGridEmbedder(), path, **options)


def metric_map(path: Path, **options: Any) -> RouteMap:
    """One with points, a different number at each place; what they are of does not matter here."""
    plain = street(path.with_name("plain.routemap"), places=12, **options)
    random = np.random.default_rng(0)
    counts = random.integers(0, 5, 12)
    rows = np.zeros(counts.sum(), row_type(8))
    rows["point"] = random.normal(size=(len(rows), 3))
    rows["xy"] = random.integers(0, 500, (len(rows), 2))
    rows["descriptor"] = random.integers(0, 255, (len(rows), 8))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    camera = camera_of(64, 48, "", (50, 0, 32, 0, 50, 24, 0, 0, 1), (), "here")
    points = Points("own", camera, 40, 0.5, starts, rows)
    return write_derived(
        path,
        plain,
        list(plain.places),
        plain.descriptors,
        range(12),
        plain.localizable().grids,
        None,
        points,
    )
