"""`saane localize`: one line per frame, the Localizer's own answers, the same on every run."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.data.bags import BagWriter
from saane_ros.data.poses.files import read_poses
from saane_ros.embedding import loading
from saane_ros.errors import SaaneError
from saane_ros.geodesy import from_enu, geographic, local
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import RouteMapBuilder, build_map
from saane_ros.route_map.info import knowing_its_maker
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose

QUERIES = range(10, 22)
BLACK = 5
_load_embedder = loading.load_embedder


def night(place: int) -> np.ndarray:
    noise = np.random.default_rng(place).normal(0, 80, (120, 160, 3))
    return np.clip(0.5 * smooth_scene(place) + 20 + noise, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real but small model under any name: models are tested elsewhere."""
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


@pytest.fixture
def route_map(tmp_path: Path, request: pytest.FixtureRequest) -> RouteMap:
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"day{i}", Pose((2.0 * i, 5.0, 0.0))) for i in range(40)
    ]
    return build_map(
        frames,
        ColourGridEmbedder(),
        tmp_path / "m.routemap",
        postprocessing=getattr(request, "param", "none"),
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "night"
    folder.mkdir()
    for step, place in enumerate(QUERIES):
        image = np.zeros((9, 9, 3), np.uint8) if step == BLACK else night(place)
        cv2.imwrite(str(folder / f"{place}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("route_map", ["none", "standardise"], indirect=True)
def test_one_line_per_frame_as_the_localizer_says(
    route_map: RouteMap, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["localize", "--map", str(route_map.path), "--images", str(images)]
    assert main([*call, "--out", str(tmp_path / "a.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 frames could not be used" in captured.err
    first = (tmp_path / "a.csv").read_bytes()
    assert main([*call, "--out", str(tmp_path / "b.csv")]) == 0
    assert (tmp_path / "b.csv").read_bytes() == first
    capsys.readouterr()
    assert main(call) == 0
    assert capsys.readouterr().out.encode() == first

    table = rows(first.decode())
    assert [row["name"] for row in table] == [f"{place}.png" for place in QUERIES]
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    for step, (row, place) in enumerate(zip(table, QUERIES, strict=True)):
        assert row["stamp_ns"] == str(step * 10**9)
        if step == BLACK:
            assert (row["state"], row["place"], row["x"]) == ("unusable", "", "")
            continue
        match = localizer.localize(Frame(night(place), step * 10**9)).match
        assert (row["state"], row["place"]) == (match.state.value, str(match.place.id))
        assert row["place_name"] == match.place.name
        assert float(row["distance"]) == pytest.approx(match.distance, abs=1e-6)
        assert float(row["ratio"]) == pytest.approx(match.ratio, abs=1e-6)
        assert float(row["confidence"]) == pytest.approx(match.confidence, abs=1e-6)
        assert float(row["off_route"]) == pytest.approx(match.off_route, abs=1e-6)
        if match.pose is not None:
            found = [float(row[axis]) for axis in "xyz"]
            assert found == pytest.approx(match.pose.position, abs=1e-4)
    assert table[-1]["state"] == "localized"
    assert table[-1]["place_name"] == "day21"
    assert float(table[-1]["x"]) == pytest.approx(42.0, abs=1.0)


@pytest.mark.parametrize("route_map", ["none", "standardise"], indirect=True)
def test_a_bag_gives_what_its_images_give(
    route_map: RouteMap, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / f"{QUERIES[BLACK]}.png").unlink()
    with BagWriter(tmp_path / "bag") as bag:
        for step, place in enumerate(p for p in QUERIES if p != QUERIES[BLACK]):
            bag.write_image("/image", night(place), step * 10**9 + 7)
    base = ["localize", "--map", str(route_map.path)]
    assert main([*base, "--bag", str(tmp_path / "bag"), "--image-topic", "/image"]) == 0
    from_bag = rows(capsys.readouterr().out)
    assert main([*base, "--images", str(images)]) == 0
    from_images = rows(capsys.readouterr().out)
    told = ("state", "place", "distance", "ratio", "confidence", "off_route", "x", "y", "z")
    assert [[row[c] for c in told] for row in from_bag] == [
        [row[c] for c in told] for row in from_images
    ]


def test_poses_of_the_query_do_not_help(
    route_map: RouteMap, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["localize", "--map", str(route_map.path), "--images", str(images)]
    assert main(call) == 0
    without = capsys.readouterr().out
    lines = [f"{place}.png,{2 * step},0" for step, place in enumerate(QUERIES)]
    (images / "poses.csv").write_text("\n".join(["name,x,y", *lines]))
    assert main(call) == 0
    assert capsys.readouterr().out == without


def drive_bag(path: Path, topic: str, shift: tuple[float, float] = (0.0, 0.0)) -> list[str]:
    """Images of places 10 to 21, which lie 2 m apart, with true poses of another topic."""
    with BagWriter(path) as bag:
        for step, place in enumerate(QUERIES):
            x, y = 2.0 * place + shift[0], 5.0 + shift[1]
            if topic == "/fix":
                bag.write_fix(topic, step * 10**9 + 7, *from_enu(np.array([[x, y, 0]]), ORIGIN)[0])
            else:
                bag.write_odometry(topic, step * 10**9 + 7, Pose((x, y, 0.0)))
            bag.write_image("/image", smooth_scene(place), step * 10**9 + 7)
    return ["--bag", str(path), "--image-topic", "/image", "--truth-topic", topic]


ORIGIN = (48.0, 9.5, 0.0)  # half a degree off the middle of its zone: the grid is turned by 0.4


@pytest.mark.parametrize("grid", ["enu", "utm_32N"])
def test_errors_are_measured_in_the_frame_of_the_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], grid: str
) -> None:
    places = np.array([(2.0 * i, 5.0, 0.0) for i in range(40)])
    poses = local(geographic(places, ORIGIN), ORIGIN, grid)
    builder = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "g", origin=ORIGIN, grid=grid)
    builder.add(
        Frame(smooth_scene(i), i * 10**9, f"{i}", Pose(tuple(pose)))
        for i, pose in enumerate(poses.tolist())
    )
    builder.finish()
    call = ["localize", "--map", str(tmp_path / "g"), *drive_bag(tmp_path / "bag", "/fix")]
    assert main(call) == 0
    errors = [float(row["error_m"]) for row in rows(capsys.readouterr().out) if row["error_m"]]
    assert len(errors) > 8
    assert max(errors) < 0.2  # the turn of the grid alone would make 0.4 m of it


@pytest.mark.parametrize(
    ("topic", "shift", "message"),
    [
        ("/fix", (0.0, 0.0), "zero of /fix lies at 48.0000.* in a frame of its own"),
        ("/odom", (6e5, 5e6), "/odom lies about 600031.0 5000005.0 and the places of"),
    ],
)
def test_truth_that_does_not_meet_the_map_is_refused(
    route_map: RouteMap,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    topic: str,
    shift: tuple[float, float],
    message: str,
) -> None:
    call = ["localize", "--map", str(route_map.path), *drive_bag(tmp_path / "bag", topic, shift)]
    assert main(call) == 1
    assert re.search(message, capsys.readouterr().err)


def test_poses_go_out_as_tum(
    route_map: RouteMap, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["localize", "--map", str(route_map.path), "--images", str(images)]
    assert main([*call, "--poses-out", str(tmp_path / "p.tum")]) == 0
    localized = [row for row in rows(capsys.readouterr().out) if row["x"]]
    table = read_poses(tmp_path / "p.tum")
    assert table.stamps_ns == [int(row["stamp_ns"]) for row in localized]
    for row, pose in zip(localized, table.poses, strict=True):
        assert [float(row[axis]) for axis in "xyz"] == pytest.approx(pose.position, abs=1e-4)
        assert pose.orientation == pytest.approx((0, 0, 0, 1))


def test_odometry_that_counts_for_no_motion_is_told(
    route_map: RouteMap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = drive_bag(tmp_path / "bag", "/odom")[:-2]
    with BagWriter(tmp_path / "bad") as writer:
        for step in range(12):
            writer.write_odometry("/odom", step * 10**9, Pose((1e200 if step == 0 else step, 0, 0)))
            writer.write_image("/image", smooth_scene(10 + step), step * 10**9 + 7)
    call = ["localize", "--map", str(route_map.path), *bag, "--odometry-topic", "/odom"]
    assert main(call) == 0
    assert "left out" not in capsys.readouterr().err
    assert main([word.replace(str(tmp_path / "bag"), str(tmp_path / "bad")) for word in call]) == 0
    assert "odometry left out: 1 absurd" in capsys.readouterr().err


def test_parameter_file_then_map_then_set(
    route_map: RouteMap, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tmp_path / "p.yaml"
    params.write_text(
        "localizer:\n  ros__parameters:\n    sequence_filter: false\n    error_rate: 0.5\n"
        f"    map: {route_map.path}\n    use_sim_time: true\n"
    )
    for share in np.arange(0.0, 0.6, 0.1):  # from elsewhere to a place that shines through
        mixed = share * smooth_scene(25) + (1 - share) * smooth_scene(1000)
        cv2.imwrite(str(images / f"mixed{share:.1f}.png"), mixed.astype(np.uint8)[..., ::-1])
    call = ["localize", "--images", str(images), "--params", str(params)]
    localized = {}
    for rate in (0.5, 0.0001):
        assert main([*call, "--set", f"error_rate={rate}"] if rate < 0.5 else call) == 0
        table = [row for row in rows(capsys.readouterr().out) if row["ratio"]]
        for row in table:
            assert (row["state"] == "localized") == (float(row["confidence"]) >= 1 - rate)
        localized[rate] = {row["name"] for row in table if row["state"] == "localized"}
    clear = {f"{place}.png" for place in QUERIES if place != QUERIES[BLACK]}
    assert clear <= localized[0.0001] < localized[0.5]


def test_the_model_is_the_maps_own_unless_another_is_named(
    route_map: RouteMap, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def load(*given: object, **_more: object) -> ColourGridEmbedder:
        asked.append(given)
        return ColourGridEmbedder()

    monkeypatch.setattr(loading, "load_embedder", load)
    call = ["localize", "--map", str(route_map.path), "--images", str(images)]
    call += ["--out", str(tmp_path / "out.csv")]
    params = tmp_path / "p.yaml"
    params.write_text("localizer: {ros__parameters: {model: of-file, weights: w, threads: 3}}\n")
    assert main(call) == 0
    assert asked.pop() == (ColourGridEmbedder.name, "", "auto", "auto", 0)
    call += ["--params", str(params)]
    assert main(call) == 0
    assert asked.pop() == ("of-file", "w", "auto", "auto", 3)
    call += ["--model", "of-option", "--weights", "folder", "--device", "cpu", "--threads", "2"]
    assert main(call) == 0
    assert asked.pop() == ("of-option", "folder", "cpu", "auto", 2)
    assert main([*call, "--set", "model=of-set"]) == 0
    assert asked.pop() == ("of-set", "folder", "cpu", "auto", 2)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--images", "IMAGES"], "No route map is named"),
        (["--images", "IMAGES", "--map", "absent"], "There is no route map at absent"),
        (["--images", "IMAGES", "--set", "k=3"], "Unknown setting k"),
        (["--images", "IMAGES", "--params", "absent.yaml"], "absent.yaml cannot be read"),
        (["--images", "IMAGES", "--image-topic", "/i"], "--image-topic goes with --bag"),
        (["--bag", "b.mcap"], "--bag needs --image-topic"),
    ],
)
def test_wrong_calls_are_told(
    images: Path,
    route_map: RouteMap,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    message: str,
) -> None:
    given = [str(images) if word == "IMAGES" else word for word in extra]
    needs_map = "--image-topic" in extra or "--bag" in extra
    assert main(["localize", *given, *(["--map", str(route_map.path)] * needs_map)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_only_unusable_frames_fail_and_leave_no_file(
    route_map: RouteMap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dark").mkdir()
    cv2.imwrite(str(tmp_path / "dark" / "a.png"), np.zeros((9, 9, 3), np.uint8))
    call = ["localize", "--map", str(route_map.path), "--images", str(tmp_path / "dark")]
    assert main([*call, "--out", str(tmp_path / "out.csv")]) == 1
    assert "a.png cannot be matched, as the image is black" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_map_of_another_model_is_told(
    route_map: RouteMap,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ColourGridEmbedder, "fingerprint", "retrained")
    assert main(["localize", "--map", str(route_map.path), "--images", str(images)]) == 1
    error = capsys.readouterr().err
    assert "colour-grid-4x6" in error
    assert "retrained" in error


@pytest.mark.parametrize(
    "call",
    [
        ["localize", "--map", "MAP", "--images", "IMAGES"],
        ["map", "calibrate", "MAP"],
        ["evaluate", "drive", "--map", "MAP", "--drive", "IMAGES"],
    ],
    ids=["localize", "calibrate", "evaluate"],
)
def test_a_map_of_a_card_of_ones_own_asks_for_that_card(
    call: list[str],
    route_map: RouteMap,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "load_embedder", _load_embedder)
    words = {"MAP": str(route_map.path), "IMAGES": str(images)}
    call = [words.get(word, word) for word in call]
    assert main(call) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            f"Route map {route_map.path} was made by model 'colour-grid', which is no card of the "
            "package: name its card by --model (the node: parameter model)."
        )
    )
    # Another name that is wrong has nothing to do with the map.
    assert main([*call, "--model", "saane-stret"]) == 1
    assert "There is no model 'saane-stret': did you mean saane-street?" in capsys.readouterr().err


def test_what_a_card_of_the_package_lacks_is_told_as_it_is() -> None:
    with (
        pytest.raises(SaaneError, match=r"^Its weights are missing\.$"),
        knowing_its_maker("Route map m", "saane-street", "saane-street"),
    ):
        raise SaaneError("Its weights are missing.")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["localize", "--help"])
    assert "saane localize --map" in capsys.readouterr().out.split("examples:")[1]
