"""The edges of a place graph as roads: what lies within so many steps, in a few array operations.

Most spots have one way on, and what is reached along them is a slice. Only where roads fork or meet
is there a search, by the shortest way (Bellman 1958), so that a merged map, whose drives skip each
other's spots, has no more ways than spots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

BRANCHES = 4
"""Ways on from one spot, at most."""
_ROUNDING = 1e-9

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ways:
    """Roads that go on from one end of each road, -1 for none (R, B), and the steps there."""

    roads: Ints
    lengths: Floats

    @cached_property
    def any(self) -> NDArray[np.bool_]:
        """Whether there is one (R,)."""
        return self.roads[:, 0] >= 0


@dataclass(frozen=True, eq=False)
class Roads:
    """The graph as roads, stretches without a way on or off between their ends.

    spots: road by road, in the order of driving (S,).  place: where a spot stands in it (S,).
    line: steps along, ascending over all roads (S,).  road: of each entry of `spots` (S,).
    first, last: of each road, entries of `spots` (R,).  ahead: ways on from the last spots.
    behind: ways back from the first ones.
    """

    spots: Ints
    place: Ints
    line: Floats
    road: Ints
    first: Ints
    last: Ints
    ahead: Ways
    behind: Ways

    def within(self, spots: Ints, ahead: float, behind: float) -> tuple[Ints, Ints, Floats]:
        """Row of `spots`, spot reached, and the fewest steps there, signed; itself with 0."""
        entry = self.place[spots]
        here, road = self.line[entry], self.road[entry]
        first, last = self.first[road], self.last[road]
        end = self.line.searchsorted(here + (ahead + _ROUNDING), "right") - 1
        begin = self.line.searchsorted(here - (behind + _ROUNDING), "left")
        on = np.flatnonzero((end >= last) & self.ahead.any[road])
        back = np.flatnonzero((begin <= first) & self.behind.any[road])
        end, begin = np.minimum(end, last), np.maximum(begin, first)
        end[on], begin[back] = entry[on], entry[back]
        row, at = _ranges(begin, end - begin + 1)
        steps = self.line[at] - here[row]
        parts = [(row, at, steps)]
        for some, limit, forward in ((on, ahead, True), (back, behind, False)):
            if len(some):
                row, at, steps = self._search(entry[some], limit, forward)
                other = at != entry[some][row]
                steps = steps if forward else -steps
                parts.append((some[row][other], at[other], steps[other]))
        if len(parts) > 1:
            row, at, steps = (np.concatenate(part) for part in zip(*parts, strict=True))
        return row, self.spots[at], steps

    def stretch(self, spot: int, steps: float) -> Ints | None:
        """The spots within so many steps ahead and behind; None where roads fork or meet there."""
        entry = int(self.place[spot])
        here, road = self.line[entry], self.road[entry]
        begin, end = int(self.first[road]), int(self.last[road])
        last = int(self.line.searchsorted(here + (steps + _ROUNDING), "right")) - 1
        first = int(self.line.searchsorted(here - (steps + _ROUNDING), "left"))
        if (last >= end and self.ahead.any[road]) or (first <= begin and self.behind.any[road]):
            return None
        return self.spots[max(first, begin) : min(last, end) + 1]

    def _search(self, begin: Ints, limit: float, forward: bool) -> tuple[Ints, Ints, Floats]:
        """Row of `begin` (n,), entry reached in one direction, and the fewest steps there."""
        row, entry, gone = np.arange(len(begin)), begin, np.zeros(len(begin))
        known = (np.empty(0, np.int64), np.empty(0))
        parts: list[tuple[Ints, Ints, Floats]] = []
        way = 1 if forward else -1
        while len(row):
            road, left = self.road[entry], limit - gone + _ROUNDING
            if forward:
                edge = self.last[road]
                end = self.line.searchsorted(self.line[entry] + left, "right") - 1
                end = np.minimum(end, edge)
            else:
                edge = self.first[road]
                end = self.line.searchsorted(self.line[entry] - left, "left")
                end = np.maximum(end, edge)
            source, along = _ranges(np.zeros(len(row), np.int64), way * (end - entry) + 1)
            at = entry[source] + way * along
            steps = gone[source] + way * (self.line[at] - self.line[entry][source])
            parts.append((row[source], at, steps))
            onto = np.flatnonzero(end == edge)
            gone = gone[onto] + way * (self.line[end[onto]] - self.line[entry[onto]])
            row, entry, gone = self._onwards(row[onto], road[onto], gone, forward)
            inside = gone <= limit + _ROUNDING
            row, entry, gone = row[inside], entry[inside], gone[inside]
            if len(row):
                known, better = _shortest(known, row * len(self.spots) + entry, gone)
                row, entry, gone = row[better], entry[better], gone[better]
        row, at, steps = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(parts) > 1:
            _, best = _shortest(
                (np.empty(0, np.int64), np.empty(0)), row * len(self.spots) + at, steps
            )
            row, at, steps = row[best], at[best], steps[best]
        return row, at, steps

    def _onwards(
        self, row: Ints, road: Ints, gone: Floats, forward: bool
    ) -> tuple[Ints, Ints, Floats]:
        """From the ends of roads to the nearest spots of those that follow."""
        ways = self.ahead if forward else self.behind
        after = ways.roads[road]
        kept = after >= 0
        source = np.nonzero(kept)[0]
        onto = (self.first if forward else self.last)[after[kept]]
        return row[source], onto, gone[source] + ways.lengths[road][kept]


def _ranges(begin: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Ranges (n,) one after another: of each element its row, and begin, begin + 1, and so on."""
    row: Ints = np.repeat(np.arange(len(begin), dtype=np.int64), count)
    at: Ints = np.arange(len(row), dtype=np.int64) + (begin - count.cumsum() + count)[row]
    return row, at


def _shortest(
    known: tuple[Ints, Floats], keys: Ints, steps: Floats
) -> tuple[tuple[Ints, Floats], Ints]:
    """The fewest steps by key, of known and new ones, and the new ones among them."""
    every, least = np.concatenate((known[0], keys)), np.concatenate((known[1], steps))
    order = np.lexsort((least, every))
    first = np.ones(len(order), np.bool_)
    first[1:] = every[order[1:]] != every[order[:-1]]
    best = order[first]
    return (every[best], least[best]), best[best >= len(known[0])] - len(known[0])


def roads_of(count: int, start: Ints, end: Ints, lengths: Floats) -> Roads:
    """The roads of `count` spots with edges from `start` to `end` (E,); of each, the shortest."""
    out = np.bincount(start, minlength=count)
    into = np.bincount(end, minlength=count)
    # A spot with one way on, to a spot with one way there, is on a road with it.
    inner = (out[start] == 1) & (into[end] == 1)
    after, far = np.full(count, -1, np.int64), np.zeros(count)
    after[start[inner]], far[start[inner]] = end[inner], lengths[inner]
    spots, heads = _walk(after)
    first = np.flatnonzero(heads[spots] == spots)
    last = np.append(first[1:], count) - 1
    road = np.repeat(np.arange(len(first)), last - first + 1)
    place = np.empty(count, np.int64)
    place[spots] = np.arange(count)
    # Roads lie one behind the other, a step apart.
    gaps = far[spots]
    gaps[last] = 1.0
    line = np.cumsum(gaps) - gaps
    begin, onto = place[start], place[end]
    # What is no edge between the two of a road leads from the last spot of one to a first.
    outer = begin == last[road[begin]]
    here, there, lengths = road[begin[outer]], road[onto[outer]], lengths[outer]
    ahead = _ways(len(first), here, there, lengths)
    behind = _ways(len(first), there, here, lengths)
    return Roads(spots, place, line, road, first, last, ahead, behind)


def _ways(count: int, start: Ints, end: Ints, lengths: Floats) -> Ways:
    """Ways of `count` roads from `start` to `end` (E,), of each road the shortest."""
    order = np.lexsort((lengths, start))
    start, end, lengths = start[order], end[order], lengths[order]
    rank = np.arange(len(start)) - np.searchsorted(start, start)
    kept = rank < BRANCHES
    at = (start[kept], rank[kept])
    roads = np.full((count, int(rank[kept].max(initial=0)) + 1), -1, np.int64)
    far = np.zeros(roads.shape)
    roads[at], far[at] = end[kept], lengths[kept]
    return Ways(roads, far)


def _walk(after: Ints) -> tuple[Ints, Ints]:
    """Spots in the order of driving, road by road, and of each spot the first of its road (S,).

    after: the spot that follows on the road, -1 for none. Rings begin at their least spot. By
    pointers that double (Wyllie 1979), so that a million spots take no loop.
    """
    count = len(after)
    before = np.full(count, -1, np.int64)
    before[after[after >= 0]] = np.flatnonzero(after >= 0)
    before[_ring_heads(before)] = -1
    back = np.where(before >= 0, before, np.arange(count))
    gone = (before >= 0).astype(np.int64)
    while True:
        further = gone + gone[back]
        if np.array_equal(further, gone):
            return np.lexsort((gone, back)), back
        gone, back = further, back[back]


def _ring_heads(before: Ints) -> Ints:
    """The least spot of every ring."""
    least, back = np.arange(len(before)), before.copy()
    for _ in range(max(1, len(before).bit_length())):
        on = np.flatnonzero(back >= 0)
        if not len(on):
            return on
        least[on] = np.minimum(least[on], least[back[on]])
        back[on] = back[back[on]]
    on_ring = np.flatnonzero(back >= 0)
    return on_ring[least[on_ring] == on_ring]
