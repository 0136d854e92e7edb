"""A match as ROS messages: status, pose, markers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseWithCovarianceStamped, Vector3
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from saane_ros.ros.localizer.candidates_cloud import candidates_cloud_fields
from saane_ros.ros.shared.interface import MATCH_KEYS
from saane_ros.route_map.places_csv import Places
from saane_ros.types import Match, MatchState, Pose
from saane_ros.visualization.overview import STATE_COLOURS

_LEVELS = {
    MatchState.LOCALIZED: DiagnosticStatus.OK,
    MatchState.UNCERTAIN: DiagnosticStatus.WARN,
    MatchState.LOST: DiagnosticStatus.ERROR,
    MatchState.OFF_ROUTE: DiagnosticStatus.ERROR,
}
_POSE, _MARKER = PoseMessage(), Marker()
"""What messages begin as: to copy one takes a fraction of making it with all that it holds."""


def text(value: float | int | str | None) -> str:
    """A value of a status: numbers in full precision, nothing as an empty text."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def status(
    level: bytes, name: str, message: str, values: Mapping[str, object], hardware_id: str = ""
) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=text(value)) for key, value in values.items()]  # type: ignore[arg-type]
    return DiagnosticStatus(
        level=level, name=name, message=message, hardware_id=hardware_id, values=pairs
    )


def match_message(
    match: Match,
    stamp: Header,
    name: str,
    map_name: str,
    image_age_ms: float,
    travelled_m: float | None,
) -> DiagnosticArray:
    """`~/place_match`; its keys are those of `interface.MATCH_KEYS`, in their order."""
    candidates = match.candidates
    values = {
        "state": match.state.value,
        "map": map_name,
        "place": match.place.id,
        "place_name": match.place.name,
        "confidence": match.confidence,
        "off_route": match.off_route,
        "distance": match.distance,
        "ratio": match.ratio,
        "best_place": int(candidates.places[0]),
        "best_distance": float(candidates.distances[0]),
        "image_age_ms": image_age_ms,
        "inference_ms": match.timings_ms["embed"],
        "search_ms": match.timings_ms["search"],
        "filter_ms": match.timings_ms["filter"],
        "pose_source": None if match.pose is None else match.source,
        "inliers": None if match.points is None else match.points.inliers,
        "reprojection_px": None if match.points is None else match.points.error,
        "points_ms": match.timings_ms.get("points"),
        "travelled_m": travelled_m,
    }
    place = match.place.name or f"place {match.place.id}"
    sentence = f"{match.state.name} at {place}, confidence {match.confidence:.2f}"
    ordered = {key: values[key] for key in MATCH_KEYS}
    return DiagnosticArray(
        header=stamp, status=[status(_LEVELS[match.state], name, sentence, ordered)]
    )


def pose_message(match: Match, header: Header) -> PoseWithCovarianceStamped | None:
    """`~/pose`: only of a match that has one, being localized and sure enough of where."""
    if match.pose is None:
        return None
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose = to_pose(match.pose)
    if match.covariance is not None:
        message.pose.covariance = [float(value) for value in match.covariance]
    return message


def cloud_message(match: Match, places: Places, header: Header) -> PointCloud2:
    """`~/candidates`: one point per candidate, best first; NaN where its place has no pose."""
    candidates, rows = match.candidates, match.candidates.places
    fields = candidates_cloud_fields(
        header, places.positions[rows], rows, candidates.distances, match.probabilities
    )
    return PointCloud2(**fields)


def to_pose(pose: Pose) -> PoseMessage:
    message = copy(_POSE)
    position, quaternion = copy(_POSE.position), copy(_POSE.orientation)
    position.x, position.y, position.z = pose.position
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = pose.orientation
    message.position, message.orientation = position, quaternion
    return message


def marker_message(match: Match, places: Places, header: Header) -> MarkerArray:
    """`~/markers`: the candidates as balls sized by belief, the matched place with its caption."""
    if match.place.pose is None:
        return MarkerArray()
    red, green, blue = (value / 255 for value in STATE_COLOURS[match.state])
    colour = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    markers = [
        _ball(header, index, places.pose(int(row)), float(belief))
        for index, (row, belief) in enumerate(
            zip(match.candidates.places, match.probabilities, strict=True)
        )
    ]
    place = _marker(header, "place", 0, Marker.ARROW, match.place.pose, colour)
    place.scale = Vector3(x=4.0, y=0.8, z=0.8)
    caption = _marker(header, "caption", 0, Marker.TEXT_VIEW_FACING, match.place.pose, colour)
    caption.pose.position.z += 3.0
    caption.scale.z = 1.5
    caption.text = f"{match.state.name}\n{match.place.name}\n{match.confidence:.2f}"
    # Fewer candidates than before (a live setting) would leave old balls in the view.
    return MarkerArray(markers=[Marker(action=Marker.DELETEALL), *markers, place, caption])


def _ball(header: Header, index: int, pose: Pose | None, belief: float) -> Marker:
    colour = ColorRGBA(r=0.2, g=0.6, b=1.0, a=0.25 + 0.75 * min(1.0, max(0.0, belief)))
    marker = _marker(header, "candidates", index, Marker.SPHERE, pose, colour)
    size = 0.5 + 1.5 * belief
    marker.scale = Vector3(x=size, y=size, z=size)
    return marker


def _marker(
    header: Header, namespace: str, index: int, kind: int, pose: Pose | None, colour: ColorRGBA
) -> Marker:
    marker = copy(_MARKER)
    marker.header, marker.ns, marker.id, marker.type = header, namespace, index, kind
    marker.color, marker.scale = colour, Vector3()
    marker.pose = to_pose(pose) if pose else PoseMessage()
    return marker
