"""Drives along one route with positions: what St Lucia and RobotCar have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.truth import FRAMES, RADIUS_M, along_route
from saane_ros.data.images.lists import ImageList
from saane_ros.errors import SaaneError


@dataclass(frozen=True, kw_only=True)
class RouteTolerance:
    """What counts as right on a route, options of every such data set.

    frames: around a pass.  radius: metres, what a pass is.  revisit_ok: any pass of the same road
    in the same direction is right, not only the nearest.
    """

    frames: int = FRAMES
    radius: float = RADIUS_M
    revisit_ok: bool = True


@dataclass(frozen=True)
class Drive:
    """positions: UTM metres (n, 2), NaN where unknown.  courses: degrees (n,).

    words: where images and positions come from, if that varies.  grid: of the positions, such as
    "utm_30N"; empty where it is not told.
    """

    images: ImageList
    positions: NDArray[np.float64]
    courses: NDArray[np.float64]
    words: str = ""
    grid: str = ""


def drive_dataset(
    name: str, query: Drive, reference: Drive, tolerance: RouteTolerance, protocol: str, group: str
) -> Dataset:
    """One drive searched in another, by positions and courses.

    Raises SaaneError where their positions are of different grids.
    """
    if query.grid and reference.grid and query.grid != reference.grid:
        raise SaaneError(
            f"The positions of {name} do not meet: those of the queries are of {query.grid}, those "
            f"of the references of {reference.grid}. Take drives of one UTM zone."
        )
    correct = along_route(
        query.positions,
        query.courses,
        reference.positions,
        reference.courses,
        tolerance.radius,
        tolerance.frames,
        tolerance.revisit_ok,
    )
    return Dataset(
        name,
        query.images,
        reference.images,
        correct,
        protocol,
        f"{tolerance.frames} frames around a pass within {tolerance.radius:g} m and 45 degrees"
        + ("" if tolerance.revisit_ok else ", the nearest pass only"),
        query.positions,
        reference.positions,
        group=group,
    )
