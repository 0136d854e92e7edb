"""`saane models choose` with small real models on a road of rendered scenes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import pytest
import torch
import yaml
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.cli import build_parser, main
from saane_ros.commands import models_choose
from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.choice import Choice, keep_choice
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives import choosing
from saane_ros.files import sha256_of
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Rgb
from saane_ros.weights.card_files import load_card, parse_card

COUNT = 40


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def road(tmp_path: Path) -> Path:
    """Thirty places by day and by night, with poses."""
    for name, bright in (("day", 1.0), ("night", 0.7)):
        (tmp_path / name).mkdir()
        for i in range(COUNT):
            image = cv2.convertScaleAbs(smooth_scene(i, 60, 80), alpha=bright)
            cv2.imwrite(str(tmp_path / name / f"{i}.png"), image[..., ::-1])
        lines = [f"{i}.png,{3 * i},0,0" for i in range(COUNT)]
        (tmp_path / name / "poses.csv").write_text("\n".join(["name,x,y,yaw", *lines]))
    return tmp_path


def card(folder: Path, name: str, width: int) -> Path:
    """A GeM over a narrow ResNet-18 with random weights."""
    values = {
        "name": name,
        "system": "gem",
        "appearance": {"trunk": "resnet18", "width": width, "weights": "net"},
        "head": {"weights": "head"},
        "preprocessing": {"height": 32, "width": 48},
        "weights": {
            key: {"file": f"{name}.{key}.safetensors", "sha256": "0" * 64}
            for key in ("net", "head")
        },
        "licence": "Apache-2.0",
    }
    path = folder / f"{name}.yaml"
    torch.manual_seed(0)
    network = build_network(parse_card(yaml.safe_dump(values), path))
    for key, part in (("net", network.appearance), ("head", network.head)):
        save_file(part.state_dict(), folder / f"{name}.{key}.safetensors")
        values["weights"][key]["sha256"] = sha256_of(folder / f"{name}.{key}.safetensors")
    path.write_text(yaml.safe_dump(values))
    return path


def test_models_are_tried_ranked_and_told_how_to_drive_with(
    road: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(road)
    cards = [card(road, "narrow", 4), card(road, "wide", 8)]
    gone = card(road, "gone", 4)
    (road / "gone.net.safetensors").unlink()
    call = ["models", "choose", "--map-drive", str(road / "day")]
    call += ["--query-drive", str(road / "night"), "--device", "cpu", "--out", str(road / "out")]
    call += ["--model", *(path.name for path in [*cards, gone])]
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert f"{COUNT} frames on the route, error_rate 0.01" in printed
    assert "Nothing was off the route" in printed
    lines = printed.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("model "))
    order = [line.split()[0] for line in lines[head + 1 : head + 3]]
    trials = {name: json.loads((road / "out" / name / "trial.json").read_text()) for name in order}
    assert sorted(order) == ["narrow", "wide"]
    why = "its weights are not at hand (net): saane models fetch gone"
    assert lines[head + 3] == f"not tried: gone, as {why}"
    for name, trial in trials.items():
        drive = json.loads((road / "out" / name / "drive.json").read_text())
        rows = drive["scenarios"]
        assert trial["coverage"] == rows[0]["right_share"]
        assert trial["wrong"] == sum(row["wrong"] + row["false_localized"] for row in rows)
        assert trial["judged"] == COUNT
        assert not list((road / "out" / name).glob("*.kept"))
    assert f"Best here: {order[0]}." in printed
    build, launch = (shlex.split(line) for line in lines[-2:])
    build_parser().parse_args(build[1:])
    assert build[build.index("--model") + 1] == f"{order[0]}.yaml"
    assert launch[:4] == ["ros2", "launch", "saane_ros", "localize.launch.py"]
    words = dict(word.split(":=") for word in launch[4:])
    assert words["map"] == f"{road / 'out' / order[0]}.routemap"
    assert main(build[1:]) == 0
    route_map = RouteMap.open(Path(words["map"]))
    assert len(route_map.places) == COUNT
    # What the node is told loads the model that made the map, from any folder.
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir("/")
        route_map.check_embedder(load_embedder(words["model"], device="cpu"))
    capsys.readouterr()

    # Given again, nothing is computed: what is finished is read.
    monkeypatch.setattr(choosing, "build_map", lambda *_: pytest.fail("was built already"))
    assert main(call) == 0
    assert capsys.readouterr().out == printed


def test_what_was_asked_for_is_in_the_commands_that_are_told(tmp_path: Path) -> None:
    call = ["models", "choose", "--drive", "street", "--every-metres", "2.0", "--threads", "1"]
    call += ["--model", "saane-town", "saane-street", "--postprocessing", "mean", "--device", "cpu"]
    call += ["--set", "error_rate=0.02", "--set", "candidates=7", "--away", "park", "--out"]
    options = build_parser().parse_args([*call, str(tmp_path / "out")])
    again = build_parser().parse_args(shlex.split(models_choose._command(options))[1:])
    assert vars(again) == vars(options)
    trial = cast(choosing.Trial, SimpleNamespace(model="saane-town"))
    build, launch = map(shlex.split, models_choose._next_steps(trial, options))
    assert build[build.index("--postprocessing") + 1] == "mean"
    words = dict(word.split(":=") for word in launch[4:])
    assert words["device"] == "cpu"
    assert "model" not in words  # The map's own name finds a card of the package.
    parameters = yaml.safe_load(Path(words["params_file"]).read_text())
    assert parameters == {
        "/**": {"ros__parameters": {"error_rate": 0.02, "candidates": 7, "threads": 1}}
    }
    plain = build_parser().parse_args(["models", "choose", "--drive", "street"])
    assert models_choose._command(plain) == "saane models choose --drive street"
    assert "params_file" not in models_choose._next_steps(trial, plain)[1]
    onnx = build_parser().parse_args([*call, str(tmp_path / "out"), "--set", "engine=onnx"])
    build = shlex.split(models_choose._next_steps(trial, onnx)[0])
    assert build_parser().parse_args(build[1:]).engine == "onnx"


def test_an_untrained_head_and_a_segmentation_are_no_candidates() -> None:
    assert models_choose.why_not(load_card("dinov2-vitb14"), "") == "its head is not trained"
    told = models_choose.why_not(load_card("dinov2-vitb14"), "", named=True)
    assert told.startswith("its weights are not at hand (trunk)")
    assert models_choose.why_not(load_card("mosaic-ade31"), "", named=True).startswith("it labels")
    assert models_choose.why_not(load_card("saane-town"), "") == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--map-drive", "a"], "--map-drive and --query-drive go together"),
        (["--drive", "a", "--truth", "b"], "--truth and --odometry-topic are of --query-drive"),
        (["--drive", "gone"], "There is no folder or bag gone"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "choose", *arguments]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--truth", "gone.csv"], "There is no truth file gone.csv"),
        (["--odometry-topic", "/odom"], "--odometry-topic goes with a bag"),
        (["--away", "nowhere"], "There is no folder or bag nowhere"),
        (["--query-drive", "empty"], "The folder empty holds no images"),
    ],
)
def test_a_drive_that_cannot_be_tried_is_told_before_any_map(
    road: Path,
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(road)
    monkeypatch.setattr(choosing, "build_map", lambda *_: pytest.fail("a map was built"))
    (road / "empty").mkdir()
    before = sorted(road.rglob("*"))
    call = ["models", "choose", "--map-drive", "day", "--query-drive", "night", *arguments]
    assert main([*call, "--model", str(card(road, "narrow", 4)), "--device", "cpu"]) == 1
    assert told in capsys.readouterr().err
    assert {path.name.partition(".")[0] for path in set(road.rglob("*")) - set(before)} == {
        "narrow"
    }


def test_a_drive_that_only_the_map_refuses_leaves_nothing(
    road: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that no place has are found out once there is a map, which goes again."""
    monkeypatch.chdir(road)
    for path in sorted((road / "night").glob("*.png")):
        path.rename(path.with_name(f"other{path.name}"))
    (road / "night" / "poses.csv").unlink()
    own = card(road, "narrow", 4)
    call = ["models", "choose", "--map-drive", "day", "--query-drive", "night", "--model", str(own)]
    call += ["--truth", "same-names", "--device", "cpu"]
    (road / "kept").mkdir()
    (road / "kept" / "mine.txt").write_text("mine")
    before = sorted(road.rglob("*"))
    for out in ("new/out", "kept"):
        assert main([*call, "--out", out]) == 1
        assert "No frame of the drive has the name of a place" in capsys.readouterr().err
        assert sorted(road.rglob("*")) == before


def test_a_full_disk_loses_nothing_that_was_embedded(
    road: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails the same command goes on, so that its map stays and no other is made."""

    def full(*_: object) -> None:
        raise SaaneError("There is no room: free some.") from OSError(28, "No space left")

    monkeypatch.setattr(choosing, "embed_drive", full)
    call = ["models", "choose", "--drive", str(road / "day"), "--out", str(road / "out")]
    cards = [str(card(road, name, 4)) for name in ("narrow", "next")]
    assert main([*call, "--device", "cpu", "--model", *cards]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "saane: There is no room: free some."
    assert "next" not in printed.out
    assert len(RouteMap.open(road / "out" / "narrow" / "road.routemap").places) == COUNT // 2


def test_a_model_that_fails_on_the_road_leaves_the_others_their_ranking(
    road: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trying = choosing.try_model

    def failing(embedder: NetworkEmbedder, *others: Any) -> choosing.Trial:
        if embedder.name == "first":
            raise SaaneError("It takes images of whole patches alone: crop them.")
        return trying(embedder, *others)

    monkeypatch.setattr(choosing, "try_model", failing)
    cards = [str(card(road, "first", 4)), str(card(road, "second", 4))]
    call = ["models", "choose", "--drive", str(road / "day"), "--device", "cpu"]
    call += ["--out", str(road / "out"), "--model"]
    assert main([*call, *cards]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = "not tried: first: It takes images of whole patches alone: crop them."
    head = next(i for i, line in enumerate(lines) if line.startswith("model "))
    assert lines[head + 1].startswith("second ")
    assert lines[head + 2] == told
    assert main([*call, cards[0]]) == 1
    assert told.removeprefix("not tried: ") in capsys.readouterr().err

    def interrupted(*_: object) -> choosing.Trial:
        raise KeyboardInterrupt

    monkeypatch.setattr(choosing, "try_model", interrupted)
    assert main([*call, *cards]) == 130
    assert "first (1 of 2)" in (printed := capsys.readouterr().out)
    assert "second" not in printed


def test_models_run_on_the_engine_that_the_localizer_would_take(
    road: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    ran: list[tuple[str, str]] = []
    trying = choosing.one_image_ms

    def timed(embedder: NetworkEmbedder, image: Rgb) -> float:
        ran.append((embedder.engine, str(embedder.dtype)))
        return trying(embedder, image)

    monkeypatch.setattr(choosing, "one_image_ms", timed)
    own = str(card(road, "narrow", 4))
    call = ["models", "choose", "--drive", str(road / "day"), "--device", "cpu", "--model", own]
    call += ["--out", str(road / "out")]
    assert main(call) == 0
    assert ran == [("torch", "torch.float32")]
    assert main([*call, "--set", "engine=onnx"]) == 0
    assert ran[1:] == [("onnx", "torch.float32")]
    # What is kept is of another engine and precision than those chosen meanwhile.
    fingerprint = load_embedder(own, device="cpu").fingerprint
    keep_choice(fingerprint, "cpu", Choice("onnx", "fp32"))
    assert main(call) == 0
    assert len(ran) == 2  # as was asked for by --set
    keep_choice(fingerprint, "cpu", Choice("torch", "bf16"))
    assert main(call) == 0
    assert ran[2:] == [("torch", "torch.bfloat16")]
    written = json.loads((road / "out" / "narrow" / "drive.json").read_text())["settings"]
    assert (written["engine"], written["precision"]) == ("torch", "bf16")
    capsys.readouterr()


def test_two_cards_of_one_name_are_refused_before_any_map(
    road: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = card(road, "narrow", 4)
    (road / "other").mkdir()
    other = road / "other" / "mine.yaml"
    other.write_text(own.read_text())
    call = ["models", "choose", "--drive", str(road / "day"), "--device", "cpu"]
    call += ["--out", str(road / "out"), "--model", str(own)]
    with monkeypatch.context() as patch:
        patch.setattr(choosing, "build_map", lambda *_: pytest.fail("a map was built"))
        assert main([*call, str(other)]) == 1
    assert f"{own} and {other} both name their model narrow" in capsys.readouterr().err
    assert main([*call, str(road / "other" / ".." / "narrow.yaml")]) == 0  # one card, named twice
    assert "narrow (1 of 1)" in capsys.readouterr().out


def test_cards_of_ones_own_are_listed_by_path(
    road: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = card(road, "mine", 4)
    assert main(["models", "list", str(own), "rootsift"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("==")] == [
        "== GeM, CosPlace and EigenPlaces",
        "== Local features of metric maps, for --features",
    ]
    assert lines[1].startswith("mine ")
    assert [line.split()[0] for line in lines[1:] if not line.startswith(("=", " "))] == [
        "mine",
        "rootsift",
    ]
    assert f"  net: {road}/mine.net.safetensors" in lines
    assert main(["models", "list", "--at-hand", str(own)]) == 0
    assert capsys.readouterr().out == "mine\n"


def test_the_list_tells_what_was_measured_here(
    road: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choosing.remember_speeds({"saane-town": choosing.Speed(31.4, 95.2, "a small computer")})
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("saane-town "))
    told = "31 ms an image and 95 MB of memory on a small computer"
    assert lines[row + 2] == f"  weights 2.5 MB; {told}"
    row = next(i for i, line in enumerate(lines) if line.startswith("saane-street "))
    assert lines[row + 2].endswith(" MB; speed not measured here")
    assert main(["models", "list", "--at-hand"]) == 0
    names = capsys.readouterr().out.split()
    assert "saane-town" in names
    assert not {"salad-dinov2-vitb14", "mosaic-ade31", "dinov2-vitb14"} & set(names)
