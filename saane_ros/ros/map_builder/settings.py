"""Every setting of the map builder, once. See `config/map_builder.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from saane_ros.route_map.existing import EXISTING, REFUSE
from saane_ros.route_map.postprocessing import CHOICES, NONE
from saane_ros.settings import STREET_MODEL, Settings, check_all, setting
from saane_ros.weights.feature_cards import ROOTSIFT

_SHARED = {field.name: field for field in fields(Settings)}


def _as_localizer(name: str) -> object:
    """A setting that the localizer has too, with its default, description and limits."""
    shared = _SHARED[name].metadata["setting"]
    return setting(
        _SHARED[name].default,
        shared.description,
        low=shared.low,
        high=shared.high,
        choices=shared.choices,
        live=shared.live,
        path=shared.path,
    )


@dataclass(frozen=True)
class MapBuilderSettings:
    """Which frames of a live drive become places, and of which map."""

    model: str = setting(STREET_MODEL, "Name of a model card in models/, or the path of a card.")
    weights: str = _as_localizer("weights")  # type: ignore[assignment]
    map: str = setting("", "Folder of the route map to write (<name>.routemap).", path=True)
    frame_id: str = setting("map", "Frame of the poses.")
    base_frame: str = setting(
        "base_link", "Frame that the poses are of, where their messages do not name one."
    )
    camera_pose: str = setting(
        "",
        "The camera on what the poses are of: x y z in metres, roll pitch yaw in radians, all 0 "
        "looking along its x; empty: by /tf_static.",
    )
    device: str = _as_localizer("device")  # type: ignore[assignment]
    engine: str = _as_localizer("engine")  # type: ignore[assignment]
    precision: str = _as_localizer("precision")  # type: ignore[assignment]
    threads: int = _as_localizer("threads")  # type: ignore[assignment]
    pose_source: str = setting(
        "odometry",
        "Topic that the poses come from: `odometry` (nav_msgs/Odometry), `fix` "
        "(sensor_msgs/NavSatFix), `pose` (geometry_msgs/PoseStamped), or none.",
        choices=("odometry", "fix", "pose", "none"),
    )
    every: float = setting(
        2.0, "A place every so many metres or seconds of the drive.", low=0.01, high=10_000.0
    )
    unit: str = setting(
        "metres",
        "Whether `every` counts metres (needs a pose source) or seconds.",
        choices=("metres", "seconds"),
    )
    postprocessing: str = setting(
        NONE,
        "What the map's descriptors go through, and those of its queries: nothing, the traverse's "
        "mean taken out, its deviation too, or PCA whitening to at most 512 or 1024 values; auto "
        "chooses mean where the places are enough and differ, else none.",
        choices=CHOICES,
    )
    metric: bool = setting(
        False,
        "Add points in space to the map, by which a pose can be told to centimetres; needs "
        "CameraInfo, poses and pycolmap.",
    )
    features: str = setting(
        ROOTSIFT,
        "Local features of `metric`: name of a card in models/features/, or the path of a card.",
    )
    camera_info_topic: str = _as_localizer("camera_info_topic")  # type: ignore[assignment]
    existing: str = setting(
        REFUSE,
        "What to do with a finished map of that name: refuse to build, extend it by the new "
        "places, or replace it. An interrupted build goes on whichever it is.",
        choices=EXISTING,
    )
    image_transport: str = _as_localizer("image_transport")  # type: ignore[assignment]
    reliability: str = _as_localizer("reliability")  # type: ignore[assignment]
    silent_after: float = _as_localizer("silent_after")  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_all(self)
