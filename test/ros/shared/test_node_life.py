"""The life of a node over DDS and as a process: transitions that hold nobody up, and the end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import Parameter
from ros_world import (
    MS,
    PATIENCE_S,
    Peer,
    image_message,
    run_module,
    set_parameter,
    spinning,
    state,
    until,
    values,
)
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image

from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings

_SLOW = """
import sys, time
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.process import run_node

def never(settings):
    time.sleep(600)

sys.exit(run_node(lambda: LocalizerNode(never)))
"""
_LINGERING = """
import sys, time
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.process import run_node

class Lingering(LocalizerNode):
    def destroy_node(self):
        print("lingering", flush=True)
        time.sleep(600)

sys.exit(run_node(Lingering))
"""


class Held(ColourGridEmbedder):
    """A model that takes until `released` to load."""

    def __init__(self) -> None:
        self.loading, self.released = threading.Event(), threading.Event()

    def load(self, _: Settings) -> Held:
        self.loading.set()
        assert self.released.wait(PATIENCE_S)
        return self


@contextmanager
def holding(route_map: RouteMap, **given: Any) -> Iterator[tuple[Held, Any]]:
    """A localizer that loads its model for as long as the test wants."""
    model = Held()
    given = {"map": str(route_map.path), **given}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    try:
        with spinning(
            lambda context: LocalizerNode(
                model.load, context=context, parameter_overrides=overrides
            )
        ) as node:
            yield model, node
            model.released.set()
    finally:
        model.released.set()


@pytest.mark.parametrize("autostart", [True, False])
def test_a_node_that_loads_its_model_answers_everything(
    route_map: RouteMap, peer: Peer, autostart: bool
) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with holding(route_map, autostart=autostart) as (model, node), ExitStack() as stack:
        if not autostart:
            client = peer.create_client(ChangeState, "/localizer/change_state")
            stack.callback(peer.destroy_client, client)
            assert client.wait_for_service(PATIENCE_S)
            wanted = Transition(id=Transition.TRANSITION_CONFIGURE)
            asked = client.call_async(ChangeState.Request(transition=wanted))
        until(model.loading.is_set, "the loading")
        assert state(peer) == "configuring"
        reports.clear()
        until(lambda: len(reports) > 1, "reports meanwhile")
        assert reports[-1].status[0].level == DiagnosticStatus.WARN
        assert reports[-1].status[0].message == "configuring: loading the model"
        assert values(reports[-1].status[0])["state"] == "configuring"
        request = GetParameters.Request(names=["candidates"])
        answer = peer.ask(GetParameters, "/localizer/get_parameters", request)
        assert answer.values[0].integer_value == 5
        assert set_parameter(peer, "candidates", 2).successful
        assert "is being loaded" in set_parameter(peer, "map", "elsewhere").reason
        assert node.loaded is None
        assert state(peer) == "configuring"
        model.released.set()
        if autostart:
            until(lambda: state(peer) == "active", "the activation")
        else:
            until(asked.done, "the end of the transition")
            assert asked.result().success
            assert state(peer) == "inactive"
        assert node.loaded.localizer.settings.candidates == 2


def test_a_transition_that_is_asked_for_during_another_waits_for_it(
    route_map: RouteMap, peer: Peer
) -> None:
    with holding(route_map) as (model, _):
        until(model.loading.is_set, "the loading")
        client = peer.create_client(ChangeState, "/localizer/change_state")
        assert client.wait_for_service(PATIENCE_S)
        wanted = Transition(label="deactivate")
        asked = client.call_async(ChangeState.Request(transition=wanted))
        assert state(peer) == "configuring"
        assert not asked.done()
        model.released.set()
        until(asked.done, "the end of the transition")
        assert asked.result().success
        assert state(peer) == "inactive"
        peer.destroy_client(client)


def test_a_deactivation_waits_for_the_image_in_work_and_others_are_answered(
    route_map: RouteMap, peer: Peer
) -> None:
    with holding(route_map) as (model, node):
        model.released.set()
        working, released = threading.Event(), threading.Event()
        process = node.process

        def slowly(message: Image) -> None:
            working.set()
            assert released.wait(PATIENCE_S)
            process(message)

        until(lambda: node.state == "active", "the activation")
        node._worker._process = slowly
        camera = peer.talk(Image, "image")
        camera.publish(image_message(smooth_scene(1), 1000 * MS))
        until(working.is_set, "the image in work")
        client = peer.create_client(ChangeState, "/localizer/change_state")
        assert client.wait_for_service(PATIENCE_S)
        asked = client.call_async(ChangeState.Request(transition=Transition(label="deactivate")))
        reports = peer.hear(DiagnosticArray, "/diagnostics")
        until(lambda: reports, "a report meanwhile")
        assert state(peer) == "active"
        assert not asked.done()
        released.set()
        until(asked.done, "the end of the transition")
        assert asked.result().success
        assert state(peer) == "inactive"
        assert node.counters["processed"] == 1
        peer.destroy_client(client)


@contextmanager
def process(module: str, *arguments: str) -> Iterator[Any]:
    """A node in a process that does not outlive the test, however that ends."""
    running = run_module(module, *arguments)
    watchdog = threading.Timer(180, running.kill)
    watchdog.start()
    try:
        yield running
    finally:
        running.kill()
        watchdog.cancel()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_process_stays_up_without_a_map_and_ends_quietly(ending: int, peer: Peer) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with process("saane_ros.ros.localizer.node", "-p", "map:=/no/such.routemap") as running:
        until(lambda: reports, "a report of the process")
        running.send_signal(ending)
        _, errors = running.communicate()
    assert running.returncode == 0
    assert values(reports[0].status[0])["state"] == "unconfigured"
    assert "There is no route map at /no/such.routemap" in errors
    assert "Traceback" not in errors


def test_a_process_that_cannot_start_ends_where_it_is_told_to() -> None:
    arguments = ("-p", "map:=/no/such.routemap", "-p", "exit_on_failure:=true")
    with process("saane_ros.ros.localizer.node", *arguments) as running:
        _, errors = running.communicate()
    assert running.returncode == 1
    assert errors.splitlines()[-1].startswith("saane: There is no route map at /no/such.routemap")
    assert "Traceback" not in errors


def test_how_a_node_lives_is_said_at_its_start(peer: Peer) -> None:
    with spinning(lambda context: LocalizerNode(context=context)) as node:
        refused = set_parameter(peer, "exit_on_failure", True)
        assert not refused.successful
        assert "read-only" in refused.reason
        assert node.get_parameter("exit_on_failure").value is False


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_while_it_loads_its_model(
    ending: int, route_map: RouteMap, peer: Peer
) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with process(_SLOW, "-p", f"map:={route_map.path}") as running:
        until(
            lambda: reports and values(reports[-1].status[0])["state"] == "configuring",
            "the loading",
        )
        running.send_signal(ending)
        _, errors = running.communicate()
    assert running.returncode == 0
    assert "Traceback" not in errors


def test_a_second_signal_ends_a_shutdown_that_takes_long(peer: Peer) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with process(_LINGERING, "-p", "autostart:=false") as running:
        until(lambda: reports, "a report of the process")
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == "lingering\n"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    assert running.returncode == 0
    assert "Traceback" not in errors
