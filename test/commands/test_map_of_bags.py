"""A map of several bags: the same bytes by one process and by a Ray cluster that loses one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bag_files import write_drive
from scenes import ColourGridEmbedder

from saane_ros.cli import main
from saane_ros.commands import map as map_command
from saane_ros.embedding import loading
from saane_ros.fleet.shards import run_shards
from saane_ros.route_map.store import RouteMap

TOPICS = ["--image-topic", "/camera/image", "--pose-topic", "/odom"]


@pytest.fixture
def bags(tmp_path: Path) -> list[str]:
    for name, frames in (("noon", 30), ("dusk", 24)):
        write_drive(tmp_path / name, frames)
    return [str(tmp_path / "noon"), str(tmp_path / "dusk")]


@pytest.fixture
def fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the head, which tells when the map was made."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "map.yaml"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.usefixtures("fast_model")
def test_each_bag_is_a_drive_as_by_a_merge(bags: list[str], tmp_path: Path) -> None:
    built = tmp_path / "both.routemap"
    assert main(["map", "build", "--bag", *bags, *TOPICS, "--out", str(built)]) == 0
    parts = [str(tmp_path / "parts" / f"{name}.routemap") for name in ("noon", "dusk")]
    for bag, part in zip(bags, parts, strict=True):
        assert main(["map", "build", "--bag", bag, *TOPICS, "--out", part]) == 0
    merged = tmp_path / "merged.routemap"
    assert main(["map", "merge", *parts, "--out", str(merged)]) == 0
    assert contents(built) == contents(merged)
    assert len(RouteMap.open(built).places) == 54
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("fast_model")
def test_what_was_finished_is_taken_over(
    bags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = ["map", "build", "--bag", *bags, *TOPICS, "--out", str(tmp_path / "m.routemap")]
    write_drive(tmp_path / "broken", 5)
    for path in (tmp_path / "broken").glob("*.mcap"):
        path.write_bytes(b"no bag")
    assert main([*words[:4], str(tmp_path / "broken"), *words[4:]]) == 1
    assert "broken" in capsys.readouterr().err
    built: list[str] = []
    building = map_command.RouteMapBuilder

    def builder(embedder: ColourGridEmbedder, path: Path, **options: object) -> object:
        built.append(path.name)
        return building(embedder, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(map_command, "RouteMapBuilder", builder)
    assert main(words) == 0
    assert built == ["dusk.routemap"]
    out = capsys.readouterr().out
    assert f"{bags[0]}: 30 frames taken over from an interrupted build" in out
    assert f"{bags[1]}: 24 frames embedded" in out


@pytest.mark.usefixtures("fast_model")
def test_drives_are_whitened_together(bags: list[str], tmp_path: Path) -> None:
    built = tmp_path / "m.routemap"
    words = ["map", "build", "--bag", *bags, *TOPICS, "--postprocessing", "pca512"]
    assert main([*words, "--out", str(built)]) == 0
    assert RouteMap.open(built).info.postprocessing == "pca512"


@pytest.mark.usefixtures("fast_model")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["noon", "dusk", "--image-topic", "/camera/image"], "Several bags need --pose-topic"),
        (["noon", "noon", *TOPICS], "--bag names a bag twice: name each once."),
        (["noon", "dawn", *TOPICS], "There is no bag dawn: check its name."),
        (["noon", "dusk", *TOPICS, "--postprocessing", "auto"], "auto chooses for one drive"),
        (["noon", *TOPICS, "--workers", "2"], "--workers is for several bags: leave it out."),
        (["noon", "dusk", *TOPICS, "--workers", "2", "--device", "cuda:1"], "give cuda."),
    ],
)
@pytest.mark.usefixtures("bags")
def test_mistakes_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["map", "build", "--bag", *words, "--out", "m.routemap"]) == 1
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("*.routemap"))


def holders(folder: Path) -> list[int]:
    """Processes that have something open below a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                links = [os.readlink(link) for link in (process / "fd").iterdir()]
            except OSError:
                continue
            if any(link.startswith(f"{folder}/") for link in links):
                found.append(int(process.name))
    return found


def test_a_worker_that_is_killed_costs_only_its_rest(bags: list[str], tmp_path: Path) -> None:
    """The real command with a real model: two workers, one of them killed in the middle."""
    pytest.importorskip("ray", reason="ray is not installed")
    model = ["--model", "saane-town", "--device", "cpu", "--threads", "1", "--batch", "2"]
    words = [sys.executable, "-m", "saane_ros.cli", "map", "build", "--bag", *bags, *TOPICS, *model]
    one, two = tmp_path / "one.routemap", tmp_path / "two" / "one.routemap"
    done = subprocess.run([*words, "--out", str(one)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drives = two.parent / ".one.routemap.drives"
    process = subprocess.Popen(
        [*words, "--out", str(two), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_worker_niceness": "0"},
    )
    killed = 0
    deadline = time.monotonic() + 120
    while not killed and time.monotonic() < deadline and process.poll() is None:
        for lines in drives.glob("*/.*.building/frames.jsonl"):
            if 4 <= lines.read_bytes().count(b"\n") <= 16:
                for worker in [w for w in holders(lines.parent.parent) if w != process.pid][:1]:
                    os.kill(worker, signal.SIGKILL)
                    killed = worker
        time.sleep(0.02)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert killed
    assert "frames taken over from an interrupted build" in out
    assert contents(two) == contents(one)
    np.testing.assert_array_equal(RouteMap.open(two).descriptors, RouteMap.open(one).descriptors)
    assert [path.name for path in two.parent.iterdir()] == ["one.routemap"]


def test_shards_come_in_order_and_in_this_process() -> None:
    threads: set[int] = set()

    def work(shard: int) -> int:
        threads.add(threading.get_ident())
        return shard * shard

    assert run_shards(work, [3, 1, 2], 1) == [9, 1, 4]
    assert threads == {threading.get_ident()}
