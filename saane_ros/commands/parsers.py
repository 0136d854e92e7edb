"""What the parsers of all sub-commands have in common: examples as they are written, exit codes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

N = TypeVar("N", int, float)

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
EXITS = {
    DONE: "done",
    FAILED: "not done, for the reason on stderr",
    USAGE: "wrong arguments, likewise",
    INTERRUPTED: "interrupted by Ctrl-C",
}
"""What every command exits with."""
EXIT_TEXT = "exit codes:\n" + "\n".join(f"  {code:<4} {what}" for code, what in EXITS.items())


class Parser(argparse.ArgumentParser):
    """A parser whose help ends with examples and the exit codes; so do those of sub-commands."""

    def __init__(self, *, epilog: str = "", **options: Any) -> None:
        form = argparse.RawDescriptionHelpFormatter
        options = {"formatter_class": form, **options}
        super().__init__(epilog=f"{epilog}\n{EXIT_TEXT}".lstrip(), **options)
        self.register("type", Path, named_path)

    def error(self, message: str) -> NoReturn:
        """Wrong usage in one sentence."""
        told = one_line(message.replace("argument ", "", 1).strip("."))
        self.exit(USAGE, f"saane: {told}: see {self.prog} --help.\n")


def one_line(text: str) -> str:
    """Text for a terminal: names of files and values may hold anything, a new line too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def command_parser(
    subparsers: argparse._SubParsersAction, name: str, text: str, examples: str
) -> argparse.ArgumentParser:
    """A sub-command; `text` stands in the list of its neighbours and above its own help."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=examples
    )
    return parser


def named_path(text: str) -> Path:
    """The `type` of every path: nothing, as of an unset variable, would be the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty, name a file or folder")
    return Path(text)


def output_folder(text: str) -> Path:
    """The `type` of a folder that is written to; one that cannot be is told before the work."""
    path = named_path(text)
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not os.path.isdir(there):
        raise argparse.ArgumentTypeError(f"{there} is no folder, name another place")
    return path


def output_file(text: str) -> Path:
    """The same of a file."""
    path = named_path(text)
    if os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is a folder, name a file")
    output_folder(str(path.absolute().parent))
    return path


def number(low: float, high: float, kind: Callable[[str], N]) -> Callable[[str], N]:
    """The `type` of a number of `kind` float or int from `low` to `high`."""

    def read(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what} from {low} to {high}")
        return value

    return read


threads = number(0, 256, int)
"""The `type` of --threads."""
