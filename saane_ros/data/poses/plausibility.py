"""What a stamp or a position must be like to be believed, given those before it.

Sensors start before their clock is set, receivers jump by kilometres, odometry frames are set
anew. One wrong value must not become what later values are judged by, and a change that lasts must
not lose the rest of a drive: a leap is believed once those after it agree with it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from statistics import median
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Vector = tuple[float, float, float]

SECOND_NS = 1_000_000_000
LONGEST_PAUSE_NS = 60 * SECOND_NS
"""A longer step ahead (and longer than ten usual ones) is a leap: one stamp may be wrong."""
_HELD_NS = 2 * SECOND_NS
_HELD_STEPS = 3
"""What a sifter doubts: little, as holding back a stamp that is right costs nothing."""
LATE_NS = SECOND_NS
"""A stamp older by less is out of order; one older by more is a leap, as of a clock set anew."""
FARTHEST_M = 1e8
"""No frame on Earth has coordinates beyond it; UTM northings reach 1e7."""
FASTEST = 100.0
"""Metres per second of the fastest vehicle."""
STRONGEST = 20.0
"""Metres per second squared that no vehicle brakes, starts or turns with."""
AGREEING = 5
"""Positions that must agree with each other before they are a new place of the frame."""
_GROUPS = 8
_STRAY_M = 1000.0
_STRAY_STEPS = 50
_USUAL = 31
_BASELINE_NS = SECOND_NS // 2


@dataclass(frozen=True)
class Limits:
    """What a kind of positions may do, in metres.

    slack: how far one may lie off the motion of those before.  band, widest: about a counted
    position what lies within is noise of standing; `band` where no noise is seen, `widest` where
    it is worst.  flat: heights do not count, those of receivers being no better than a guess.
    """

    slack: float
    band: float
    widest: float
    flat: bool = False


ODOMETRY = Limits(1.0, 0.02, 2.0)
FIXES = Limits(10.0, 1.0, 8.0, flat=True)


@dataclass
class Faults:
    """What was left out of a stream: how often by kind, and the last in a sentence."""

    counts: Counter[str] = field(default_factory=Counter)
    last: str = ""

    def note(self, kind: str, sentence: str, count: int = 1) -> None:
        self.counts[kind] += count
        self.last = sentence

    def __str__(self) -> str:
        """Counts, and an example: "3 outliers, 1 jumps (the last: ...)"; empty without faults."""
        told = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        return f"{told} (the last: {self.last})" if told else ""


class Order(Enum):
    """How a stamp follows the one before.

    LEAPT: far ahead, or back by more than a second; wrong unless the next stamp follows it.
    RESUMED: it follows one that leapt ahead, after a pause.  RESTARTED: it follows one that leapt
    back, so the clock was set anew or a bag is played again.
    """

    NEW = "new"
    REPEATED = "repeated"
    OLDER = "older"
    LEAPT = "leapt"
    RESUMED = "resumed"
    RESTARTED = "restarted"

    @property
    def usable(self) -> bool:
        return self in (Order.NEW, Order.RESUMED, Order.RESTARTED)


class StampGate:
    """Judges stamps (ns) in the order of their arrival.

    pause_ns, steps: a step ahead is a leap where it is longer than both that and so many usual
    ones; before the usual step is known, where it is longer than a minute.
    """

    def __init__(self, pause_ns: int = LONGEST_PAUSE_NS, steps: int = 10) -> None:
        self.last: int | None = None
        self._pause_ns, self._steps = pause_ns, steps
        self._leapt: int | None = None
        self._usual: deque[int] = deque(maxlen=_USUAL)

    def arrive(self, stamp_ns: int) -> Order:
        last, leapt = self.last, self._leapt
        if last is None:
            self.last = stamp_ns
            return Order.NEW
        step = stamp_ns - last
        if self._within(step, 0):
            return self._accept(stamp_ns, step, Order.NEW)
        if -LATE_NS <= step <= 0:
            return Order.OLDER if step else Order.REPEATED
        if leapt is not None:
            # A source that grows slow leaps at every stamp, and each follows the one before.
            ahead = leapt > last
            if self._within(stamp_ns - leapt, max(LONGEST_PAUSE_NS, 2 * (leapt - last))):
                order = Order.RESUMED if ahead else Order.RESTARTED
                return self._accept(stamp_ns, stamp_ns - leapt, order)
        self._leapt = stamp_ns
        return Order.LEAPT

    @property
    def young(self) -> bool:
        """Whether too little has come to know the usual step."""
        return not self._usual

    def _accept(self, stamp_ns: int, step: int, order: Order) -> Order:
        self._usual.append(step)
        self.last, self._leapt = stamp_ns, None
        return order

    def _within(self, step: int, longest: int) -> bool:
        """Whether a step leads ahead, and by no more than is usual, a pause, or `longest`."""
        if step <= min(self._pause_ns, LONGEST_PAUSE_NS):
            return step > 0
        if not self._usual:
            return step <= max(LONGEST_PAUSE_NS, longest)
        return step <= max(self._pause_ns, self._steps * median(self._usual), longest)


@dataclass(frozen=True)
class Sifted(Generic[T]):
    """kept: what may be used now, in order.  left_out: what may not, with the reason."""

    kept: list[T] = field(default_factory=list)
    left_out: list[tuple[T, str]] = field(default_factory=list)


class StampSifter(Generic[T]):
    """Holds back what leapt until the next tells whether it was wrong; nothing else waits.

    The first is held as well, and left out where those after it agree without it, unless the
    stream's motion counts and not its times (`hold_first`).
    restarts: how often the clock was set back.
    """

    def __init__(self, hold_first: bool = True) -> None:
        self.restarts = 0
        self._hold_first = hold_first
        self._gate = StampGate(_HELD_NS, _HELD_STEPS)
        self._first: T | None = None
        self._held: tuple[int, T] | None = None

    def take(self, stamp_ns: int, item: T) -> Sifted[T]:
        last = self._gate.last
        order = self._gate.arrive(stamp_ns)
        if last is None:
            if not self._hold_first:
                return Sifted([item])
            self._first = item
            return Sifted()
        if order is Order.REPEATED:
            return Sifted([], [(item, "its stamp is that of the frame before")])
        if order is Order.OLDER:
            return Sifted([], [(item, "its stamp is older than that of the frame before")])
        if order in (Order.RESUMED, Order.RESTARTED):
            assert self._held is not None
            (at, held), self._held = self._held, None
            slow = order is Order.RESUMED and at - last < 10 * (stamp_ns - at)
            if self._first is not None and not slow:
                return Sifted([held, item], self._without_first(last))
            self.restarts += order is Order.RESTARTED
            return Sifted([*self._with_first(), held, item])
        left_out = self._dismissed(last)
        if order is Order.LEAPT:
            self._held = (stamp_ns, item)
            return Sifted([], left_out)
        return Sifted([*self._with_first(), item], left_out)

    def settle(self) -> Sifted[T]:
        """What is held at the end of the stream: kept where it may be one after a pause."""
        first = self._with_first()
        if self._held is not None:
            (at, held), last = self._held, self._gate.last or 0
            if self._gate.young or 0 < at - last <= LONGEST_PAUSE_NS:
                self._held = None
                return Sifted([*first, held])
        return Sifted(first, self._dismissed(self._gate.last or 0))

    def _with_first(self) -> list[T]:
        first, self._first = self._first, None
        return [] if first is None else [first]

    def _without_first(self, stamp_ns: int) -> list[tuple[T, str]]:
        words = f"its stamp is {moment(stamp_ns)} and those after it are not near"
        return [(item, words) for item in self._with_first()]

    def _dismissed(self, last: int) -> list[tuple[T, str]]:
        held, self._held = self._held, None
        if held is None:
            return []
        words = f"its stamp leaps from {moment(last)} to {moment(held[0])} and the next is not near"
        return [(held[1], words)]


def moment(stamp_ns: int) -> str:
    """A stamp for a person: the date in UTC, or seconds where it is no date."""
    seconds = stamp_ns / SECOND_NS
    try:
        date = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.3f} s"
    return f"{date:%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True)
class Sample(Generic[T]):
    """A believed position; `jumped` where the frame was set anew just before it."""

    stamp_ns: int
    position: Vector
    item: T
    jumped: bool = False


class _Group(Generic[T]):
    """Samples that agree: each lies where the motion of those before may lead."""

    def __init__(self, first: Sample[T]) -> None:
        self.samples = [first]
        self._recent = deque([first])

    def miss(self, sample: Sample[T], slack: float) -> float:
        """How far a sample lies from where it is expected, in what may be; 1 is the limit."""
        last, base = self._recent[-1], self._recent[0]
        seconds = (sample.stamp_ns - last.stamp_ns) / SECOND_NS
        miss = math.dist(sample.position, last.position) / (slack + FASTEST * seconds)
        if base is last:
            return miss
        ahead = seconds * SECOND_NS / (last.stamp_ns - base.stamp_ns)
        expected = [b + (b - a) * ahead for a, b in zip(base.position, last.position, strict=True)]
        off = math.dist(sample.position, expected)
        return max(miss, off / (slack + STRONGEST * seconds**2 / 2))

    def add(self, sample: Sample[T]) -> None:
        self._recent.append(sample)
        while sample.stamp_ns - self._recent[1].stamp_ns >= _BASELINE_NS:
            self._recent.popleft()


class PositionGate(Generic[T]):
    """Judges positions (metres) by how a vehicle can move, stamps rising.

    slack: metres that a position may be off.  first: positions that must agree at the start; 1
    believes the first at once.  Positions that do not agree with those before wait: they are left
    out when one comes that does, and given out when AGREEING of them agree among themselves, so
    that the frame has jumped.
    """

    def __init__(self, slack: float, first: int = 2, faults: Faults | None = None) -> None:
        self.faults = Faults() if faults is None else faults
        self._slack, self._first = slack, first
        self._believed: _Group[T] | None = None
        self._doubted: list[_Group[T]] = []
        self._restarted = False

    def restart(self) -> None:
        """The clock was set anew: what comes is judged by itself, and no motion led to it."""
        self._leave_out(self._doubted)
        self._restarted = self._restarted or self._believed is not None
        self._believed, self._doubted = None, []

    def add(self, stamp_ns: int, position: Sequence[float], item: T) -> list[Sample[T]]:
        """The samples that are believed from now on, in order; none while there is doubt."""
        x, y, z = position
        if not all(abs(value) < FARTHEST_M for value in (x, y, z)):  # NaN is not less either
            self.faults.note("absurd", f"A pose at {moment(stamp_ns)} has no position on Earth.")
            return []
        sample = Sample(stamp_ns, (x, y, z), item)
        group = self._best(sample)
        if group is None:
            return self._doubt(sample)
        group.add(sample)
        if group is self._believed:
            self._leave_out(self._doubted)
            self._doubted = []
            return [sample]
        group.samples.append(sample)
        return self._believe(group)

    def _best(self, sample: Sample[T]) -> _Group[T] | None:
        """The group that a sample agrees with best; a doubted one alone says little of motion."""
        if self._believed is not None:
            miss = self._believed.miss(sample, self._slack)
            rivals = [group for group in self._doubted if miss > 0.5 or len(group.samples) > 1]
        else:
            miss, rivals = math.inf, self._doubted
        misses = [group.miss(sample, self._slack) for group in rivals]
        if misses and min(misses) < min(miss, 1.0):
            return rivals[misses.index(min(misses))]
        return self._believed if miss <= 1 else None

    def settle(self) -> list[Sample[T]]:
        """At the end: the largest group where none was believed; what else waits is left out."""
        found = []
        if self._believed is None and self._doubted:
            found = self._believe(max(self._doubted, key=lambda group: len(group.samples)), 1)
        self._leave_out(self._doubted)
        self._doubted = []
        return found

    def _doubt(self, sample: Sample[T]) -> list[Sample[T]]:
        if len(self._doubted) == _GROUPS:
            self._leave_out([self._doubted.pop(0)])
        self._doubted.append(_Group(sample))
        return self._believe(self._doubted[-1])

    def _believe(self, group: _Group[T], needed: int | None = None) -> list[Sample[T]]:
        first = self._believed is None
        if len(group.samples) < (needed or (self._first if first else AGREEING)):
            return []
        self._leave_out([other for other in self._doubted if other is not group])
        self._believed, self._doubted = group, []
        samples, group.samples = group.samples, []
        start = samples[0]
        if not first:
            self.faults.note("jumps", f"The frame of the poses jumped at {moment(start.stamp_ns)}.")
        jumped = not first or self._restarted
        self._restarted = False
        return [Sample(start.stamp_ns, start.position, start.item, jumped), *samples[1:]]

    def _leave_out(self, groups: list[_Group[T]]) -> None:
        for group in groups:
            at = moment(group.samples[0].stamp_ns)
            words = f"A pose at {at} lies where no vehicle gets to from those around it."
            self.faults.note("outliers", words, len(group.samples))


class Displacement:
    """Motion without the noise of standing: nothing until it leaves a band, then all of it.

    band: metres about the last counted position within which it is noise.
    """

    def __init__(self, band: float) -> None:
        self.band = band
        self._anchor: Vector | None = None

    def add(self, position: Vector, jumped: bool = False) -> Vector | None:
        """The vector from the last counted position, where this one is counted."""
        anchor = self._anchor
        if anchor is None or jumped:
            self._anchor = position
            return None
        if math.dist(position, anchor) < self.band:
            return None
        self._anchor = position
        return (position[0] - anchor[0], position[1] - anchor[1], position[2] - anchor[2])


def strays(positions: NDArray[np.float64]) -> list[int]:
    """Rows of positions (n, 3) without times that lie far off a way that goes on without them.

    Far is over a kilometre and over fifty usual steps, to both sides or beyond an end.
    """
    rows = np.flatnonzero(np.isfinite(positions).all(axis=1))
    if len(rows) < AGREEING:
        return []
    steps = np.linalg.norm(np.diff(positions[rows], axis=0), axis=1)
    far = steps > max(_STRAY_M, _STRAY_STEPS * float(np.median(steps)))
    alone = np.append(True, far) & np.append(far, True)
    inside = alone[1:-1]
    across = np.linalg.norm(positions[rows][2:] - positions[rows][:-2], axis=1)
    inside &= across < np.minimum(steps[:-1], steps[1:])
    return [int(row) for row in rows[alone]]
