"""What can happen to a robot on and off its route, made of one embedded drive.

Nothing here knows what a localizer answers: a scenario is what it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.drives.drive import BLANKS, Away, Drive, Step, View, away_step

KIDNAP_EVERY = 40
SKIP = 8
REPEATS = 8
DROPPED = 0.3
STOP_FRAMES = 25
PARKED_FRAMES = 40
BLANK_FRAMES = 3
STRETCH = (50, 100)
"""Fewest and most frames of a stretch off the route."""
STRETCHES = 2
PAUSE_NS = 28 * 3600 * 10**9

KIDNAP, PAUSE, RETURN = "kidnap", "pause", "return"
STOP, PARKED, AWAY, BLANK = "stop", "parked", "away", "blank"
JUMPS = (KIDNAP, PAUSE, RETURN)
"""Spans that begin where the belief of before does not hold."""


@dataclass(frozen=True)
class Span:
    """Steps from first up to but without end. kind: KIDNAP, PAUSE, RETURN (from off the route):
    until the next one; STOP, PARKED, AWAY, BLANK: as long as that lasts.
    """

    kind: str
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Scenario:
    """steps: in the order of their stamps, which rise.

    tag: the source from elsewhere that plays a part, empty where none does.
    fresh: steps before which the localizer is reset; before the first one it always is.
    """

    name: str
    tag: str
    steps: list[Step]
    spans: list[Span] = field(default_factory=list)
    fresh: tuple[int, ...] = ()


class _Tape:
    """Records steps one after another, on one clock."""

    def __init__(self, interval_ns: int, odometry: bool = False) -> None:
        self.steps: list[Step] = []
        self.spans: list[Span] = []
        self._interval, self._odometry, self._now = interval_ns, odometry, 0

    def play(self, steps: Sequence[Step], gap_ns: int | None = None) -> None:
        """Steps of the drive as far apart in time as they were, the first after a gap."""
        before = None
        for step in steps:
            apart = self._interval if gap_ns is None else gap_ns
            if before is not None:
                apart = max(abs(step.stamp_ns - before), 1)
            before = step.stamp_ns
            self._add(step, apart)

    def hold(self, step: Step, views: Sequence[View], interval_ns: int | None = None) -> None:
        """Views of one step's place, at the usual interval or another."""
        for view in views:
            self._add(replace(step, view=view), interval_ns or self._interval)

    def leave(self, views: Sequence[View]) -> None:
        """Views from elsewhere."""
        for view in views:
            self._add(away_step(view), self._interval)

    def mark(self, kind: str, first: int) -> None:
        """A span from `first` to here."""
        self.spans.append(Span(kind, first, len(self.steps)))

    def _add(self, step: Step, apart_ns: int) -> None:
        self._now += apart_ns if self.steps else 0
        travelled = step.travelled if self._odometry else None
        self.steps.append(replace(step, stamp_ns=self._now, travelled=travelled))

    def scenario(self, name: str, tag: str = "", fresh: tuple[int, ...] = ()) -> Scenario:
        return Scenario(name, tag, self.steps, self.spans, fresh)


def build_scenarios(drive: Drive, away: Sequence[Away] = (), seed: int = 0) -> Iterator[Scenario]:
    """Every scenario that a drive allows, one by one; the same for the same seed.

    Those with odometry where all of the drive has one; kidnaps and a pause from three steps on.
    """
    both = (False, True) if drive.has_odometry else (False,)
    yield from (_plain(drive, odometry) for odometry in both)
    yield _played("every 8th frame", drive, drive.steps[::SKIP])
    yield from (_reverse(drive, odometry) for odometry in both)
    yield _repeated(drive)
    yield _dropped(drive, seed)
    yield _blanks(drive)
    if len(drive.steps) >= 3:
        yield _kidnaps(drive, seed)
        yield _pause(drive)
    yield from (_stops(drive, odometry, seed) for odometry in both)
    for source in away:
        yield _inserted(drive, source, seed)
        yield _alone(drive, source)
        yield _parked(drive, source, seed)


def usual_interval(steps: Sequence[Step]) -> int:
    """The median time between steps, ns; a second where it cannot be told."""
    apart = np.abs(np.diff([step.stamp_ns for step in steps]))
    return int(np.median(apart)) or 10**9 if len(apart) else 10**9


def _tape(drive: Drive, odometry: bool = False) -> _Tape:
    return _Tape(usual_interval(drive.steps), odometry)


def _title(name: str, odometry: bool) -> str:
    return f"{name}, odometry" if odometry else name


def _played(name: str, drive: Drive, steps: Sequence[Step], odometry: bool = False) -> Scenario:
    tape = _tape(drive, odometry)
    tape.play(steps)
    return tape.scenario(_title(name, odometry))


def _plain(drive: Drive, odometry: bool) -> Scenario:
    return _played("plain", drive, drive.steps, odometry)


def _reverse(drive: Drive, odometry: bool) -> Scenario:
    return _played("reverse", drive, drive.steps[::-1], odometry)


def _repeated(drive: Drive) -> Scenario:
    """A camera eight times as fast as the drive: the same image again and again."""
    tape = _tape(drive)
    apart = np.diff([step.stamp_ns for step in drive.steps], append=0)
    apart[-1] = usual_interval(drive.steps)
    for step, time in zip(drive.steps, apart, strict=True):
        tape.hold(step, [step.view] * REPEATS, max(int(time) // REPEATS, 1))
    return tape.scenario("every frame 8 times")


def _dropped(drive: Drive, seed: int) -> Scenario:
    kept = np.random.default_rng(seed).random(len(drive.steps)) >= DROPPED
    kept[0] = True
    steps = [step for step, keep in zip(drive.steps, kept, strict=True) if keep]
    return _played("30 % dropped", drive, steps)


def _blanks(drive: Drive) -> Scenario:
    """At some places the lens is covered, blinded or fogged for a moment, in turns."""
    tape = _tape(drive)
    for number, index, step in _at(drive, drive.blanks):
        tape.play([step], _apart(drive, index))
        if number is not None:
            first = len(tape.steps)
            tape.hold(step, [drive.blanks[index][number % len(BLANKS)]] * BLANK_FRAMES)
            tape.mark(BLANK, first)
    return tape.scenario("blank frames")


def _stops(drive: Drive, odometry: bool, seed: int) -> Scenario:
    rng = np.random.default_rng(seed)
    tape = _tape(drive, odometry)
    for number, index, step in _at(drive, drive.again):
        tape.play([step], _apart(drive, index))
        if number is not None:
            first = len(tape.steps)
            tape.hold(step, _shuffled([step.view, *drive.again[index]], STOP_FRAMES, rng))
            tape.mark(STOP, first)
    return tape.scenario(_title("stops", odometry))


def _at(drive: Drive, spots: dict[int, list[View]]) -> Iterator[tuple[int | None, int, Step]]:
    """Number of the spot or None, index, and step, along the drive."""
    number = 0
    for index, step in enumerate(drive.steps):
        if index in spots:
            yield number, index, step
            number += 1
        else:
            yield None, index, step


def _apart(drive: Drive, index: int) -> int | None:
    """Time from the step before, ns."""
    if not index:
        return None
    return max(drive.steps[index].stamp_ns - drive.steps[index - 1].stamp_ns, 1)


def _shuffled(views: Sequence[View], count: int, rng: np.random.Generator) -> list[View]:
    """`count` of some views in random order, the same never twice in a row."""
    order: list[int] = []
    for _ in range(count):
        others = [i for i in range(len(views)) if len(views) == 1 or i not in order[-1:]]
        order.append(int(rng.choice(others)))
    return [views[i] for i in order]


def _kidnaps(drive: Drive, seed: int) -> Scenario:
    """Carried elsewhere on the route every 40 frames, or thrice in a short drive."""
    steps = drive.steps
    length = max(1, min(KIDNAP_EVERY, len(steps) // 3))
    segments = [steps[at : at + length] for at in range(0, len(steps), length)]
    tape = _tape(drive)
    for number, segment in enumerate(permutation(len(segments), np.random.default_rng(seed))):
        first = len(tape.steps)
        tape.play(segments[segment])
        if number:
            tape.mark(KIDNAP, first)
    return tape.scenario("kidnaps")


def permutation(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers below `count`, at least 2, in a random order in which none follows its own."""
    while True:
        order = rng.permutation(count)
        if not (np.diff(order) == 1).any():
            return order.astype(np.int64)


def _pause(drive: Drive) -> Scenario:
    """Switched off for a day after a third of the route, and on again at its last third."""
    third = len(drive.steps) // 3
    tape = _tape(drive)
    tape.play(drive.steps[:third])
    tape.play(drive.steps[-third:], PAUSE_NS)
    tape.mark(PAUSE, third)
    return tape.scenario("28 h pause")


def _inserted(drive: Drive, source: Away, seed: int) -> Scenario:
    """Twice the drive leaves the route and comes back where it left."""
    rng = np.random.default_rng(seed)
    tape = _tape(drive)
    parts = np.array_split(np.arange(len(drive.steps)), STRETCHES + 1)
    for number, part in enumerate(parts):
        first = len(tape.steps)
        tape.play([drive.steps[i] for i in part])
        if number and len(part):
            tape.mark(RETURN, first)
        if number == STRETCHES:
            break
        first = len(tape.steps)
        length = min(int(rng.integers(STRETCH[0], STRETCH[1] + 1)), len(source.views))
        start = int(rng.integers(0, len(source.views) - length + 1))
        tape.leave(source.views[start : start + length])
        tape.mark(AWAY, first)
    return tape.scenario("inserted", source.name)


def _alone(drive: Drive, source: Away) -> Scenario:
    tape = _tape(drive)
    tape.leave(source.views)
    tape.mark(AWAY, 0)
    return tape.scenario("alone", source.name)


def _parked(drive: Drive, source: Away, seed: int) -> Scenario:
    """Switched on before a view from elsewhere, and left standing there; one view after another."""
    rng = np.random.default_rng(seed)
    tape, fresh = _tape(drive), []
    for views in source.parked:
        fresh.append(len(tape.steps))
        tape.leave(_shuffled(views, PARKED_FRAMES, rng))
        tape.mark(PARKED, fresh[-1])
    return tape.scenario("parked", source.name, tuple(fresh))
