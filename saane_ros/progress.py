"""Progress bars with an estimate, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T],
    what: str,
    total: int | None = None,
    unit: str = "it",
    delay_s: float = 0.0,
) -> tqdm[T]:
    """Iterate with a bar; where standard error is no terminal, a line every ten seconds.

    delay_s: no bar before so many seconds, for what is usually done sooner.
    """
    return tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        dynamic_ncols=True,
        mininterval=_interval(),
        delay=delay_s,
    )


def byte_progress(what: str, total: int | None, done: int, delay_s: float = 0.0) -> tqdm[None]:
    """A bar over bytes, `done` of them already there; advance it with `.update(count)`."""
    return tqdm(
        desc=what,
        total=total,
        initial=done,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        dynamic_ncols=True,
        mininterval=_interval(),
        delay=delay_s,
    )


def _interval() -> float:
    return 0.2 if sys.stderr.isatty() else 10.0
