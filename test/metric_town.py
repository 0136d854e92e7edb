"""A small rendered town with a map that has points, for tests of poses by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scenes import ColourGridEmbedder

from saane_ros.data.poses.transforms import IDENTITY
from saane_ros.metric.cameras import PLUMB_BOB, Camera
from saane_ros.metric.features import MOST_OF_MAP, RootSift
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.store import RouteMap
from saane_ros.simulation import Town, Traverse
from saane_ros.types import Frame

MOUNT = replace(IDENTITY, position=(0.0, 0.0, 1.5))
EVERY = 3
PLACES = 12


class MetricTown:
    """A street of `PLACES` places, and frames of the same drive between them."""

    def __init__(self, seed: int = 2001, condition: str = "day") -> None:
        self._traverse = Traverse(Town(seed, 50.0), condition, 1, lateral_m=-1.75)
        seen = self._traverse.camera
        self.camera = Camera(
            seen.width, seen.height, PLUMB_BOB, tuple(seen.matrix.ravel().tolist())
        )

    def frame(self, index: int) -> Frame:
        """A frame of the drive; the camera stands on its pose as `MOUNT` says."""
        shown = self._traverse.render(index)
        name = f"{index}"
        return Frame(shown.image, shown.stamp_ns, name, shown.pose, camera=self.camera)

    def build(self, folder: Path, points: bool = True) -> RouteMap:
        """The map of every third frame."""
        builder = RouteMapBuilder(
            ColourGridEmbedder(),
            folder / "town.routemap",
            body="base_link",
            camera=MOUNT,
            features=RootSift(MOST_OF_MAP) if points else None,
            intrinsics=self.camera,
        )
        builder.add(self.frame(i) for i in range(0, EVERY * PLACES, EVERY))
        return builder.finish()
