"""The candidates of one query as a point cloud, for RViz and for whoever fuses them."""

from __future__ import annotations

import sys
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

try:
    from sensor_msgs_py import point_cloud2
except ImportError:  # the ROS 2 wheels come without it
    point_cloud2 = None

_DATATYPES = {
    np.dtype(np.float32): PointField.FLOAT32,
    np.dtype(np.float64): PointField.FLOAT64,
    np.dtype(np.uint32): PointField.UINT32,
}
_POINT = np.dtype(
    [
        ("x", np.float32),
        ("y", np.float32),
        ("z", np.float32),
        ("place", np.uint32),
        ("distance", np.float32),
        ("probability", np.float32),
        ("exact_x", np.float64),
        ("exact_y", np.float64),
        ("exact_z", np.float64),
    ]
)


def candidates_cloud_fields(
    header: Header,
    positions: NDArray[np.float64],
    places: NDArray[np.int64],
    distances: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> dict[str, Any]:
    """Fields of a sensor_msgs/PointCloud2 with one point per candidate, in the order given.

    A point is x, y, z (float32), place (uint32), distance, probability (float32), and exact_x,
    exact_y, exact_z (float64): 48 bytes. Both triples are one position in the frame of the header.
    RViz, PCL and most other readers take x, y, z for float32 whatever their type, which at a UTM
    northing is right to 0.25 m: near enough to be drawn. Who computes with them takes the others.
    positions: (k, 3), metres; NaN where a place has no pose.  places, distances, probabilities:
    (k,). Made by sensor_msgs_py where it is installed, else here; both give the same bytes.
    """
    points = np.empty(len(places), _POINT)
    for axis, values in zip("xyz", np.asarray(positions, np.float64).reshape(-1, 3).T, strict=True):
        points[axis] = points[f"exact_{axis}"] = values
    points["place"] = places
    points["distance"] = distances
    points["probability"] = probabilities
    fields = _point_fields()
    if point_cloud2 is not None and len(points):  # it cannot cast an empty array
        return _fields_of(point_cloud2.create_cloud(header, fields, points))
    return _own_fields(header, fields, points)


def _own_fields(header: Header, fields: list[PointField], points: NDArray[Any]) -> dict[str, Any]:
    data = array("B")
    data.frombytes(points.tobytes())
    return {
        "header": header,
        "height": 1,
        "width": len(points),
        "fields": fields,
        "is_bigendian": sys.byteorder == "big",
        "point_step": points.dtype.itemsize,
        "row_step": points.dtype.itemsize * len(points),
        "data": data,
        "is_dense": False,
    }


def _fields_of(cloud: Any) -> dict[str, Any]:
    return {name: getattr(cloud, name) for name in cloud.get_fields_and_field_types()}


def _point_fields() -> list[PointField]:
    return [
        PointField(name=name, offset=offset, datatype=_DATATYPES[dtype], count=1)
        for name, (dtype, offset, *_) in (_POINT.fields or {}).items()
    ]
