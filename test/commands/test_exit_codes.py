"""What every command says of its exit codes, and what it exits with where a path is no use."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros import cli
from saane_ros.commands.parsers import DONE, EXIT_TEXT, EXITS, FAILED, INTERRUPTED, USAGE
from saane_ros.data.images.folders import ImageFolder
from saane_ros.errors import SaaneError
from saane_ros.route_map.builder import build_map


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The words of every command, those with sub-commands too."""
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*words, name))


@pytest.mark.parametrize("words", commands(cli.build_parser()), ids=" ".join)
def test_every_help_lists_the_exit_codes(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--help"])
    assert end.value.code == DONE
    text = capsys.readouterr().out
    assert text.endswith(f"{EXIT_TEXT}\n")
    assert all(f"  {code} " in EXIT_TEXT for code in EXITS)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for i in range(6):
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), smooth_scene(i, 32, 48))
    (tmp_path / "file.txt").write_text("x")
    build_map(
        ImageFolder(tmp_path / "images").frames(), ColourGridEmbedder(), tmp_path / "m.routemap"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(call: str, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str]:
    """The exit code and the one line on stderr."""
    capsys.readouterr()
    try:
        code: int | str | None = cli.main([word.replace("''", "") for word in call.split()])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return code, error


@pytest.mark.parametrize(
    ("call", "code", "sentence"),
    [
        ("map info m.routemap --plot images", USAGE, "images is a folder, name a file"),
        ("map info m.routemap --plot file.txt/x.png", USAGE, "file.txt is no folder"),
        ("map crop m.routemap --places 0:2 --out file.txt/m", USAGE, "file.txt is no folder"),
        ("map build --images images --out file.txt", USAGE, "file.txt is no folder"),
        ("map build --images images --out new --batch 0", USAGE, "'0' is not a whole number from"),
        ("map build --images images --out new --threads nan", USAGE, "'nan' is not a whole number"),
        ("map build --images '' --out new", USAGE, "--images: is empty"),
        ("map build --images file.txt --out new", FAILED, "file.txt, only a file of that name"),
        ("map build --images images --out new --poses images", FAILED, "is a folder: name a file"),
        ("map info file.txt", FAILED, "only a file, and a map is a folder"),
        ("map info nothing", FAILED, "There is no route map at nothing"),
        ("robotcar to-bag file.txt --out new", FAILED, "file.txt, only a file of that name"),
        ("models verify saane-town --weights file.txt", FAILED, "file.txt, only a file of that"),
        ("evaluate --model x.npz --dataset images --out file.txt", USAGE, "file.txt is no folder"),
        ("train weak --config images --out new", FAILED, "is a folder: name a file"),
        ("train weak --config /dev/full --out new", FAILED, "is a device"),
    ],
)
def test_paths_of_the_wrong_kind(
    world: Path, call: str, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(world.rglob("*"))
    assert told(call, capsys)[0] == code
    assert sentence in told(call, capsys)[1]
    assert sorted(world.rglob("*")) == before


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, which may read and write everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_is_told(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["map", "info", "m.routemap"])  # imports everything
    for path in (world / "m.routemap" / "map.yaml", world / "m.routemap"):
        path.chmod(0)
        with as_nobody():
            code, error = told("map info m.routemap", capsys)
        path.chmod(0o755)
        assert code == FAILED
        assert "ermission denied" in error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (SaaneError("It is so."), FAILED, "saane: It is so.\n"),
        (SaaneError("a\nb \udcff"), FAILED, "saane: a\\nb \\udcff\n"),
        (KeyboardInterrupt(), INTERRUPTED, "saane: interrupted.\n"),
        (OSError(28, "No space left", "/x"), FAILED, "No space left at /x: free some space"),
        (OSError(36, "File name too long", "/x"), FAILED, "saane: File name too long at /x: check"),
        (PermissionError(13, "Denied", "/x"), FAILED, "saane: Denied at /x: allow it there or"),
    ],
)
def test_failures_are_one_line(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: argparse.Namespace) -> None:
        raise error

    def parser() -> argparse.ArgumentParser:
        made = argparse.ArgumentParser()
        made.set_defaults(run=fail)
        return made

    chosen: Callable[[], argparse.ArgumentParser] = parser
    monkeypatch.setattr(cli, "build_parser", chosen)
    found, text = told("", capsys)
    assert found == code
    assert sentence in text
