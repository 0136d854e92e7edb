"""A map that grows as it is driven: frames off its route become places, posed by odometry."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import quaternion_of, rotation_of
from saane_ros.data.selection import Selector
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.body import Base
from saane_ros.metric.cameras import camera_with
from saane_ros.metric.features import MOST_OF_MAP, RootSift
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.info import read_info
from saane_ros.route_map.merge import check_extendable, merge_maps
from saane_ros.route_map.statistics import drive_names
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Match, MatchState, Pose

LAG = 6
"""Places at the end of a stretch on the map whose poses are not believed: it takes a few frames off
the route until that is noticed, and a turn off it begins with a wrong heading."""
ANCHORS = 20
"""Places before those, whose poses tell together how odometry lies in the map."""
HELD = 40
"""Places since the last on the map that are held until the robot is surely off the route."""
JUMP_M = 5.0
"""Metres that two positions of odometry may lie farther apart than was driven between them."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame, its pose by odometry, and its pose in the map where it was localized."""

    frame: Frame
    odometry: Pose
    pose: Pose | None = None


class MapExtension:
    """Places beside a map, in a journal on disk, until `finish` merges them into it.

    A place lies where odometry leads from the last poses on the map; how far that is off grows with
    the way, as no loop is closed. The last frames on the map and the first one back on it are
    places too, which join the new road to the old. What a run that was interrupted had gathered is
    taken over. Filled by the worker, finished by another thread. Those of a map with points get
    some too where the frames tell their camera and odometry is true to the images.
    base: whose poses the matches and the odometry have; new places have the map's body's, as all.
    """

    def __init__(self, embedder: Embedder, route_map: RouteMap, base: Base) -> None:
        check_extendable(route_map)
        info = route_map.info
        self.route_map, self._base = route_map, base
        # Each extension is a drive of its own, and one that was interrupted keeps its name.
        drives = len(set(drive_names(route_map)))
        path = route_map.path.with_name(f"{info.name}.{drives}")
        self._builder: RouteMapBuilder | None = RouteMapBuilder(
            embedder,
            path,
            frame_id=info.frame_id,
            origin=info.origin,
            grid=info.grid,
            batch=1,
            source="extension",
            dtype=info.dtype,
            live=True,
            postprocessing=info.postprocessing,
            body=info.body,
            camera=info.camera,
            rerank=info.rerank,
            features=None if route_map.points is None else RootSift(MOST_OF_MAP),
        )
        self._every = route_map.localizable().graph.step
        self._lock = threading.Lock()
        self._before: tuple[Pose, float] | None = None
        self._begin()

    def _begin(self) -> None:
        """Begin a stretch of which nothing is known."""
        self._off = False
        self._lies: tuple[Floats, Floats] | None = None
        self._selector = Selector(every_metres=self._every)
        self._on_map: deque[_Seen] = deque(maxlen=ANCHORS + LAG)
        self._held: deque[_Seen] = deque(maxlen=HELD)

    def __len__(self) -> int:
        """New places so far."""
        return 0 if self._builder is None else len(self._builder)

    def take(self, frame: Frame, match: Match, odometry: tuple[Pose, float] | None) -> None:
        """Take a frame, what it was found to be, and by odometry its pose and the metres driven.

        Frames without odometry are left out; a jump of it is the caller's to tell by `None`.
        """
        with self._lock:
            if self._builder is None or odometry is None:
                return
            there, metres = odometry
            if self._jumped(there, metres):
                self._begin()
            self._before = odometry
            localized = match.state is MatchState.LOCALIZED
            self._off = self._off or match.state is MatchState.OFF_ROUTE
            if localized and self._off and match.pose is not None:
                if self._lies is not None:
                    self._builder.add([self._posed(frame, match.pose)])
                self._begin()
            if not self._selector.keep(frame.stamp_ns, metres):
                return
            if localized:
                self._held.clear()
                self._on_map.append(_Seen(frame, there, match.pose))
                return
            self._held.append(_Seen(frame, there))
            if self._off:
                self._add_held(self._builder)

    def finish(self) -> int:
        """Merge the new places into the map on disk, and their number.

        The map is replaced in one step; where that fails it stays as it was, and so do the places.
        """
        with self._lock:
            builder, self._builder = self._builder, None
        if builder is None:
            return 0
        if not len(builder):
            builder.discard()
            return 0
        try:
            if read_info(self.route_map.path) != self.route_map.info:
                raise SaaneError(
                    f"Map {self.route_map.path} was written anew meanwhile: the new places are "
                    "kept for its next extension."
                )
            new = builder.save()
            merge_maps([self.route_map, new], self.route_map.path)
        except BaseException:
            builder.close()
            raise
        builder.discard()
        shutil.rmtree(new.path)
        return new.info.count

    def close(self) -> None:
        """Stop; the places stay for the next extension of this map."""
        with self._lock:
            builder, self._builder = self._builder, None
        if builder is not None:
            builder.close()

    def _jumped(self, there: Pose, metres: float) -> bool:
        """Whether the frame of the odometry was set anew, so that earlier poses say nothing."""
        if self._before is None:
            return False
        pose, driven = self._before
        apart = float(np.linalg.norm(np.subtract(there.position, pose.position)))
        return apart > abs(metres - driven) + JUMP_M

    def _add_held(self, builder: RouteMapBuilder) -> None:
        """Add the places held, behind the last ones on the map where these are the first."""
        if self._lies is None:
            anchors = [one for one in list(self._on_map)[:-LAG] if one.pose is not None]
            if not anchors:
                return
            self._lies = _lies(anchors)
            self._held = deque([*list(self._on_map)[-LAG:], *self._held])
        turn, shift = self._lies
        builder.add(
            self._posed(one.frame, _in_map(one.odometry, turn, shift)) for one in self._held
        )
        self._held.clear()

    def _posed(self, frame: Frame, base: Pose) -> Frame:
        """A frame as a place: the map's poses are those of its body, not of the robot's base."""
        name = f"{frame.stamp_ns / 1e9:.3f}"
        if self._builder is not None and frame.camera is not None:
            self._builder.intrinsics = self._builder.intrinsics or camera_with(frame.camera)
        return Frame(frame.image, frame.stamp_ns, name, self._base.body_of(base), frame.travelled)


def _lies(anchors: Sequence[_Seen]) -> tuple[Floats, Floats]:
    """How odometry lies in the map: a turn (3, 3), the mean of all, and a shift (3,), metres."""
    pairs = [(one.pose, one.odometry) for one in anchors if one.pose is not None]
    turns = [rotation_of(pose.orientation) @ rotation_of(o.orientation).T for pose, o in pairs]
    left, _, right = np.linalg.svd(np.mean(turns, axis=0))
    turn = left @ np.diag((1.0, 1.0, np.linalg.det(left @ right))) @ right
    shifts = [pose.position - turn @ np.array(o.position) for pose, o in pairs]
    return turn, np.mean(shifts, axis=0)


def _in_map(odometry: Pose, turn: Floats, shift: Floats) -> Pose:
    x, y, z = (float(value) for value in turn @ np.array(odometry.position) + shift)
    return Pose((x, y, z), quaternion_of(turn @ rotation_of(odometry.orientation)))
