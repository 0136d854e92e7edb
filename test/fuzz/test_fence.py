"""The fence of the fuzz holds: nothing outside its folder is made, replaced or removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

from fuzz.fence import put_up

OUTSIDE: dict[str, Callable[[Path], object]] = {
    "write": lambda out: (out / "new").write_text("x"),
    "open": lambda out: os.open(out / "new", os.O_CREAT | os.O_WRONLY),
    "append": lambda out: (out / "kept").open("a"),
    "mkdir": lambda out: (out / "new").mkdir(),
    "rename": lambda out: os.replace(Path("mine"), out / "kept"),
    "rename away": lambda out: os.replace(out / "kept", Path("mine")),
    "device": lambda out: os.replace(Path("mine"), "/dev/null"),
    "unlink": lambda out: (out / "kept").unlink(),
    "rmtree": lambda out: shutil.rmtree(out),
    "symlink": lambda out: (out / "new").symlink_to("kept"),
    "upwards": lambda out: Path("../../outside/new").write_text("x"),
}


def attempt(inside: Path, outside: Path) -> None:
    put_up(inside)
    os.chdir(inside)
    Path("mine").write_text("1")
    Path("/dev/null").write_text("x")
    Path("a/b").mkdir(parents=True)
    shutil.rmtree("a")
    for name, change in OUTSIDE.items():
        try:
            change(outside)
        except PermissionError:
            continue
        raise AssertionError(f"{name} got through")


def test_the_fence_holds(tmp_path: Path) -> None:
    inside, outside = tmp_path / "fence" / "inside", tmp_path / "outside"
    inside.mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").write_text("0")
    process = get_context("fork").Process(target=attempt, args=(inside, outside))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"kept": "0"}
    assert (inside / "mine").read_text() == "1"
    assert Path("/dev/null").is_char_device()
