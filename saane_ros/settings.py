"""Every setting of the localizer, once: parameters, YAML and README come from here."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from saane_ros.errors import SaaneError

Value = str | int | float | bool


@dataclass(frozen=True)
class Setting:
    """What is known of one setting beside its name and default. `live`: may change at run time."""

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False


def setting(default: Any, description: str, **limits: Any) -> Any:
    """A dataclass field that is a setting."""
    return field(default=default, metadata={"setting": Setting(description, **limits)})


@dataclass(frozen=True)
class Settings:
    """How the localizer embeds, searches, decides and talks. See `config/localizer.yaml`."""

    model: str = setting("saane-town", "Name of a model card in models/, or the path of a card.")
    weights: str = setting("", "Folder looked into first for weight files; empty: none.")
    map: str = setting("", "Folder of the route map (<name>.routemap).")
    device: str = setting("auto", "auto (CUDA where there is one), cpu, cuda or cuda:N.")
    precision: str = setting(
        "auto",
        "auto is fp16 on CUDA and fp32 on the CPU.",
        choices=("auto", "fp32", "fp16", "bf16"),
    )
    threads: int = setting(0, "CPU threads of the network; 0: PyTorch's choice.", low=0, high=256)
    candidates: int = setting(5, "Nearest places reported per image.", low=1, high=100, live=True)
    ratio_window: int = setting(
        5,
        "Places on either side of the best that the second best of the ratio must lie outside of; "
        "0: any other place.",
        low=0,
        high=1000,
        live=True,
    )
    min_ratio: float = setting(
        1.05,
        "Ratio (second best / best) that localizes without the sequence filter.",
        low=1.0,
        high=10.0,
        live=True,
    )
    sequence_filter: bool = setting(
        True, "Filter matches along the route with a Bayes filter over the places."
    )
    localized_confidence: float = setting(
        0.9,
        "Belief around the best place from which on a frame is localized.",
        low=0.0,
        high=1.0,
        live=True,
    )
    lost_confidence: float = setting(
        0.5,
        "Belief around the best place below which a frame is lost.",
        low=0.0,
        high=1.0,
        live=True,
    )
    image_transport: str = setting(
        "raw",
        "raw subscribes to `image`, compressed to `image/compressed`.",
        choices=("raw", "compressed"),
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


def described_settings(kind: type = Settings) -> dict[str, Setting]:
    """Name to description and limits, in the order of declaration."""
    return {f.name: f.metadata["setting"] for f in fields(kind)}


def default_settings(kind: type = Settings) -> dict[str, Value]:
    """Name to default value, in the order of declaration."""
    return {f.name: f.default for f in fields(kind) if f.default is not MISSING}


def check_all(values: Any) -> None:
    """Check every setting of a dataclass of settings, as its `__post_init__`."""
    for name, described in described_settings(type(values)).items():
        check(name, getattr(values, name), described, type(values))


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


def settings_from(values: dict[str, Any]) -> Settings:
    """Settings from a mapping; an unknown name is an error that lists the known ones."""
    unknown = sorted(set(values) - set(default_settings()))
    if unknown:
        raise SaaneError(
            f"Unknown setting {', '.join(unknown)}: the settings are "
            f"{', '.join(default_settings())}."
        )
    return Settings(**values)
