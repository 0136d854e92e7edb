"""The edges of a place graph as roads: what lies within so many steps, in a few array operations.

Most spots have one way on, and what is reached along them is a slice. Only where roads fork or meet
is there a search, by the shortest way (Bellman 1958), so that a merged map, whose drives skip each
other's spots, has no more ways than spots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BRANCHES = 4
"""Ways on from one spot, at most."""
_ROUNDING = 1e-9

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Roads:
    """One direction of the graph as roads, stretches without a way on or off between their ends.

    spots: road by road, in the order of driving (S,).  place: where a spot stands in it (S,).
    line: steps along, ascending over all roads (S,).  road: of each entry of `spots` (S,).
    first, last: of each road, entries of `spots` (R,).  ways: roads that go on from its last spot,
    -1 for none (R, B).  lengths: of the ways there (R, B).
    """

    spots: Ints
    place: Ints
    line: Floats
    road: Ints
    first: Ints
    last: Ints
    ways: Ints
    lengths: Floats

    def within(self, spots: Ints, limit: float) -> tuple[Ints, Ints, Floats]:
        """Row of `spots`, spot reached, and the fewest steps there, up to a limit."""
        row, entry, gone = np.arange(len(spots)), self.place[spots], np.zeros(len(spots))
        known = (np.empty(0, np.int64), np.empty(0))
        parts: list[tuple[Ints, Ints, Floats]] = []
        while len(row) or not parts:
            road = self.road[entry]
            furthest = self.line[entry] + (limit - gone) + _ROUNDING
            end = np.minimum(np.searchsorted(self.line, furthest, "right") - 1, self.last[road])
            count = end - entry + 1
            source = np.repeat(np.arange(len(row)), count)
            at = entry[source] + np.arange(len(source)) - (np.cumsum(count) - count)[source]
            parts.append((row[source], at, gone[source] + self.line[at] - self.line[entry][source]))
            onto = np.flatnonzero(end == self.last[road])
            row, entry, gone = self._onwards(
                row[onto], road[onto], gone[onto] + self.line[end[onto]] - self.line[entry[onto]]
            )
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
        return row, self.spots[at], steps

    def _onwards(self, row: Ints, road: Ints, gone: Floats) -> tuple[Ints, Ints, Floats]:
        """From the ends of roads to the first spots of those that follow."""
        after = self.ways[road]
        kept = after >= 0
        source = np.nonzero(kept)[0]
        return row[source], self.first[after[kept]], gone[source] + self.lengths[road][kept]


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
    order = np.lexsort((lengths, start))
    start, end, lengths = start[order], end[order], lengths[order]
    rank = np.arange(len(start)) - np.searchsorted(start, start)
    kept = rank < BRANCHES
    start, end, lengths, rank = start[kept], end[kept], lengths[kept], rank[kept]
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
    outer = place[start] == last[road[place[start]]]
    ways = np.full((len(first), int(rank.max(initial=0)) + 1), -1, np.int64)
    ways_far = np.zeros(ways.shape)
    at = (road[place[start[outer]]], rank[outer])
    ways[at], ways_far[at] = road[place[end[outer]]], lengths[outer]
    return Roads(spots, place, line, road, first, last, ways, ways_far)


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
