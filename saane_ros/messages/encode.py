"""From RGB arrays to the fields of image messages.

Pixel data is an `array.array`, which rclpy's messages take over in milliseconds; from a NumPy array
they take it over byte by byte, almost a second for a camera image.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.types import Rgb


def rgb_to_image_fields(rgb: Rgb) -> dict[str, Any]:
    """Fields of a sensor_msgs/Image, all but the header, of a uint8 H x W x 3 array."""
    return _image_fields(rgb, "rgb8", 3)


def mono_to_image_fields(mono: NDArray[np.uint8]) -> dict[str, Any]:
    """Fields of a sensor_msgs/Image, all but the header, of a uint8 H x W array."""
    return _image_fields(mono, "mono8", 1)


def rgb_to_jpeg_fields(rgb: Rgb, quality: int = 90) -> dict[str, Any]:
    """Fields of a sensor_msgs/CompressedImage, all but the header; quality 1 to 100."""
    return bgr_to_jpeg_fields(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)), quality)


def bgr_to_jpeg_fields(bgr: NDArray[np.uint8], quality: int = 90) -> dict[str, Any]:
    """The same of a uint8 H x W x 3 array in BGR, the order in which OpenCV encodes."""
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return {"format": "rgb8; jpeg compressed bgr8", "data": _bytes_array(encoded)}


def _image_fields(image: NDArray[np.uint8], encoding: str, channels: int) -> dict[str, Any]:
    if image.dtype != np.uint8 or image.ndim != (2 if channels == 1 else 3):
        raise SaaneError(
            f"An array of {image.dtype} and shape {image.shape} is no {encoding} image: give uint8 "
            f"values, height x width{' x 3' if channels == 3 else ''}."
        )
    height, width = image.shape[:2]
    return {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": int(sys.byteorder == "big"),
        "step": width * channels,
        "data": _bytes_array(image),
    }


def _bytes_array(values: NDArray[np.uint8]) -> array[int]:
    data = array("B")
    data.frombytes(np.ascontiguousarray(values).data)
    return data
