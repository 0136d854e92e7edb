"""What is fuzzed: good files, how they are changed, and what reads them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz.mutations import mutated

Change = Callable[[random.Random], None]


@dataclass(frozen=True)
class Case:
    """A good file. change: writes it with changes.  read: does all that a command does with it,
    and tells whether anything of it could be used.  good: whether that is so as it is.
    """

    name: str
    change: Change
    read: Callable[[], object]
    good: bool = True


@dataclass(frozen=True)
class Format:
    """prepare: writes good files into a folder.  most_mebibytes: how far the process may grow."""

    name: str
    prepare: Callable[[Path], Sequence[Case]]
    most_mebibytes: int


def changing(path: Path, others: Sequence[bytes] = ()) -> Change:
    """Changes a file as it is now; `others`: what mutations splice from."""
    whole = path.read_bytes()

    def change(chance: random.Random) -> None:
        path.write_bytes(mutated(whole, chance, others))

    return change
