"""JPEG and PNG messages: formats, depths, cuts, and images made back into messages."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import smooth_scene
from sensor_msgs.msg import CompressedImage, Image

from saane_ros.errors import SaaneError
from saane_ros.messages.encode import mono_to_image_fields, rgb_to_image_fields, rgb_to_jpeg_fields
from saane_ros.messages.image import compressed_to_rgb, image_to_rgb

SCENE = smooth_scene(3)


def encoded(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def compressed(data: bytes, format_: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=data)


@pytest.mark.parametrize("format_", ["png", "rgb8; png compressed bgr8", "PNG", ""])
def test_png_is_lossless_whatever_its_format_is_called(format_):
    data = encoded(SCENE[..., ::-1], ".png")
    np.testing.assert_array_equal(compressed_to_rgb(compressed(data, format_)), SCENE)


@pytest.mark.parametrize("format_", ["jpeg", "rgb8; jpeg compressed bgr8", "jpg"])
def test_jpeg_keeps_its_colours(format_):
    rgb = compressed_to_rgb(compressed(encoded(SCENE[..., ::-1], ".jpg"), format_))
    assert np.abs(rgb.astype(int) - SCENE).mean() < 3


def test_grey_and_alpha_become_rgb():
    grey = SCENE[..., 0]
    rgb = compressed_to_rgb(compressed(encoded(grey, ".png")))
    np.testing.assert_array_equal(rgb, np.stack([grey] * 3, axis=2))
    with_alpha = np.dstack([SCENE[..., ::-1], grey])
    np.testing.assert_array_equal(compressed_to_rgb(compressed(encoded(with_alpha, ".png"))), SCENE)


def test_16_bit_png_is_scaled_like_mono16():
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    rgb = compressed_to_rgb(compressed(encoded(deep, ".png"), "mono16; png compressed "))
    np.testing.assert_array_equal(rgb[..., 1], np.round(deep / 257.0))


def test_exif_orientation_turns_nothing():
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    data = encoded(SCENE[..., ::-1], ".jpg")
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (160, 120, 3)
    np.testing.assert_array_equal(
        compressed_to_rgb(compressed(turned)), compressed_to_rgb(compressed(data))
    )


@settings(deadline=None, max_examples=60)
@given(suffix=st.sampled_from([".jpg", ".png"]), share=st.floats(0.01, 0.99))
def test_cut_data_is_always_noticed(suffix, share):
    data = encoded(SCENE[..., ::-1], suffix)
    with pytest.raises(SaaneError, match=r"cut short|cannot be decoded|neither JPEG nor PNG"):
        compressed_to_rgb(compressed(data[: max(1, int(share * len(data)))]))


def test_a_thumbnails_end_does_not_hide_a_cut():
    thumbnail = encoded(SCENE[::8, ::8, ::-1], ".jpg")
    data = encoded(SCENE[..., ::-1], ".jpg")
    body = b"Exif\0\0" + thumbnail
    whole = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert compressed_to_rgb(compressed(whole)).shape == SCENE.shape
    with pytest.raises(SaaneError, match="cut short"):
        compressed_to_rgb(compressed(whole[: len(whole) - len(data) // 3]))


def test_bytes_after_the_end_are_harmless():
    data = encoded(SCENE[..., ::-1], ".jpg")
    assert compressed_to_rgb(compressed(data + bytes(64))).shape == SCENE.shape


def test_a_changed_byte_of_a_png_is_noticed():
    data = bytearray(encoded(SCENE[..., ::-1], ".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(SaaneError, match="damaged"):
        compressed_to_rgb(compressed(bytes(data)))


@pytest.mark.parametrize(
    ("data", "format_", "told"),
    [
        (b"\0" * 40, "16UC1; compressedDepth png", "a depth image: subscribe to a colour"),
        (b"", "jpeg", "holds no data"),
        (b"GIF89a..........", "gif", "'gif' and is neither JPEG nor PNG"),
    ],
)
def test_other_data_is_refused_by_name(data, format_, told):
    with pytest.raises(SaaneError, match=told):
        compressed_to_rgb(compressed(data, format_))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 30), width=st.integers(1, 30), seed=st.integers(0, 99))
def test_image_fields_come_back_as_the_image(height, width, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    np.testing.assert_array_equal(image_to_rgb(Image(**rgb_to_image_fields(rgb))), rgb)
    mono = rgb[..., 1]
    back = image_to_rgb(Image(**mono_to_image_fields(mono)))
    np.testing.assert_array_equal(back, np.stack([mono] * 3, axis=2))


def test_jpeg_fields_fit_a_message():
    message = CompressedImage(**rgb_to_jpeg_fields(SCENE, quality=95))
    assert message.format == "rgb8; jpeg compressed bgr8"
    assert np.abs(compressed_to_rgb(message).astype(int) - SCENE).mean() < 2


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3, 1)])
def test_an_array_that_is_no_image_is_refused(shape):
    with pytest.raises(SaaneError, match="is no rgb8 image"):
        rgb_to_image_fields(np.zeros(shape, np.uint8))
