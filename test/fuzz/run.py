"""The fuzz of file formats: `make fuzz` runs it long, the suite shortly and always alike.

Every format has a process of its own, in which good files are changed and read, behind a fence:
nothing is written elsewhere, not even to the user's cache. Whatever happens, nothing but a
`SaaneError` of one sentence may be raised, and neither memory nor time may be without a bound.
Mutation n of a format is the same in every run: `--only poses --first 4711 --mutations 1` does one
again.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fuzz.cases import Case, Format
from fuzz.fence import put_up
from fuzz.formats import FORMATS

from saane_ros.errors import SaaneError

LONGEST_S = 60.0
"""A file of some kilobytes that takes longer hangs, however busy the machine is."""
FUSE_BYTES = 6 << 30
"""Address space beyond which a process ends itself, rather than the machine."""


@dataclass
class Figures:
    """What came of the mutations of one format. faults: by where, how often, and the first."""

    name: str
    mutations: int = 0
    accepted: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    peak_mebibytes: int = 0
    cpu_s: float = 0.0
    faults: dict[str, list[str]] = field(default_factory=dict)


def fuzz(form: Format, first: int, count: int, folder: Path, at: Any = None) -> Figures:
    """Run mutations `first` to `first + count` in this process; `at` always tells which."""
    figures, begun = Figures(form.name), time.process_time()
    cases = form.prepare(folder)
    for case in filter(lambda case: case.good, cases):
        assert case.read(), f"{form.name}: {case.name} is not even read as it is"
    _forget_peak()
    start = _memory_mebibytes("VmRSS")
    for number in range(first, first + count):
        case = cases[number % len(cases)]
        if at is not None:
            at.value = number
        _one(case, random.Random(f"{form.name} {number}"), number, figures)
        grown = _memory_mebibytes("VmHWM") - start
        figures.peak_mebibytes = max(figures.peak_mebibytes, grown)
        if grown > form.most_mebibytes:
            _note(figures, "memory", f"{case.name}, mutation {number}: {grown} MiB more")
            _forget_peak()
    figures.cpu_s = round(time.process_time() - begun, 1)
    return figures


def _one(case: Case, chance: random.Random, number: int, figures: Figures) -> None:
    case.change(chance)
    where = f"{case.name}, mutation {number}"
    faulthandler.dump_traceback_later(LONGEST_S, exit=True)
    begun = time.process_time()
    try:
        accepted = bool(case.read())
    except SaaneError as error:
        accepted, text = False, str(error)
        if not text.endswith((".", ".)")) or len(text) > 10_000:
            _note(figures, f"no sentence: {_place(error)}", f"{where}: {text[:300]!r}")
    except Exception as error:
        accepted = False
        _note(figures, f"{type(error).__name__}: {_place(error)}", f"{where}: {str(error)[:300]}")
    faulthandler.cancel_dump_traceback_later()
    figures.slowest_s = max(figures.slowest_s, round(time.process_time() - begun, 3))
    figures.mutations += 1
    figures.accepted += accepted
    figures.refused += not accepted


def _note(figures: Figures, kind: str, first: str) -> None:
    figures.faults.setdefault(kind, []).append(first)


def _place(error: BaseException) -> str:
    """The last line of the package's own that an error came by."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/saane_ros/" in frame.filename] or frames
    return f"{own[-1].filename.split('/saane_ros/')[-1]}:{own[-1].lineno}"


def _limit_address_space() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + FUSE_BYTES, resource.RLIM_INFINITY))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory_mebibytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) // 1024


def run(names: Sequence[str], first: int, count: int, jobs: int) -> list[Figures]:
    """Share mutations evenly among formats, each in a process of its own.

    A crash or a decoder's memory would be that of all others; one that is forked has all modules.
    """
    each, context = -(-count // len(names)), get_context("fork")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        at = {name: context.Value("q", -1, lock=False) for name in names}
        waiting = [
            context.Process(
                target=_work, args=(name, first, each, Path(folder) / name, at[name]), name=name
            )
            for name in names
        ]
        running: list[BaseProcess] = []
        found = []
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            wait([process.sentinel for process in running])
            for process in [one for one in running if not one.is_alive()]:
                running.remove(process)
                found.append(_told(_figures(process, Path(folder), at[process.name].value)))
        return found


def _work(name: str, first: int, count: int, folder: Path, at: Any) -> None:
    warnings.simplefilter("ignore")  # libraries warn of what is damaged
    _limit_address_space()
    folder.mkdir()
    put_up(folder)
    found = fuzz(FORMATS[name], first, count, folder, at)
    (folder / "figures.json").write_text(json.dumps(asdict(found)))


def _figures(process: BaseProcess, folder: Path, at: int) -> Figures:
    if process.exitcode:
        end = f"the process ended with {process.exitcode}"
        return Figures(process.name, faults={end: [f"mutation {at}"]})
    return Figures(**json.loads((folder / process.name / "figures.json").read_text()))


def _told(figures: Figures) -> Figures:
    print(
        f"{figures.name:<16} {figures.mutations:>7} mutations, {figures.accepted:>7} accepted, "
        f"{figures.refused:>7} refused, slowest {figures.slowest_s:.2f} s, peak "
        f"{figures.peak_mebibytes} MiB more, {figures.cpu_s:.0f} s of CPU",
        file=sys.stderr,
        flush=True,
    )
    for kind, found in sorted(figures.faults.items(), key=lambda item: -len(item[1])):
        print(f"    {len(found)} x {kind}\n        {found[0]}", file=sys.stderr)
    return figures


def main() -> int:
    """Print figures of every format as JSON; 1 where anything but a SaaneError came up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000, help="in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first of each format")
    parser.add_argument("--only", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    found = run(options.only, options.first, options.mutations, options.jobs)
    print(json.dumps([asdict(figures) for figures in found]))
    return int(any(figures.faults for figures in found))


if __name__ == "__main__":
    sys.exit(main())
