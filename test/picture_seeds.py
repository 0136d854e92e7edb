"""Small pictures of every kind, made by OpenCV, and what cameras and drivers put around them."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from scenes import smooth_scene

BGR = np.ascontiguousarray(smooth_scene(3, 40, 56)[..., ::-1])
DEEP = smooth_scene(4, 40, 56)[..., 1].astype(np.uint16) << 4
TRAILERS = {
    "zeros": bytes(512),
    "0xff": b"\xff" * 300,
    "a video": b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8 + b"\xff\xda\0\x08\xff\xd8\xff\xe1",
    "a start of scan": b"\xff\xda\0\0",
    "another picture's beginning": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01" + bytes(7) + b"\xff\xda",
}
"""What stands behind the end of pictures as they come from the field."""


def encoded(image: np.ndarray, suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment right behind its start."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def turned_by_exif(jpeg: bytes) -> bytes:
    """A JPEG whose EXIF data asks for a quarter turn."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    return with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff)


PICTURES = {
    "jpeg": encoded(BGR, ".jpg"),
    "grey jpeg": encoded(BGR[..., 1], ".jpg"),
    "progressive jpeg": encoded(BGR, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpeg with restarts": encoded(BGR, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "jpeg with a thumbnail": with_segment(
        encoded(BGR, ".jpg"), 0xE1, b"Exif\0\0" + encoded(BGR[::4, ::4], ".jpg")
    ),
    "turned jpeg": turned_by_exif(encoded(BGR, ".jpg")),
    "png": encoded(BGR, ".png"),
    "deep png": encoded(DEEP, ".png"),
    "webp": encoded(BGR, ".webp", cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless webp": encoded(BGR, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "tiff": encoded(BGR, ".tiff"),
    "deep tiff": encoded(DEEP, ".tiff"),
    "bmp": encoded(BGR, ".bmp"),
    "ppm": encoded(BGR, ".ppm"),
    "deep pgm": encoded(DEEP, ".pgm"),
}


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small picture whose header claims another size; that of a WebP cannot claim 0."""
    data = bytearray(PICTURES[kind])
    if "jpeg" in kind:
        frame = max(data.rfind(b"\xff\xc0"), data.rfind(b"\xff\xc2"))  # not the thumbnail's
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif "png" in kind:
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif "lossless" in kind:
        data[21:25] = struct.pack("<I", max(0, width - 1) | max(0, height - 1) << 14)
    elif "webp" in kind:
        canvas = b"".join(max(0, side - 1).to_bytes(3, "little") for side in (width, height))
        data[12:12] = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    elif "tiff" in kind:
        (at,) = struct.unpack_from("<I", data, 4)
        for entry in range(at + 2, at + 2 + 12 * data[at], 12):
            tag = struct.unpack_from("<H", data, entry)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", data, entry + 2, 4, 1, (width, height)[tag - 256])
    elif kind == "bmp":
        data[18:26] = struct.pack("<ii", width, -height)
    else:
        first = data.split(b"\n")[0]
        data[:] = first + b"\n# a comment\n%d %d\n65535\n" % (width, height) + bytes(60)
    return bytes(data)
