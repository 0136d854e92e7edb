"""Every command of README.md and docs/ can be typed as it stands there: words, options, files."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_stand_in import LAUNCH, load, stand_in

from saane_ros.cli import build_parser
from saane_ros.errors import SaaneError
from saane_ros.settings import default_settings, parse_assignment

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
FENCE = re.compile(r"^ *```.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
PLACEHOLDER = re.compile(r"<[a-z][\w .-]*>")
FOLDERS = ("config/", "models/", "results/", "launch/", "docs/", "resource/")
TRANSITIONS = ("configure", "activate", "deactivate", "cleanup", "shutdown")
NODE = re.compile(r"^.*\b(localizer|map_builder)/")
OTHER_ROS2 = ("bag", "daemon", "interface", "node", "pkg", "doctor")
"""Of no topic, node or file of this package."""


def blocks(text: str) -> str:
    """The indented and fenced lines of a page, without what is neither."""
    fenced = "\n".join(FENCE.findall(text))
    indented = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return "\n".join([fenced, *indented]).replace("\\\n", " ")


def commands(page: str) -> Iterator[tuple[list[str], bool]]:
    """Words of each command, and whether it is whole; one within a sentence may be its beginning.

    What stands for a value of the reader's becomes the word VALUE.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [(line, True) for line in blocks(text).splitlines()]
    lines += [(span.replace("\n", " "), False) for span in SPAN.findall(FENCE.sub("", text))]
    for line, whole in lines:
        for part in re.split(r"&&|\||;|\$\(|\)|^ExecStart=", PLACEHOLDER.sub("VALUE", line)):
            if part.split()[:1] and Path(part.split()[0]).name in ("saane", "ros2", "make"):
                words = shlex.split(part, comments=True)
                yield [Path(words[0]).name, *words[1:]], whole


@pytest.fixture
def launch_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, str]]:
    stand_in(tmp_path, monkeypatch)
    return lambda name: dict(load(str(LAUNCH / name)).ARGUMENTS)


def subparser(words: list[str]) -> argparse.ArgumentParser:
    """The parser of the command that the words begin with."""
    parser = build_parser()
    for word in words:
        actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not actions or word.startswith("-") or word == "VALUE":
            break
        if word not in actions[0].choices and not actions[0].required:
            break
        assert word in actions[0].choices, f"saane has no {' '.join(words)}"
        parser = actions[0].choices[word]
    return parser


def check_saane(words: list[str], whole: bool) -> None:
    parser = subparser(words)
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    known = {name for action in parser._actions for name in action.option_strings}
    assert set(options) <= known | {"--version"}, f"saane {' '.join(words)}"
    if not whole:
        return
    try:
        build_parser().parse_args(words)
    except SystemExit as end:
        if end.code:
            raise AssertionError(f"saane {' '.join(words)}") from end


def check_ros2(words: list[str], whole: bool, launch_arguments: Callable) -> None:
    topics, services = own_names()
    told = f"ros2 {' '.join(words)}"
    verb, rest = words[0], words[1:]
    if verb == "launch" and rest[:1] == ["saane_ros"] and len(rest) > 1:
        known = launch_arguments(rest[1])
        given = {word.partition(":=")[0] for word in rest[2:] if ":=" in word}
        assert given <= set(known), told
        assert all(":=" in word or word.startswith("-") for word in rest[2:]), told
    elif verb == "run" and rest[:1] == ["saane_ros"]:
        assert f'"{rest[1]} = ' in (ROOT / "setup.py").read_text(encoding="utf-8"), told
    elif verb == "lifecycle" and rest[0] == "set":
        assert rest[2] in (*TRANSITIONS, "VALUE"), told
    elif verb == "param" and rest[0] in ("set", "get") and whole:
        check_parameter(rest[2:], told)
    elif verb == "service" and rest[0] == "call" and NODE.search(rest[1]):
        assert services.get(NODE.sub("~/", rest[1])) == rest[2], told
    elif verb == "topic" and rest[0] in ("echo", "hz", "pub") and NODE.search(rest[1]):
        assert NODE.sub("~/", rest[1]) in topics, told
    else:
        known_verbs = ("launch", "run", "lifecycle", "param", "service", "topic", *OTHER_ROS2)
        assert verb in known_verbs, told


def own_names() -> tuple[set[str], dict[str, str]]:
    """Topics of both nodes, and their services with types."""
    from saane_ros.ros.shared import interface

    topics = [*interface.OUTPUTS.values(), *interface.MAP_BUILDER_OUTPUTS.values()]
    services = {**interface.SERVICES, **interface.MAP_BUILDER_SERVICES}
    return {topic.name for topic in topics}, {s.name: s.type_name for s in services.values()}


def check_parameter(words: list[str], told: str) -> None:
    from saane_ros.ros.map_builder.settings import MapBuilderSettings

    names = {*default_settings(), *default_settings(MapBuilderSettings), "VALUE"}
    assert words[0] in names, told
    if len(words) > 1 and words[0] in default_settings() and words[1] != "VALUE":
        try:
            parse_assignment(f"{words[0]}={words[1]}")
        except SaaneError as error:
            raise AssertionError(f"{told}: {error}") from error


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_can_be_typed(page: str, launch_arguments: Callable) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words, whole in commands(page):
        if words[0] == "saane":
            check_saane(words[1:], whole)
        elif words[0] == "make":
            named = [word for word in words[1:] if "=" not in word]
            assert set(named) <= set(targets), " ".join(words)
        elif len(words) > 2:
            pytest.importorskip("rclpy")
            check_ros2(words[1:], whole, launch_arguments)


@pytest.mark.parametrize("page", PAGES)
def test_launch_arguments_and_files_that_a_page_names_exist(
    page: str, launch_arguments: Callable
) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    known = {name for file in LAUNCH.glob("*.launch.py") for name in launch_arguments(file.name)}
    for span in SPAN.findall(FENCE.sub("", text)):
        if found := re.fullmatch(r"(\w+):=\S*", span):
            assert found[1] in known, span
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    spans = " ".join([blocks(text), *SPAN.findall(text), *links])
    for word in re.findall(r"[\w./*@-]+", spans):
        if word.startswith(FOLDERS):
            assert list(ROOT.glob(word.rstrip("/.,"))), f"{page} names {word}"


def test_commands_are_found_wherever_a_page_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text(
        "Say `saane map\ninfo <map>` or:\n\n    cd x && saane map info \\\n"
        "        a.routemap  # b\n"
        "    ExecStart=/usr/bin/ros2 launch a b.launch.py\n\n```\nP=$(ros2 pkg prefix x)/y\n```\n"
    )
    monkeypatch.setattr("test_documented_commands.ROOT", tmp_path)
    assert list(commands("page.md")) == [
        (["ros2", "pkg", "prefix", "x"], True),
        (["saane", "map", "info", "a.routemap"], True),
        (["ros2", "launch", "a", "b.launch.py"], True),
        (["saane", "map", "info", "VALUE"], False),
    ]


@pytest.mark.parametrize(
    "command",
    [
        "saane map biuld",
        "saane localize --mapp a --images b",
        "saane map info",
        "ros2 launch saane_ros build_map.launch.py out:=a",
        "ros2 run saane_ros player",
        "ros2 lifecycle set /localizer start",
        "ros2 param set /localizer min_ratio 2",
        "ros2 param set /localizer candidates many",
        "ros2 service call /localizer/forget std_srvs/srv/Trigger",
        "ros2 topic echo /localizer/position",
        "ros2 dance with me",
    ],
)
def test_a_command_that_nobody_can_type_is_noticed(
    command: str, launch_arguments: Callable
) -> None:
    pytest.importorskip("rclpy")
    program, *words = command.split()
    check = {
        "saane": lambda: check_saane(words, True),
        "ros2": lambda: check_ros2(words, True, launch_arguments),
    }[program]
    with pytest.raises(AssertionError):
        check()
