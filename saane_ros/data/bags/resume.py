"""Writing a bag that takes long, so that an interruption loses next to nothing.

`.<name>.converting/` beside the bag holds `source.json` (whose bag it is), `bag/` (being written)
and, while an interrupted bag is taken over, `before/`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from saane_ros.data.bags.reader import BagReader
from saane_ros.data.bags.writer import BagWriter, check_place
from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder, replacing_file


@dataclass(frozen=True)
class ResumedBag:
    """writer: the bag to go on with.  taken_over: stamps (ns) of the recorded images that it
    already has, rising; the rest of each of these frames is there too."""

    writer: BagWriter
    taken_over: list[int]


@contextmanager
def resumable_bag(path: Path, source: str, image_topic: str) -> Iterator[ResumedBag]:
    """A bag at `path` once the block ends well; what an interrupted one of the same `source` held
    is copied into it first.

    Within a frame `image_topic` must be written last, all messages with the frame's stamp.
    Raises SaaneError where another process writes it, and where the disk is full.
    """
    path = path.resolve() if path.name in ("", "..") else path
    check_place(path)
    folder = path.with_name(f".{path.name}.converting")
    lock = lock_folder(folder, f"conversion is writing {path}")
    try:
        before = _interrupted(folder, source)
        with BagWriter(path, folder / "bag") as writer:
            taken_over = _take_over(before, path.name, writer, image_topic)
            shutil.rmtree(before, ignore_errors=True)
            yield ResumedBag(writer, taken_over)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SaaneError(
            f"The disk is full: what was written of {path} is kept in {folder}; free some space "
            "and give the same command again to go on."
        ) from error
    finally:
        os.close(lock)


def _interrupted(folder: Path, source: str) -> Path:
    """Where the bag of an interrupted writing of this source lies, if there is one."""
    head, current, before = folder / "source.json", folder / "bag", folder / "before"
    if not head.is_file() or head.read_text("utf-8") != json.dumps(source):
        for old in (current, before):
            shutil.rmtree(old, ignore_errors=True)
        with replacing_file(head) as part:
            part.write_text(json.dumps(source), encoding="utf-8")
    if before.is_dir():  # the interruption came while `before` was being copied
        shutil.rmtree(current, ignore_errors=True)
    elif current.is_dir():
        current.rename(before)
    return before


def _take_over(before: Path, name: str, writer: BagWriter, image_topic: str) -> list[int]:
    bag = before / name
    if not bag.is_dir() or not any(bag.glob("*.mcap")):
        return []
    try:
        reader = BagReader(bag)
    except SaaneError:  # interrupted before anything reached the disk
        return []
    with reader:
        if image_topic not in reader.topics():
            return []
        stamps = [message.stamp_ns for message in reader.messages([image_topic])]
    with BagReader(bag) as reader:
        for message in reader.messages():
            if stamps and message.stamp_ns <= stamps[-1]:
                writer.write_raw(message)
    return stamps
