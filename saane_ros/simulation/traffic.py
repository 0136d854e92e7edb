"""Who else is on the street during one traverse: a property of the traverse, not of the town."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.mesh import Faces
from saane_ros.simulation.people import PHASES, STRIDE_M, person
from saane_ros.simulation.route import BEHIND_M
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.streets import LANE_M, Street, side_point
from saane_ros.simulation.vehicles import bus, car

Array = NDArray[np.float64]

VIEW_M = 140.0


@dataclass(frozen=True)
class Agent:
    """A body that moves along the route: s(t) = s0 + speed t (+ a gap to the ego vehicle).

    follow: (middle, half length, gap) seconds and metres of a stretch spent ahead of the ego
    vehicle, else None.  parked: (x, y, heading) in the map frame of what stands still, else None.
    footprint: (half length, half width) in metres.
    """

    bodies: list[Faces]
    s0: float
    speed: float
    lateral: float
    footprint: tuple[float, float]
    follow: tuple[float, float, float] | None = None
    parked: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Present:
    """One agent in one frame: its faces in the map frame and its four corners on the ground."""

    faces: Faces
    corners: Array


class Traffic:
    """All agents of a traverse. Depends on the traverse's seed, and on the hour for people."""

    def __init__(
        self,
        street: Street,
        seed: int,
        ego_s: Array,
        rate_hz: float,
        density: float,
        walkers: float,
    ) -> None:
        self.street, self.ego_s, self.rate_hz = street, ego_s, rate_hz
        self.agents: list[Agent] = []
        if density > 0:
            self._parked(stream(seed, "parked"), density)
            self._oncoming(stream(seed, "oncoming"), density)
            self._leaders(stream(seed, "leaders"), density)
            self._walkers(stream(seed, "walkers"), density * walkers)

    def present(self, index: int) -> list[Present]:
        """Everybody within sight in frame `index`."""
        time, ego = index / self.rate_hz, float(self.ego_s[index])
        found = []
        for agent in self.agents:
            s = self._where(agent, time, ego)
            if s is None or not -12.0 < s - ego < VIEW_M:
                continue
            found.append(self._placed(agent, s, time))
        return found

    def _where(self, agent: Agent, time: float, ego: float) -> float | None:
        if agent.follow is None:
            return agent.s0 + agent.speed * time
        middle, half, gap = agent.follow
        phase = abs(time - middle) / half
        return ego + gap + VIEW_M * phase**4 if phase < 1 else None

    def _placed(self, agent: Agent, s: float, time: float) -> Present:
        if agent.parked is not None:
            x, y, heading = agent.parked
        else:
            x, y = (float(v) for v in self.street.route.point(s, agent.lateral))
            heading = float(self.street.route.heading(s)) + (np.pi if agent.speed < 0 else 0.0)
        phase = int(abs(agent.speed) * time / STRIDE_M * PHASES) % len(agent.bodies)
        c, n = np.cos(heading), np.sin(heading)
        long, wide = agent.footprint
        local = np.array([[long, wide], [-long, wide], [-long, -wide], [long, -wide]])
        corners = local @ np.array([[c, n], [-n, c]]) + np.array([x, y])
        return Present(agent.bodies[phase].placed(x, y, heading), corners)

    def _parked(self, rng: np.random.Generator, density: float) -> None:
        route = self.street.route
        for side in (1, -1):
            s = -float(BEHIND_M)
            while s < route.length + VIEW_M:
                s += 6.4
                kind = self.street.district(s)
                chance = {"suburb": 0.45, "shops": 0.6, "modern": 0.3, "park": 0.3}.get(kind, 0.0)
                if self.street.side_street_at(s, side, 6.0) or rng.random() > chance * density:
                    continue
                lateral = side * (float(self.street.half_road(s)) - 1.05)
                lateral += float(rng.normal(0, 0.08))
                at = s + float(rng.uniform(-0.5, 0.5))
                x, y = (float(v) for v in route.point(at, lateral))
                heading = float(route.heading(at)) + (np.pi if side > 0 else 0.0)
                body = car(rng, lights=False)
                self._add_parked(body, at, lateral, (x, y, heading))
        for mouth in self.street.side_streets:
            if rng.random() < 0.45 * density:
                away = float(self.street.half_road(mouth.s)) + float(rng.uniform(4, 12))
                x, y = (float(v) for v in side_point(route, mouth, 1.6 * mouth.side, away))
                heading = float(route.heading(mouth.s)) - mouth.side * np.pi / 2
                self._add_parked(car(rng, lights=True), mouth.s, 0.0, (x, y, heading))

    def _add_parked(
        self, body: Faces, s: float, lateral: float, pose: tuple[float, float, float]
    ) -> None:
        self.agents.append(Agent([body], s, 0.0, lateral, (2.1, 0.88), parked=pose))

    def _oncoming(self, rng: np.random.Generator, density: float) -> None:
        duration = len(self.ego_s) / self.rate_hz
        time = float(rng.uniform(0, 4))
        while time < duration + 8:
            frame = min(int(time * self.rate_hz), len(self.ego_s) - 1)
            speed = float(rng.uniform(6, 11))
            large = rng.random() < 0.14
            body = bus(rng, True) if large else car(rng, True)
            size = (5.6, 1.25) if large else (2.1, 0.88)
            s0 = float(self.ego_s[frame]) + speed * time
            self.agents.append(Agent([body], s0, -speed, LANE_M + 0.1, size))
            time += 1.2 + float(rng.exponential(5.0 / density))

    def _leaders(self, rng: np.random.Generator, density: float) -> None:
        duration = len(self.ego_s) / self.rate_hz
        time = float(rng.uniform(-5, 15))
        while time < duration:
            half = float(rng.uniform(6, 14))
            gap = float(rng.uniform(11, 26))
            large = rng.random() < 0.2
            body = bus(rng, True) if large else car(rng, True)
            size = (5.6, 1.25) if large else (2.1, 0.88)
            follow = (time + half, half, gap + size[0])
            self.agents.append(Agent([body], 0.0, 1.0, -LANE_M, size, follow))
            time += 2 * half + float(rng.exponential(14.0 / density))

    def _walkers(self, rng: np.random.Generator, density: float) -> None:
        if density <= 0:
            return
        route, street = self.street.route, self.street
        s = -10.0
        while s < route.length + 60:
            s += float(rng.exponential(9.0 / density))
            side = float(rng.choice([-1, 1]))
            walk = float(street.pavement(s))
            lateral = side * (float(street.half_road(s)) + walk * float(rng.uniform(0.3, 0.85)))
            speed = float(rng.choice([-1, 1])) * float(rng.uniform(0.8, 1.6))
            frame = min(int(np.searchsorted(self.ego_s, s)), len(self.ego_s) - 1)
            s0 = s - speed * frame / self.rate_hz
            self.agents.append(Agent(person(rng), s0, speed, lateral, (0.2, 0.25)))
