"""Every option of every command with values that are wrong, beside others that are right."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from bag_files import write_drive
from fuzz.cases import Case
from robotcar_world import write_sdk, write_world
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import build_parser, main
from saane_ros.commands.parsers import DONE, EXITS
from saane_ros.data.images.folders import ImageFolder
from saane_ros.demo import run as demo
from saane_ros.embedding import loading
from saane_ros.errors import SaaneError
from saane_ros.evaluation import metric, model_specs
from saane_ros.evaluation.drives import choosing
from saane_ros.evaluation.memory import Memory
from saane_ros.fleet.push import push
from saane_ros.fleet.store import open_store
from saane_ros.fleet.working_set import WorkingSet
from saane_ros.paths import share_folder
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.training import run as training
from saane_ros.weights import store
from saane_ros.weights.card_files import load_card
from saane_ros.weights.store import search_folders

Given = dict[str, Sequence[str]]
"""Values by option, or by the name of a positional argument."""
_SUITE = "drives: {one: {map: images, poses: images/poses.csv, drive: night, truth: same-names}}\n"
_TABLE = (
    "source: a\ncolumns: [{title: b, dataset: pairs}]\n"
    "rows: [{title: c, model: scores.npz, published: [1.0]}]\n"
)
_MAP, _OUT = ["street.routemap"], ["made"]
_BAG: Given = {"--bag": ["drive"], "--image-topic": ["/camera/image"]}
_TRUTH: Given = {"--truth": ["same-names"]}
_MODEL: Given = {"--model": ["saane-town"]}
_STORE: Given = {"--store": ["../store"]}
_PLACES: Given = {"--models": ["models"], "--results": ["results"]}
BASES: list[tuple[str, Given]] = [
    ("bag info", {"bag": ["drive"]}),
    ("bag topics", {"bag": ["drive"]}),
    ("map verify", {"maps": ["street.routemap", "other.routemap"]}),
    ("map build", {"--images": ["images"], "--every-metres": ["2"], "--out": _OUT}),
    ("map build", {**_BAG, "--pose-topic": ["/odom"], "--every-metres": ["2"], "--out": _OUT}),
    ("map info", {"map": _MAP, "--plot": ["plot.png"]}),
    ("map crop", {"map": _MAP, "--places": ["1:6"], "--out": _OUT}),
    ("map crop", {"map": _MAP, "--metres": ["1:6"], "--out": _OUT}),
    ("map calibrate", {"map": _MAP}),
    ("map index", {"map": _MAP}),
    ("map merge", {"maps": ["street.routemap", "other.routemap"], "--out": _OUT}),
    ("localize", {"--map": _MAP, "--images": ["night"], "--out": ["m.csv"]}),
    ("localize", {"--map": _MAP, **_BAG, "--odometry-topic": ["/odom"], "--out": ["m.csv"]}),
    ("localize", {"--map": _MAP, **_BAG, "--truth-topic": ["/odom"], "--poses-out": ["p.tum"]}),
    ("robotcar to-bag", {"traversal": ["2014-12-09-13-21-02"], "--out": _OUT}),
    ("evaluate", {"--model": ["scores.npz"], "--dataset": ["pairs"], "--out": _OUT}),
    ("evaluate", {"--table": ["table.yaml"], "--attention": [], "--root": ["."], "--out": _OUT}),
    ("evaluate panels", {"--model": ["scores.npz"], "--dataset": ["pairs"], "--out": _OUT}),
    ("evaluate drive", {"--map": _MAP, "--drive": ["night"], **_TRUTH, "--out": _OUT}),
    ("evaluate drive", {"--suite": ["suite.yaml"], "--data": ["."], **_MODEL, "--out": _OUT}),
    ("evaluate metric", {"--images": ["images"], "--camera-info": ["text.txt"]}),
    ("evaluate metric", {"--towns": ["3000"], "--foreign": ["night"]}),
    ("train segmentation", {"--config": ["camvid-resnet18.yaml"], "--out": _OUT}),
    ("train embedding", {"--config": ["saane-town.yaml"], "--out": _OUT}),
    ("train vocabulary", {"--config": ["dense-vlad.yaml"], "--out": _OUT}),
    ("train weak", {"--config": ["sralnet-resnet18-weak.yaml"], "--out": _OUT}),
    ("train classification", {"--config": ["amosnet-resnet18.yaml"], "--out": _OUT}),
    ("train filter", {"--config": ["sralnet-resnet18-class-weights.yaml"], "--out": _OUT}),
    ("train export", {"--config": ["saane-town.yaml"], "--out": _OUT, "--models": ["models"]}),
    ("train table", {"--config": ["saane-resnet18.yaml"], "--out": _OUT, "--results": ["results"]}),
    ("train pseudo-labels", {"--teacher": ["saane-town"], "--images": ["night"], "--out": _OUT}),
    ("train sweep", {"--config": ["saane-town.yaml"], "--out": _OUT, "--results": ["results"]}),
    ("train evidence", {"--config": ["evidence.yaml"], "--out": _OUT, **_PLACES}),
    ("fleet push", {"maps": _MAP, **_STORE}),
    ("fleet list", {"map": ["street"], **_STORE}),
    ("fleet pull", {"map": ["street"], **_STORE, "--to": _OUT}),
    ("fleet pull", {"--kept-pose": ["pose.json"], **_STORE, "--to": _OUT}),
    ("fleet install", {"map": ["street"], "version": ["a"], "--to": ["maps"]}),
    ("fleet rollback", {"map": ["street"], "--to": ["maps"]}),
    ("fleet verify", {**_STORE}),
    ("fleet remove", {"maps": ["street"], "--keep": ["5"], **_STORE}),
    ("fleet find", {"image": ["images/0.png"], **_STORE}),
    ("models list", {}),
    ("models verify", {"model": ["saane-town"]}),
    ("models fetch", {"model": ["saane-town"]}),
    ("models tune", {"model": ["saane-town"], "--images": ["night"]}),
    ("models add", {"name": ["timm/resnet18"], "--out": ["own.yaml"]}),
    ("models choose", {"--drive": ["images"], **_MODEL, "--out": _OUT}),
    ("models choose", {"--map-drive": ["images"], "--query-drive": ["night"], **_MODEL, **_TRUTH}),
    ("demo", {"--data": ["pairs"], "--out": _OUT}),
    ("demo", {"--out": _OUT}),
]  # fmt: skip
"""Commands with arguments that are right; the training's images and weights are not there."""
VALUES = (
    *("", " ", ".", "..", "/", "~", "-", "--", "-x", "nothing", "nothing/below", "empty", "link"),
    "night",
    *("text.txt", "text.txt/below", "images", "images/0.png", "images/poses.csv", "drive", "pairs"),
    *("drive/drive.mcap", "street.routemap", "street.routemap/map.yaml", "scores.npz", "made"),
    "table.yaml",
    *("suite.yaml", "saane-town.yaml", "localizer.yaml", "bomb.yaml", "2014-12-09-13-21-02"),
    *("/dev/null", "/dev/full", "/proc/self/mem", "/proc/nothing", "a" * 300, "a/" * 2100),
    *("nan", "inf", "-inf", "-1", "0", "1e308", "1e-320", "9" * 25, "9" * 5000, "1:2:3", "5:1"),
    *("0:nan", "\u00b2", "\u0664", "caf\u00e9", "caf\udce9", "\udcff", "a\nb", "%s", "--out=x"),
    *("/odom", "/camera/image", "/tf", "/camera/info", "map=", "=", "threads=nan", "threads=-1"),
    *("candidates=" + "9" * 30, "model=text.txt", "cpu", "cuda:99", "cuda:-1", "meta", "mps"),
    *("saane-town", "saane-town:app", "trunk:resnet18:max", "trunk::", "corridor", "robotcar"),
)  # fmt: skip
"""What people, scripts and completion put where something else is wanted."""


_LEFT_OUT = "This part is left out here."
_LEFT_OUT_OF = ("train", "demo", "models tune", "evaluate metric")
"""Commands of whose work a part is."""


def write_world_of_commands(folder: Path) -> None:
    """Small inputs of every kind, and things that are none."""
    folder.mkdir()
    for name, count in (("images", 8), ("night", 4), ("pairs/ref", 4), ("pairs/query", 4)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / name / f"{i}.png"), smooth_scene(i, 48, 64)[..., ::-1])
    shutil.copy(folder / "night" / "0.png", folder / "night" / "\udcff.png")
    shutil.copytree(folder / "night", folder / "caf\udce9")
    rows = "".join(f"{i}.png,{2 * i},0\n" for i in range(8))
    (folder / "images" / "poses.csv").write_text(f"name,x,y\n{rows}")
    for name in ("street.routemap", "other.routemap"):
        frames = ImageFolder(folder / "images").frames()
        build_map(frames, ColourGridEmbedder(), folder / name)
    write_drive(folder / "drive", 8)
    write_world(folder / "2014-12-09-13-21-02", 1.0, (24, 32))
    write_sdk(folder, (24, 32))
    np.savez(folder / "scores.npz", similarity=np.eye(4))
    (folder / "suite.yaml").write_text(_SUITE)
    (folder / "table.yaml").write_text(_TABLE)
    config = share_folder() / "config"
    for path in (*config.glob("train/*.yaml"), config / "localizer.yaml"):
        shutil.copy(path, folder)
    # Beside the world, which is copied for every run.
    with open_store(str(folder.with_name("store")), make=True) as store:
        push(store, RouteMap.open(folder / "street.routemap"))
    working = WorkingSet(folder / "maps", "street")
    for label in ("a", "b"):
        shutil.copytree(folder / "street.routemap", working.path(label))
        working.install(label)
    (folder / "pose.json").write_text('{"map": "street", "position": [4, 0, 0]}')
    (folder / "empty").mkdir()
    (folder / "text.txt").write_bytes(b"no \xff text\n")
    (folder / "link").symlink_to("nowhere")
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]"
        for b, c in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (folder / "bomb.yaml").write_text("\n".join([*lines, "reader: *i", "model: *i"]))


def options(folder: Path) -> list[Case]:
    """A case for every option of every command; each run begins with the same files."""
    world = folder / "world"
    write_world_of_commands(world)
    _make_heavy_parts_light()
    cases = []
    for words, given in BASES:
        parser = leaf(words)
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
                continue
            name = action.option_strings[-1] if action.option_strings else action.dest
            run = SimpleNamespace(arguments=arguments(parser, words, given))
            change = partial(_choose, run, parser, words, given, action, name)
            read = partial(_run, run, world, folder / "here")
            good = action is parser._actions[1] and not words.startswith(_LEFT_OUT_OF)
            cases.append(Case(f"{words} {name}", change, read, good))
    return cases


def leaf(words: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    parser: argparse.ArgumentParser = build_parser()
    for word in words.split():
        parser = children(parser)[word]
    return parser


def children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the sub-commands of a command, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def arguments(parser: argparse.ArgumentParser, words: str, given: Given) -> list[str]:
    """The words of a command line."""
    made = words.split()
    positional = [a.dest for a in parser._actions if not a.option_strings]
    for name in sorted(given, key=lambda name: name not in positional):
        made += [] if name in positional else [name]
        made += given[name]
    return made


def _choose(
    run: SimpleNamespace,
    parser: argparse.ArgumentParser,
    words: str,
    given: Given,
    action: argparse.Action,
    name: str,
    chance: random.Random,
) -> None:
    """One value of the option is wrong, and sometimes one of another option."""
    count = action.nargs if isinstance(action.nargs, int) else 1
    count = chance.randint(1, 2) if action.nargs in ("+", "*") else count
    changed = {**given, name: [chance.choice(VALUES) for _ in range(count)]}
    if chance.random() < 0.2:
        other = chance.choice(list(given) or [name])
        changed[other] = [chance.choice(VALUES), *given.get(other, [])[1:]]
    run.arguments = arguments(parser, words, changed)


def _run(run: SimpleNamespace, world: Path, here: Path) -> bool:
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(world, here, symlinks=True)
    before = _tree(here)
    with _streams(here) as told:
        try:
            code: Any = main(run.arguments)
        except SystemExit as end:
            code = end.code
    assert code in EXITS, f"{run.arguments} exits with {code}"
    if code == DONE:
        return True
    lines = [line for line in told().splitlines() if line.startswith("saane: ")]
    assert lines, f"{run.arguments} says {told()[-300:]!r}"
    left = sorted(set(_tree(here)) - set(before))
    assert not left or _LEFT_OUT in lines[-1], f"{run.arguments} leaves {left[:3]}"
    raise SaaneError(lines[-1])


@contextlib.contextmanager
def _streams(here: Path) -> Iterator[Any]:
    """The folder is the working one, and what is printed is kept."""
    back, out, error = os.getcwd(), sys.stdout, sys.stderr
    kept = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    sys.stderr = kept
    os.chdir(here)
    try:
        yield lambda: kept.buffer.getvalue().decode()
    finally:
        sys.stdout, sys.stderr = out, error
        os.chdir(back)


def _tree(folder: Path) -> list[str]:
    return [
        os.path.join(place, name)
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
    ]


def _make_heavy_parts_light() -> None:
    """A small model under the name of every card; no rendering and no nodes."""
    real = loading.load_embedder

    def light(
        model: str, weights: str = "", device: str = "auto", *rest: Any, **more: Any
    ) -> ColourGridEmbedder:
        loading.pick_device(device)
        assert 0 <= (rest[1] if len(rest) > 1 else 0) <= 256
        if model != ColourGridEmbedder.name:
            search_folders(load_card(model), weights)
        return ColourGridEmbedder()

    for module in list(sys.modules.values()):
        if getattr(module, "load_embedder", None) is real:
            module.load_embedder = light  # type: ignore[attr-defined]

    def left_out(*_: Any, **__: Any) -> Any:
        raise SaaneError(_LEFT_OUT)

    demo.town_scene = demo.replay = left_out  # type: ignore[assignment]
    training.render_training_towns = store._download = left_out  # type: ignore[assignment]
    loading.load_exportable = metric.town_map = left_out  # type: ignore[assignment]
    choosing.machine_in_words = lambda _: "a computer"
    choosing.measured_memory = lambda *_: Memory()  # type: ignore[assignment]
    model_specs.ModelSystem = model_specs.load_untrained = left_out  # type: ignore[assignment, misc]
