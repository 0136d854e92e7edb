"""The user's own road: which frames become a map, and which drive is then tried on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from saane_ros.data.bags import BagReader
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.images.lists import list_key
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.drive import DriveFolder
from saane_ros.evaluation.drives.results import DriveSource, open_drive
from saane_ros.evaluation.drives.truth import Truth, by_position, by_rows
from saane_ros.geodesy import LatLonAlt
from saane_ros.localization.sequence import TOLERANCE_STEPS
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame

STRETCH = 50
"""Images of a stretch of a drive that is split."""
LEFT_OUT = 4
"""Every so manieth stretch becomes no places, so that its queries are off the route."""
UNJUDGED = 3 * TOLERANCE_STEPS
"""Images from a place within which an unposed query of a left out stretch is not judged."""
SPLIT = (
    "The drive is split: of two successive images the first is a place and the second a query, "
    f"and every {LEFT_OUT}th stretch of {STRETCH} is left out of the map, so that its queries are "
    "off the route. Light and season are the same on both sides, which flatters every model: a "
    "second drive at another hour (--map-drive, --query-drive) tells more."
)


@dataclass(frozen=True)
class Road:
    """Two drives of one road, or one that is split in the way that `SPLIT` says.

    drive: a folder of images or a bag, of which the map is made.  query: what is tried on it, None
    for the same drive, split.  poses: pose file of a folder.  pose_topic: of a bag.
    every_metres: as of `saane map build`.
    """

    drive: Path
    query: DriveSource | None = None
    poses: Path | None = None
    image_topic: str | None = None
    pose_topic: str | None = None
    every_metres: float | None = None

    @property
    def is_bag(self) -> bool:
        """Whether the map's drive is one."""
        return DriveSource(self.drive).is_bag

    @property
    def label(self) -> str:
        """Changes with the files of both drives and with what is taken of them."""
        both = [self.drive] if self.query is None else [self.drive, self.query.path]
        files = [file for path in both for file in _files(path)]
        given = [self.poses, self.query.truth if self.query else None]
        files += [Path(one) for one in given if one is not None and Path(one).is_file()]
        return list_key(files, [repr(self), f"{STRETCH} {LEFT_OUT}"])

    def check(self) -> None:
        """SaaneError where a drive cannot be used, as far as no map is needed to tell."""
        if not self.drive.exists():
            raise SaaneError(f"There is no folder or bag {self.drive}: name a drive of your road.")
        if self.is_bag and not self.image_topic:
            raise SaaneError(f"{self.drive} is a bag: name the topic of its images: --image-topic.")
        if self.is_bag and self.query is None and not self.pose_topic:
            raise SaaneError(
                f"{self.drive} is one bag, and which of its images show one place is told by poses "
                "alone: give --pose-topic, or a second drive."
            )
        if self.poses if self.is_bag else self.pose_topic:
            raise SaaneError("A pose file goes with a folder of images, --pose-topic with a bag.")
        if self.query is not None:
            self.query.check()

    def map_frames(self, opened: ExitStack) -> tuple[Iterator[Frame], LatLonAlt | None]:
        """The frames of the map, and where the zero of their poses lies."""
        frames, origin = self._frames(opened)
        if self.query is not None:
            return frames, origin
        return (frame for index, frame in enumerate(frames) if _is_place(index)), origin

    def query_frames(
        self, route_map: RouteMap, opened: ExitStack
    ) -> tuple[Iterable[Frame], Truth, int | None]:
        """The frames that are tried, what is true of them, and their number where it is known."""
        if self.query is not None:
            return open_drive(self.query, route_map, opened)
        frames, _ = self._frames(opened)
        queries = (frame for index, frame in enumerate(frames) if index % 2)
        if self.is_bag:
            return queries, by_position(route_map), None
        folder = DriveFolder(self.drive, route_map, self.poses)
        told = {frame.name: frame for frame in folder.told}
        entries = ImageFolder(self.drive, self.poses).selected(self.every_metres)
        names = [entry.path.name for entry in entries]
        posed = folder.posed and route_map.metric
        truth = by_position(route_map) if posed else _by_order(route_map, names)
        return (
            (replace(told[one.name], image=one.image) for one in queries),
            truth,
            len(names) // 2,
        )

    def _frames(self, opened: ExitStack) -> tuple[Iterator[Frame], LatLonAlt | None]:
        """All frames of the map's drive."""
        if not self.is_bag:
            folder = ImageFolder(self.drive, self.poses)
            return folder.frames(self.every_metres), folder.origin
        bag = opened.enter_context(BagReader(self.drive))
        frames = bag.frames(str(self.image_topic), self.pose_topic, self.every_metres)
        if self.pose_topic:
            frames = (frame for frame in frames if frame.pose is not None)
        return frames, bag.origin


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())


def _is_place(index: int) -> bool:
    return index % 2 == 0 and index // STRETCH % LEFT_OUT != LEFT_OUT - 1


def _by_order(route_map: RouteMap, names: list[str]) -> Truth:
    """By the order of images without poses; near the ends of a left out stretch not judged."""
    known = {place.name: row for row, place in enumerate(route_map.places)}
    places = [index for index in range(len(names)) if _is_place(index)]
    rows: dict[str, list[int] | None] = {}
    for index in range(1, len(names), 2):
        beside = [known[names[i]] for i in (index - 1, index + 1) if _known(i, names, known)]
        near = any(abs(index - place) <= UNJUDGED for place in places)
        rows[names[index]] = beside or (None if near else [])
    return by_rows(route_map, rows, "those beside the frame in the drive")


def _known(index: int, names: list[str], known: dict[str, int]) -> bool:
    return index < len(names) and names[index] in known
