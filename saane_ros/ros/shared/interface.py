"""Everything that the nodes say and hear, once: nodes and docs/reference.md read it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, NavSatFix, PointCloud2
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

try:
    from nav2_msgs.srv import LoadMap
except ImportError:  # the ROS 2 wheels come without nav2; the fields are the same
    from nav_msgs.srv import LoadMap

from saane_ros.localization.sequence import TOLERANCE_M, TOLERANCE_STEPS
from saane_ros.ros.shared.qos import (
    IMAGE,
    LATCHED,
    PICTURE,
    RESULT,
    SENSOR,
    SERVICE,
    TF,
    TF_STATIC,
)
from saane_ros.ros.shared.tf_messages import TFMessage


@dataclass(frozen=True)
class Topic:
    """One topic or service; the reliability of `IMAGE` is what the publishers offer.

    told_as: name of the type in tables, where it differs with what is installed.
    """

    name: str
    type: type[Any]
    when: str
    qos: QoSProfile
    told_as: str = ""

    @property
    def type_name(self) -> str:
        """As `ros2 topic list -t` writes it: sensor_msgs/msg/Image."""
        if self.told_as:
            return self.told_as
        package, kind, _ = self.type.__module__.split(".")
        return f"{package}/{kind}/{self.type.__name__}"


INPUTS = {
    "image": Topic(
        "image", Image, "`image_transport` is raw; keep last 1, the newest frame wins", IMAGE
    ),
    "compressed": Topic(
        "image/compressed",
        CompressedImage,
        "`image_transport` is compressed; JPEG, PNG, WebP, TIFF",
        IMAGE,
    ),
    "camera_info": Topic(
        "camera_info",
        CameraInfo,
        "optional: intrinsics, for poses by points of the map; beside the images, as "
        "image_transport has it, or on `camera_info_topic`",
        SENSOR,
    ),
    "odometry": Topic("odometry", Odometry, "optional: motion for the sequence filter", SENSOR),
    "initial_pose": Topic(
        "initialpose",
        PoseWithCovarianceStamped,
        "optional, as RViz and nav2 give it: where to begin, by its covariance; images decide",
        RESULT,
    ),
    "tf_static": Topic(
        "/tf_static",
        TFMessage,
        "where the camera sits on `base_frame`, while `camera_pose` is empty",
        TF_STATIC,
    ),
}
OUTPUTS = {
    "localized": Topic(
        "~/localized",
        Bool,
        "on activation and every change, latched: whether the last image is LOCALIZED; False with "
        "a reset, and while images stop, cannot be used or are not worked on",
        LATCHED,
    ),
    "place_match": Topic("~/place_match", DiagnosticArray, "every processed frame", RESULT),
    "candidates": Topic(
        "~/candidates",
        PointCloud2,
        "every processed frame: x y z (float32, to be drawn), place, distance, probability, and "
        "exact_x exact_y exact_z (float64, the same position) of the k best, best first",
        RESULT,
    ),
    "pose": Topic(
        "~/pose",
        PoseWithCovarianceStamped,
        "of `base_frame` in the map's frame, only while LOCALIZED and within `max_deviation`; "
        "by points of the map where they are found, else from the spread of the belief",
        RESULT,
    ),
    "tf": Topic(
        "/tf",
        TFMessage,
        "if `publish_tf`, 20 times a second while LOCALIZED: the map's frame to the odometry's",
        TF,
    ),
    "route": Topic("~/route", Path, "on activation, latched: the places of the map", LATCHED),
    "markers": Topic("~/markers", MarkerArray, "every processed frame, for RViz", RESULT),
    "appearance": Topic(
        "~/attention/appearance",
        Image,
        "while subscribed: attention over the image, from its smallest value (black) to its "
        "largest (pale yellow); a bar along the lower edge tells both",
        PICTURE,
    ),
    "semantic": Topic(
        "~/attention/semantic",
        Image,
        "while subscribed: attention over the image, from its smallest value (black) to its "
        "largest (pale yellow); a bar along the lower edge tells both",
        PICTURE,
    ),
    "segmentation": Topic(
        "~/segmentation", Image, "while subscribed: class colours over the image", PICTURE
    ),
    "matched_image": Topic(
        "~/matched_image", Image, "while subscribed: thumbnail of the matched place", PICTURE
    ),
    "overview": Topic("~/overview", Image, "while subscribed: all of these in one", PICTURE),
    "diagnostics": Topic("/diagnostics", DiagnosticArray, "once a second", RESULT),
}
SERVICES = {
    "reset": Topic("~/reset", Trigger, "forgets where the robot is believed to be", SERVICE),
    "load_map": Topic(
        "~/load_map",
        LoadMap,
        "changes the map while running, as setting the parameter does "
        "(nav_msgs/srv/LoadMap, its equal, where Nav2 is not installed)",
        SERVICE,
        told_as="nav2_msgs/srv/LoadMap",
    ),
    "extend": Topic(
        "~/extend",
        SetBool,
        "true: frames off the route become places, posed by odometry; false: they are merged into "
        "the map on disk, which is opened again",
        SERVICE,
    ),
}

MAP_BUILDER_INPUTS = {
    "image": INPUTS["image"],
    "compressed": INPUTS["compressed"],
    "camera_info": Topic(
        "camera_info",
        CameraInfo,
        "`metric` is true: the intrinsics; beside the images, or `camera_info_topic`",
        SENSOR,
    ),
    "odometry": Topic("odometry", Odometry, "`pose_source` is odometry", SENSOR),
    "fix": Topic("fix", NavSatFix, "`pose_source` is fix", SENSOR),
    "pose": Topic("pose", PoseStamped, "`pose_source` is pose", SENSOR),
    "tf_static": Topic(
        "/tf_static",
        TFMessage,
        "where the camera sits on what the poses are of, while `camera_pose` is empty",
        TF_STATIC,
    ),
}
MAP_BUILDER_OUTPUTS = {
    "route": Topic("~/route", Path, "at every new place, latched: the places so far", LATCHED),
    "diagnostics": OUTPUTS["diagnostics"],
}
MAP_BUILDER_SERVICES = {
    "save": Topic(
        "~/save",
        Trigger,
        "writes the map as it stands and answers once it is written; building goes on meanwhile",
        SERVICE,
    ),
}

MATCH_KEYS = {
    "state": "localized, uncertain, lost or off_route",
    "map": "name of the map that it is matched with",
    "place": "id of the matched place, its row in the map",
    "place_name": "name of the matched place",
    "confidence": f"probability that the pose is within {TOLERANCE_STEPS:g} places along the "
    f"route, or {TOLERANCE_M:g} m if that is wider, of the true one",
    "off_route": "belief in being nowhere on the map, 0 to 1",
    "distance": "distance of the descriptors of image and matched place",
    "ratio": "distance of the second best over that of the best place",
    "best_place": "id of the nearest place to this image alone, without the sequence filter",
    "best_distance": "its distance",
    "image_age_ms": "time from the image's stamp to this message, by the node's clock",
    "inference_ms": "time of the network",
    "search_ms": "time of the search in the map",
    "filter_ms": "time of the sequence filter",
    "pose_source": "of the pose: refined by points of the map, or place; empty without a pose",
    "inliers": "points of the map that agree on one pose; empty where none were looked for",
    "reprojection_px": "root mean square of where the image shows them from where that pose puts "
    "them, pixels",
    "points_ms": "time for the points; empty where none were looked for",
    "travelled_m": "metres driven by odometry; empty without odometry",
}
DIAGNOSTIC_KEYS = {
    "state": "lifecycle state of the node",
    "model": "name of the model and fingerprint",
    "map": "name and number of places of the map, or of all maps while several are searched",
    "device": "where the network runs",
    "image_topic": "resolved name of the subscribed topic",
    "reliability": "reliable or best effort, as subscribed, and whether `qos_overrides` says so",
    "publishers": "publishers of the image topic",
    "frames_in": "images received",
    "frames_matched": "images with a place match",
    "frames_dropped": "images that a newer one took the place of",
    "frames_failed": "images that could not be used",
    "frames_lost": "images that never arrived, by DDS sequence numbers, else by stamp gaps",
    "rate_in": "images received a second, over 5 s",
    "rate_matched": "place matches a second, over 5 s",
    "image_age_p50_ms": "median age of an image at the publication of its match",
    "image_age_p95_ms": "95 % quantile of the same",
    "last_match": "state of the last match",
    "points": "what became of comparing the last image with points of the map, or why it was not",
    "odometry": "unused, used, or why it is not believed",
    "odometry_faults": "odometry that counts for no motion, by kind, and the last in words",
    "pose_of": "whose pose `~/pose` tells",
    "map_to_odom": "whether that transform is published, or why not",
    "last_error": "the last failure in words",
}
