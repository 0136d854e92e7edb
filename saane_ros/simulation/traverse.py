"""One drive through a town: its own condition, lateral position, speed and traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.simulation.camera import (
    Camera,
    Viewpoint,
    quaternion_from_angles,
    rotation_from_angles,
)
from saane_ros.simulation.conditions import light_for
from saane_ros.simulation.drive import plan_drive
from saane_ros.simulation.renderer import Renderer
from saane_ros.simulation.town import Town
from saane_ros.simulation.traffic import Traffic
from saane_ros.types import Frame, Pose, Rgb

START_STAMP_NS = 1_600_000_000_000_000_000


@dataclass(frozen=True)
class TownFrame:
    """One camera image with everything that is known of it.

    image: uint8 (H, W, 3).  labels: uint8 (H, W), indices of `labels.CLASS_NAMES`.
    depth: float32 (H, W), metres along the optical axis, infinite for the sky.
    pose: of the body in the map frame.  travelled: metres along the route's centreline.
    """

    image: Rgb
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    pose: Pose
    stamp_ns: int
    travelled: float
    name: str

    def frame(self) -> Frame:
        """What a localizer gets to see."""
        return Frame(self.image, self.stamp_ns, self.name, self.pose, self.travelled)


class Traverse:
    """A sequence of frames; `render(i)` gives the same bytes in any order and any process.

    lateral_m: metres left of the centreline, by the seed where None.  traffic: 0 for none,
    1 for usual.  Frame i is stamped `start_stamp_ns` + i times the period of `rate_hz`.
    """

    def __init__(
        self,
        town: Town,
        condition: str,
        seed: int,
        camera: Camera | None = None,
        rate_hz: float = 10.0,
        speed_mps: float = 8.0,
        lateral_m: float | None = None,
        traffic: float = 1.0,
        start_stamp_ns: int = START_STAMP_NS,
    ) -> None:
        if rate_hz <= 0 or speed_mps <= 0:
            raise SaaneError(
                f"A traverse at {rate_hz:g} frames/s and {speed_mps:g} m/s has no end: "
                "give a rate and a speed above 0."
            )
        self.town, self.condition, self.seed = town, condition, int(seed)
        self.camera = camera or Camera()
        self.rate_hz, self.start_stamp_ns = rate_hz, start_stamp_ns
        self.light = light_for(condition, self.seed)
        self.drive = plan_drive(town.route, self.seed, rate_hz, speed_mps, lateral_m)
        self.traffic = Traffic(
            town.street, self.seed, self.drive.s, rate_hz, traffic, self.light.walkers
        )

    def __len__(self) -> int:
        return len(self.drive.s)

    def __iter__(self) -> Iterator[TownFrame]:
        return (self.render(i) for i in range(len(self)))

    def frames(self) -> Iterator[Frame]:
        """All frames as a localizer gets them."""
        return (shown.frame() for shown in self)

    @cached_property
    def poses(self) -> list[Pose]:
        """Pose of the body at every frame, without rendering."""
        return [self._pose(i) for i in range(len(self))]

    @property
    def travelled(self) -> NDArray[np.float64]:
        """Metres along the route's centreline at every frame."""
        return self.drive.s

    @property
    def stamps_ns(self) -> list[int]:
        """Stamp of every frame."""
        period = round(1e9 / self.rate_hz)
        return [self.start_stamp_ns + i * period for i in range(len(self))]

    def viewpoint(self, index: int) -> Viewpoint:
        """Where the camera is at a frame."""
        d = self.drive
        turn = rotation_from_angles(d.yaw[index], d.pitch[index], d.roll[index])
        return Viewpoint.on_body(np.array(self._position(index)), turn)

    def render(self, index: int) -> TownFrame:
        """Frame `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a traverse of {len(self)}")
        present = self.traffic.present(index)
        picture = self._renderer.render(self.viewpoint(index), present, index)
        return TownFrame(
            image=picture.image,
            labels=picture.labels,
            depth=picture.depth,
            pose=self._pose(index),
            stamp_ns=self.start_stamp_ns + index * round(1e9 / self.rate_hz),
            travelled=float(self.drive.s[index]),
            name=f"{self.condition}-{index:06d}",
        )

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self.town, self.light, self.seed, self.camera)

    def _position(self, index: int) -> tuple[float, float, float]:
        x, y = self.town.route.point(self.drive.s[index], self.drive.lateral[index])
        return float(x), float(y), 0.0

    def _pose(self, index: int) -> Pose:
        d = self.drive
        turn = quaternion_from_angles(
            float(d.yaw[index]), float(d.pitch[index]), float(d.roll[index])
        )
        return Pose(self._position(index), turn)
