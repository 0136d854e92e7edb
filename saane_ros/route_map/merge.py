"""Several route maps as one: roads joined, and several conditions of one road side by side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.metric.store import joined
from saane_ros.route_map.alignment import Route, route_of
from saane_ros.route_map.derived import write_derived
from saane_ros.route_map.feature_grids import rerank_of
from saane_ros.route_map.map_frames import into_frame
from saane_ros.route_map.place_graph import drives_of
from saane_ros.route_map.postprocessing import PROJECTIONS, Postprocessing, pooled, whitened
from saane_ros.route_map.statistics import drive_names
from saane_ros.route_map.store import RouteMap


def merge_maps(maps: Sequence[RouteMap], path: Path, postprocessing: str | None = None) -> RouteMap:
    """Write the places of all maps in the order of one route, in the frame of the first.

    Places of two drives at the same point of a road lie beside each other, so that the sequence
    filter can follow whichever condition fits and a belief in the one is a belief in the other.
    Their names are those of their drives and their own; a drive is called after its map, numbered
    where another has that name, and one of a merged map as it was there. Post-processed descriptors
    stay as they are, each drive by its own statistics, unless `postprocessing` names a projection
    of all of them. Raises SaaneError where the maps are of different models or post-processing,
    lack poses, or lie in frames that nothing relates.
    """
    first = maps[0]
    for other in maps:
        _check(first, other)
    places = []
    route: Route | None = None
    taken: set[str] = set()
    for one in maps:
        move = into_frame(one, first)
        poses = [move(place.pose) for place in one.places if place.pose is not None]
        points = np.array([pose.position[:2] for pose in poses], np.float64)
        along = np.empty(len(points))
        names = [""] * len(points)
        for drive, rows in _drives(one).items():
            if route is None:
                along[rows] = one.arc_length[rows]
                route = route_of(points[rows], along[rows])
            else:
                along[rows] = route.add(
                    points[rows], one.arc_length[rows] if one is first else None
                )
            of_drive = _free(drive or one.info.name, taken)
            for row in rows:
                own = one.places[row].name
                names[row] = f"{of_drive}/{own.removeprefix(f'{drive}/') if drive else own}"
        for place, name, pose, metres in zip(one.places, names, poses, along, strict=True):
            places.append(replace(place, name=name, pose=pose, along=float(metres)))
    along_all = np.array([place.along for place in places], np.float64)
    order = np.argsort(along_all, kind="stable").tolist()
    start = float(along_all.min())
    ordered = [replace(places[row], along=float(along_all[row]) - start) for row in order]
    kinds = {np.dtype(one.info.dtype) for one in maps}
    stacked = np.concatenate([one.descriptors for one in maps]).astype(max(kinds), copy=False)
    used = _pooled(maps)
    if postprocessing is not None and postprocessing != first.info.postprocessing:
        if used is None:
            raise SaaneError(
                f"The descriptors of {first.path} went through no post-processing: build the maps "
                "with --postprocessing mean first, each by its own drive."
            )
        used = whitened(used, postprocessing, stacked)
        stacked = used.projected(stacked.astype(np.float32)).astype(stacked.dtype)
    seen = joined([one.points for one in maps], [len(one.places) for one in maps])
    return write_derived(path, first, ordered, stacked, order, _grids(maps), used, seen)


def check_extendable(route_map: RouteMap) -> None:
    """Raise SaaneError where new places cannot be joined to a map."""
    info = route_map.info
    if not route_map.metric:
        raise SaaneError(
            f"Map {info.name} has no poses, by which new places could be joined to it: build it "
            "with poses."
        )
    if info.postprocessing in PROJECTIONS:
        raise SaaneError(
            f"The descriptors of map {info.name} went through {info.postprocessing}, which new "
            "places cannot join: build it with --postprocessing mean."
        )
    route_map.localizable()


def _drives(route_map: RouteMap) -> dict[str, NDArray[np.int64]]:
    """Rows of each drive in its order, by its name; a map that is one drive has no name for it."""
    names = drive_names(route_map)
    if not any(names):
        return {"": np.arange(len(names))}
    return {names[rows[0]]: rows for rows in drives_of(route_map.places)}


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken; it is then."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    free = next(n for n in itertools.chain([name], numbered) if n not in taken)
    taken.add(free)
    return free


def _grids(maps: Sequence[RouteMap]) -> NDArray[np.int8] | None:
    """The feature grids of all maps where all have them by one projection."""
    bearings = [one.localizable() for one in maps]
    grids = [one.grids for one in bearings if one.grids is not None]
    by = [one.cohort.projection for one in bearings if one.cohort.projection is not None]
    if len(grids) < len(maps) or not all(by[0].matches(other) for other in by):
        return None
    return np.concatenate(grids)


def _pooled(maps: Sequence[RouteMap]) -> Postprocessing | None:
    parts = [one.postprocessing for one in maps if one.postprocessing is not None]
    return pooled(parts) if parts else None


def _check(first: RouteMap, other: RouteMap) -> None:
    if other.info.fingerprint != first.info.fingerprint:
        raise SaaneError(
            f"{other.path} was made by {other.info.model} (fingerprint {other.info.fingerprint}) "
            f"and {first.path} by {first.info.model} ({first.info.fingerprint}): build both with "
            "one model."
        )
    if other.info.postprocessing != first.info.postprocessing:
        raise SaaneError(
            f"The descriptors of {other.path} went through post-processing "
            f"{other.info.postprocessing} and those of {first.path} through "
            f"{first.info.postprocessing}: build both with one --postprocessing."
        )
    if rerank_of(other.info.rerank).own != rerank_of(first.info.rerank).own:
        raise SaaneError(
            f"{other.path} re-ranks by {other.info.rerank} and {first.path} by "
            f"{first.info.rerank}, which compare different features: build both with one --rerank."
        )
    if not other.metric:
        raise SaaneError(
            f"Route map {other.path} has no poses, by which maps are merged: build it with poses."
        )
