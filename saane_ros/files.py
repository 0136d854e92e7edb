"""Files that are either the old one or the new one, never half of either.

What is being written lies in `.<name>.<number>.new/` beside the place where it will stand. The
process that writes holds that folder by a lock, which a kill ends too: whoever writes the same name
next removes the folders that nobody holds.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from saane_ros.errors import SaaneError

AT_FDCWD = -100
RENAME_EXCHANGE = 2
ASIDE = "older"
"""Name of a folder while the new one takes its place."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A write lacked room: of the disk, of a quota, of the largest file that is allowed."""


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the name `path` when the block ends well.

    A device or pipe, such as /dev/null, is written to itself: root would replace it by a file.
    Raises SaaneError where `path` is a folder.
    """
    if path.is_dir():
        raise SaaneError(f"{path} is a folder: name a file.")
    if path.exists() and not path.is_file():
        yield path
        return
    with workspace(path) as folder:
        temporary = folder / path.name
        yield temporary
        os.replace(temporary, path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the name `path` when the block ends well."""
    with workspace(path) as folder:
        temporary = folder / path.name
        temporary.mkdir()
        yield temporary
        replace_folder(temporary, path)


def replace_folder(new: Path, path: Path) -> None:
    """Give the finished folder `new` the name `path`; the older one of that name is removed.

    Linux exchanges the two names in one step. Where the file system cannot, an older folder is
    moved aside first and stands beside `new` for a moment.
    """
    if not path.exists():
        os.rename(new, path)
    elif _exchange_names(new, path):
        shutil.rmtree(new, ignore_errors=True)
    else:
        aside = new.with_name(ASIDE)
        os.rename(path, aside)
        os.rename(new, path)
        shutil.rmtree(aside, ignore_errors=True)


def link_or_copy(source: str, target: str) -> None:
    """Give a file that is never written to a second name, or copy it where there are no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def clear_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` left beside it.

    An older folder that one of them had moved aside takes its name back. What a living process
    writes is held by it and stays.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+\.new")
    with suppress(OSError):  # there is no such folder, or it may not be looked into
        for one in [one for one in path.parent.iterdir() if name.fullmatch(one.name)]:
            with suppress(OSError):  # of another user, or no folder
                _clear(one, path)


def _clear(leftover: Path, path: Path) -> None:
    lock = _hold(leftover)
    if lock is None:
        return
    try:
        if (leftover / ASIDE).is_dir() and not os.path.lexists(path):
            os.rename(leftover / ASIDE, path)
        shutil.rmtree(leftover, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """A folder beside `path`, held while the block runs and removed after it.

    What is written there is called as in the end: some writers choose a format by the name, and
    some put another file in its place, by which a lock on the file itself would be lost.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    folder, lock = _new_workspace(path)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new_workspace(path: Path) -> tuple[Path, int]:
    # Processes in two containers may have one number.
    for number in itertools.count(os.getpid()):
        folder = path.with_name(f".{path.name}.{number}.new")
        with suppress(FileExistsError):
            folder.mkdir()
            lock = _hold(folder)
            if lock is not None:
                return folder, lock
    raise AssertionError("there is always a next number")


def _hold(folder: Path) -> int | None:
    """Hold a folder until the descriptor is closed or the process ends; None where another does,
    or has removed it meanwhile.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(descriptor).st_ino == folder.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        held = False
    except OSError:
        os.close(descriptor)
        raise
    if not held:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def telling_full_disk(path: Path) -> Iterator[None]:
    """Turn the failure of a write for `path` into a SaaneError where room was what it lacked."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SaaneError(
            f"There is no room in {path.absolute().parent} to write {path.name} "
            f"({error.strerror}): free some space, raise the limit (quota, `ulimit -f`) or choose "
            "another folder, and give the same command again; what was there before is unchanged."
        ) from error


def _exchange_names(first: Path, second: Path) -> bool:
    """Swap two names atomically; False where the system or the file system does not offer it."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    names = os.fsencode(first), os.fsencode(second)
    return renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def sha256_of(path: Path, advance: Callable[[int], object] | None = None) -> str:
    """The hexadecimal SHA-256 of a file's bytes; `advance` is told how many more were read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
            if advance is not None:
                advance(len(block))
    return digest.hexdigest()


def lock_folder(folder: Path, doing: str) -> int:
    """Make the folder and hold it until the descriptor is closed or the process ends.

    Raises SaaneError where another process holds it, which then is said to be `doing` something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _hold(folder)
    if descriptor is None:
        raise SaaneError(f"Another {doing}: wait for it or give another name.")
    return descriptor
