"""`saane map build` and `saane map info`, from folders and bags, as a person calls them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_features import own_embedder
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.data.bags import BagWriter
from saane_ros.embedding import loading
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real but small model under any name: models are tested elsewhere."""
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(9):
        image = cv2.cvtColor(smooth_scene(number), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    rows = [f"{number}.png,{1.5 * number},0" for number in range(9)]
    (folder / "poses.csv").write_text("\n".join(["name,x,y", *rows]))
    return folder


def test_a_folder_becomes_a_map(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "street.routemap"
    assert main(["map", "build", "--images", str(photos), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "9 frames embedded" in printed
    route_map = RouteMap.open(out)
    assert [place.name for place in route_map.places] == [f"{i}.png" for i in range(9)]
    np.testing.assert_allclose(route_map.arc_length, 1.5 * np.arange(9))
    expected = ColourGridEmbedder().embed([smooth_scene(4)])[0].descriptor
    np.testing.assert_array_equal(route_map.descriptors[4], expected)

    assert main(["map", "info", str(out)]) == 0
    printed = capsys.readouterr().out
    for fact in (
        "9, 12.0 m along the route",
        "colour-grid, fingerprint colour-grid-4x6",
        "72 values",
    ):
        assert fact in printed


def test_places_every_so_many_metres_in_half_precision(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    call = ["map", "build", "--images", str(photos), "--out", str(out)]
    assert main([*call, "--every-metres", "3", "--half"]) == 0
    route_map = RouteMap.open(out)
    assert [place.name for place in route_map.places] == [f"{i}.png" for i in (0, 2, 4, 6, 8)]
    assert route_map.info.dtype == "float16"


def test_a_post_processing_is_carried_and_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m"
    call = ["map", "build", "--images", str(photos), "--out", str(out)]
    assert main([*call, "--postprocessing", "pca512"]) == 0
    assert main(["map", "info", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("pca512, 72 to 8 values by statistics of 9 places") == 2
    # An unprocessed map from the same frames: they are embedded anew, as the first build is done.
    assert main(call) == 0
    assert "descriptors are as the model gives them" in capsys.readouterr().out
    assert main([*call, "--postprocessing", "auto"]) == 0
    told = "as the model gives them; chosen as of 9 places, fewer than 100, the mean is no road's"
    assert told in capsys.readouterr().out


def test_a_score_of_candidates_is_carried_and_its_cost_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m"
    call = ["map", "build", "--images", str(photos), "--out", str(out)]
    told = r"re-ranking +{} of feature grids, 2\.5 kB a place, \d+\.\d\d ms a frame"
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert re.search(told.format("grids"), printed)
    assert "not grids" not in printed
    for words in (
        [*call, "--rerank", "rapid"],
        ["map", "calibrate", str(out)],
        ["map", "info", str(out)],
    ):
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert re.search(told.format("rapid"), printed)
        assert "and grids, not rapid: run `saane map calibrate` with drives" in printed
    assert main(["map", "calibrate", str(out), "--rerank", "mutual"]) == 0
    assert re.search(told.format("mutual"), capsys.readouterr().out)
    assert main(["localize", "--map", str(out), "--images", str(photos)]) == 0


@pytest.mark.parametrize(("kind", "kilobytes"), [("own-mutual", 78.0), ("own-rapid", 0.1)])
def test_the_models_own_features_are_kept_and_re_rank(
    kind: str,
    kilobytes: float,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "m"
    call = ["map", "build", "--images", str(photos), "--out", str(out), "--rerank", "own"]
    assert main(call) == 1
    assert "colour-grid has no local features of its own: leave out" in capsys.readouterr().err
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: own_embedder(kind))
    assert main(call) == 0
    told = rf"re-ranking +{kind} of local features, {kilobytes} kB a place, \d+\.\d\d ms a frame"
    assert re.search(told, capsys.readouterr().out)
    assert main(["map", "calibrate", str(out), "--rerank", "own"]) == 0
    assert f"and grids, not {kind}: run `saane map calibrate`" in capsys.readouterr().out
    assert main(["map", "calibrate", str(out), "--rerank", "grids"]) == 1
    assert f"{out} keeps what {kind} compares" in capsys.readouterr().err
    assert main(["localize", "--map", str(out), "--images", str(photos)]) == 0
    drive = ["evaluate", "drive", "--map", str(out), "--drive", str(photos)]
    assert main([*drive, "--out", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "drive.json").read_text())
    assert told["map"]["rerank"] == kind
    assert told["scenarios"][0]["rerank_ms"][0] > 0
    assert told["scenarios"][0]["wrong_share"] == 0


def test_a_bag_becomes_a_map_of_its_posed_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = 10**9
    with BagWriter(tmp_path / "drive") as bag:
        for number in range(10):
            bag.write_image("/image", smooth_scene(number), number * second)
            bag.write_odometry("/odom", number * second + second // 2, Pose((4.0 * number, 1, 0)))
    out = tmp_path / "m"
    call = ["map", "build", "--bag", str(tmp_path / "drive"), "--out", str(out)]
    assert main([*call, "--image-topic", "/image", "--pose-topic", "/odom"]) == 0
    # The first image lies before all odometry.
    assert "Frames without a pose at their time: 1." in capsys.readouterr().out
    route_map = RouteMap.open(out)
    assert [place.stamp_ns for place in route_map.places] == [n * second for n in range(1, 10)]
    np.testing.assert_allclose(
        [pose.position for pose in route_map.poses()], [(4.0 * n - 2, 1, 0) for n in range(1, 10)]
    )
    assert main([*call, "--image-topic", "/odometer"]) == 1
    assert "/odometer is not in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--images", "PHOTOS", "--image-topic", "/image"], "go with --bag"),
        (["--bag", "x", "--poses", "p"], "--poses goes with --images"),
        (["--bag", "x"], "--bag needs --image-topic"),
        (["--images", "PHOTOS", "--every-metres", "-1"], "give a number above 0"),
        (["--images", "PHOTOS", "--precision", "fp8"], "Setting precision is 'fp8'"),
        (["--images", "absent"], "There is no folder absent"),
        (["--bag", "absent.mcap", "--image-topic", "/i"], "absent.mcap"),
    ],
)
def test_wrong_calls_are_told(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    message: str,
) -> None:
    given = [str(photos) if word == "PHOTOS" else word for word in extra]
    assert main(["map", "build", "--out", str(tmp_path / "m"), *given]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "m").exists()


def test_info_of_no_map_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", str(tmp_path / "none")]) == 1
    assert "There is no route map" in capsys.readouterr().err


def test_verify_reads_all_maps_and_names_what_is_not_whole(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = [str(tmp_path / name) for name in ("a", "b", "c")]
    for out in maps:
        assert main(["map", "build", "--images", str(photos), "--out", out]) == 0
    capsys.readouterr()
    assert main(["map", "verify", *maps]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" MB")[0].rpartition(" ")[0] for line in lines] == [
        f"{out} is whole: 9 places," for out in maps
    ]
    (tmp_path / "a" / "graph.npz").unlink()
    places = tmp_path / "b" / "places.csv"
    places.write_bytes(places.read_bytes()[:-1])
    assert main(["map", "verify", *maps, "absent"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith(f"{maps[2]} is whole: 9 places")
    assert told.out.count("whole") == 1
    for fault in ("a lacks graph.npz", "places.csv was truncated", "There is no route map at abs"):
        assert fault in told.err
    assert "Traceback" not in told.err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for call in (["map", "build"], ["map", "info"], ["map", "verify"]):
        with pytest.raises(SystemExit):
            main([*call, "--help"])
        assert f"saane {' '.join(call)} " in capsys.readouterr().out.split("examples:")[1]
