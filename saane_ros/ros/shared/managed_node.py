"""A lifecycle node that works on the newest camera image, away from the executor's thread."""

from __future__ import annotations

import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future

from saane_ros.embedding import ModelSettings
from saane_ros.errors import SaaneError
from saane_ros.ros.intake.counters import FrameCounters
from saane_ros.ros.intake.image_intake import (
    ImageIntake,
    ImageMessage,
    IntakeSettings,
    image_topic,
)
from saane_ros.ros.intake.worker import FrameWorker
from saane_ros.ros.shared import parameters
from saane_ros.ros.shared.bond import break_bond, form_bond
from saane_ros.ros.shared.clock import steady_timer
from saane_ros.ros.shared.diagnostics import Diagnostics, ReportingNode
from saane_ros.ros.shared.qos import idle_overrides
from saane_ros.settings import NodeSettings

T = TypeVar("T")

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
# A request names its transition by a label, or else by an id.
_CONFIGURE = ("configure", Transition.TRANSITION_CONFIGURE)
_ENDING = (
    "deactivate",
    "shutdown",
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_ACTIVE_SHUTDOWN,
)
_LOG_EVERY_S = 5.0


class WorkSettings(IntakeSettings, ModelSettings, Protocol):
    """The settings that every node has."""


S = TypeVar("S", bound=WorkSettings)


class ManagedNode(ReportingNode, Generic[S]):
    """Parameters from the settings dataclass `S`, image intake, worker thread and diagnostics.

    A node fills in `load` (configure), `unload` (cleanup), `process` (one image, on the worker's
    thread) and `report` (what it adds to `/diagnostics`). With the parameter `autostart` it
    configures and activates itself; whichever way a transition fails, the reason is logged and
    stands in `/diagnostics`, and the transition can be asked for again.

    A transition that is asked for over ROS never holds up the executor: `load` runs on a thread of
    its own, and so does waiting for the image in work, while services and timers are answered.
    """

    def __init__(self, name: str, kind: type[S], **options: Any) -> None:
        # The context destroys a node whose making failed, so what that needs comes first.
        self.counters = FrameCounters()
        self.intake = None
        self.state = "unconfigured"
        self._worker: FrameWorker[ImageMessage] | None = None
        self._failure = ""
        self._bond: Any = None
        self._asides: list[threading.Thread] = []
        super().__init__(name, **options)
        self.settings: S = parameters.declare(self, kind)
        self._life = parameters.declare(self, NodeSettings, read_only=True)
        for sentence in parameters.unknown_overrides(self):
            self.get_logger().warning(sentence)
        self.add_on_set_parameters_callback(self._set_parameters)
        self._diagnostics = Diagnostics(self)
        transitions = MutuallyExclusiveCallbackGroup()
        # rclpy has all lifecycle services in one group, where get_state would wait for configure.
        service = next(found for found in self.services if found.srv_type is ChangeState)
        self._change_here = service.callback
        service.callback, service.callback_group = self._change_state, transitions
        transitions.add_entity(service)
        if self._life.autostart:
            self._starter = steady_timer(self, 0.0, self._start, transitions)

    @abstractmethod
    def load(self) -> None:
        """Get everything that matching needs; SaaneError where that is impossible."""

    @abstractmethod
    def unload(self) -> None:
        """Free what `load` got; harmless where nothing is loaded."""

    @abstractmethod
    def process(self, message: ImageMessage) -> None:
        """Work on one image; SaaneError where it cannot be used."""

    def activated(self) -> None:
        """Subscribe to and publish what images alone do not bring."""

    def deactivated(self) -> None:
        """Undo `activated`."""

    def restarted(self) -> None:
        """The image stream began again, with older stamps."""

    def image_failed(self) -> None:
        """An image came that could not be used."""

    def settings_changed(self) -> None:
        """Hand changed settings on to what is running."""

    @property
    def hardware_id(self) -> str:
        return f"{self.settings.device}, {image_topic(self, self.settings)}"

    @property
    def problem(self) -> str:
        return self._failure or (self.intake.problem if self.intake else "")

    def behind(self) -> bool:
        """Whether a newer image waits for the one in work."""
        worker = self._worker
        return worker is not None and worker.behind

    @property
    def busy(self) -> bool:
        """Whether something runs `aside`, which nothing can interrupt."""
        return any(thread.is_alive() for thread in self._asides)

    async def aside(self, work: Callable[[], T]) -> T:
        """The outcome of `work`, done on another thread while the executor goes on.

        For callbacks that are coroutines. Their callback group waits, so it must not be that of
        the other callbacks; `work` makes and destroys no subscription, publisher, timer or service.
        """
        outcome: Any = Future(executor=self.executor)

        def run() -> None:
            try:
                outcome.set_result(work())
            except Exception as error:
                outcome.set_exception(error)
            with suppress(InvalidHandle):  # nobody spins any more
                if self.executor is not None:
                    self.executor.wake()

        thread = threading.Thread(target=run, name=f"{self.get_name()} aside", daemon=True)
        self._asides = [old for old in self._asides if old.is_alive()] + [thread]
        thread.start()
        found: T = await outcome
        return found

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._failure, self.state = "", "configuring"
        try:
            self.load()
        except Exception as error:
            self._fail(error)
            self.unload()
            self.state = "unconfigured"
            return _FAILURE
        self.settings_changed()  # they may have while they were read
        self.state = "inactive"
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        outcome = super().on_activate(state)
        self._worker = FrameWorker(self.process, self._frame_failed, f"{self.get_name()} worker")
        self._worker.start()
        try:
            self.activated()
            self.intake = ImageIntake(self, lambda: self.settings, self.counters, self._deliver)
        except Exception as error:
            self._fail(error)
            self._stop()
            super().on_deactivate(state)
            return _FAILURE
        if self._life.bond_heartbeat_period and not self._life.autostart:
            self._bond = form_bond(self, self._life.bond_heartbeat_period)
        for sentence in idle_overrides(self):
            self.get_logger().warning(sentence)
        self._failure, self.state = "", "active"
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        self.state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        for thread in self._asides:
            thread.join()
        self._release()
        super().destroy_node()

    async def _start(self) -> None:
        self.destroy_timer(self._starter)
        outcome = await self.aside(self.trigger_configure)
        if outcome == _SUCCESS:
            outcome = self.trigger_activate()
        if outcome != _SUCCESS and self._life.exit_on_failure:
            raise SaaneError(self._failure)  # out of the executor's `spin`

    async def _change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        wanted = request.transition.label or request.transition.id
        if wanted in _CONFIGURE:
            return await self.aside(lambda: self._change_here(request, response))
        if wanted in _ENDING and self._worker is not None:
            self.counters.count("dropped", int(await self.aside(self._worker.stop)))
        return self._change_here(request, response)

    def _fail(self, error: Exception) -> None:
        """Tell why a transition failed."""
        self._failure = self._explain(error)
        self.counters.last_error = self._failure
        self.get_logger().error(self._failure)

    def _stop(self) -> None:
        """End intake and worker; what was still waiting counts as dropped."""
        if self._bond is not None:
            break_bond(self, self._bond)
            self._bond = None
        if self.intake is not None:
            self.intake.close()
        if self._worker is not None:
            self.counters.count("dropped", int(self._worker.stop()))
            self._worker = None
            self.deactivated()
        self.intake = None  # the worker's last image asked it for its pixels
        if self.state == "active":
            self.state = "inactive"

    def _release(self) -> None:
        self._stop()
        self.unload()
        self.state = "unconfigured"

    def _deliver(self, message: ImageMessage, restarted: bool) -> None:
        if restarted:
            self.restarted()
        if self._worker is not None and self._worker.offer(message):
            self.counters.count("dropped")

    def _frame_failed(self, error: Exception) -> None:
        self.image_failed()
        if self.context.ok():  # a frame in work at the end of the process cannot be published
            reason = self._explain(error)
            self.counters.fail(reason)
            self.get_logger().error(reason, throttle_duration_sec=_LOG_EVERY_S)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, SaaneError):
            return str(error)
        self.get_logger().debug("".join(traceback.format_exception(error)))
        return f"Unexpected {type(error).__name__}: {error}; the debug log has the traceback."

    def _set_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        try:
            configured = self.state != "unconfigured"
            self.settings = parameters.changed(self.settings, changes, configured)
        except SaaneError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.settings_changed()
        return SetParametersResult(successful=True)
