"""The `saane` command: one function per sub-command, each in its own file under `commands/`."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys

from saane_ros import __version__
from saane_ros.errors import SaaneError

TOLD = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR)
"""Failures of the system that a person can mend."""
COMMANDS = ("map", "localize", "bag", "robotcar", "evaluate", "train", "models", "demo")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a told failure, 2 wrong usage, 130 interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except SaaneError as error:
        print(f"saane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("saane: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in TOLD:
            raise
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"saane: {error.strerror}{where}: what was finished is kept; free some space or choose "
            "another place, and give the same command again.",
            file=sys.stderr,
        )
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser with every sub-command; each module of `commands/` adds its own."""
    parser = argparse.ArgumentParser(
        prog="saane", description="Route maps, place matches and models for long-term localization."
    )
    parser.add_argument("--version", action="version", version=f"saane_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in COMMANDS:
        importlib.import_module(f"saane_ros.commands.{name}").add(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
