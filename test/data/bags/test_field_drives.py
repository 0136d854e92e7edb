"""Bags as they come from the field: clocks and positions at fault, against the clean drive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.data.bags.raw_messages import RawMessage
from saane_ros.data.bags.reader import message_types
from saane_ros.data.bags.survey import survey_bag
from saane_ros.errors import SaaneError
from saane_ros.geodesy import from_enu
from saane_ros.route_map.builder import build_map
from saane_ros.types import Frame, Pose

S = 10**9
START = 1_700_000_000 * S
IMAGE, ODOMETRY, FIX = "/camera/image", "/odom", "/fix"
ORIGIN = (51.75, -1.25, 60.0)
SECONDS, SPEED, EVERY = 40, 2.0, 4.0
POSES_HZ = 10


class Recorder(BagWriter):
    """Records at its own time, whatever the stamps say."""

    recorded_ns = START

    def write_raw(self, message: RawMessage) -> None:
        super().write_raw(replace(message, stamp_ns=self.recorded_ns))


def way(seconds: float) -> tuple[float, float, float]:
    """Where the vehicle is: 2 m/s along a bend of 50 m."""
    angle = SPEED * seconds / 50
    return 50 * math.sin(angle), 50 * (1 - math.cos(angle)), 0.0


def record(
    path: Path,
    image_stamps: list[int],
    pose_stamps: list[int],
    positions: list[tuple[float, float, float] | None],
    write: Callable[[Recorder, int, tuple[float, float, float]], None],
) -> None:
    with Recorder(path) as bag:
        for row, (stamp, position) in enumerate(zip(pose_stamps, positions, strict=True)):
            bag.recorded_ns = START + row * S // POSES_HZ
            if row % POSES_HZ == POSES_HZ // 2:
                number = row // POSES_HZ
                bag.write_image(IMAGE, smooth_scene(number, 24, 32), image_stamps[number])
            if position is not None:
                write(bag, stamp, position)


def as_odometry(bag: Recorder, stamp: int, position: tuple[float, float, float]) -> None:
    bag.write_odometry(ODOMETRY, stamp, Pose(position))


def as_fix(bag: Recorder, stamp: int, position: tuple[float, float, float]) -> None:
    if all(abs(value) < 1e6 for value in position):
        position = tuple(from_enu(np.array([position]), ORIGIN)[0].tolist())  # type: ignore[assignment]
    bag.write_fix(FIX, stamp, *position)


def places(path: Path, topic: str | None, metres: float | None = None) -> dict[int, Frame]:
    """What a map would be made of, by the number of the image."""
    with BagReader(path) as bag:
        frames = list(bag.frames(IMAGE, topic, metres, None if metres else 2.0))
    return {int(frame.name.partition("#")[2]): frame for frame in frames}


ROWS = SECONDS * POSES_HZ
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["stamp", "image", "position", "nan", "gap", "repeat", "zero"]),
        st.integers(0, ROWS - 1),
        st.floats(20, 1e7) | st.floats(-1e9, -20) | st.just(1e200),
    ),
    min_size=1,
    max_size=5,
)


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    faults=FAULTS,
    step=st.tuples(
        st.integers(0, ROWS), st.sampled_from([0, 0, 3600, -3600, 90, 4, -4, 3 * 10**8])
    ),
    write=st.sampled_from([as_odometry, as_fix]),
)
def test_a_map_of_a_faulty_drive_is_that_of_the_clean_one_but_for_a_few_places(
    tmp_path_factory: pytest.TempPathFactory,
    faults: list[tuple[str, int, float]],
    step: tuple[int, int],
    write: Callable[[Recorder, int, tuple[float, float, float]], None],
) -> None:
    folder = tmp_path_factory.mktemp("field")
    times = [row / POSES_HZ for row in range(ROWS)]
    clock = [START + round(t * S) + step[1] * S * (row >= step[0]) for row, t in enumerate(times)]
    images = [clock[number * POSES_HZ + POSES_HZ // 2] for number in range(SECONDS)]
    stamps, positions = list(clock), [way(t) for t in times]
    for kind, row, value in faults:
        x, y, z = positions[row] or (0.0, 0.0, 0.0)
        if kind == "stamp":
            stamps[row] += round(min(max(value, -1e8), 3e8)) * S
        elif kind == "image":
            images[row // POSES_HZ] += round(min(max(value, -1e8), 3e8)) * S
        elif kind == "position":
            positions[row] = (x + value, y, z)
        elif kind == "nan":
            positions[row] = (x, math.nan, z)
        elif kind == "gap":
            positions[row : row + 8] = [None] * len(positions[row : row + 8])
        elif kind == "repeat":
            stamps[row] = stamps[row - 1]
        elif write is as_fix:
            positions[row] = (0.0, 0.0, -ORIGIN[2])
    if write is as_fix:  # Null Island, told to a receiver as latitude and longitude
        write_ = lambda bag, stamp, p: (  # noqa: E731
            bag.write_fix(FIX, stamp, 0.0, 0.0, 0.0)
            if p == (0.0, 0.0, -60.0)
            else as_fix(bag, stamp, p)
        )
    else:
        write_ = write
    stamps = [max(stamp, 1) for stamp in stamps]
    images = [min(max(stamp, 1), (2**31 - 1) * S) for stamp in images]
    stamps = [min(stamp, (2**31 - 1) * S) for stamp in stamps]
    record(folder / "bag", images, stamps, positions, write_)
    found = places(folder / "bag", ODOMETRY if write is as_odometry else FIX, EVERY)
    # Moved: the pose of a place is that of the vehicle at the time of its image. Fixes are metres
    # of the first believed one, which may be a little on the way.
    true = {number: np.array(way(number + 0.5)) for number in range(SECONDS)}
    offsets = np.array([true[n] - frame.pose.position for n, frame in found.items() if frame.pose])
    slack = 1.5 if write is as_odometry else 10.5
    if step[1] == -4:  # four seconds are stamped twice: nobody can tell them apart
        slack += 4 * SPEED
    assert np.linalg.norm(offsets - np.median(offsets, axis=0), axis=1).max() < slack
    # Lost: a frame every 4 m of 80 m are 20 places; every fault may cost its own image and the
    # two between the poses that it takes away.
    covered = [
        number
        for number, position in true.items()
        if min(math.dist(position, true[other]) for other in found) <= EVERY
    ]
    lost = 2 * bool(step[1]) + 8 * (step[1] == -4)
    assert SECONDS - len(covered) <= 3 * len(faults) + lost
    assert len(found) <= SECONDS * SPEED / EVERY + 2 * len(faults) + 3


@settings(deadline=None, max_examples=12)
@given(
    leaps=st.dictionaries(
        st.integers(0, SECONDS - 1), st.integers(-(10**8), 3 * 10**8), min_size=1, max_size=5
    )
)
def test_images_without_poses_keep_their_places_whatever_the_stamps(
    tmp_path_factory: pytest.TempPathFactory, leaps: dict[int, int]
) -> None:
    images = [START + n * S + leaps.get(n, 0) * S for n in range(SECONDS)]
    path = tmp_path_factory.mktemp("images") / "bag"
    record(path, images, [START] * ROWS, [None] * ROWS, as_odometry)
    found = sorted(places(path, None))
    gaps = np.diff([-1, *found, SECONDS])
    assert gaps.max() <= 3 + 2 * len(leaps)
    assert SECONDS // 2 - 2 * len(leaps) <= len(found) <= SECONDS // 2 + 2 * len(leaps)


def clean(
    path: Path,
    write: Callable[[Recorder, int, tuple[float, float, float]], None] = as_odometry,
    offset_s: int = 0,
) -> None:
    stamps = [START + row * S // POSES_HZ for row in range(ROWS)]
    images = [offset_s * S + START + n * S + S // 2 for n in range(SECONDS)]
    record(path, images, stamps, [way(row / POSES_HZ) for row in range(ROWS)], write)


def test_standing_in_the_noise_of_a_receiver_is_no_way(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.7, (ROWS, 3))
    true = [max(0.0, row / POSES_HZ - 30) * SPEED for row in range(ROWS)]  # 30 s standing, 20 m
    positions = [
        tuple((n + np.array((0, m, 0))).tolist()) for n, m in zip(noise, true, strict=True)
    ]
    stamps = [START + row * S // POSES_HZ for row in range(ROWS)]
    images = [START + n * S + S // 2 for n in range(SECONDS)]
    record(tmp_path / "bag", images, stamps, positions, as_fix)
    found = places(tmp_path / "bag", FIX, 2.0)
    assert 8 <= len(found) <= 12
    assert sum(number < 29 for number in found) <= 4
    with BagReader(tmp_path / "bag") as bag:
        assert bag.pose_track(FIX).travelled[-1] == pytest.approx(20, abs=4)


def test_fixes_of_null_island_and_of_huge_covariance_are_named(tmp_path: Path) -> None:
    def write(bag: Recorder, stamp: int, position: tuple[float, float, float]) -> None:
        row = (stamp - START) * POSES_HZ // S
        if row < 50:
            bag.write_fix(FIX, stamp, 0.0, 0.0, 0.0)
            return
        types = message_types()
        name = "sensor_msgs/msg/NavSatFix"
        latitude, longitude, altitude = from_enu(np.array([position]), ORIGIN)[0].tolist()
        variance = 1e8 if row % 2 else 4.0
        message = bag._new(
            name,
            header=bag._header(stamp, "gps"),
            status=bag._new("sensor_msgs/msg/NavSatStatus", status=0, service=1),
            latitude=latitude + (0.5 if row % 2 else 0.0),
            longitude=longitude,
            altitude=altitude,
            position_covariance=np.diag([variance] * 3).ravel(),
            position_covariance_type=2,
        )
        data = bytes(types.serialize_cdr(message, name))
        bag.write_raw(RawMessage(FIX, name, stamp, data))

    clean(tmp_path / "bag", write)
    with BagReader(tmp_path / "bag") as bag:
        track = bag.pose_track(FIX)
        assert bag.origin == pytest.approx(from_enu(np.array([way(5.0)]), ORIGIN)[0], abs=1e-7)
        assert bag.report.ignored_poses == 50 + 175
    assert len(track.stamps_ns) == 175
    assert track.travelled[-1] == pytest.approx(SPEED * 34.8, abs=2)


def test_a_bag_of_nothing_but_zero_fixes_says_so(tmp_path: Path) -> None:
    clean(tmp_path / "bag", lambda bag, stamp, _: bag.write_fix(FIX, stamp, 0.0, 0.0, 0.0))
    with (
        BagReader(tmp_path / "bag") as bag,
        pytest.raises(SaaneError, match="400 at latitude 0, longitude 0"),
    ):
        bag.pose_track(FIX)


def test_images_and_poses_of_two_clocks_are_refused_with_both(tmp_path: Path) -> None:
    clean(tmp_path / "bag", offset_s=100 - START // S)
    with BagReader(tmp_path / "bag") as bag:
        with pytest.raises(SaaneError, match=r"1970-01-01 00:01:42, .* 2023-11-14 22:13:20"):
            bag.frames(IMAGE, ODOMETRY)
        survey = survey_bag(bag)
        (doubt,) = survey.doubts
        assert "the images are of 1970-01-01 00:01:40 to 1970-01-01 00:02:19" in doubt
        assert "the poses of 2023-11-14 22:13:20 to 2023-11-14 22:13:59" in doubt
        (command,) = survey.commands
        assert "--pose-topic" not in command
        assert len(list(bag.frames(IMAGE))) == SECONDS


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    stamps = [START + row * S // POSES_HZ for row in range(ROWS)]
    images = [START + n * S + S // 2 - 3600 * S * (n >= 20) for n in range(SECONDS)]
    images[7] = 2_085_978_496 * S
    positions = [way(row / POSES_HZ) for row in range(ROWS)]
    positions[100] = (1e200, 0.0, 0.0)
    positions[150] = (0.0, 300.0, 0.0)
    record(tmp_path / "bag", images, stamps, positions, as_odometry)
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.frames(IMAGE, ODOMETRY))) == SECONDS - 1
        told = " ".join(bag.report.sentences())
    assert f"{IMAGE}#7: its stamp leaps from 2023-11-14 22:13:26 to 2036-02-07" in told
    assert "clock was set back, and they go on by the new time: 1." in told
    assert "1 absurd, 1 outliers" in told
    assert "Frames without a pose at their time: 20." in told


def test_the_builder_itself_takes_a_clock_that_was_set_anew(tmp_path: Path) -> None:
    stamps = [*range(10), *range(-3600, -3590)]
    frames = [Frame(smooth_scene(n), stamp * S, f"{n}") for n, stamp in enumerate(stamps)]
    frames.insert(4, Frame(smooth_scene(77), 10**9 * S, "future"))
    route_map = build_map(frames, ColourGridEmbedder(), tmp_path / "m.routemap")
    assert [p.name for p in route_map.places if p.name != "future"] == [str(n) for n in range(20)]
