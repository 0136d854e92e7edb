"""The synthetic town as a demo: a day and a night traverse of one route, as bags."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import saane_ros.simulation
from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.demo.finished import Finished, key_of, key_of_code
from saane_ros.demo.scene import CAMERA_TOPIC, Recording, Scene
from saane_ros.errors import SaaneError
from saane_ros.evaluation.positives import correct_places
from saane_ros.progress import progress
from saane_ros.simulation import DEMO_SEED, Town, Traverse, render_many
from saane_ros.types import Frame, Place

INFO_TOPIC = "/camera/camera_info"
POSE_TOPIC = "/ground_truth"
PLACE_EVERY_M = 0.5  # the camera of the day drive takes an image every 0.9 m: leaves out standing
TOLERANCE_FRAMES = 5
TOLERANCE_METRES = 10.0
SHORTEST_M = 20.0


@dataclass(frozen=True)
class Drive:
    """One traverse: what differs between the two is the light, the traffic and the driving."""

    condition: str
    seed: int
    speed_mps: float
    traffic: float
    start_stamp_ns: int


DAY = Drive("day", seed=11, speed_mps=9.0, traffic=1.0, start_stamp_ns=1_750_000_000 * 10**9)
NIGHT = Drive("night", seed=12, speed_mps=8.0, traffic=0.7, start_stamp_ns=1_750_040_000 * 10**9)


def town_scene(folder: Path, finished: Finished, length_m: float, rate_hz: float) -> Scene:
    """The scene of the demo's town; bags that are already in `folder` are not written again."""
    if length_m < SHORTEST_M:
        raise SaaneError(f"A route of {length_m:g} m is too short: give {SHORTEST_M:g} or more.")
    town = Town(DEMO_SEED, length_m)
    day = _recorded(town, DAY, folder / "day", finished, rate_hz)
    night = _recorded(town, NIGHT, folder / "night", finished, rate_hz)
    return Scene(
        name="town",
        title="Night localized on day in the synthetic town",
        lead=f"A drive of {length_m:g} m by day became a route map; a drive by night, with "
        "other traffic, speed and lane position, was replayed from its bag at "
        f"{rate_hz:g} Hz to the live localizer node.",
        tolerance=f"+-{TOLERANCE_FRAMES} frames or {TOLERANCE_METRES:g} m",
        route=_recording(day, PLACE_EVERY_M),
        query=_recording(night, None),
        truth=_truth,
    )


@dataclass(frozen=True)
class _Bag:
    path: Path
    key: str


def _recorded(town: Town, drive: Drive, path: Path, finished: Finished, rate_hz: float) -> _Bag:
    """The bag of a drive, written unless it is there."""
    key = key_of(
        {
            "town": town.seed,
            "length_m": town.length_m,
            "rate_hz": rate_hz,
            "drive": asdict(drive),
            "code": key_of_code(Path(saane_ros.simulation.__file__).parent),
        }
    )
    if not finished.has(path, key):
        _write_bag(town, drive, path, rate_hz)
        finished.add(path, key)
    return _Bag(path, key)


def _write_bag(town: Town, drive: Drive, path: Path, rate_hz: float) -> None:
    traverse = Traverse(
        town,
        drive.condition,
        drive.seed,
        rate_hz=rate_hz,
        speed_mps=drive.speed_mps,
        traffic=drive.traffic,
        start_stamp_ns=drive.start_stamp_ns,
    )
    camera = traverse.camera
    rendered = render_many(traverse, range(len(traverse)), workers=min(os.cpu_count() or 1, 8))
    with BagWriter(path) as bag:
        for shown in progress(rendered, f"bag {path.name}", len(traverse), "frame"):
            bag.write_image(CAMERA_TOPIC, shown.image, shown.stamp_ns)
            bag.write_camera_info(
                INFO_TOPIC, shown.stamp_ns, (camera.width, camera.height), camera.matrix.tolist()
            )
            bag.write_odometry(POSE_TOPIC, shown.stamp_ns, shown.pose, frame_id="map")


def _recording(bag: _Bag, every_metres: float | None) -> Recording:
    def frames() -> Iterator[Frame]:
        with BagReader(bag.path) as reader:
            yield from reader.frames(CAMERA_TOPIC, POSE_TOPIC, every_metres=every_metres)

    with BagReader(bag.path) as reader:
        count = reader.topics()[CAMERA_TOPIC].count
    by_hand = f"--bag {shlex.quote(str(bag.path))} --image-topic {CAMERA_TOPIC}"
    if every_metres is not None:
        by_hand += f" --pose-topic {POSE_TOPIC} --every-metres {every_metres:g}"
    return Recording(
        path=bag.path,
        key=key_of({"bag": bag.key, "every_metres": every_metres}),
        count=count,
        frames=frames,
        by_hand=by_hand,
        player={"restamp": True},
    )


def _truth(places: Sequence[Place], queries: Sequence[Frame]) -> list[NDArray[np.int64]]:
    return correct_places(
        [query.pose for query in queries],
        [place.pose for place in places],
        TOLERANCE_METRES,
        TOLERANCE_FRAMES,
    )
