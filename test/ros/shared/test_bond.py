"""When a node has a bond with a lifecycle manager.

bondpy is not among the wheels of these tests: a module of the same interface, which only writes
down what is asked of it, stands in for it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from ros_world import Peer, change, spinning, state, until
from scenes import ColourGridEmbedder
from std_msgs.msg import Empty

from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.route_map.store import RouteMap


class WrittenDownBond:
    """Has the interface of `bondpy.bondpy.Bond` and two topics, and forms no bond."""

    made: list[WrittenDownBond]

    def __init__(self, node: Any, topic: str, bond_id: str) -> None:
        self.node, self.calls = node, [f"bond {bond_id} on {topic}"]
        self.pub = node.create_publisher(Empty, topic, 1)
        self.made.append(self)

    def set_heartbeat_period(self, seconds: float) -> None:
        self.calls.append(f"period {seconds}")

    def set_heartbeat_timeout(self, seconds: float) -> None:
        self.calls.append(f"timeout {seconds}")

    def start(self) -> None:
        self.sub = self.node.create_subscription(Empty, "bond", lambda _: None, 1)
        self.calls.append("start")
        self._publish(True)

    def shutdown(self) -> None:
        self._publish(False)
        self.sub.destroy()
        self.pub.destroy()
        self.calls.append("shutdown")

    def _publish(self, active: bool) -> None:
        self.calls.append(f"active {active}")


@pytest.fixture
def bonds(monkeypatch: pytest.MonkeyPatch) -> list[WrittenDownBond]:
    inner, outer = ModuleType("bondpy.bondpy"), ModuleType("bondpy")
    inner.Bond = WrittenDownBond  # type: ignore[attr-defined]
    outer.bondpy = inner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bondpy", outer)
    monkeypatch.setitem(sys.modules, "bondpy.bondpy", inner)
    made: list[WrittenDownBond] = []
    monkeypatch.setattr(WrittenDownBond, "made", made, raising=False)
    return made


def localizer(route_map: RouteMap, **given: Any) -> Any:
    given = {"map": str(route_map.path), **given}
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: ColourGridEmbedder(),
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
    )


def test_a_managed_node_has_a_bond_while_it_is_active(
    bonds: list[WrittenDownBond], route_map: RouteMap, peer: Peer
) -> None:
    with localizer(route_map, autostart=False) as node:
        for _ in range(2):
            assert change(peer, Transition.TRANSITION_CONFIGURE)
            count = len(bonds)
            assert change(peer, Transition.TRANSITION_ACTIVATE)
            assert len(bonds) == count + 1
            formed = ["bond localizer on bond", "period 0.1", "timeout 4.0", "start", "active True"]
            assert bonds[-1].calls == formed
            assert change(peer, Transition.TRANSITION_DEACTIVATE)
            assert bonds[-1].calls == [*formed, "active False", "shutdown"]
            assert "/bond" not in {end.topic_name for end in node.subscriptions}
            assert change(peer, Transition.TRANSITION_CLEANUP)


def test_a_bond_ends_without_a_word_after_its_context(
    bonds: list[WrittenDownBond], route_map: RouteMap, peer: Peer
) -> None:
    with localizer(route_map, autostart=False) as node:
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert change(peer, Transition.TRANSITION_ACTIVATE)
        with node.context.handle:
            node.context.handle.shutdown()  # as a signal does it, before any node is destroyed
    assert bonds[0].calls[-2:] == ["active True", "shutdown"]


@pytest.mark.parametrize("given", [{"autostart": True}, {"bond_heartbeat_period": 0.0}])
def test_a_node_of_its_own_has_no_bond(
    bonds: list[WrittenDownBond], route_map: RouteMap, peer: Peer, given: dict[str, Any]
) -> None:
    with localizer(route_map, **{"autostart": False, **given}):
        if not given.get("autostart"):
            assert change(peer, Transition.TRANSITION_CONFIGURE)
            assert change(peer, Transition.TRANSITION_ACTIVATE)
        until(lambda: state(peer) == "active", "the activation")
    assert bonds == []


def test_without_bondpy_nothing_is_said(
    route_map: RouteMap,
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "bondpy", None)
    with localizer(route_map, autostart=False) as node:
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert change(peer, Transition.TRANSITION_ACTIVATE)
        assert "/bond" not in {end.topic_name for end in node.publishers}
    assert "bond" not in capfd.readouterr().err
