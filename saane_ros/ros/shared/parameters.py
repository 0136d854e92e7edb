"""ROS parameters from a dataclass of settings: declared, checked and changed in one place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from saane_ros.errors import SaaneError
from saane_ros.settings import Setting, Value, check, default_settings, described_settings

S = TypeVar("S")

_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
# Overrides that no node declares under their own name.
_FOREIGN = ("qos_overrides.", "use_sim_time", "start_type_description_service")


def declare(node: Node, kind: type[S]) -> S:
    """Declare every setting of `kind` as a parameter and return the settings as they stand.

    A given value of the wrong type or out of range is a SaaneError that names it.
    """
    values: dict[str, Value] = {}
    for name, default in default_settings(kind).items():
        setting = described_settings(kind)[name]
        given = _override(node, name, default)
        check(name, given, setting, kind)
        node.declare_parameter(name, given, descriptor(default, setting), ignore_override=True)
        values[name] = given
    return kind(**values)


def descriptor(default: Value, setting: Setting) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a setting."""
    constraints = [] if setting.live else ["changes only while the node is unconfigured"]
    if setting.choices:
        constraints.append("one of " + ", ".join(setting.choices))
    described = ParameterDescriptor(
        type=_TYPES[type(default)],
        description=setting.description,
        additional_constraints="; ".join(constraints),
        # A number without a decimal point is a good value of a decimal setting; `check` has the
        # last word on types, and says what it wants.
        dynamic_typing=True,
    )
    if setting.low is not None and setting.high is not None:
        if isinstance(default, int):
            limits = IntegerRange(from_value=int(setting.low), to_value=int(setting.high), step=0)
            described.integer_range = [limits]
        else:
            described.floating_point_range = [
                FloatingPointRange(from_value=float(setting.low), to_value=float(setting.high))
            ]
    return described


def changed(settings: S, parameters: Iterable[Parameter], configured: bool) -> S:
    """The settings with new values; SaaneError where one is refused.

    Parameters that are no settings (`use_sim_time`) are left to their owners.
    """
    described = described_settings(type(settings))
    values: dict[str, Any] = {}
    for parameter in parameters:
        setting = described.get(parameter.name)
        if setting is None:
            continue
        check(parameter.name, parameter.value, setting, type(settings))
        if configured and not setting.live and parameter.value != getattr(settings, parameter.name):
            raise SaaneError(
                f"Parameter {parameter.name} is read when the node is configured: deactivate and "
                "clean up the node, set it, and configure again."
            )
        values[parameter.name] = parameter.value
    return replace(settings, **values)  # type: ignore[type-var]


def refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def unknown_overrides(node: Node) -> list[str]:
    """One sentence for every given parameter that the node does not have."""
    known = [name for name in node._parameters if not name.startswith(_FOREIGN)]
    sentences = []
    for name in sorted(node._parameter_overrides):
        if node.has_parameter(name) or name.startswith(_FOREIGN):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the node has {', '.join(sorted(known))}."
        sentences.append(f"Parameter {name} is unknown and was ignored: {hint}")
    return sentences


def _override(node: Node, name: str, default: Value) -> Value:
    given = node._parameter_overrides.get(name)
    if given is None:
        return default
    value = given.value
    return float(value) if isinstance(default, float) and type(value) is int else value
