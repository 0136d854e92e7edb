"""A short run of `make fuzz`: the same mutations every time, a few of every format."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.cases import Case, Format
from fuzz.formats import FORMATS
from fuzz.mutations import mutated
from fuzz.options import BASES, children
from fuzz.run import fuzz, run

from saane_ros.cli import build_parser
from saane_ros.errors import SaaneError

MUTATIONS = 1200
HERE = Path(__file__).parents[1]


def test_nothing_but_told_failures_in_bounded_memory() -> None:
    """In processes of their own, as a crash or a decoder's memory would be the suite's."""
    paths = [str(HERE), str(HERE.parent)]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.run", "--mutations", str(MUTATIONS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout)
    print(done.stderr)
    assert [one["faults"] for one in found] == [{}] * len(found)
    assert sum(one["mutations"] for one in found) >= MUTATIONS
    for one in found:
        # Or else a reader would give up wherever anything is wrong, or would look at nothing.
        assert one["accepted"], one["name"]
        assert one["refused"], one["name"]


def commands(parser: argparse.ArgumentParser, words: str = "") -> list[str]:
    """The words of every command that has none below it."""
    below = children(parser)
    found = [commands(child, f"{words} {name}".strip()) for name, child in below.items()]
    return [one for some in found for one in some] if below else [words]


def test_the_options_of_every_command_are_fuzzed() -> None:
    assert set(commands(build_parser())) - {words for words, _ in BASES} == set()


def test_no_format_writes_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "new"
    case = Case("one", lambda _: None, lambda: outside.write_text("x"), good=False)
    monkeypatch.setitem(FORMATS, "leak", Format("leak", lambda _: [case], 100))
    (figures,) = run(["leak"], 0, 1, 1)
    assert [kind.split(":")[0] for kind in figures.faults] == ["PermissionError"]
    assert not outside.exists()


def test_what_goes_wrong_is_found_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 2 3\n")
    ends = [ValueError("no number"), SaaneError("no sentence"), SaaneError("A sentence."), None]

    def read() -> int:
        if path.read_text() != "1 2 3\n" and (end := ends.pop(0)) is not None:
            raise end
        return bytearray(b"x" * (200 << 20)).count(b"x")

    def change(_: random.Random) -> None:
        path.write_text("changed")

    case = Case("one", change, read)
    figures = fuzz(Format("small", lambda _: [case], 100), 0, 4, tmp_path)
    assert (figures.mutations, figures.accepted, figures.refused) == (4, 1, 3)
    kinds = sorted(kind.split(":")[0] for kind in figures.faults)
    assert kinds == ["ValueError", "memory", "no sentence"]
    assert "mutation 0: no number" in str(figures.faults)


@pytest.mark.parametrize("data", [bytes(range(256)) * 4, b"a,b\n1,2\n" * 20, b""])
def test_mutations_are_the_same_for_a_seed_and_differ_otherwise(data: bytes) -> None:
    made = [mutated(data, random.Random(seed), [b"other"]) for seed in range(50)]
    assert made == [mutated(data, random.Random(seed), [b"other"]) for seed in range(50)]
    assert sum(one != data for one in made) > (40 if data else 20)
    assert len(set(made)) > (25 if data else 3)
    assert max(map(len, made)) < len(data) + 40_000
