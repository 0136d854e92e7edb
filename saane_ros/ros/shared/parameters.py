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
from saane_ros.settings import (
    Setting,
    Value,
    check,
    default_settings,
    described_settings,
    normalized,
)

S = TypeVar("S")

_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
# Overrides that no node declares under their own name.
_FOREIGN = ("qos_overrides.", "use_sim_time", "start_type_description_service")


def declare(node: Node, kind: type[S], read_only: bool = False) -> S:
    """Declare every setting of `kind` as a parameter and return the settings as they stand.

    A given value of the wrong type or out of range is a SaaneError that names it. A parameter that
    is set later is normalized as the settings are.
    """
    defaults, overrides = default_settings(kind), node._parameter_overrides
    settings = kind(**{name: overrides[name].value for name in defaults if name in overrides})
    for name, setting in described_settings(kind).items():
        described = descriptor(defaults[name], setting, read_only)
        node.declare_parameter(name, getattr(settings, name), described, ignore_override=True)

    def normalize(changes: list[Parameter]) -> list[Parameter]:
        normal = []
        for change in changes:
            value = change.value
            if change.name in defaults:
                value = normalized(kind, change.name, value)
            normal.append(change if value is change.value else Parameter(change.name, value=value))
        return normal

    if not read_only:
        node.add_pre_set_parameters_callback(normalize)
    return settings


def descriptor(default: Value, setting: Setting, read_only: bool = False) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a setting."""
    constraints = []
    if not setting.live and not read_only:
        constraints.append("changes only while the node is unconfigured")
    if setting.choices:
        constraints.append("one of " + ", ".join(setting.choices))
    described = ParameterDescriptor(
        type=_TYPES[type(default)],
        description=setting.description,
        additional_constraints="; ".join(constraints),
        read_only=read_only,
        dynamic_typing=True,  # `check` has the last word on types, and says what it wants
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
