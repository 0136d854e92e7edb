"""`saane map crop` and `saane map merge`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from saane_ros.commands.parsers import output_folder
from saane_ros.errors import SaaneError
from saane_ros.route_map.postprocessing import PROJECTIONS
from saane_ros.route_map.store import RouteMap

N = TypeVar("N", int, float)

CROP_EXAMPLES = """\
examples:
  saane map crop town.routemap --metres 200:800 --out centre.routemap
  saane map crop town.routemap --places 0:500 --out half.routemap
"""
MERGE_EXAMPLES = """\
examples:
  saane map merge noon.routemap night.routemap --out both.routemap
  saane map merge noon.routemap night.routemap --out both.routemap --postprocessing pca512
  saane map merge north.routemap south.routemap --out road.routemap

Drives of one road come to lie side by side along one route, several conditions per place; drives
that meet nowhere are joined end to end. Poses end up in the frame of the first map. Maps of
--postprocessing mean or standardise keep what each has; those of mean can be whitened together with
--postprocessing pca512 or pca1024.
"""


def add_crop(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saane map crop`."""
    parser.add_argument("map", type=Path, help="folder of the map")
    ends = parser.add_mutually_exclusive_group(required=True)
    ends.add_argument("--places", metavar="A:B", help="from place A to before place B")
    ends.add_argument("--metres", metavar="A:B", help="from A to B metres along the route")
    parser.add_argument("--out", type=output_folder, required=True, metavar="X.routemap")


def add_merge(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saane map merge`."""
    parser.add_argument("maps", type=Path, nargs="+", metavar="map", help="folders of the maps")
    parser.add_argument("--postprocessing", choices=PROJECTIONS, help="of maps with mean")
    parser.add_argument("--out", type=output_folder, required=True, metavar="X.routemap")


def crop(options: argparse.Namespace) -> RouteMap:
    from saane_ros.route_map.crop import crop_map

    places = None if options.places is None else _ends(options.places, int, "--places")
    metres = None if options.metres is None else _ends(options.metres, float, "--metres")
    return crop_map(RouteMap.open(options.map), options.out, places, metres)


def merge(options: argparse.Namespace) -> RouteMap:
    from saane_ros.route_map.merge import merge_maps

    if len(options.maps) < 2:
        raise SaaneError("A merge needs two maps or more: name them all.")
    maps = [RouteMap.open(path) for path in options.maps]
    merged = merge_maps(maps, options.out, options.postprocessing)
    seen = merged.points
    if seen is None:
        return merged
    bare = [m.info.name for m in maps if m.points is None or not m.points.comparable(seen)]
    if bare:
        print(
            f"Places of {', '.join(bare)} have no points in the merged map, as they had none of "
            f"{seen.features}: build each map with --metric."
        )
    return merged


def _ends(text: str, kind: Callable[[str], N], name: str) -> tuple[N, N]:
    try:
        first, last = (kind(part) for part in text.split(":"))
    except ValueError:
        raise SaaneError(f"{name} is {text!r}: give two numbers as A:B.") from None
    if not 0 <= first < last:
        raise SaaneError(f"{name} is {text!r}: give a first end from 0 on and a larger last one.")
    return first, last
