"""The whole demo on a very short route: real processes, real messages over DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import torch
from safetensors.torch import save_file

from saane_ros.data.bags import BagReader
from saane_ros.demo.finished import Finished
from saane_ros.demo.replay import replay
from saane_ros.demo.town import town_scene
from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError
from saane_ros.route_map.store import RouteMap
from saane_ros.simulation import CLASS_NAMES
from saane_ros.training.export import card_in_training, export_model
from saane_ros.types import Frame

LENGTH_M = 24.0
MODEL = {
    "name": "tiny",
    "description": "A narrow network with random weights, for tests.",
    "system": "saane",
    "appearance": {"trunk": "resnet18", "width": 8},
    "semantics": {"network": "light_pspnet", "channels": 16, "classes": list(CLASS_NAMES)},
    "head": {"channels": 16, "reduction": 4, "levels": [4, 3, 2, 1], "pool": "max"},
    "preprocessing": {"height": 96, "width": 128},
    "licence": "Apache-2.0",
    "trained_on": "nothing",
}


def tiny_card(folder: Path) -> Path:
    """A model card with random weights beside it."""
    network = build_network(card_in_training(MODEL, folder / "tiny.yaml"))
    parts = {
        "trunk": network.appearance,
        "segmentation": network.semantics,
        "head": network.head,
    }
    generator = torch.Generator().manual_seed(0)
    files = {}
    for role, part in parts.items():
        assert part is not None
        tensors = {
            key: torch.randn(value.shape, generator=generator) * (0.3 if value.ndim > 1 else 0.0)
            + (1.0 if key.endswith(("running_var", "weight")) and value.ndim == 1 else 0.0)
            for key, value in part.state_dict().items()
        }
        files[role] = folder / f"{role}.raw.safetensors"
        save_file(tensors, files[role])
    return export_model(MODEL, files, folder)


class Outcome:
    """A finished run: its folder, its printed text, its figures."""

    def __init__(self, out: Path, card: Path, text: str) -> None:
        self.out, self.card, self.text = out, card, text
        self.figures: dict[str, Any] = json.loads((out / "summary.json").read_text())


def command(card: Path, out: Path) -> list[str]:
    arguments = ["--model", str(card), "--out", str(out), "--length", str(LENGTH_M)]
    return [sys.executable, "-m", "saane_ros.cli", "demo", *arguments]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("demo")
    card = tiny_card(folder)
    done = subprocess.run(
        command(card, folder / "out"), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return Outcome(folder / "out", card, done.stdout)


def night_frames(out: Path) -> list[Frame]:
    with BagReader(out / "bags" / "night") as bag:
        return list(bag.frames("/camera/image", "/ground_truth"))


def test_every_image_is_accounted_for(outcome: Outcome) -> None:
    frames = outcome.figures["frames"]
    assert frames["recorded"] == len(night_frames(outcome.out)) > 20
    assert frames["played"] == frames["recorded"]
    assert frames["in"] == frames["matched"] + frames["dropped"] + frames["failed"]
    assert frames["failed"] == 0
    assert outcome.figures["systems"]["live"]["answers"] == frames["matched"] > 0


def test_recall_is_that_of_brute_force_over_the_frames_that_were_not_dropped(
    outcome: Outcome,
) -> None:
    """Dropped frames are unknown here, so the count of right answers is known up to them."""
    route_map = RouteMap.open(outcome.out / "town.routemap")
    embedder = load_embedder(str(outcome.card))
    places = np.array([place.pose.position[:2] for place in route_map.places if place.pose])
    right = 0
    frames = night_frames(outcome.out)
    for frame in frames:
        descriptor = embedder.embed([frame.image])[0].descriptor
        distances = np.sqrt(((np.asarray(route_map.descriptors) - descriptor) ** 2).sum(axis=1))
        assert frame.pose is not None
        apart = np.hypot(*(places - frame.pose.position[:2]).T)
        best, nearest = int(distances.argmin()), int(apart.argmin())
        right += bool(apart[best] <= 10.0 or abs(best - nearest) <= 5)
    live = outcome.figures["systems"]["live"]
    counted = round(live["recall_at_1"] * live["answers"])
    missing = len(frames) - live["answers"]
    assert right - missing <= counted <= right


def test_map_and_report_are_left_for_a_look(outcome: Outcome) -> None:
    with BagReader(outcome.out / "bags" / "day") as bag:
        day = bag.topics()
    assert {"/camera/image", "/camera/camera_info", "/ground_truth"} == set(day)
    assert outcome.figures["places"] == len(RouteMap.open(outcome.out / "town.routemap").places)
    html = (outcome.out / "report.html").read_text()
    assert html.count("data:image/jpeg") >= 1
    for part in ("Recall@1", "attention and semantics off", "Every step by hand"):
        assert part in html
    for part in ("frames in", "PR-AUC windowed+R2", "saane map build --bag", "summary.json"):
        assert part in outcome.text
    assert not list(outcome.out.rglob("*.new"))


def test_ages_and_times_are_of_this_run(outcome: Outcome) -> None:
    age, inference = outcome.figures["image_age_ms"], outcome.figures["inference_ms"]
    assert 0 < inference["p50"] <= inference["p95"]
    assert inference["p50"] < age["p50"] <= age["p95"] < 60_000
    assert set(outcome.figures["stages_s"]) == {"recordings", "map", "live", "comparison", "report"}


def test_finished_recordings_are_used_again(outcome: Outcome) -> None:
    bags = outcome.out / "bags"
    written = {path: path.stat().st_mtime_ns for path in bags.rglob("*.mcap")}
    scene = town_scene(bags, Finished(outcome.out / "finished"), LENGTH_M, 10.0)
    assert {path: path.stat().st_mtime_ns for path in bags.rglob("*.mcap")} == written
    assert scene.query.count == outcome.figures["frames"]["recorded"]
    assert len(written) == 2


def test_a_localizer_that_cannot_start_is_an_error_with_its_reason(
    outcome: Outcome, tmp_path: Path
) -> None:
    scene = town_scene(outcome.out / "bags", Finished(outcome.out / "finished"), LENGTH_M, 10.0)
    settings = {"model": str(outcome.card), "map": str(tmp_path / "no.routemap")}
    with pytest.raises(SaaneError, match=r"localizer could not start: .*no\.routemap"):
        replay(settings, scene.query, tmp_path / "logs")
    assert (tmp_path / "logs" / "localizer.log").is_file()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_takes_its_processes_with_it(
    outcome: Outcome, kind: signal.Signals
) -> None:
    log = outcome.out / "logs" / "localizer.log"
    log.unlink(missing_ok=True)
    with subprocess.Popen(
        command(outcome.card, outcome.out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as demo:
        deadline = time.monotonic() + 120
        while not log.exists():
            assert time.monotonic() < deadline
            assert demo.poll() is None
            time.sleep(0.05)
        children = children_of(demo.pid)
        demo.send_signal(kind)
        _, told = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert told.decode().strip().endswith("saane: interrupted.")
    assert "Traceback" not in told.decode()
    assert children
    deadline = time.monotonic() + 10  # the tracker of progress bars follows its parent by itself
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found
