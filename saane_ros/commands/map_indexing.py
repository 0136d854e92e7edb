"""`saane map index`: make the search index of a map anew, or try what it could be."""

from __future__ import annotations

import argparse
from pathlib import Path

from saane_ros.commands.parsers import number
from saane_ros.errors import SaaneError
from saane_ros.route_map.derived import write_indexed
from saane_ros.route_map.index_trial import HEAD, try_index
from saane_ros.route_map.place_index import FEW, INDEX_SIZE, PROBED, IndexChoice
from saane_ros.route_map.store import RouteMap

INDEX_EXAMPLES = """\
examples:
  saane map index city.routemap
  saane map index city.routemap --try
  saane map index city.routemap --values 256 --probed 32

Makes the index of a large map anew: where it was damaged, is of another version, or by another
choice. Descriptors and calibration stay as they are. --try changes nothing and prints for each
choice how often the nearest place is found first, how many of the 64 nearest are found, what a
frame costs, and the memory that the index may come to take.
"""


def add_index(parser: argparse.ArgumentParser) -> None:
    """Arguments of `saane map index`."""
    parser.add_argument("map", type=Path, help="folder of the map")
    parser.add_argument("--try", dest="trying", action="store_true", help="print a table instead")
    parser.add_argument(
        "--values",
        type=number(8, 4096, int),
        help=f"bytes of a place in the index ({INDEX_SIZE}, in small maps of longer ones {FEW})",
    )
    parser.add_argument(
        "--probed",
        type=number(1, 2048, int),
        default=PROBED,
        help="lists that a frame looks into (%(default)s)",
    )


def index(options: argparse.Namespace) -> RouteMap | None:
    """Make the index and give the map, or print the table."""
    route_map = RouteMap.open(options.map)
    if options.trying:
        if len(route_map.places) < 100:
            raise SaaneError(f"{options.map} has too few places to try an index: it needs none.")
        print(HEAD)
        for trial in try_index(route_map):
            print(trial.text(), flush=True)
        return None
    return write_indexed(route_map, IndexChoice(options.values, options.probed))
