"""Writings of one map, killed at each write in turn or short of room: a program of its own.

    python failing_builds.py build-kill|crop-kill|build-room|crop-room FOLDER

Makes FOLDER/0, FOLDER/1 and so on, each a copy of FOLDER/start, in which one writing of
`m.routemap` failed, until one does not. Prints what each said. They are forks of one process, as
starting Python so often would take minutes.
"""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenes import ColourGridEmbedder, smooth_scene

from saane_ros import files
from saane_ros.errors import SaaneError
from saane_ros.route_map import builder, writing
from saane_ros.route_map.calibration import default_weights
from saane_ros.route_map.cohort import cohort_of
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Embedding, Frame, Pose, Rgb

NAME = "m.routemap"
PLACES = 3
OLD, NEW = 0, 100
"""First scenes of the map that is there and of the one that is written."""
WRITES = {
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "ctypes.dlsym",
    "fcntl.flock",
}
"""What a process tells of itself before it does so; opening for a write is told by its mode."""


class SmallEmbedder(ColourGridEmbedder):
    """Without feature grids."""

    def _embed_one(self, image: Rgb, attention: bool, labels: bool, grid: bool) -> Embedding:
        return super()._embed_one(image, attention, labels, False)


EMBEDDER = SmallEmbedder()


def frames(first: int) -> list[Frame]:
    return [
        Frame(smooth_scene(i, 24, 32), i * 10**9, str(i), Pose((2.0 * i, 0.0, 0.0)))
        for i in range(first, first + PLACES)
    ]


def build(folder: Path, first: int, source: str = "") -> list[str]:
    """Build the map of some frames; names of its places."""
    path = folder / NAME
    route_map = builder.build_map(frames(first), EMBEDDER, path, batch=2, source=source)
    return [place.name for place in route_map.places]


def crop(folder: Path) -> None:
    crop_map(RouteMap.open(folder / NAME), folder / NAME, places=(1, PLACES))


def quick_parts(set_to: Callable[[object, str, object], None]) -> None:
    """A search index for a small map too, what is always the same once, and no waiting for the
    disk, which a kill of the process does not need.
    """
    known = cohort_of(EMBEDDER)
    set_to(writing, "wants_index", lambda count, size: count > 1)
    set_to(builder, "cohort_of", lambda embedder, rerank: known)
    weights = default_weights(grids=False)
    set_to(writing, "default_weights", lambda grids: weights)
    set_to(os, "fsync", lambda descriptor: None)


class Killer:
    """Ends the process at its nth write."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self._open = io.open
        sys.addaudithook(self._hear)
        os.fsync = lambda descriptor: self.write()
        for owner in (io, sys.modules["builtins"]):
            owner.open = self._opened

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if event in WRITES or written:
            self.write()

    def write(self, half: Callable[[], object] = lambda: None) -> None:
        self._left -= 1
        if self._left == 0:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    def _opened(self, *arguments: Any, **named: Any) -> Any:
        stream = self._open(*arguments, **named)
        return _Torn(stream, self) if stream.writable() else stream


class _Torn:
    """A stream whose process ends when half of what it is given is written."""

    def __init__(self, stream: Any, killer: Killer) -> None:
        self._stream, self._killer = stream, killer

    def write(self, data: Any) -> int:
        def half() -> None:
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()

        self._killer.write(half)
        written: int = self._stream.write(data)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def limit_room(number: int) -> None:
    """No file may be larger than some bytes, from 64 on half as much again each time."""
    limit = int(64 * 1.5**number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def forked(act: Callable[[], None]) -> int:
    """Run in a child; its status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except SaaneError as error:
            print(error)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main(way: str, folder: Path) -> None:
    quick_parts(setattr)
    what, spoilt = way.split("-")
    if what == "crop":  # as on a file system that does not exchange names
        files._exchange_names = lambda first, second: False
    for number in range(1000):
        place = folder / str(number)
        shutil.copytree(folder / "start", place)

        def act(number: int = number, place: Path = place) -> None:
            if spoilt == "kill":
                Killer(number + 1)
            else:
                limit_room(number)
            if what == "crop":
                crop(place)
            else:
                build(place, NEW)

        status = forked(act)
        if status == 0:
            return
        if (spoilt == "kill") != os.WIFSIGNALED(status):
            raise SystemExit(f"{way} {number} ended with {status}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
