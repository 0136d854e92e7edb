"""What a person is told of a route map."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from saane_ros.geodesy import PLANE
from saane_ros.localization.evidence import GROUPS
from saane_ros.route_map.calibration import default_weights
from saane_ros.route_map.feature_grids import GRIDS, rerank_of
from saane_ros.route_map.index_trial import try_own
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.place_index import wants_index
from saane_ros.route_map.statistics import statistics
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

TIMED, TIMED_S = 20, 1.0
"""Frames whose re-ranking is timed, and seconds after which no further one is."""


def show(route_map: RouteMap) -> None:
    """Print it."""
    info = route_map.info
    length = "no poses"
    if route_map.metric:
        length = f"{route_map.arc_length[-1] - route_map.arc_length[0]:.1f} m along the route"
    each = _bytes(route_map.path) / info.count
    rows = [
        ("map", f"{route_map.path} ({megabytes(route_map.path)}, created {info.created})"),
        (
            "places",
            f"{info.count}, {length}, {each:.0f} bytes a place",
        ),
        *statistics(route_map),
        ("frame", info.frame_id + _origin_text(info)),
        ("body", (info.body or "unknown") + _camera_text(info.camera)),
        ("model", f"{info.model}, fingerprint {info.fingerprint}"),
        ("descriptors", f"{info.descriptor_size} values, {info.dtype}"),
        ("search", _search_text(route_map)),
        ("processing", _postprocessing_text(route_map)),
        ("calibration", _calibration_text(route_map)),
        ("re-ranking", _rerank_text(route_map)),
        ("points", _points_text(route_map)),
    ]
    for name, text in rows:
        print(f"{name:<12} {text}")


def megabytes(folder: Path) -> str:
    """The size of a map on disk."""
    return f"{_bytes(folder) / 1e6:.1f} MB"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _origin_text(info: MapInfo) -> str:
    if info.origin is None:
        return ""
    latitude, longitude, altitude = info.origin
    along = "" if info.grid == PLANE else f", axes of {info.grid}"
    return f", origin {latitude:.7f} {longitude:.7f} altitude {altitude:.2f} m{along}"


def _camera_text(camera: Pose | None) -> str:
    if camera is None:
        return ", camera mount unknown"
    x, y, z = camera.position
    qx, qy, qz, qw = camera.orientation
    return f", camera at {x:.3f} {y:.3f} {z:.3f} m, turned by {qx:.4f} {qy:.4f} {qz:.4f} {qw:.4f}"


def _postprocessing_text(route_map: RouteMap) -> str:
    used, why = route_map.postprocessing, route_map.info.chosen
    reason = f"; chosen as {why}" if why else ""
    if used is None:
        return f"none: descriptors are as the model gives them{reason}"
    raw, places = len(used.statistics.mean), used.statistics.count
    return f"{used.kind}, {raw} to {used.size} values by statistics of {places} places{reason}"


def _calibration_text(route_map: RouteMap) -> str:
    bearings = route_map.bearings
    if bearings is None:
        return "none: run `saane map calibrate`, without it the map cannot be localized in"
    source, rerank = bearings.calibration.source, route_map.info.rerank
    if rerank == GRIDS or source != default_weights(grids=True)[1]:
        return source
    return (
        f"{source} and {GRIDS}, not {rerank}: run `saane map calibrate` with drives before you "
        "rely on error_rate"
    )


def _rerank_text(route_map: RouteMap) -> str:
    """What weighs candidates anew, and what it costs: as many places as a frame is compared with,
    beside the grid of one."""
    grids = None if route_map.bearings is None else route_map.bearings.grids
    if grids is None:
        return "none, without feature grids: places are weighed by their descriptors alone"
    score, own = rerank_of(route_map.info.rerank)
    times: list[float] = []
    for row in np.linspace(0, len(grids) - 1, TIMED).round().astype(int):
        if sum(times) > 1e3 * TIMED_S:
            break
        others = np.arange(row, row + GROUPS) % len(grids)
        start = time.perf_counter()
        score(grids[row], grids[others])
        times.append(1e3 * (time.perf_counter() - start))
    return (
        f"{route_map.info.rerank} of {'local features' if own else 'feature grids'}, "
        f"{grids[0].nbytes / 1e3:.1f} kB a place, {np.median(times):.2f} ms a frame"
    )


def _points_text(route_map: RouteMap) -> str:
    points = route_map.points
    if points is None:
        return "none: a pose is that of the matched place, see `saane map build --metric`"
    adjusted = "" if points.moved == (0.0, 0.0) else f"; poses {points.adjustment}"
    return (
        f"{points.points} of {points.features}, {points.place_bytes / 1e3:.1f} kB a place, "
        f"reprojection error {points.error:.2f} pixels, at {points.places} of {len(points)} places"
        f"{adjusted}"
    )


def _search_text(route_map: RouteMap) -> str:
    if route_map.index_fault:
        return f"exact. {route_map.index_fault}"
    trial = try_own(route_map)
    if trial is None:
        large = wants_index(*route_map.descriptors.shape)
        return "exact" if not large else "exact; `saane map index` makes an index"
    return (
        f"index of {trial.name}, {trial.megabytes:.1f} MB: recall@1 {trial.recall_1:.3f} and "
        f"{trial.recall_nearest:.3f} of the 64 nearest against exact search, "
        f"{trial.milliseconds:.2f} ms a frame"
    )
