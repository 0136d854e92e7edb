"""Where the robot is: a sparse belief over the spots of the map, the rest of it, and elsewhere.

A discrete Bayes filter (Xu, Suenderhauf & Milford, RA-L 2020) with a state for being off the map
(Xu et al., RA-L 2021), which is driven by evidence of the images instead of odometry. Only the few
hundred probable spots have a mass of their own; all others share one evenly, so that a frame costs
the same in a map of a hundred places and of a million.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.candidates import Group
from saane_ros.localization.evidence import FrameEvidence, Testimony
from saane_ros.localization.motion import PAUSE_S, Interval, Kernel, Motion
from saane_ros.route_map.arrays import members, unique
from saane_ros.route_map.place_graph import PlaceGraph

PRIOR_OFF = 0.3
LEAVE = 0.02
"""Probability of leaving the map, per step."""
RETURN = 0.1
"""Probability of coming back to it, per step."""
KIDNAPPED = 1e-3
"""Probability of being anywhere on the map, per novel frame: carried, or the belief was wrong."""
TEMPER = 0.7
"""Weight of one novel frame's evidence, as successive frames see much the same."""
SUPPORT = 256
"""Spots with a mass of their own."""
LEAST = 1e-6
"""Mass below which a spot falls to the rest."""
FORGET_S = 60.0
FORGET_DRIVEN_S = 3600.0
"""Seconds of a pause beyond `PAUSE_S` after which a third of the belief is left, without odometry
and with it."""
END = 0.2
"""Share of the steps that a place must have road for, or the rest of them lead off the map."""
TOLD = 5.0
"""How much likelier than any other a pose that somebody told makes its spot, in a map of any size:
less than one clear frame does. A click is right more often than that, but a wrong one must not make
the belief sure of a place that only looks like the true one: from 10 on it did, in a corridor of
three sections that are alike but for a tenth of what they show."""
_TINY = 1e-300

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Ask = Callable[[Ints, Floats], Testimony | None]
"""Asks a witness about spots (S,) with their masses (S,); it may have nothing to say."""


@dataclass(frozen=True)
class Estimate:
    """The belief after a frame.

    spot: the most probable.  mass: of its neighbourhood.  off: of being elsewhere.
    spots, masses: of its neighbourhood (m,).  agreed: log of how much likelier this frame is at
    the neighbourhood than off the map, by this frame alone.
    """

    spot: int
    mass: float
    off: float
    spots: Ints
    masses: Floats
    agreed: float


@dataclass(frozen=True, eq=False)
class _Moved:
    """Ways of a belief from spot to spot (n,): which of `spots` (S,) they lead to, their steps, and
    their share of what came there.
    """

    spots: Ints
    into: Ints
    steps: Floats
    share: Floats


class Belief:
    """Spots (S,) ascending with their masses (S,), the rest, and off; all sum to 1.

    tolerance: steps around the most probable spot within which a belief counts as one.
    reach: steps behind and ahead that the last motion may have led.
    """

    def __init__(self, graph: PlaceGraph, tolerance: float) -> None:
        self._graph, self._tolerance = graph, tolerance
        self._motion = Motion(graph.step)
        self.reset()

    def reset(self) -> None:
        """Anywhere on the map or off it."""
        self._motion.reset()
        self.reach = (1.0, 1.0)
        self.spots: Ints = np.empty(0, np.int64)
        self.masses: Floats = np.empty(0)
        self.rest, self.off = 1 - PRIOR_OFF, PRIOR_OFF

    def assume(self, spots: Ints, shares: Floats) -> None:
        """Be told where the robot is: spots (n,) ascending and their shares (n,), sum 1."""
        self.reset()
        self._admit(spots)
        self.masses = self.masses * (1 + TOLD * shares / shares.max())
        self._normalise()

    def age(self, seconds: float) -> None:
        """Let time pass in which the robot may have gone anywhere."""
        kept = float(np.exp(-max(0.0, seconds) / FORGET_S))
        self.masses, self.rest = kept * self.masses, kept * self.rest
        self.off = kept * self.off + (1 - kept) * PRIOR_OFF
        self._scatter((1 - kept) * (1 - PRIOR_OFF))

    def update(
        self,
        groups: list[Group],
        evidence: FrameEvidence,
        interval: Interval,
        weight: float,
        ask: Ask | None = None,
    ) -> Estimate:
        """Move on by an interval and take in a frame's evidence with a weight from 0 to 1.

        ask: a further witness, who is asked once the evidence is in.
        A pause that nothing explains lets the belief age.
        """
        if interval.seconds > PAUSE_S:
            known = interval.steps is not None
            self.age((interval.seconds - PAUSE_S) * (FORGET_S / FORGET_DRIVEN_S if known else 1.0))
        kernel, moved = self._motion.kernel(interval), None
        self.reach = kernel.reach
        if len(self.spots):
            moved = self._move(kernel)
        self._hazards(interval, weight)
        self._observe(groups, evidence, TEMPER * weight)
        told = None if ask is None else ask(self.spots, self.masses)
        if told is not None:
            self._believe(told, TEMPER * weight)
        if moved is not None:
            self._motion.learn(kernel, moved.steps, self._came(moved), interval)
        self._prune()
        return self._estimate(groups, evidence, told)

    def masses_of(self, spots: Ints) -> Floats:
        """The belief in each of some spots (n,)."""
        each = self._each
        if not len(self.spots):
            return np.full(len(spots), each)
        at = np.minimum(self.spots.searchsorted(spots), len(self.spots) - 1)
        return np.where(self.spots[at] == spots, self.masses[at], each)

    @property
    def _each(self) -> float:
        """The share of the rest of every spot without a mass of its own."""
        return self.rest / max(self._graph.count - len(self.spots), 1)

    def _scatter(self, mass: float) -> None:
        """Let a mass lie anywhere on the map."""
        each = mass / self._graph.count
        self.masses = self.masses + each
        self.rest += each * (self._graph.count - len(self.spots))

    def _move(self, kernel: Kernel) -> _Moved:
        """Let every mass of its own drive on; a spot that it comes to keeps its share of the rest.

        The rest stays where it is: it is as much everywhere.
        """
        gone = kernel.beyond * float(self.masses.sum())
        self.masses = (1 - kernel.beyond) * self.masses
        self._scatter(gone)
        behind, ahead = kernel.reach
        row, reached, steps = self._graph.reachable(self.spots, ahead, behind)
        likely = kernel.density(steps)
        total = np.bincount(row, likely, minlength=len(self.spots))
        # Where the road of the map ends, what goes on has left it.
        total = np.maximum(total, max(END * kernel.total, _TINY))
        mass = self.masses[row] * likely / total[row]
        spots = unique(reached)
        into = spots.searchsorted(reached)
        arrived = np.bincount(into, mass)
        new = ~members(spots, self.spots)
        self.off += max(0.0, float(self.masses.sum() - arrived.sum()))
        each = self._each
        self.spots, self.masses = spots, arrived + each * new
        self.rest = max(0.0, self.rest - each * float(new.sum()))
        return _Moved(spots, into, steps, mass / np.maximum(arrived, _TINY)[into])

    def _came(self, moved: _Moved) -> Floats:
        """The belief, after the frame, in each way that a spot may have been come to (n,)."""
        return moved.share * self.masses[np.searchsorted(self.spots, moved.spots)][moved.into]

    def _hazards(self, interval: Interval, weight: float) -> None:
        """What leaves, comes back, and was carried elsewhere, as far as there was a change."""
        steps = weight if interval.steps is None else min(abs(interval.steps), 10.0)
        leave, back = 1 - (1 - LEAVE) ** steps, 1 - (1 - RETURN) ** steps
        lost = KIDNAPPED * weight
        on = self.rest + float(self.masses.sum())
        returned = back * self.off
        self.off = (1 - back) * self.off + leave * on
        keep = (1 - leave) * (1 - lost)
        self.masses, self.rest = keep * self.masses, keep * self.rest
        self._scatter(returned + (1 - leave) * lost * on)

    def _observe(self, groups: list[Group], evidence: FrameEvidence, weight: float) -> None:
        """Multiply by the likelihood ratios to even odds of on and off."""
        count = self._graph.count
        spots = np.concatenate([group.spots for group in groups])
        each = zip(groups, evidence.groups.tolist(), strict=True)
        likely = np.concatenate([share * group.shares for group, share in each])
        seen = unique(spots)
        self._admit(seen)
        unseen = max(count - len(seen), 1)
        ratio = np.full(len(self.spots), (evidence.missed * count / unseen / 0.5) ** weight)
        missed = float(ratio[0]) if len(ratio) else 1.0
        ratio[self.spots.searchsorted(spots)] = (likely * count / 0.5 + 1e-9) ** weight
        self.masses = self.masses * ratio
        self.rest *= missed
        self.off *= (evidence.off / 0.5 + 1e-9) ** weight
        self._normalise()

    def _believe(self, told: Testimony, weight: float) -> None:
        """Multiply by the likelihood ratio of a testimony."""
        self._admit(told.spots)
        there = members(self.spots, told.spots)
        self.masses = self.masses * np.exp(np.where(there, weight * told.log_ratio, 0.0))
        self._normalise()

    def _normalise(self) -> None:
        total = self.rest + self.off + float(self.masses.sum())
        self.masses, self.rest, self.off = self.masses / total, self.rest / total, self.off / total

    def _admit(self, spots: Ints) -> None:
        """Give spots a mass of their own: their share of the rest."""
        new = spots[~members(spots, self.spots)]
        if not len(new):
            return
        each = self._each
        self.rest = max(0.0, self.rest - each * len(new))
        merged = np.concatenate((self.spots, new))
        masses = np.concatenate((self.masses, np.full(len(new), each)))
        order = np.argsort(merged)
        self.spots, self.masses = merged[order], masses[order]

    def _prune(self) -> None:
        """Let the least probable spots fall to the rest."""
        keep = self.masses > LEAST
        if int(keep.sum()) > SUPPORT:
            least = np.partition(self.masses, -SUPPORT)[-SUPPORT]
            keep &= self.masses >= least
        self.rest += float(self.masses[~keep].sum())
        self.spots, self.masses = self.spots[keep], self.masses[keep]

    def _estimate(
        self, groups: list[Group], evidence: FrameEvidence, told: Testimony | None
    ) -> Estimate:
        if not len(self.spots):
            spots = groups[0].spots
            spot = int(spots[groups[0].shares.argmax()])
            return Estimate(spot, 0.0, self.off, np.array([spot]), np.ones(1), -np.inf)
        spot = int(self.spots[self.masses.argmax()])
        near = members(self.spots, self._graph.around(spot, self._tolerance))
        spots, masses = self.spots[near], self.masses[near]
        here = [
            share
            for group, share in zip(groups, evidence.groups.tolist(), strict=True)
            if members(group.spots, spots).any()
        ]
        agreed = math.log((max(here, default=0.0) + 1e-6) / (evidence.off + 1e-6))
        if told is not None and members(told.spots, spots).any():
            agreed += told.log_ratio
        return Estimate(spot, float(masses.sum()), self.off, spots, masses, agreed)
