"""Raw messages from the files of a bag, whatever they are and however they were left."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Protocol

import yaml

from saane_ros.data.bags.mcap import McapFile
from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo, merged_topics
from saane_ros.data.bags.recognition import Kind, head_of, kind_of, why_no_bag
from saane_ros.data.bags.ros1 import Ros1File
from saane_ros.data.bags.sqlite import SqliteFile
from saane_ros.data.bags.unpacking import unpack_file
from saane_ros.data.images.folders import IMAGE_SUFFIXES, natural_key
from saane_ros.errors import SaaneError

METADATA = "metadata.yaml"
_LONGEST_METADATA = 1 << 24
_SUFFIXES = re.compile(r"(\.orig)?(\.(mcap|db3|bag|active|zstd|zst))+$")
_NUMBER = re.compile(r"(^|_)\d+$")
_DATE = re.compile(r"_?\d{4}[-_]\d\d[-_]\d\d[-_]\d\d[-_]\d\d[-_]\d\d")


class Storage(Protocol):
    """Files that hold messages. `notes` names what could not be read, after it was tried."""

    @property
    def notes(self) -> list[str]: ...

    def topics(self) -> dict[str, TopicInfo]:
        """Topic name to type and number of messages."""

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of these topics, in the order of their recording."""

    def span_ns(self) -> tuple[int, int] | None:
        """Times of the first and the last message; None where there is none."""

    def close(self) -> None:
        """Close the files."""


def open_storage(path: Path) -> Storage:
    """Open a bag's folder, or one file of it: MCAP, sqlite3 or ROS 1, also packed with zstd.

    What a file is its first bytes tell, not its name. A bag whose recording or copy was cut is read
    as far as it goes. Raises SaaneError where there is no bag, with what is there instead.
    """
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise SaaneError(
                f"There is no bag at {path}: name a rosbag2 folder, or an MCAP, sqlite3 or ROS 1 "
                "bag file."
            )
        if not path.is_file():
            raise SaaneError(f"{path} is neither file nor folder: name a bag that was recorded.")
        return _open_file(path)
    except OSError as error:
        raise SaaneError(
            f"The bag {path} cannot be read ({error.strerror or error}): check the disk and the "
            "rights of its files."
        ) from error


def holds_bag(folder: Path) -> bool:
    """Whether something in a folder is named as the files of a bag are."""
    return (folder / METADATA).is_file() or bool(_bag_files(folder))


class _Parts:
    """The files of a bag one after the other."""

    def __init__(self, parts: Sequence[Storage], notes: list[str]) -> None:
        self._parts, self._notes = parts, notes

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *(note for part in self._parts for note in part.notes)]

    def topics(self) -> dict[str, TopicInfo]:
        return merged_topics(item for part in self._parts for item in part.topics().items())

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        for part in self._parts:
            yield from part.messages(topics)

    def span_ns(self) -> tuple[int, int] | None:
        spans = [span for part in self._parts if (span := part.span_ns()) is not None]
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None

    def close(self) -> None:
        for part in self._parts:
            part.close()


class _Unpacked(_Parts):
    """A file that was packed whole, read from a temporary copy."""

    def __init__(self, path: Path) -> None:
        start = BytesIO()
        unpack_file(path, start, most=1 << 10)
        if kind_of(start.getvalue()) in (None, Kind.PACKED):
            what = why_no_bag(path, start.getvalue())
            if not start.getvalue():
                what = "was cut before anything of it can be unpacked: copy it again"
            raise SaaneError(f"{path} is packed with zstd, and what is in it {what}.")
        self._folder = tempfile.TemporaryDirectory(prefix="saane-bag-")
        try:
            copy = Path(self._folder.name) / _SUFFIXES.sub("", path.name)
            with copy.open("wb") as stream:
                whole = unpack_file(path, stream)
            part = _open_file(copy)
        except BaseException as error:
            self._folder.cleanup()
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SaaneError(
                    f"{path} does not fit into {tempfile.gettempdir()} when it is unpacked: unpack "
                    "it with `unzstd` where there is room, or set TMPDIR to such a place."
                ) from error
            raise
        notes = [] if whole else [f"{path} was cut or damaged: the rest of it is left out."]
        super().__init__([part], notes)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def _open_file(path: Path) -> Storage:
    head = head_of(path)
    kind = kind_of(head)
    if kind is None:
        raise SaaneError(f"{path} {why_no_bag(path, head)}.")
    opened: dict[Kind, Callable[[Path], Storage]] = {
        Kind.MCAP: McapFile,
        Kind.SQLITE: SqliteFile,
        Kind.ROS_1: Ros1File,
        Kind.PACKED: _Unpacked,
    }
    return opened[kind](path)


def _open_folder(folder: Path) -> Storage:
    notes: list[str] = []
    files = _chosen_files(folder, notes)
    parts: list[Storage] = []
    failures: list[SaaneError] = []
    for copies in files:
        try:
            parts.append(_best_copy(copies, notes))
        except SaaneError as error:
            failures.append(error)
    if not parts:
        raise failures[0]
    return _Parts(parts, [*notes, *(f"{failure} It is left out." for failure in failures)])


def _best_copy(copies: list[Path], notes: list[str]) -> Storage:
    """Of a file and its packed or repaired twin the first that is whole, else the first."""
    opened: list[tuple[Path, Storage]] = []
    failure = None
    for path in copies:
        try:
            opened.append((path, _open_file(path)))
        except SaaneError as error:
            failure = failure or error
            continue
        if not opened[-1][1].notes:
            break
    if not opened:
        raise failure or SaaneError("No file is given.")
    used = opened[-1] if not opened[-1][1].notes else opened[0]
    for other in opened:
        if other is not used:
            other[1].close()
    for path in copies:
        if path != used[0]:
            notes.append(f"{path} is the same as {used[0].name} again, which is used.")
    return used[1]


def _chosen_files(folder: Path, notes: list[str]) -> list[list[Path]]:
    """The files of the bag in the order of recording, each with its copies."""
    present = _bag_files(folder)
    if not (folder / METADATA).is_file():
        if not present:
            raise SaaneError(f"{folder} {_why_no_bag_folder(folder)}.")
        notes.append(
            f"{folder} has no {METADATA}, as a recorder that was killed leaves it (not closed "
            "properly) or a copy of some files: its files are read."
        )
        return _one_recording(folder, present)
    listed = _listed_files(folder / METADATA)
    if listed is None:
        notes.append(f"{folder / METADATA} is damaged: the files beside it are read.")
    elif missing := [name for name in listed if _stem(name) not in present]:
        notes.append(
            f"{folder} lacks {_names(missing)}, which {METADATA} names: what is there is read; "
            "copy the rest too."
        )
    else:
        beside = [name for stem, files in present.items() for name in files]
        chosen = []
        for name in dict.fromkeys(listed):
            copies = present.pop(_stem(name), [])
            named = [file for file in copies if file.name == name]
            chosen.append(named + [file for file in copies if file.name != name])
        used = {file for files in chosen for file in files}
        if left := [file.name for file in beside if file not in used]:
            notes.append(f"{folder} has files that {METADATA} does not name: {_names(left)}.")
        return [files for files in chosen if files]
    if not present:
        raise SaaneError(
            f"{folder} has a {METADATA} but no MCAP, .db3 or .bag file: copy the bag's files too."
        )
    return list(present.values())


def _one_recording(folder: Path, present: dict[str, list[Path]]) -> list[list[Path]]:
    """All files if they are parts of one bag; SaaneError where they seem to be several bags."""
    names = {_DATE.sub("", _NUMBER.sub("", stem)) for stem in present}
    numbered = all(_NUMBER.search(stem) for stem in present)
    if len(present) > 1 and (len(names) > 1 or not numbered):
        found = [files[0].name for files in present.values()]
        raise SaaneError(f"{folder} holds several bags, {_names(found)}: name one of them.")
    return list(present.values())


def _bag_files(folder: Path) -> dict[str, list[Path]]:
    """Files named as those of bags, by their names without suffix: name_0, name_1, ... name_10.

    Of equal names the plain one comes before the packed, the closed before the .active.
    """
    files = [
        file
        for file in folder.iterdir()
        if _SUFFIXES.search(file.name) and not file.name.startswith(".") and file.is_file()
    ]
    found: dict[str, list[Path]] = {}
    for file in sorted(files, key=lambda file: (natural_key(_stem(file.name)), len(file.name))):
        found.setdefault(_stem(file.name), []).append(file)
    return found


def _listed_files(metadata: Path) -> list[str] | None:
    """Names of the files that a metadata.yaml of any version tells; None where it is damaged."""
    try:
        if metadata.stat().st_size > _LONGEST_METADATA:
            return None
        told = yaml.safe_load(metadata.read_text("utf-8", errors="replace"))
        paths = told["rosbag2_bagfile_information"]["relative_file_paths"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) for p in paths):
        return None
    # Until version 3 they begin with the folder's name, which may have been changed since.
    return [re.split(r"[\\/]", path)[-1] for path in paths]


def _why_no_bag_folder(folder: Path) -> str:
    entries = sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name))
    if not entries:
        return "is an empty folder: name the folder of a bag"
    bags = [entry.name for entry in entries if entry.is_dir() and holds_bag(entry)]
    if bags:
        return f"is no bag itself, but has bags in it: name one of {_names(bags)}"
    if any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries):
        return "is a folder of images, no bag: give it as --images"
    return (
        f"is no bag, as it has neither {METADATA} nor an MCAP, .db3 or .bag file: name another "
        "folder"
    )


def _stem(name: str) -> str:
    return _SUFFIXES.sub("", name)


def _names(names: Sequence[str]) -> str:
    """Some of the names, for a sentence."""
    more = len(names) - 4
    return ", ".join(names[:4]) + (f" and {more} more" if more > 0 else "")
