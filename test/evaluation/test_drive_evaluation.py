"""A drive from its files to figures: read, embedded once, replayed, judged, written."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.bags import BagWriter
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.drive import DriveFolder, away_frames, embed_away, embed_drive
from saane_ros.evaluation.drives.evaluation import DriveEvaluation, as_text, evaluate_drive, replay
from saane_ros.evaluation.drives.report import belief_chart
from saane_ros.evaluation.drives.results import DriveSource, open_drive
from saane_ros.evaluation.drives.scenarios import build_scenarios
from saane_ros.evaluation.drives.suite import read_suite
from saane_ros.evaluation.drives.truth import Whereabouts, by_position, by_rows, no_truth
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.sequence import TOLERANCE_STEPS
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState, Pose, Rgb

COUNT, SPACING = 60, 3.0
NEAR = round(TOLERANCE_STEPS)
NEAR_M = SPACING * NEAR
"""The tolerance is three places, 9 m."""
BLACK = 30


def night(place: int) -> Rgb:
    noise = np.random.default_rng(place).normal(0, 20, (120, 160, 3))
    return np.clip(0.6 * smooth_scene(place) + 20 + noise, 0, 255).astype(np.uint8)


def strange(count: int) -> list[Frame]:
    return [Frame(smooth_scene(5000 + i), i * 10**9, str(i)) for i in range(count)]


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"{i}.png", Pose((SPACING * i, 5.0, 0.0)))
        for i in range(COUNT)
    ]
    return build_map(frames, ColourGridEmbedder(), tmp_path_factory.mktemp("m") / "day.routemap")


@pytest.fixture
def localizer(route_map: RouteMap) -> Localizer:
    return Localizer(ColourGridEmbedder(), route_map, Settings())


def drive_frames() -> list[Frame]:
    """Every place by night, one covered lens among them, 1 m beside the places."""
    return [
        Frame(
            np.zeros((9, 9, 3), np.uint8) if i == BLACK else night(i),
            i * 10**9,
            f"{i}.png",
            Pose((SPACING * i, 6.0, 0.0)),
            SPACING * i,
        )
        for i in range(COUNT)
    ]


def rows_of(truth: Whereabouts) -> list[int] | None:
    return None if truth.rows is None else truth.rows.tolist()


@pytest.fixture(scope="module")
def found(route_map: RouteMap) -> DriveEvaluation:
    return evaluate_drive(
        Localizer(ColourGridEmbedder(), route_map, Settings()),
        route_map,
        drive_frames(),
        by_position(route_map),
        {"far": strange(60)},
    )


def test_the_plain_row_is_what_the_localizer_says(
    localizer: Localizer, found: DriveEvaluation
) -> None:
    rows = {(row.name, row.tag): row for row in found.rows}
    for name, odometry in (("plain", False), ("plain, odometry", True)):
        localizer.reset()
        right = wrong = 0
        for i, frame in enumerate(drive_frames()):
            if i == BLACK:
                continue
            view = localizer.embed(frame)
            match = localizer.locate(view, frame.stamp_ns, SPACING * i if odometry else None)
            if match.state is MatchState.LOCALIZED:
                right += abs(match.place.id - i) <= 3
                wrong += abs(match.place.id - i) > 3
        row = rows[name, ""]
        assert (row.right, row.wrong, row.refused, row.on) == (right, wrong, 1, COUNT - 1)
        assert right > 30
        assert row.nees is not None
    localizer.reset()
    states = [localizer.localize(frame).match.state for frame in strange(60)]
    alone = rows["alone", "far"]
    assert alone.false_localized == states.count(MatchState.LOCALIZED)
    assert alone.said_off == states.count(MatchState.OFF_ROUTE)
    assert (alone.on, alone.off, alone.nees) == (0, 60, None)
    inserted = rows["inserted", "far"]
    assert (inserted.on, len(inserted.jumps.recovery)) == (COUNT - 1, 2)
    assert rows["parked", "far"].parked == 10
    assert rows["stops", ""].stops == 20
    counted = sum(found.reliability["all"].counts)
    assert counted == sum(row.on + row.off for row in found.rows)
    text = as_text(found)
    assert len([line for line in text.splitlines() if " far " in line]) == 3
    assert f"within {NEAR_M:.1f} m" in text
    json.dumps(found.as_dict(), allow_nan=False)


def test_traces_hold_the_belief(localizer: Localizer, found: DriveEvaluation) -> None:
    plain, away = found.traces
    assert (plain.scenario.name, away.scenario.name) == ("plain", "inserted")
    assert plain.belief.shape == (COUNT, COUNT)
    localizer.reset()
    for i, frame in enumerate(drive_frames()):
        if i != BLACK:
            localizer.locate(localizer.embed(frame), frame.stamp_ns)
        spots, masses, rest, off = localizer.belief
        assert masses.sum() + rest + off == pytest.approx(1.0)
        np.testing.assert_allclose(plain.belief[i][spots], masses, rtol=1e-5)
        assert plain.belief[i].sum() == pytest.approx(masses.sum(), abs=1e-5)
    assert plain.found[BLACK] == -1
    drawn = belief_chart(plain)
    localized = int(plain.answers.localized.sum())
    assert drawn.count("<circle") == localized
    assert drawn.count("<polyline") == 1
    assert belief_chart(away).count("<polyline") == 3


def test_a_replay_starts_afresh_where_it_says(localizer: Localizer, route_map: RouteMap) -> None:
    truth = by_position(route_map)
    drive = embed_drive(localizer, drive_frames(), truth)
    away = embed_away(localizer, "far", strange(12))
    assert len(away.parked) == 10
    assert sorted(drive.again) == sorted(drive.blanks)
    (parked,) = [one for one in build_scenarios(drive, [away]) if one.name == "parked"]
    together = list(replay(localizer, parked))
    for first in parked.fresh:
        localizer.reset()
        for step, known in zip(parked.steps[first : first + 40], together[first:], strict=False):
            assert step.view is not None
            assert known is not None
            alone = localizer.locate(step.view, step.stamp_ns)
            assert (alone.confidence, alone.place) == (known.confidence, known.place)


def test_without_truth_only_states_are_told(localizer: Localizer, route_map: RouteMap) -> None:
    plain = evaluate_drive(localizer, route_map, drive_frames()[:12], no_truth()).rows[0]
    assert (plain.on, plain.off, plain.precision, plain.ece, plain.nees) == (0, 0, None, None, None)
    assert sum(plain.states.values()) == 12
    assert plain.states["localized"] > 4
    with pytest.raises(SaaneError, match="no frame that can be matched"):
        evaluate_drive(localizer, route_map, drive_frames()[BLACK : BLACK + 1], no_truth())


def test_positions_decide_what_is_right_and_off(route_map: RouteMap) -> None:
    truth = by_position(route_map)

    def at(x: float, y: float) -> Whereabouts:
        return truth.of(Frame(np.empty((0, 0, 3), np.uint8), 0, pose=Pose((x, y, 50.0))))

    assert rows_of(at(30.0, 5.0)) == list(range(10 - NEAR, 11 + NEAR))
    assert at(31.0, 5.0).place == 10
    assert rows_of(at(30.0, 5.0 + NEAR_M - 0.1)) == [10]
    assert rows_of(at(30.0, 5.0 + NEAR_M + 0.1)) is None
    assert rows_of(at(30.0, 5.0 + 2 * NEAR_M - 0.1)) is None
    assert rows_of(at(30.0, 5.0 + 2 * NEAR_M + 0.1)) == []
    assert rows_of(at(float("nan"), 5.0)) is None
    assert truth.of(Frame(np.empty((0, 0, 3), np.uint8), 0)).rows is None


def images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / name), smooth_scene(int(Path(name).stem), 30, 40)[..., ::-1])
    return folder


def opened(source: DriveSource, route_map: RouteMap) -> tuple[list[Frame], list[list[int] | None]]:
    with ExitStack() as stack:
        frames, truth, total = open_drive(source, route_map, stack)
        shown = list(frames)
    assert total == len(shown)
    return shown, [rows_of(truth.of(frame)) for frame in shown]


def test_every_form_of_truth_of_a_folder(route_map: RouteMap, tmp_path: Path) -> None:
    folder = images(tmp_path / "query", ["9.png", "10.png", "11.png", "700.png"])
    assert opened(DriveSource(folder), route_map)[1] == [None] * 4
    by_name = opened(DriveSource(folder, "same-names"), route_map)[1]
    around = [list(range(i - NEAR, i + NEAR + 1)) for i in (9, 10, 11)]
    assert by_name == [*around, []]

    table = tmp_path / "ground_truth.csv"
    table.write_text("query_index,correct_reference_indices\n0,9\n1,10 30\n3,59\n")
    expected = [
        around[0],
        [*around[1], *range(30 - NEAR, 31 + NEAR)],
        [],
        list(range(59 - NEAR, 60)),
    ]
    assert opened(DriveSource(folder, str(table)), route_map)[1] == expected
    # The files beside the table count, also those that the map left out.
    images(tmp_path / "ref", ["9.png", "200.png", "30.png"])
    table.write_text("query_index,correct_reference_indices\n0,0 2\n1,1\n2,2\n")
    expected = [around[0], list(range(30 - NEAR, 31 + NEAR)), None, []]
    assert opened(DriveSource(folder, str(table)), route_map)[1] == expected

    poses = tmp_path / "truth.csv"
    poses.write_text(
        "name,x,y,yaw\n9.png,27,5,0\n10.png,25.5,5,0\n11.png,30,5,0\n700.png,0,900,0\n"
    )
    frames, rows = opened(DriveSource(folder, str(poses)), route_map)
    between = [i for i in range(COUNT) if abs(SPACING * i - 25.5) <= NEAR_M]
    assert rows == [around[0], between, around[1], []]
    assert [frame.travelled for frame in frames] == pytest.approx([0.0, -1.5, 3.0, -27.0])
    (folder / "poses.csv").write_text(poses.read_text())
    assert opened(DriveSource(folder), route_map)[1] == rows
    assert opened(DriveSource(folder, "same-names"), route_map)[1] == by_name


def test_utm_names_of_drive_and_map_are_one_frame(tmp_path: Path) -> None:
    def name(x: float) -> str:
        return f"@{500000 + x:.2f}@5700000.00@32@U@@@@@@@@@@@.jpg"

    for folder, start in (("day", 0), ("night", 12)):
        (tmp_path / folder).mkdir()
        for i in range(8):
            path = tmp_path / folder / name(start + 4 * i)
            cv2.imwrite(str(path), smooth_scene(i, 30, 40))
    day = ImageFolder(tmp_path / "day")
    made = build_map(day.frames(), ColourGridEmbedder(), tmp_path / "at.routemap")
    frames, rows = opened(DriveSource(tmp_path / "night"), made)
    assert rows[0] == list(range(min(8, 4 + NEAR)))
    assert frames[0].pose is not None
    assert frames[0].pose.position[0] == pytest.approx(12.0)
    assert frames[1].travelled == pytest.approx(4.0)


def test_a_map_without_poses_takes_truth_in_places(tmp_path: Path) -> None:
    bare = build_map(
        [Frame(smooth_scene(i), i, f"{i}.png") for i in range(20)],
        ColourGridEmbedder(),
        tmp_path / "bare",
    )
    truth = by_rows(bare, {"a": [1], "b": [10, 11]}, "as told")
    blank = np.empty((0, 0, 3), np.uint8)
    assert rows_of(truth.of(Frame(blank, 0, "a"))) == list(range(2 + NEAR))
    assert rows_of(truth.of(Frame(blank, 0, "b"))) == list(range(10 - NEAR, 12 + NEAR))
    assert rows_of(truth.of(Frame(blank, 0, "c"))) == []
    with pytest.raises(SaaneError, match="no poses"):
        by_position(bare)
    folder = images(tmp_path / "drive", ["1.png", "2.png"])
    with pytest.raises(SaaneError, match="There is no truth file gone"):
        opened(DriveSource(folder, "gone"), bare)
    odd = images(tmp_path / "odd", ["91.png", "92.png"])
    with pytest.raises(SaaneError, match="No frame of the drive has the name"):
        opened(DriveSource(odd, "same-names"), bare)


def test_a_bag_with_odometry_that_backs_and_a_true_pose(
    route_map: RouteMap, tmp_path: Path
) -> None:
    heading = yaw_quaternion(np.pi / 2)
    with BagWriter(tmp_path / "bag") as bag:
        for step, along in enumerate((0.0, 3.0, 6.0, 3.0, 0.0)):
            bag.write_image("/image", night(step), step * 10**9 + 1)
            odometry = Pose((1.0, along, 0.0), heading)
            bag.write_odometry("/odom", step * 10**9 + 1, odometry, frame_id="odom")
            true = Pose((30.0 + along, 5.0, 0.0))
            bag.write_odometry("/truth", step * 10**9 + 1, true, frame_id="map")
    source = DriveSource(tmp_path / "bag", "/truth", "/image", "/odom")
    frames, rows = opened(source, route_map)
    assert [frame.travelled for frame in frames] == pytest.approx([0, 3, 6, 3, 0])
    assert [None if row is None else row[NEAR] for row in rows] == [10, 11, 12, 11, 10]
    frames, rows = opened(DriveSource(tmp_path / "bag", None, "/image"), route_map)
    assert [frame.travelled for frame in frames] == [None] * 5
    assert rows == [None] * 5
    with pytest.raises(SaaneError, match="--image-topic"):
        opened(DriveSource(tmp_path / "bag"), route_map)
    with pytest.raises(SaaneError, match="neither a topic"):
        opened(DriveSource(tmp_path / "bag", "/gone", "/image"), route_map)


def test_images_from_elsewhere_are_a_run_of_each_folder(tmp_path: Path) -> None:
    for camera in ("a", "b"):
        images(tmp_path / camera, [f"{i}.png" for i in range(120)])
    frames = [frame.name for frame in away_frames(tmp_path)]
    assert frames == [f"{i}.png" for _ in "ab" for i in range(100)]
    (tmp_path / "none").mkdir()
    with pytest.raises(SaaneError, match="holds no images"):
        list(away_frames(tmp_path / "none"))


def test_a_drive_folder_knows_poses_before_pixels(route_map: RouteMap, tmp_path: Path) -> None:
    folder = images(tmp_path / "d", ["1.png", "2.png"])
    with (folder / "poses.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("name", "x", "y"), ("1.png", 1, 2), ("2.png", 4, 6)])
    drive = DriveFolder(folder, route_map)
    assert drive.posed
    assert [frame.travelled for frame in drive.told] == [0.0, pytest.approx(5.0)]
    assert [frame.image.shape for frame in drive.frames()] == [(30, 40, 3)] * 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("drives: {a: {map: x}}", "needs either a dataset, or map and drive"),
        ("drives: {a: {dataset: x, without: [b]}}", "b of drives.a is not in away"),
        ("drives: {a: {dataset: x, trth: b}}", "unknown key drives.a.trth"),
        ("[", "is not YAML"),
    ],
)
def test_mistakes_of_a_suite_are_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SaaneError, match=told):
        read_suite(tmp_path / "s.yaml")


def test_the_suites_that_ship_are_sound() -> None:
    folder = Path(__file__).resolve().parents[2] / "config" / "drives"
    suites = {path.stem: read_suite(path) for path in folder.glob("*.yaml")}
    assert set(suites) == {"example", "results"}
    assert len(suites["results"].away) == 8
    assert {"corridor", "grief_season", "nordland", "kitti"} <= set(suites["results"].drives)
