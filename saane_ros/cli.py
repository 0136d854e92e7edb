"""The `saane` command: one function per sub-command, each in its own file under `commands/`."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys

from saane_ros import __version__
from saane_ros.commands.parsers import DONE, FAILED, INTERRUPTED, Parser, one_line
from saane_ros.errors import SaaneError

REMEDIES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "free some space and give the same command again, what was finished is kept",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "allow it there or choose another place"
    ),
}
"""What a person can do about failures of the system."""
COMMANDS = ("map", "localize", "bag", "robotcar", "evaluate", "train", "models", "fleet", "demo")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code is one of `parsers.EXITS`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no text
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except SaaneError as error:
        print(f"saane: {one_line(str(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("saane: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno is None:
            raise
        where = f" at {error.filename}" if error.filename else ""
        remedy = REMEDIES.get(error.errno, "check the path")
        print(f"saane: {one_line(f'{error.strerror}{where}: {remedy}.')}", file=sys.stderr)
        return FAILED
    return DONE


def build_parser() -> argparse.ArgumentParser:
    """The parser with every sub-command; each module of `commands/` adds its own."""
    parser = Parser(
        prog="saane", description="Route maps, place matches and models for long-term localization."
    )
    parser.add_argument("--version", action="version", version=f"saane_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in COMMANDS:
        importlib.import_module(f"saane_ros.commands.{name}").add(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
