"""CompressedImage messages: formats, depths, cuts, sizes, and images made back into messages."""

from __future__ import annotations

import resource
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_pixels import demosaic, stretched
from picture_seeds import (
    BGR,
    DEEP,
    PICTURES,
    TRAILERS,
    claiming,
    encoded,
    turned_by_exif,
    with_segment,
)
from scenes import smooth_scene

pytest.importorskip("sensor_msgs", reason="ROS 2 is not installed")

from sensor_msgs.msg import CompressedImage, Image

from saane_ros.errors import SaaneError
from saane_ros.messages.compressed import compressed_to_rgb
from saane_ros.messages.encode import mono_to_image_fields, rgb_to_image_fields, rgb_to_jpeg_fields
from saane_ros.messages.encoded import halvings
from saane_ros.messages.image import image_to_rgb

SCENE = smooth_scene(3)
LOSSLESS = ("png", "lossless webp", "tiff", "bmp", "ppm")
DEEP_KINDS = ("deep png", "deep tiff", "deep pgm")


def compressed(data: bytes, format_: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=data)


@pytest.mark.parametrize(
    "format_",
    [
        "png",
        "PNG",
        "",
        "jpeg",
        "rgb8; png compressed bgr8",
        "bgr8; png compressed ",
        "rgb8; jpeg compressed rgb8",
        "bayer_rggb8; png compressed bgr8",
        "webp",
        "tiff",
        "16UC1; png compressed ",
    ],
)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_the_data_tells_the_kind_and_the_colours_whatever_the_format(kind, format_):
    rgb = compressed_to_rgb(compressed(PICTURES[kind], format_))
    np.testing.assert_array_equal(rgb, BGR[..., ::-1])


@pytest.mark.parametrize("format_", ["jpeg", "rgb8; jpeg compressed bgr8", "jpg", "webp"])
@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind.endswith(("jpeg", "webp"))])
def test_lossy_kinds_keep_their_colours(kind, format_):
    rgb = compressed_to_rgb(compressed(PICTURES[kind], format_)).astype(int)
    wanted = BGR[..., 1:2] if kind == "grey jpeg" else BGR[..., ::-1]
    assert np.abs(rgb - wanted).mean() < (6 if kind == "webp" else 3)


def test_grey_and_alpha_become_rgb():
    grey = SCENE[..., 0]
    rgb = compressed_to_rgb(compressed(encoded(grey, ".png")))
    np.testing.assert_array_equal(rgb, np.stack([grey] * 3, axis=2))
    with_alpha = np.dstack([SCENE[..., ::-1], grey])
    for suffix in (".png", ".tiff"):
        data = encoded(with_alpha, suffix)
        np.testing.assert_array_equal(compressed_to_rgb(compressed(data)), SCENE)


@pytest.mark.parametrize("kind", DEEP_KINDS)
@pytest.mark.parametrize("format_", ["mono16; png compressed ", "16UC1; png compressed", "tiff"])
def test_16_bits_are_stretched_as_those_of_an_image_message(kind, format_):
    rgb = compressed_to_rgb(compressed(PICTURES[kind], format_))
    raw = Image(height=40, width=56, step=112, encoding="mono16", data=DEEP.tobytes())
    np.testing.assert_array_equal(rgb, image_to_rgb(raw))
    assert np.abs(rgb[..., 1].astype(int) - stretched(DEEP, True)).max() <= 1


def test_16_bit_colours_are_stretched_from_0():
    deep = BGR.astype(np.uint16) << 4
    rgb = compressed_to_rgb(compressed(encoded(deep, ".png"), "rgb16; png compressed bgr16"))
    assert np.abs(rgb.astype(int) - stretched(deep[..., ::-1], False)).max() <= 1


@settings(deadline=None, max_examples=40)
@given(
    pattern=st.sampled_from(["rggb", "bggr", "gbrg", "grbg"]),
    ending=st.sampled_from(["8; png compressed ", "8;png compressed", "8; tiff compressed", "8"]),
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    seed=st.integers(0, 1000),
)
def test_a_compressed_bayer_pattern_is_interpolated(pattern, ending, height, width, seed):
    mosaic = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    rgb = compressed_to_rgb(compressed(encoded(mosaic, ".png"), f"bayer_{pattern}{ending}"))
    np.testing.assert_array_equal(rgb, demosaic(f"bayer_{pattern}8", mosaic))


def test_a_bayer_pattern_of_16_bits_is_stretched_and_one_in_jpeg_keeps_its_colours():
    mosaic = np.random.default_rng(1).integers(0, 4096, (9, 8)).astype(np.uint16)
    rgb = compressed_to_rgb(compressed(encoded(mosaic, ".png"), "bayer_grbg16; png compressed "))
    expected = demosaic("bayer_grbg8", stretched(mosaic, False))
    assert np.abs(rgb.astype(int) - expected).max() <= 1
    red = np.zeros((16, 16), np.uint8)
    red[::2, ::2] = 200
    data = encoded(red, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100)
    rgb = compressed_to_rgb(compressed(data, "bayer_rggb8; jpeg compressed "))
    assert np.abs(rgb.astype(int) - (200, 0, 0)).max() <= 6


def test_exif_orientation_turns_nothing():
    data = encoded(SCENE[..., ::-1], ".jpg")
    turned = turned_by_exif(data)
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (160, 120, 3)
    np.testing.assert_array_equal(
        compressed_to_rgb(compressed(turned)), compressed_to_rgb(compressed(data))
    )


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from(sorted(PICTURES)), share=st.floats(0.01, 0.99), padded=st.booleans())
def test_cut_data_is_always_noticed(kind, share, padded):
    data = PICTURES[kind]
    cut = data[: max(1, int(share * len(data)))]
    # A disk that was full leaves zeros. Uncompressed kinds and checksums: these are just dark.
    if padded and kind.endswith("jpeg"):
        cut += bytes(len(data) - len(cut))
    with pytest.raises(SaaneError, match="is no whole image"):
        compressed_to_rgb(compressed(cut))


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind.endswith("jpeg")])
@pytest.mark.parametrize("behind", sorted(TRAILERS))
def test_what_lies_behind_does_not_hide_a_cut(kind, behind):
    cut = PICTURES[kind][: -len(encoded(BGR, ".jpg")) // 3]
    with pytest.raises(SaaneError, match="JPEG is cut short"):
        compressed_to_rgb(compressed(cut + TRAILERS[behind]))


def test_a_thumbnails_end_does_not_hide_a_cut():
    data = encoded(SCENE[..., ::-1], ".jpg")
    whole = with_segment(data, 0xE1, b"Exif\0\0" + encoded(SCENE[::8, ::8, ::-1], ".jpg"))
    assert compressed_to_rgb(compressed(whole)).shape == SCENE.shape
    with pytest.raises(SaaneError, match="cut short"):
        compressed_to_rgb(compressed(whole[: len(whole) - len(data) // 3]))


@pytest.mark.parametrize("kind", sorted(PICTURES))
@pytest.mark.parametrize("behind", sorted(TRAILERS))
def test_bytes_after_the_end_are_harmless(kind, behind):
    data = PICTURES[kind]
    np.testing.assert_array_equal(
        compressed_to_rgb(compressed(data + TRAILERS[behind])), compressed_to_rgb(compressed(data))
    )


def test_a_changed_byte_of_a_png_is_noticed():
    data = bytearray(encoded(SCENE[..., ::-1], ".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(SaaneError, match="damaged"):
        compressed_to_rgb(compressed(bytes(data)))


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_an_absurd_size_is_refused_before_memory_is_taken(kind):
    # No header of WebP can claim more than 2^14 in its lossless kind.
    side = 16_000 if kind == "lossless webp" else 60_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SaaneError, match=f"claims {side} x {side} pixels, more than any camera"):
        compressed_to_rgb(compressed(claiming(kind, side, side)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((kind, size) for kind in PICTURES if "webp" not in kind for size in ((0, 40), (56, 0))),
        *((kind, (300, 300)) for kind in PICTURES if "jpeg" not in kind),
    ],
)
def test_a_size_that_the_data_does_not_fill_is_refused(kind, size):
    message = compressed(claiming(kind, *size))
    with pytest.raises(SaaneError, match=r"\(jpeg, .* is no whole image, as its"):
        compressed_to_rgb(message)


@pytest.mark.parametrize(
    ("data", "format_", "told"),
    [
        (b"\0" * 40, "16UC1; compressedDepth png", "a depth image: subscribe to a colour"),
        (b"\0" * 40, "32FC1; compressedDepth", "a depth image: subscribe to a colour"),
        (b"", "jpeg", r"\(jpeg, 0 bytes\) is no whole image, as it is empty"),
        (b"GIF89a..........", "gif", r"\(gif, 16 bytes\).* is none of JPEG, PNG, WebP, TIFF"),
        (b"\0\0\0\1\x67", "h264", r"\(h264, 5 bytes\).* is none of JPEG"),
        (encoded(SCENE.astype(np.float32), ".tiff"), "tiff", "holds float32 values"),
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


@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
)
def test_halving_is_even_and_leaves_two_pixels_for_one(
    shape: tuple[int, int], least: tuple[int, int]
) -> None:
    count = halvings(*shape, least)
    assert all(side % 2**count == 0 for side in shape)
    left = [side / 2**count / small for side, small in zip(shape, least, strict=True)]
    assert count == 0 or min(left) >= 2
    assert min(left) < 4 or any(side // 2**count % 2 for side in shape)


@pytest.mark.parametrize(("least", "factor"), [((30, 40), 4), ((60, 80), 2), ((90, 120), 1)])
def test_a_jpeg_is_halved_while_it_is_decoded(least: tuple[int, int], factor: int) -> None:
    scene = cv2.resize(SCENE, (320, 240), interpolation=cv2.INTER_LINEAR)
    data = encoded(scene, ".jpg", 1, 95)
    whole = compressed_to_rgb(compressed(data))
    small = compressed_to_rgb(compressed(data), least=least)
    assert small.shape == (240 // factor, 320 // factor, 3)
    means = whole.reshape(240 // factor, factor, 320 // factor, factor, 3).mean(axis=(1, 3))
    assert np.abs(small - means).mean() < 1
    assert np.abs(small - means).max() < 12
    resized_whole = cv2.resize(whole, least[::-1], interpolation=cv2.INTER_AREA).astype(float)
    resized_small = cv2.resize(small, least[::-1], interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(resized_whole - resized_small).mean() < 0.5


@pytest.mark.parametrize(
    ("kind", "format_"), [(".png", "png"), (".jpg", "bayer_rggb8; jpeg compressed ")]
)
def test_other_pictures_and_bayer_patterns_keep_their_size(kind: str, format_: str) -> None:
    scene = cv2.resize(SCENE, (320, 240), interpolation=cv2.INTER_LINEAR)
    data = encoded(scene, kind)
    found = compressed_to_rgb(compressed(data, format_), least=(30, 40))
    np.testing.assert_array_equal(found, compressed_to_rgb(compressed(data, format_)))
    assert found.shape == (240, 320, 3)
