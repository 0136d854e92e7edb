"""A fence about a process that is given any path to write to: it writes inside one folder alone."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"), (0,)),
    **dict.fromkeys(("os.chown", "shutil.rmtree"), (0,)),
    **dict.fromkeys(("os.link", "os.symlink"), (1,)),
    **dict.fromkeys(("os.rename", "shutil.move"), (0, 1)),
}
"""Which arguments of an event name what is changed."""
OWN = "/proc/self/clear_refs"


def put_up(folder: Path) -> None:
    """From here on, for good, this process has no permission elsewhere, whoever runs it.

    Root would otherwise replace what the system needs. Devices may be written to, not replaced.
    """
    inside = os.path.realpath(folder)
    (folder / "temporary").mkdir()
    tempfile.tempdir = str(folder / "temporary")
    os.environ["SAANE_CACHE"] = str(folder / "cache")

    def check(path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor, of what was opened before
        real = os.path.realpath(os.fsdecode(path))
        if real != inside and not real.startswith(inside + os.sep):
            raise PermissionError(errno.EACCES, "Permission denied", os.fsdecode(path))

    def hook(event: str, given: tuple) -> None:
        if event == "open" and isinstance(given[2], int) and given[2] & WRITING:
            if not (given[0] == OWN or _is_device(given[0])):
                check(given[0])
        elif event in CHANGING:
            if event in ("os.remove", "os.rmdir") and given[-1] not in (-1, None):
                return  # relative to an open folder, of a tree that was checked as a whole
            for place in CHANGING[event]:
                check(_folder_of(given[place]))

    sys.addaudithook(hook)


def _folder_of(path: object) -> object:
    """Names are changed in their folder, whatever a link of that name leads to."""
    if not isinstance(path, str | bytes | os.PathLike):
        return path
    return os.path.dirname(os.path.abspath(os.fsdecode(path)))


def _is_device(path: object) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError):
        return False
