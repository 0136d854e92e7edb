"""Files that are either the old one or the new one, never half of either."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saane_ros.errors import SaaneError

AT_FDCWD = -100
RENAME_EXCHANGE = 2


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write; it takes the name `path` when the block ends well.

    A device or pipe, such as /dev/null, is written to itself: root would replace it by a file.
    Raises SaaneError where `path` is a folder.
    """
    if path.is_dir():
        raise SaaneError(f"{path} is a folder: name a file.")
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(new: Path, path: Path) -> None:
    """Give the finished folder `new` the name `path`; the older one of that name is removed.

    Linux exchanges the two names in one step. Where the file system cannot, an older folder is
    moved aside first and stands under a hidden name for a moment.
    """
    if not path.exists():
        os.rename(new, path)
    elif _exchange_names(new, path):
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        os.rename(path, old)
        os.rename(new, path)
        shutil.rmtree(old, ignore_errors=True)


def _exchange_names(first: Path, second: Path) -> bool:
    """Swap two names atomically; False where the system or the file system does not offer it."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    names = os.fsencode(first), os.fsencode(second)
    return renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def lock_folder(folder: Path, doing: str) -> int:
    """Make the folder and hold it until the descriptor is closed or the process ends.

    Raises SaaneError where another process holds it, which then is said to be `doing` something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder before may have removed the folder between the two calls.
        held = os.fstat(descriptor).st_ino == folder.stat().st_ino
    except OSError:
        held = False
    if not held:
        os.close(descriptor)
        raise SaaneError(f"Another {doing}: wait for it or give another name.")
    return descriptor
