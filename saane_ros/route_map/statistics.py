"""What a route map amounts to, in numbers."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np

from saane_ros.route_map.store import RouteMap

_CLOCK_FROM_NS = 10**17
"""Stamps below this (1973) count from somewhere else than 1970 and are no dates."""


def drive_names(route_map: RouteMap) -> list[str]:
    """The drive that each place comes from: in a merged map the first part of its name."""
    merged = any(place.along is not None for place in route_map.places)
    return [place.name.split("/")[0] if merged else "" for place in route_map.places]


def statistics(route_map: RouteMap) -> list[tuple[str, str]]:
    """Name and value of each, for a person to read."""
    names = drive_names(route_map)
    rows = [
        (name or "drive", _drive_text(route_map, [i for i, n in enumerate(names) if n == name]))
        for name in dict.fromkeys(names)
    ]
    if route_map.metric:
        points = np.array([p.pose.position for p in route_map.places if p.pose is not None])
        low, high = points.min(axis=0), points.max(axis=0)
        extent = (
            f"east {low[0]:.1f} to {high[0]:.1f} m, north {low[1]:.1f} to {high[1]:.1f} m, "
            f"up {low[2]:.1f} to {high[2]:.1f} m"
        )
        rows.append(("extent", extent))
    return rows


def _drive_text(route_map: RouteMap, rows: list[int]) -> str:
    places = [route_map.places[row] for row in rows]
    text = f"{len(places)} places"
    positions = [place.pose.position for place in places if place.pose is not None]
    if len(positions) == len(places) > 1:
        steps = np.linalg.norm(np.diff(np.array(positions), axis=0), axis=1)
        middle, widest = float(np.median(steps)), float(steps.max())
        text += f", {steps.sum():.1f} m, usually {middle:.2f} m apart, at most {widest:.2f} m"
    stamps = [place.stamp_ns for place in places]
    seconds = (max(stamps) - min(stamps)) / 1e9
    if min(stamps) >= _CLOCK_FROM_NS:
        began = datetime.fromtimestamp(min(stamps) / 1e9, timezone.utc)
        text += f", taken in {seconds:.0f} s from {began:%Y-%m-%d %H:%M:%S} UTC"
    return text
