"""Every setting of the localizer, once: parameters, YAML and the reference page come from here."""

from __future__ import annotations

import json
import os.path
import textwrap
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from saane_ros.errors import SaaneError
from saane_ros.reading import read_yaml

STREET_MODEL = "saane-street"
"""What a map is made with where nobody names one: for real streets, and whole after an install."""
TOWN_MODEL = "saane-town"
"""The model of the demonstration, which knows synthetic towns alone."""

Value = str | int | float | bool


@dataclass(frozen=True)
class Setting:
    """What is known of one setting beside its name and default.

    live: may change at run time.  path: names a file or folder, and may begin with `~`.
    """

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    path: bool = False


def setting(default: Any, description: str, **limits: Any) -> Any:
    """A dataclass field that is a setting."""
    return field(default=default, metadata={"setting": Setting(description, **limits)})


@dataclass(frozen=True)
class Settings:
    """How the localizer embeds, searches, decides and talks. See `config/localizer.yaml`."""

    model: str = setting(
        "",
        "Name of a model card in models/, or the path of a card; empty: the model of the map.",
        path=True,
    )
    weights: str = setting("", "Folder looked into first for weight files; empty: none.", path=True)
    map: str = setting(
        "",
        "Folder of the route map (<name>.routemap), or of several, of which the right one is found "
        "by its images.",
        live=True,
        path=True,
    )
    keep_pose: str = setting(
        "",
        "File that the last pose is kept in, to begin there when the node is started again; empty: "
        "none.",
        path=True,
    )
    device: str = setting("auto", "auto (CUDA where there is one), cpu, cuda or cuda:N.")
    engine: str = setting(
        "auto",
        "What the network runs on; auto is what `saane models tune` found fastest on this machine, "
        "torch where it never ran.",
        choices=("auto", "torch", "compiled", "onnx", "openvino"),
    )
    precision: str = setting(
        "auto",
        "auto is that of the tuned engine, else fp16 on CUDA and fp32 on the CPU.",
        choices=("auto", "fp32", "fp16", "bf16", "int8"),
    )
    threads: int = setting(0, "CPU threads of the network; 0: PyTorch's choice.", low=0, high=256)
    candidates: int = setting(5, "Nearest places reported per image.", low=1, high=100, live=True)
    sequence_filter: bool = setting(
        True, "Filter matches along the route with a Bayes filter over the places."
    )
    error_rate: float = setting(
        0.01,
        "Of the frames called localized at most this share is wrong, as far as the road and what "
        "lies off it are like those of the map's calibration.",
        low=0.0001,
        high=0.5,
        live=True,
    )
    max_deviation: float = setting(
        10.0,
        "Metres of standard deviation in the plane up to which a pose is published.",
        low=0.1,
        high=1000.0,
        live=True,
    )
    refine_budget_ms: float = setting(
        30.0,
        "Milliseconds an image for its pose by points of the map, where the map has them and the "
        "camera's intrinsics are known; 0: poses are those of places.",
        low=0.0,
        high=10_000.0,
        live=True,
    )
    base_frame: str = setting(
        "base_link",
        "Frame of the robot whose pose is published; empty: of the body that the map's poses are "
        "of.",
    )
    camera_pose: str = setting(
        "",
        "The camera on `base_frame`: x y z in metres, roll pitch yaw in radians, all 0 looking "
        "along its x; empty: by /tf_static.",
    )
    publish_tf: bool = setting(
        False,
        "Publish the transform of the map's frame to that of the odometry on /tf while LOCALIZED "
        "(REP-105); nobody else may.",
    )
    transform_tolerance: float = setting(
        1.0,
        "Seconds that this transform is stamped ahead of now, for which others may use it.",
        low=0.0,
        high=60.0,
        live=True,
    )
    image_transport: str = setting(
        "raw",
        "raw subscribes to `image`, compressed to `image/compressed`.",
        choices=("raw", "compressed"),
    )
    camera_info_topic: str = setting(
        "",
        "Topic of the camera's CameraInfo; empty: beside the images, as image_transport has it.",
    )
    reliability: str = setting(
        "auto",
        "QoS of the image subscription; auto is reliable where every publisher offers it.",
        choices=("auto", "reliable", "best_effort"),
    )
    silent_after: float = setting(
        2.0,
        "Seconds without an image after which the topic is reported as silent.",
        low=0.1,
        high=3600.0,
        live=True,
    )
    overlay_opacity: float = setting(
        0.5, "Opacity of attention and segmentation overlays.", low=0.0, high=1.0, live=True
    )

    def __post_init__(self) -> None:
        check_all(self)


@dataclass(frozen=True)
class NodeSettings:
    """How a lifecycle node lives: parameters of every node, read once; no command has them."""

    autostart: bool = setting(
        True, "Configure and activate without being asked; false with a lifecycle manager."
    )
    exit_on_failure: bool = setting(
        False, "End the process with code 1 where that start fails, so that a respawn tries again."
    )
    bond_heartbeat_period: float = setting(
        0.1,
        "Seconds between two heartbeats of the bond with nav2_lifecycle_manager, which an active "
        "node has where bondpy is installed and autostart is false; 0: no bond.",
        low=0.0,
        high=2.0,
    )

    def __post_init__(self) -> None:
        check_all(self)


def described_settings(kind: type = Settings) -> dict[str, Setting]:
    """Name to description and limits, in the order of declaration."""
    return {f.name: f.metadata["setting"] for f in fields(kind)}


def default_settings(kind: type = Settings) -> dict[str, Value]:
    """Name to default value, in the order of declaration."""
    return {f.name: f.default for f in fields(kind) if f.default is not MISSING}


def check_all(values: Any) -> None:
    """Check and normalize every setting of a dataclass of settings, as its `__post_init__`."""
    for name, described in described_settings(type(values)).items():
        check(name, getattr(values, name), described, type(values))
        # The only way to set a field of a frozen dataclass, here before anybody has seen it.
        object.__setattr__(values, name, normalized(type(values), name, getattr(values, name)))


def normalized(kind: type, name: str, value: Any) -> Any:
    """A whole number as the decimal that a setting wants, and a path without its `~`."""
    if isinstance(default_settings(kind)[name], float) and type(value) is int:
        return float(value)
    is_path = described_settings(kind)[name].path and isinstance(value, str)
    return os.path.expanduser(value) if is_path else value


def check(name: str, value: Value, setting: Setting, kind: type = Settings) -> None:
    """Raise SaaneError where a value has the wrong type or lies outside the setting's limits."""
    expected = type(default_settings(kind)[name])
    if type(value) is not expected and not (expected is float and type(value) is int):
        raise SaaneError(
            f"Setting {name} is {value!r}, a {type(value).__name__}: give a {expected.__name__}."
        )
    if setting.choices and value not in setting.choices:
        raise SaaneError(
            f"Setting {name} is {value!r}: choose one of {', '.join(setting.choices)}."
        )
    if setting.low is not None and not setting.low <= float(value) <= float(setting.high or 0):
        raise SaaneError(
            f"Setting {name} is {value}: give a value from {setting.low:g} to {setting.high:g}."
        )


_NOT_OF_COMMANDS = (
    *default_settings(NodeSettings),
    *("use_sim_time", "qos_overrides", "start_type_description_service"),  # of every ROS node
)


def settings_from(values: dict[str, Any]) -> Settings:
    """Settings from a mapping; an unknown name is an error that lists the known ones."""
    unknown = sorted(map(str, set(values) - set(default_settings())))
    if unknown:
        raise _unknown(unknown)
    return Settings(**values)


def _unknown(names: list[str]) -> SaaneError:
    return SaaneError(
        f"Unknown setting {', '.join(names)}: the settings are {', '.join(default_settings())}."
    )


def parse_assignment(text: str) -> tuple[str, Value]:
    """`name=value` as a setting's name and its value in the setting's type; SaaneError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SaaneError(f"{text!r} sets nothing: write name=value.")
    if name not in default_settings():
        raise _unknown([name])
    default = default_settings()[name]
    try:
        return name, _read_value(value, type(default))
    except ValueError as error:
        raise SaaneError(
            f"Setting {name} is {value!r}: give a {type(default).__name__}."
        ) from error


def _read_value(text: str, kind: type) -> Value:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    value: Value = kind(text)
    return value


def read_settings(path: Path, node: str = "localizer") -> dict[str, Any]:
    """Names and values from a ROS parameter file (`/**: ros__parameters: ...`).

    Sections for all nodes (`/**`) count too, those for other nodes do not. Parameters of nodes
    alone, such as autostart and use_sim_time, are left out. Raises SaaneError; values are checked
    by `settings_from`.
    """
    document = read_yaml(path, "The parameter file")
    if not isinstance(document, dict):
        raise SaaneError(f"The parameter file {path} holds no `/**: ros__parameters:`: add it.")
    values: dict[str, Any] = {}
    found = False
    for name in ("/**", node, f"/{node}"):
        section = document.get(name)
        if section is None:
            continue
        parameters = section.get("ros__parameters") if isinstance(section, dict) else None
        if not isinstance(parameters, dict):
            raise SaaneError(
                f"Section {name} of {path} has no `ros__parameters:` with names and values: add it."
            )
        found = True
        values.update({k: v for k, v in parameters.items() if k not in _NOT_OF_COMMANDS})
    if not found:
        raise SaaneError(f"The parameter file {path} holds no `/**: ros__parameters:`: add it.")
    return values


def settings_yaml(kind: type = Settings) -> str:
    """A parameter file with every default, for a node of any name in any namespace."""
    lines = ["/**:", "  ros__parameters:"]
    defaults = default_settings(kind) | default_settings(NodeSettings)
    for name, described in (described_settings(kind) | described_settings(NodeSettings)).items():
        limits = _limits(described)
        text = described.description + (f" ({limits})" if limits else "")
        lines += textwrap.wrap(text, 96, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {name}: {json.dumps(defaults[name])}")
    return "\n".join(lines) + "\n"


def settings_table(kind: type = Settings) -> str:
    """The settings as a Markdown table."""
    rows = ["| parameter | default | what | at run time |", "|---|---|---|---|"]
    defaults = default_settings(kind)
    for name, described in described_settings(kind).items():
        limits = _limits(described)
        what = described.description + (f" ({limits})" if limits else "")
        default, live = json.dumps(defaults[name]), "yes" if described.live else "no"
        # Angle brackets would be taken for HTML.
        rows.append(f"| `{name}` | `{default}` | {what.replace('<', '&lt;')} | {live} |")
    return "\n".join(rows) + "\n"


def _limits(described: Setting) -> str:
    if described.choices:
        return ", ".join(described.choices)
    if described.low is None or described.high is None:
        return ""
    return f"{described.low:g} to {described.high:g}"
