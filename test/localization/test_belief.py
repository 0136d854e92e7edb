"""The sparse belief against a dense filter over all spots, and what it must never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import line_graph

from saane_ros.localization import belief as module
from saane_ros.localization.belief import (
    END,
    FORGET_DRIVEN_S,
    FORGET_S,
    KIDNAPPED,
    LEAVE,
    PRIOR_OFF,
    RETURN,
    SUPPORT,
    TEMPER,
    Belief,
)
from saane_ros.localization.candidates import Group
from saane_ros.localization.evidence import FrameEvidence
from saane_ros.localization.motion import FARTHEST, PAUSE_S, Interval, Motion
from saane_ros.route_map.place_graph import PlaceGraph

TOLERANCE = 3.0


def ring(count: int) -> PlaceGraph:
    edges = np.stack((np.arange(count), (np.arange(count) + 1) % count), axis=1)
    return PlaceGraph(np.arange(count), edges, np.ones(count), 2.0)


def fork(count: int) -> PlaceGraph:
    """A road to the middle, from where two go on, and back to the beginning by one of them."""
    half, third = count // 2, 3 * count // 4
    edges = [(i, i + 1) for i in range(count - 1) if i != third - 1]
    edges += [(half, third), (count - 1, 0)]
    return PlaceGraph(np.arange(count), np.array(edges), np.ones(len(edges)), 2.0)


GRAPHS = {
    "line": line_graph(60),
    "metric line": line_graph(60, 2.0),
    "ring": ring(40),
    "fork": fork(48),
    "two places": line_graph(2),
    "one place": line_graph(1),
}


def seen(
    rng: np.random.Generator, count: int, spot: int | None
) -> tuple[list[Group], FrameEvidence]:
    """Candidates of one frame: of the true spot among others, or of others alone."""
    free = rng.permutation(count)
    groups, used = [], set()
    for spot_of in [spot, *free[:3].tolist()] if spot is not None else free[:3].tolist():
        spots = np.array([s for s in range(spot_of - 1, spot_of + 2) if 0 <= s < count])
        spots = np.array([s for s in spots if s not in used], np.int64)
        if len(spots):
            used.update(spots.tolist())
            groups.append(Group(int(spots[0]), 1.0, spots, rng.dirichlet(np.ones(len(spots)))))
    likely = rng.uniform(0.01, 0.1, len(groups) + 2)
    likely[0 if spot is not None else -1] += 1.0
    likely /= likely.sum()
    return groups, FrameEvidence(likely[:-2], float(likely[-2]), float(likely[-1]))


class Dense:
    """The same filter with a mass for every spot, one transition after the other."""

    def __init__(self, graph: PlaceGraph) -> None:
        self.graph, self.count = graph, graph.count
        self.motion = Motion(graph.step)
        self.mass = np.full(self.count, (1 - PRIOR_OFF) / self.count)
        self.off = PRIOR_OFF
        self.own = np.zeros(self.count, bool)
        """Spots that move; the others are the rest, which is as much everywhere."""

    def even(self) -> None:
        if not self.own.all():
            self.mass[~self.own] = self.mass[~self.own].mean()

    def update(
        self, groups: list[Group], evidence: FrameEvidence, interval: Interval, weight: float
    ) -> None:
        count = self.count
        if interval.seconds > PAUSE_S:
            slow = FORGET_S if interval.steps is None else FORGET_DRIVEN_S
            kept = np.exp(-(interval.seconds - PAUSE_S) / slow)
            self.mass = kept * self.mass + (1 - kept) * (1 - PRIOR_OFF) / count
            self.off = kept * self.off + (1 - kept) * PRIOR_OFF
        kernel = self.motion.kernel(interval)
        ways: list[tuple[int, int, float, float]] = []
        if self.own.any():
            gone = kernel.beyond * self.mass[self.own].sum()
            self.mass[self.own] *= 1 - kernel.beyond
            self.mass += gone / count
            moved, reached_any = np.zeros(count), np.zeros(count, bool)
            for spot in np.flatnonzero(self.own):
                behind, ahead = kernel.reach
                _, reached, steps = self.graph.reachable(np.array([spot]), ahead, behind)
                likely = [float(kernel.density(np.array([step]))[0]) for step in steps]
                total = max(sum(likely), END * kernel.total)
                for to, step, density in zip(reached, steps, likely, strict=True):
                    ways.append((spot, int(to), step, self.mass[spot] * density / total))
                    moved[to] += ways[-1][3]
                    reached_any[to] = True
                self.off += self.mass[spot] * (1 - sum(likely) / total)
            self.mass = np.where(self.own, 0.0, self.mass) + moved
            self.own |= reached_any
        steps = weight if interval.steps is None else min(abs(interval.steps), 10.0)
        leave, back, lost = 1 - (1 - LEAVE) ** steps, 1 - (1 - RETURN) ** steps, KIDNAPPED * weight
        on = self.mass.sum()
        self.mass = (1 - leave) * ((1 - lost) * self.mass + lost * on / count)
        self.mass += back * self.off / count
        self.off = (1 - back) * self.off + leave * on
        power = TEMPER * weight
        shown = np.unique(np.concatenate([group.spots for group in groups]))
        likely = np.full(count, evidence.missed * count / max(count - len(shown), 1) / 0.5)
        for group, share in zip(groups, evidence.groups, strict=True):
            for spot, part in zip(group.spots, group.shares, strict=True):
                likely[spot] = share * part * count / 0.5 + 1e-9
        arrived = np.zeros(count)
        for _, to, _, mass in ways:
            arrived[to] += mass
        self.mass *= likely**power
        self.off *= (evidence.off / 0.5 + 1e-9) ** power
        total = self.mass.sum() + self.off
        self.mass, self.off = self.mass / total, self.off / total
        self.own[shown] = True
        if ways:
            came = np.array(
                [mass / max(arrived[to], 1e-300) * self.mass[to] for _, to, _, mass in ways]
            )
            self.motion.learn(kernel, np.array([way[2] for way in ways]), came, interval)
        self.even()


def dense_of(belief: Belief, count: int) -> np.ndarray:
    return belief.masses_of(np.arange(count))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("odometry", [True, False])
def test_beliefs_equal_a_dense_filter(
    name: str, odometry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST", 0.0)
    graph = GRAPHS[name]
    rng = np.random.default_rng(3)
    sparse, dense = Belief(graph, TOLERANCE), Dense(graph)
    for step in range(45):
        # A drive, a detour, a jump, a long pause, and frames that hardly count.
        spot = None if 12 <= step < 20 else (step if step < 30 else 2 * step) % graph.count
        groups, evidence = seen(rng, graph.count, spot)
        steps = float(rng.normal(1, 0.3)) if odometry and step % 9 else None
        if step == 33 and odometry:
            steps = 2 * FARTHEST
        interval = Interval(40.0 if step == 25 else 0.1 * (1 + step % 3), steps)
        weight = 1.0 if step % 7 else 0.01
        estimate = sparse.update(groups, evidence, interval, weight)
        dense.update(groups, evidence, interval, weight)
        np.testing.assert_allclose(dense_of(sparse, graph.count), dense.mass, atol=1e-6, rtol=1e-6)
        assert sparse.off == estimate.off == pytest.approx(dense.off, abs=1e-6)
        assert estimate.spot == int(dense.mass.argmax())
        near = graph.around(estimate.spot, TOLERANCE)
        kept = near[np.isin(near, sparse.spots)]
        np.testing.assert_array_equal(estimate.spots, kept)
        assert estimate.mass == pytest.approx(dense.mass[kept].sum(), abs=1e-6)


SECONDS = st.one_of(st.floats(0, 20), st.sampled_from([-1e5, 0.0, 1e-9, 1e5, 1e12]))
STEPS = st.one_of(st.none(), st.floats(-150, 150), st.sampled_from([1e6, -1e9, 1e200]))
FRAMES = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.booleans(), SECONDS, STEPS, st.floats(0, 1)),
    min_size=1,
    max_size=25,
)


@given(st.sampled_from(sorted(GRAPHS)), FRAMES)
def test_all_belief_sums_to_one(
    name: str, frames: list[tuple[int, bool, float, float | None, float]]
) -> None:
    graph = GRAPHS[name]
    belief = Belief(graph, TOLERANCE)
    for seed, on, seconds, steps, weight in frames:
        rng = np.random.default_rng(seed)
        spot = int(rng.integers(graph.count)) if on else None
        estimate = belief.update(*seen(rng, graph.count, spot), Interval(seconds, steps), weight)
        whole = float(belief.masses.sum()) + belief.rest + belief.off
        assert whole == pytest.approx(1.0, abs=1e-9)
        assert min(belief.rest, belief.off, *belief.masses, 0.0) == 0.0
        assert dense_of(belief, graph.count).sum() + belief.off == pytest.approx(1.0, abs=1e-6)
        assert (np.diff(belief.spots) > 0).all()
        assert len(belief.spots) <= SUPPORT
        assert 0 <= estimate.mass <= 1 + 1e-9
        assert estimate.spot in estimate.spots


def found(graph: PlaceGraph, spot: int = 20) -> Belief:
    """A belief that is nearly sure of one spot."""
    belief = Belief(graph, TOLERANCE)
    for back in range(5, -1, -1):
        groups = [Group(spot - back, 1.0, np.array([spot - back]), np.ones(1))]
        belief.update(groups, FrameEvidence(np.array([0.98]), 0.01, 0.01), Interval(0.1, None), 1.0)
    assert belief.masses_of(np.array([spot]))[0] > 0.9
    return belief


def test_belief_ages_to_the_prior() -> None:
    for seconds in (0.0, -5.0):
        belief = found(GRAPHS["line"])
        before = dense_of(belief, 60)
        belief.age(seconds)
        np.testing.assert_array_equal(dense_of(belief, 60), before)
    belief = found(GRAPHS["line"])
    before, off = dense_of(belief, 60), belief.off
    belief.age(FORGET_S)
    kept = np.exp(-1)
    np.testing.assert_allclose(
        dense_of(belief, 60), kept * before + (1 - kept) * (1 - PRIOR_OFF) / 60, atol=1e-12
    )
    assert belief.off == pytest.approx(kept * off + (1 - kept) * PRIOR_OFF)
    belief.age(28 * 3600.0)
    np.testing.assert_allclose(dense_of(belief, 60), (1 - PRIOR_OFF) / 60)
    assert belief.off == pytest.approx(PRIOR_OFF)


def unclear(graph: PlaceGraph) -> tuple[list[Group], FrameEvidence]:
    """A frame that says nothing: every spot, and off, as likely as before."""
    spots = np.arange(graph.count)
    group = Group(0, 1.0, spots, np.full(graph.count, 1 / graph.count))
    return [group], FrameEvidence(np.array([0.5]), 0.0, 0.5)


@pytest.mark.parametrize("seconds", [60.0, 3600.0, 28 * 3600.0])
def test_a_pause_lets_the_belief_spread(seconds: float) -> None:
    graph = GRAPHS["metric line"]
    belief = found(graph)
    belief.update(*unclear(graph), Interval(seconds, None), 1.0)
    assert belief.masses_of(np.array([20, 21, 22])).max() < 0.1
    # Odometry that stood still over the pause says where the robot is.
    belief = found(graph)
    belief.update(*unclear(graph), Interval(60.0, 0.0), 1.0)
    assert belief.masses_of(np.arange(18, 23)).sum() > 0.8


def test_odometry_moves_the_belief_both_ways() -> None:
    graph = GRAPHS["metric line"]
    for steps in (12.0, -9.0):
        belief = found(graph)
        estimate = belief.update(*unclear(graph), Interval(0.1, steps), 1.0)
        assert abs(estimate.spot - (20 + steps)) <= 1


def test_the_end_of_the_road_leads_off_the_map() -> None:
    graph = GRAPHS["metric line"]
    belief = found(graph, 55)
    before = belief.off
    belief.update(*unclear(graph), Interval(0.1, 30.0), 1.0)
    assert belief.off > 0.25 > 5 * before
    assert belief.masses_of(np.arange(50, 60)).max() < 0.1


def test_a_frame_costs_the_same_on_any_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations counted by the spots that are asked of the graph and come back."""
    asked: dict[int, list[int]] = {}
    for count in (2_000, 200_000):
        graph = line_graph(count)
        belief = Belief(graph, TOLERANCE)
        cost: list[int] = []
        plain = PlaceGraph.reachable

        def counted(
            self: PlaceGraph,
            spots: np.ndarray,
            ahead: float,
            behind: float,
            cost: list[int] = cost,
            plain: object = plain,
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            result = plain(self, spots, ahead, behind)
            cost.append(len(result[0]))
            return result

        monkeypatch.setattr(PlaceGraph, "reachable", counted)
        rng = np.random.default_rng(0)
        for step in range(30):
            groups, evidence = seen(rng, 2_000, 500 + step)
            belief.update(groups, evidence, Interval(0.1, None), 1.0)
            assert len(belief.spots) <= SUPPORT
            cost.append(len(belief.spots))
        monkeypatch.setattr(PlaceGraph, "reachable", plain)
        asked[count] = cost
    assert sum(asked[200_000]) <= 1.05 * sum(asked[2_000])
