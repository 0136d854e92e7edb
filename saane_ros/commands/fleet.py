"""`saane fleet`: maps that several vehicles share, in an engine and on each vehicle's disk."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.commands.parsers import command_parser, number, output_folder
from saane_ros.errors import SaaneError
from saane_ros.settings import Settings

if TYPE_CHECKING:
    from saane_ros.fleet.manifest import Manifest
    from saane_ros.fleet.region import Region
    from saane_ros.fleet.store import FleetStore

PUSH_EXAMPLES = """\
examples:
  saane fleet push street.routemap --store http://maps.local:6333
  saane fleet push night/*.routemap --store shared/ --condition night

--store, or else $SAANE_FLEET, is a server or cluster of Qdrant (http://, https://, grpc://, grpcs://;
its key is read from $QDRANT_API_KEY), or a folder for the embedded edition. What is there already
is not sent again: a push that was cut off goes on where it was. A map is seen once all of it is
there. Other content under a name that is taken is a new version of that map.
--everything sends all, to mend what was damaged: the folder of a map stays the truth.
"""
LIST_EXAMPLES = """\
examples:
  saane fleet list --store http://maps.local:6333
  saane fleet list street --store shared/
"""
PULL_EXAMPLES = """\
examples:
  saane fleet pull street --to maps/ --store http://maps.local:6333
  saane fleet pull street --version 3fa29c --to maps/ --install
  saane fleet pull --near 48.137,11.575 --radius 5000 --to maps/ --install
  saane fleet pull --along route.csv --radius 100 --to maps/ --install
  saane fleet pull --kept-pose last_pose.json --radius 5000 --to maps/ --install

A version is written to maps/versions/<map>/<version>.routemap and installed as the link
maps/<map>.routemap by --install or `saane fleet install`: try it on a drive before, by
`saane evaluate drive --map maps/versions/<map>/<version>.routemap`. Without a name, --near, --along
(CSV with columns lat and lon) and --kept-pose (the localizer's keep_pose) pull the parts there of
all maps. Of a map without an origin positions are x and y in metres. Without the network what was
installed goes on.
"""
INSTALL_EXAMPLES = """\
examples:
  saane fleet install street 3fa29c --to maps/
  saane fleet rollback street --to maps/

install lets the link maps/<map>.routemap show a version that was pulled, rollback the one before.
Both need no network. The one before is kept, older ones that were installed are removed.
"""
VERIFY_EXAMPLES = """\
examples:
  saane fleet verify --store http://maps.local:6333
  saane fleet verify street --store shared/

Reads all that the store holds of every version, or of one map, and compares it with its digests.
"""
FIND_EXAMPLES = """\
examples:
  saane fleet find photo.jpg --store http://maps.local:6333
  saane fleet find photo.jpg --near 48.137,11.575 --radius 2000 --condition night

Prints the places of all maps that look most alike, for a vehicle that has no map yet. Places of
maps with a post-processing of descriptors come below, each kind apart, as its distances mean
something else.
"""
REMOVE_EXAMPLES = """\
examples:
  saane fleet remove street --keep 3 --store http://maps.local:6333
  saane fleet remove street road --keep 1
  saane fleet remove street --version 3fa29c
  saane fleet remove street --keep 0 --newest

Removes versions from the store, and what no other version needs. What vehicles have on their disks
goes on, and other vehicles may push and pull meanwhile. The newest version of a map stays, unless
--newest is given. A removal that was cut off is finished by the next one.
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane fleet push`, `list`, `pull`, `install`, `rollback`, `verify`, `remove`, `find`."""
    parser = command_parser(subparsers, "fleet", "share maps between vehicles", PUSH_EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    push = command_parser(actions, "push", "put maps into the store", PUSH_EXAMPLES)
    push.add_argument("maps", type=Path, nargs="+", metavar="map", help="folders of the maps")
    push.add_argument("--condition", default="", metavar="WORD", help="as night; of all its drives")
    push.add_argument("--everything", action="store_true", help="send what is there too")
    _of_store(push).set_defaults(run=_push)
    listing = command_parser(actions, "list", "show what is in the store", LIST_EXAMPLES)
    listing.add_argument("map", nargs="?", default="", help="name of a map; all")
    _of_store(listing).set_defaults(run=_list)
    pull = command_parser(actions, "pull", "fetch maps from the store", PULL_EXAMPLES)
    pull.add_argument("map", nargs="?", default="", help="name of a map; all of a region")
    pull.add_argument("--version", default="", metavar="V", help="its beginning; the newest")
    _of_region(pull)
    pull.add_argument("--install", action="store_true", help="use it from now on")
    _of_disk(_of_store(pull)).set_defaults(run=_pull)
    install = command_parser(actions, "install", "use a version that is here", INSTALL_EXAMPLES)
    install.add_argument("map", help="name of the map")
    install.add_argument("version", help="its beginning")
    _of_disk(install).set_defaults(run=_install)
    back = command_parser(actions, "rollback", "use the version before", INSTALL_EXAMPLES)
    back.add_argument("map", help="name of the map")
    _of_disk(back).set_defaults(run=_rollback)
    verify = command_parser(actions, "verify", "read all that the store holds", VERIFY_EXAMPLES)
    verify.add_argument("map", nargs="?", default="", help="name of a map; all")
    _of_store(verify).set_defaults(run=_verify)
    removing = command_parser(actions, "remove", "remove versions of the store", REMOVE_EXAMPLES)
    removing.add_argument("maps", nargs="+", metavar="map", help="names of maps")
    which = removing.add_mutually_exclusive_group(required=True)
    which.add_argument("--keep", type=number(0, 10**6, int), metavar="N", help="the newest N stay")
    which.add_argument("--version", default="", metavar="V", help="its beginning")
    removing.add_argument("--newest", action="store_true", help="the newest may go too")
    _of_store(removing).set_defaults(run=_remove)
    finding = command_parser(actions, "find", "find a photo in all maps", FIND_EXAMPLES)
    finding.add_argument("image", type=Path, help="a photo")
    finding.add_argument("--map", default="", help="only in this one")
    finding.add_argument("--condition", default="", metavar="WORD", help="only of this one")
    finding.add_argument("--near", metavar="LAT,LON", help="only around there")
    finding.add_argument("--radius", type=number(0, 1e8, float), default=2000.0, metavar="M")
    finding.add_argument("--count", type=number(1, 1000, int), default=5, help="%(default)s")
    finding.add_argument("--model", default="", help="model card; that of the newest map")
    finding.add_argument("--weights", default="", metavar="DIR", help="folder looked into first")
    finding.add_argument("--device", default=Settings().device, help="auto, cpu, cuda or cuda:N")
    _of_store(finding).set_defaults(run=_find)


def _of_store(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    known = os.environ.get("SAANE_FLEET", "")
    parser.add_argument("--store", default=known, metavar="WHERE", help="address or folder")
    return parser


def _of_disk(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    where = "folder of this vehicle's maps"
    parser.add_argument("--to", type=output_folder, required=True, metavar="DIR", help=where)
    return parser


def _of_region(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--near", metavar="LAT,LON", help="only places around there")
    where.add_argument("--along", type=Path, metavar="FILE", help="only places along this route")
    where.add_argument("--kept-pose", type=Path, metavar="FILE", help="only around the last pose")
    parser.add_argument("--radius", type=number(0, 1e8, float), default=2000.0, metavar="M")


def _push(options: argparse.Namespace) -> None:
    from saane_ros.fleet.push import push
    from saane_ros.fleet.store import open_store
    from saane_ros.route_map.store import RouteMap

    maps = [RouteMap.open(path, everything=True) for path in options.maps]
    with open_store(options.store, make=True) as store:
        for route_map in maps:
            report = push(store, route_map, options.condition, options.everything)
            name = f"{route_map.info.name} version {report.version}"
            if not report.new and not options.everything:
                print(f"{name} is in the store already")
                continue
            print(
                f"{name} is in the store: {report.places} of {report.of_places} places were new, "
                f"{report.bytes / 1e6:.1f} MB sent besides"
            )


def _list(options: argparse.Namespace) -> None:
    from saane_ros.fleet.store import open_store

    faults: list[str] = []
    with open_store(options.store) as store:
        found = store.manifests(options.map, faults)
    for one in found:
        print(_line(one))
    if not found:
        print("no map" if not options.map else f"no map {options.map}")
    if faults:
        raise SaaneError("\n".join(faults))


def _line(one: Manifest) -> str:
    box = "" if one.box is None else " box " + " ".join(f"{value:.5f}" for value in one.box)
    taken = f" {one.condition}" if one.condition else ""
    return (
        f"{one.map} {one.version} pushed {one.pushed}{taken}: {one.places} places of {one.model}, "
        f"post-processing {one.postprocessing}{box}"
    )


def _pull(options: argparse.Namespace) -> None:
    from saane_ros.fleet.pull import pull
    from saane_ros.fleet.store import open_store
    from saane_ros.fleet.working_set import WorkingSet

    with open_store(options.store) as store:
        for manifest, region in _wanted(options, store):
            report = pull(store, manifest, options.to, region)
            what = f"{report.places} places, {report.fetched} of them and {report.bytes / 1e6:.1f}"
            there = f"fetched: {what} MB" if report.new else f"here already: {report.places} places"
            print(f"{report.path} is {there}")
            if options.install:
                WorkingSet(options.to, manifest.map).install(report.label)
                print(f"{manifest.map} is now {report.label}")


def _wanted(options: argparse.Namespace, store: FleetStore) -> list[tuple[Manifest, Region | None]]:
    """The versions to pull, and the part of each."""
    from saane_ros.fleet.region import around_kept, kept_position

    region = _region(options)
    if options.kept_pose is not None:
        name, position = kept_position(options.kept_pose)
        kept = store.manifest(name)
        region = around_kept(kept, position, options.radius)
        if not options.map and kept.origin is None:
            return [(kept, region)]
    if options.map:
        return [(store.manifest(options.map, options.version), region)]
    if region is None or options.version:
        raise SaaneError("No map is named: give its name, or --near, --along or --kept-pose.")
    near = store.manifests(touching=region.box)
    newest = {one.map: one for one in near if region.touches(one)}
    if not newest:
        raise SaaneError(
            f"No map of the store lies within {options.radius:g} m of there: give a larger "
            "--radius, or the name of a map."
        )
    return [(one, region) for one in newest.values()]


def _region(options: argparse.Namespace) -> Region | None:
    from saane_ros.fleet.region import region_of_route, region_of_text

    if options.near is not None:
        return region_of_text(options.near, options.radius)
    along = getattr(options, "along", None)
    return None if along is None else region_of_route(along, options.radius)


def _install(options: argparse.Namespace) -> None:
    from saane_ros.fleet.working_set import WorkingSet

    working = WorkingSet(options.to, options.map)
    working.install(options.version)
    print(f"{options.map} is now {working.installed}")


def _rollback(options: argparse.Namespace) -> None:
    from saane_ros.fleet.working_set import WorkingSet

    working = WorkingSet(options.to, options.map)
    working.roll_back()
    print(f"{options.map} is again {working.installed}")


def _verify(options: argparse.Namespace) -> None:
    from saane_ros.fleet.store import open_store
    from saane_ros.fleet.verify import verify

    faults: list[str] = []
    with open_store(options.store) as store:
        for manifest in store.manifests(options.map, faults):
            try:
                size = verify(store, manifest)
                print(f"{manifest.title} is whole: {manifest.places} places, {size / 1e6:.1f} MB")
            except SaaneError as error:
                faults.append(str(error))
    if faults:
        raise SaaneError("\n".join(faults))


def _remove(options: argparse.Namespace) -> None:
    from saane_ros.fleet.remove import remove
    from saane_ros.fleet.store import open_store

    with open_store(options.store) as store:
        meant = [one for name in options.maps for one in _leaving(options, store, name)]
        report = remove(store, meant)
    for title in report.versions:
        print(f"{title} is removed")
    print(f"{report.places} places and {report.pieces} pieces that no other version needs went")


def _leaving(options: argparse.Namespace, store: FleetStore, name: str) -> list[Manifest]:
    """The versions of a map that are to be removed."""
    from saane_ros.fleet.engine import Where

    if not name.strip():
        raise SaaneError("The name of a map is empty: an empty one would mean all maps.")
    versions, begun = store.manifests(name), store.meant(Where(map=name))
    one = store.chosen(name, begun, options.version)
    leaving = [one] if options.keep is None else versions[: max(0, len(versions) - options.keep)]
    if versions and versions[-1] in leaving and not options.newest:
        raise SaaneError(
            f"{versions[-1].title} is the newest of that map, which vehicles pull: give --newest "
            "too if it shall go."
        )
    return leaving


def _find(options: argparse.Namespace) -> None:
    from saane_ros.data.images.files import read_image
    from saane_ros.embedding.loading import load_embedder
    from saane_ros.fleet.engine import Where
    from saane_ros.fleet.search import find
    from saane_ros.fleet.store import open_store
    from saane_ros.route_map.info import knowing_its_maker

    image = read_image(options.image)
    region = None if options.near is None else _region(options)
    near = None
    if region is not None:
        latitude, longitude = region.positions[0].tolist()
        near = latitude, longitude, region.radius
    with open_store(options.store) as store:
        maps = store.manifests(options.map, touching=None if region is None else region.box)
        if not maps and region is not None:
            print("no place")
            return
        if not maps:
            raise SaaneError(f"The fleet store {options.store} holds no such map: push one first.")
        newest = max(maps, key=lambda one: one.pushed)
        model = options.model or newest.model
        with knowing_its_maker(f"Map {newest.title}", newest.model, model):
            embedder = load_embedder(model, options.weights, options.device)
        descriptor = embedder.embed([image])[0].descriptor
        where = Where(map=options.map, condition=options.condition, near=near)
        kinds = find(store, maps, embedder.fingerprint, descriptor, options.count, where)
    if not kinds:
        print("no place")
    for kind in kinds:
        if kind.postprocessing != "none":
            print(f"by {kind.postprocessing}, whose distances compare with each other alone:")
        for one in kind.places:
            at = "" if one.position is None else f" at {one.position[0]:.7f} {one.position[1]:.7f}"
            taken = f" {one.condition}" if one.condition else ""
            print(f"{one.distance:8.4f} {one.map} {one.version} {one.name}{taken}{at}")
