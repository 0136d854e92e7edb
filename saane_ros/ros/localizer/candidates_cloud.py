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

_FIELDS = (
    ("x", np.float32, PointField.FLOAT32),
    ("y", np.float32, PointField.FLOAT32),
    ("z", np.float32, PointField.FLOAT32),
    ("place", np.uint32, PointField.UINT32),
    ("distance", np.float32, PointField.FLOAT32),
    ("probability", np.float32, PointField.FLOAT32),
)
_VALUE_BYTES = 4
_POINT = np.dtype([(name, dtype) for name, dtype, _ in _FIELDS])


def candidates_cloud_fields(
    header: Header,
    positions: NDArray[np.float32],
    places: NDArray[np.int64],
    distances: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> dict[str, Any]:
    """Fields of a sensor_msgs/PointCloud2 with one point per candidate, in the order given.

    A point is x, y, z (float32), place (uint32), distance, probability (float32): 24 bytes.
    positions: (k, 3), metres; NaN where a place has no pose.  places, distances, probabilities:
    (k,). Made by sensor_msgs_py where it is installed, else here; both give the same bytes.
    """
    points = np.empty(len(places), _POINT)
    points["x"], points["y"], points["z"] = np.asarray(positions, np.float32).reshape(-1, 3).T
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
        PointField(name=name, offset=_VALUE_BYTES * at, datatype=datatype, count=1)
        for at, (name, _, datatype) in enumerate(_FIELDS)
    ]
