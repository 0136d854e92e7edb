"""Camera messages against decoders that go pixel by pixel, and every kind of broken message."""

from __future__ import annotations

import importlib.util
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_pixels import (
    PIXEL_BYTES,
    PLANES,
    YUV_POSITIONS,
    decode,
    demosaic,
    numbers,
    stretched,
)

pytest.importorskip("sensor_msgs", reason="ROS 2 is not installed")

from sensor_msgs.msg import Image

from saane_ros.data.bags.reader import message_types
from saane_ros.errors import SaaneError
from saane_ros.messages.cv_bridge import cv_bridge_encodings, cv_bridge_to_rgb
from saane_ros.messages.encodings import ENCODINGS
from saane_ros.messages.image import image_to_rgb


def message(encoding: str, height: int, width: int, padding: int = 0, big: bool = False, seed=0):
    step = width * PIXEL_BYTES[encoding] + padding
    rows = height * 3 // 2 if encoding in PLANES else height
    data = np.random.default_rng(seed).integers(0, 256, rows * step).astype(np.uint8)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=step,
        data=array("B", data.tobytes()),
    )


def test_every_known_encoding_has_a_naive_decoder():
    assert set(PIXEL_BYTES) == set(ENCODINGS)


@settings(deadline=None, max_examples=150)
@given(
    encoding=st.sampled_from([name for name in PIXEL_BYTES if not name.startswith("bayer")]),
    height=st.integers(1, 9),
    width=st.integers(1, 12),
    padding=st.integers(0, 7),
    big=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_pixels_are_those_of_the_naive_decoder(encoding, height, width, padding, big, seed):
    if encoding in YUV_POSITIONS or encoding in PLANES:
        width *= 2
    if encoding in PLANES:
        height *= 2
    given_message = message(encoding, height, width, padding, big, seed)
    rgb = image_to_rgb(given_message)
    naive = decode(encoding, given_message.data.tobytes(), height, width, given_message.step, big)
    # OpenCV computes YUV in integers, and 16 bits in floats of 32.
    tolerance = 2 if encoding in YUV_POSITIONS or encoding in PLANES else int("16" in encoding)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - naive).max() <= tolerance


@settings(deadline=None, max_examples=60)
@given(
    encoding=st.sampled_from([name for name in PIXEL_BYTES if name.startswith("bayer")]),
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    padding=st.integers(0, 5),
    big=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_bayer_is_interpolated_bilinearly(encoding, height, width, padding, big, seed):
    given_message = message(encoding, height, width, padding, big, seed)
    data = given_message.data.tobytes()
    mosaic = numbers(encoding, data, height, width, given_message.step, big)[..., 0]
    deep = encoding.endswith("16")
    expected = demosaic(encoding, stretched(mosaic, grey=False) if deep else mosaic)
    assert np.abs(image_to_rgb(given_message).astype(int) - expected).max() <= int(deep)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_red_scene_through_a_bayer_sensor_is_red(pattern):
    mosaic = np.zeros((8, 8), np.uint8)
    place = pattern.index("r")
    mosaic[place // 2 :: 2, place % 2 :: 2] = 200
    given_message = message(f"bayer_{pattern}8", 8, 8)
    given_message.data = mosaic.tobytes()
    assert (image_to_rgb(given_message) == (200, 0, 0)).all()


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_planes_whose_rows_are_all_counted_as_height_are_the_same_image(encoding):
    given_message = message(encoding, 6, 8, padding=3)
    expected = image_to_rgb(given_message)
    assert expected.shape == (6, 8, 3)
    given_message.height = 9
    np.testing.assert_array_equal(image_to_rgb(given_message), expected)


@settings(deadline=None, max_examples=60)
@given(
    encoding=st.sampled_from(sorted(PIXEL_BYTES)),
    height=st.integers(0, 2**32 - 1),
    width=st.integers(0, 2**32 - 1),
    step=st.integers(0, 2**32 - 1),
    size=st.integers(0, 64),
)
def test_absurd_sizes_are_refused_by_what_the_message_holds(encoding, height, width, step, size):
    given_message = SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=step,
        data=bytes(size),
    )
    if height * step != size and height * step * 3 != size * 2:
        with pytest.raises(SaaneError):
            image_to_rgb(given_message)


def test_messages_of_rclpy_and_of_rosbags_are_read_alike():
    ours = message("bgr8", 6, 5)
    fields = dict(vars(ours))
    of_rclpy = Image(**fields)
    types = message_types()
    header = types.types["std_msgs/msg/Header"](
        types.types["builtin_interfaces/msg/Time"](0, 0), ""
    )
    fields["data"] = np.frombuffer(ours.data, np.uint8)
    of_rosbags = types.types["sensor_msgs/msg/Image"](header=header, **fields)
    raw = types.serialize_cdr(of_rosbags, "sensor_msgs/msg/Image")
    read = types.deserialize_cdr(raw, "sensor_msgs/msg/Image")
    expected = decode("bgr8", ours.data.tobytes(), 6, 5, 15, False)
    for given_message in (of_rclpy, of_rosbags, read):
        np.testing.assert_array_equal(image_to_rgb(given_message), expected)


def test_the_result_is_the_callers_own():
    given_message = message("rgb8", 4, 4)
    before = given_message.data.tobytes()
    image_to_rgb(given_message)[:] = 7
    assert given_message.data.tobytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"encoding": ""}, "names no encoding: have the camera set one of rgb8, bgr8"),
        ({"encoding": "32FC1"}, "'32FC1' is not known: publish one of rgb8, bgr8"),
        ({"width": 0}, "0 x 4 pixels"),
        ({"height": 0, "data": b""}, "6 x 0 pixels"),
        ({"width": 2**31}, "2147483648 x 4 pixels, more than any camera takes"),
        ({"width": 2**31, "height": 2**31, "step": 0}, "more than any camera takes"),
        ({"encoding": "nv12", "height": 5}, "6 x 5 pixels, but in nv12 .* even height"),
        ({"encoding": "nv21"}, "but 6 rows of 18 bytes are 108.*cut short"),
        ({"step": 17}, "step is 17 bytes, but 6 pixels of rgb8 take 18"),
        ({"data": bytes(71)}, "holds 71 bytes, but 4 rows of 18 bytes are 72.*cut short"),
        ({"data": bytes(73)}, "holds 73 bytes.*too long"),
        ({"encoding": "yuv422", "width": 5}, "even width"),
        ({"encoding": "bayer_rggb8", "width": 2}, "too small for bayer_rggb8.*3 x 3"),
    ],
)
def test_a_broken_message_is_told_in_one_sentence(change, told):
    given_message = message("rgb8", 4, 6)
    vars(given_message).update(change)
    with pytest.raises(SaaneError, match=told):
        image_to_rgb(given_message)


def test_without_cv_bridge_none_of_its_encodings_are_used():
    if importlib.util.find_spec("cv_bridge") is not None:
        pytest.skip("cv_bridge is installed here")
    assert cv_bridge_encodings() == frozenset()


@pytest.mark.skipif(
    importlib.util.find_spec("cv_bridge") is None, reason="cv_bridge is not installed"
)
@settings(deadline=None, max_examples=100)
@given(data=st.data(), height=st.integers(3, 40), width=st.integers(2, 20))
def test_cv_bridge_gives_the_same_bytes(data, height, width):
    working = sorted(cv_bridge_encodings())
    if not working:
        pytest.skip("the installed cv_bridge does not work with this NumPy or OpenCV")
    encoding = data.draw(st.sampled_from(working))
    given_message = message(encoding, height, 2 * width, seed=data.draw(st.integers(0, 1000)))
    values = np.frombuffer(given_message.data, np.uint8)
    known = ENCODINGS[encoding]
    shape = (height, 2 * width) if known.channels == 1 else (height, 2 * width, known.channels)
    np.testing.assert_array_equal(
        cv_bridge_to_rgb(given_message), known.to_rgb(values.reshape(shape))
    )


@pytest.mark.parametrize(
    "body",
    [
        "raise ImportError('built for another NumPy')",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "class CvBridge:\n    def imgmsg_to_cv2(self, *_):\n        raise AttributeError('C API')",
        "import numpy as np\nclass CvBridge:\n    def imgmsg_to_cv2(self, m, _):\n"
        "        return np.zeros((m.height, m.width, 3), np.uint8)",
    ],
    ids=["import error", "crash", "exception", "wrong bytes"],
)
def test_a_cv_bridge_that_does_not_work_is_left_alone(tmp_path, monkeypatch, body):
    (tmp_path / "cv_bridge.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    cv_bridge_encodings.cache_clear()
    try:
        assert cv_bridge_encodings() == frozenset()
        given_message = message("bgr8", 3, 3)
        expected = decode("bgr8", given_message.data.tobytes(), 3, 3, 9, False)
        np.testing.assert_array_equal(image_to_rgb(given_message), expected)
    finally:
        cv_bridge_encodings.cache_clear()


def test_a_working_cv_bridge_converts_what_it_agrees_on(tmp_path, monkeypatch):
    (tmp_path / "cv_bridge.py").write_text(
        "import numpy as np\n"
        "class CvBridge:\n"
        "    def imgmsg_to_cv2(self, m, wanted):\n"
        "        pixels = np.frombuffer(m.data, np.uint8).reshape(m.height, m.width, -1)\n"
        "        return pixels[..., ::-1].copy()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    cv_bridge_encodings.cache_clear()
    try:
        assert cv_bridge_encodings() == {"bgr8", "8UC3"}
        given_message = message("bgr8", 5, 7)
        expected = decode("bgr8", given_message.data.tobytes(), 5, 7, 21, False)
        np.testing.assert_array_equal(image_to_rgb(given_message), expected)
    finally:
        cv_bridge_encodings.cache_clear()
