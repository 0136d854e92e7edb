"""What configure gets: a model, and a map or several, which can be changed while running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.parameter import Parameter
from rclpy.task import Future

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.kept_pose import recalled
from saane_ros.localization.map_choice import MapChoice, check_choice, open_choice
from saane_ros.ros.shared.interface import SERVICES
from saane_ros.ros.shared.managed_node import ManagedNode
from saane_ros.settings import Settings


@dataclass(frozen=True)
class Loaded:
    """path: of the map or of the folder of maps, as it was asked for."""

    path: str
    embedder: Embedder
    localizer: MapChoice


def load(node: ManagedNode, embedder: Embedder, settings: Settings) -> Loaded:
    """Open the map or maps of the settings; those left out of several are warned of."""
    choice, left_out = open_choice(settings.map, embedder, settings)
    for sentence in left_out:
        node.get_logger().warning(f"A map is left out: {sentence}")
    for one in choice.maps:
        if one.index_fault:
            node.get_logger().warning(one.index_fault)
    named = ", ".join(f"{one.info.name} with {one.info.count} places" for one in choice.maps)
    node.get_logger().info(f"Model {embedder.name} and map {named} are ready.")
    return Loaded(settings.map, embedder, choice)


def begin_at_kept_pose(node: ManagedNode, loaded: Loaded, path: Path) -> None:
    """Begin where the last run ended, as far as that is known."""
    try:
        prior = recalled(path, loaded.embedder.fingerprint)
        if prior is None:
            return
        loaded.localizer.prepare(prior)()
    except SaaneError as error:
        node.get_logger().warning(f"The last pose is not used: {error}")
    else:
        node.get_logger().info(f"Beginning at the last pose, of {path}.")


class MapSwitch:
    """Opens another map on a thread of its own, while the old one goes on.

    The parameter `map` is the one way to ask for it, and `~/load_map` sets it. A map that cannot
    be is refused at once where its head tells so; where the rest fails, the parameter goes back.
    loaded: what is there, None while the node is not configured.  adopt: takes the new one.
    """

    def __init__(
        self,
        node: ManagedNode,
        loaded: Callable[[], Loaded | None],
        adopt: Callable[[Loaded], None],
    ) -> None:
        self._node, self._loaded, self._adopt = node, loaded, adopt
        self._thread: threading.Thread | None = None
        self._opened: Future[str] | None = None
        # Called before that of the node, which would take the value over.
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._follow)
        service = SERVICES["load_map"]
        # While it waits for the map, the callbacks of its group wait too.
        alone = MutuallyExclusiveCallbackGroup()
        node.create_service(service.type, service.name, self._load_map, callback_group=alone)

    def finish(self) -> None:
        """Wait for a map that is being opened."""
        if self._thread is not None:
            self._thread.join()

    def again(self, first: Callable[[], object]) -> Future[str]:
        """Do something with the map on disk and open it again, on the thread; see `_open`.

        Raises SaaneError where another map is being opened.
        """
        loaded = self._loaded()
        if loaded is None:
            raise SaaneError("No map is loaded: configure the node first.")
        self._check_free()
        return self._open(loaded, loaded.path, first)

    def _check_free(self) -> None:
        if self._opened is not None and not self._opened.done():
            raise SaaneError("Another map is being opened: ask again when it is there.")

    def _follow(self, changes: Sequence[Parameter]) -> None:
        """Open the map that the parameter has come to name."""
        loaded = self._loaded()
        for change in changes:
            if loaded is not None and change.name == "map" and change.value != loaded.path:
                self._open(loaded, str(change.value))

    def _open(
        self, loaded: Loaded, path: str, first: Callable[[], object] = lambda: None
    ) -> Future[str]:
        """Begin opening; the future, which is `_opened` too, will hold what went wrong, in words.

        first: done before, on the same thread.
        """
        settings = replace(loaded.localizer.settings, map=path)
        self.finish()
        opened: Future[str] = Future()
        self._opened = opened

        def work() -> None:
            fault = ""
            try:
                first()
                self._adopt(load(self._node, loaded.embedder, settings))
            except Exception as error:
                fault = str(error)
                self._node.get_logger().error(f"Map {loaded.path} stays in use. {fault}")
                self._node.set_parameters([Parameter("map", value=loaded.path)])
            opened.set_result(fault)

        self._thread = threading.Thread(target=work, name="map", daemon=True)
        self._thread.start()
        return opened

    def _check(self, changes: Sequence[Parameter]) -> SetParametersResult:
        loaded = self._loaded()
        for change in changes:
            if change.name != "map":
                continue
            if self._node.state == "configuring":
                return SetParametersResult(
                    successful=False, reason="A map is being loaded: set another one after that."
                )
            if loaded is None or change.value == loaded.path:
                continue
            try:
                self._check_free()
                check_choice(str(change.value), loaded.embedder)
            except SaaneError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    async def _load_map(self, request: Any, response: Any) -> Any:
        """Set the parameter and answer when the map is there; a map in use is opened again."""
        loaded = self._loaded()
        if loaded is None:
            self._node.get_logger().error("No map is loaded before the node is configured.")
            response.result = response.RESULT_UNDEFINED_FAILURE
            return response
        (answer,) = self._node.set_parameters([Parameter("map", value=request.map_url)])
        if not answer.successful:
            self._node.get_logger().error(answer.reason)
            there = Path(request.map_url).expanduser().exists()
            response.result = (
                response.RESULT_INVALID_MAP_DATA if there else response.RESULT_MAP_DOES_NOT_EXIST
            )
            return response
        if request.map_url == loaded.path:
            self._open(loaded, request.map_url)
        assert self._opened is not None
        fault = await self._opened
        response.result = response.RESULT_INVALID_MAP_DATA if fault else response.RESULT_SUCCESS
        return response
