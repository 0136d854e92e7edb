"""Images in a fixed order that are decoded one by one: files, video frames, or none at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from saane_ros.data.images.files import read_image
from saane_ros.errors import SaaneError
from saane_ros.types import Rgb


class ImageList(Protocol):
    """names: one per image.  key: changes when the list, a file or the decoding changes."""

    names: tuple[str, ...]

    @property
    def key(self) -> str: ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Rgb:
        """Decode one image; SaaneError where its file is unreadable."""
        ...


class ImageFiles:
    """Image files; `decode` turns one into RGB and `decoding` names it in the key."""

    def __init__(
        self,
        paths: Sequence[Path],
        names: Sequence[str] | None = None,
        decode: Callable[[Path], Rgb] = read_image,
        decoding: str = "",
    ) -> None:
        self.paths = tuple(paths)
        self.names = tuple(names) if names is not None else tuple(p.name for p in paths)
        self._decode, self._decoding = decode, decoding

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def key(self) -> str:
        """By path, size and modification time, so that no file has to be read."""
        return list_key(self.paths, [self._decoding])

    def read(self, index: int) -> Rgb:
        return self._decode(self.paths[index])


class VideoFrames:
    """Some frames of a video by frame number, rising; reading them in order decodes it once.

    in_order: so that those who read ahead do so in one thread.
    """

    in_order = True

    def __init__(self, video: Path, frames: Sequence[int]) -> None:
        self.video, self.frames = video, tuple(int(frame) for frame in frames)
        self.names = tuple(f"frame-{frame:06d}" for frame in self.frames)
        self._capture: cv2.VideoCapture | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def key(self) -> str:
        return list_key([self.video], [str(self.frames)])

    def read(self, index: int) -> Rgb:
        """Frames are counted by decoding: seeking by number is inexact with many codecs."""
        wanted = self.frames[index]
        if self._capture is None or wanted < self._next:
            self._capture, self._next = open_video(self.video), 0
        while self._next < wanted:
            if not self._capture.grab():
                raise self._cut_off(wanted)
            self._next += 1
        read, image = self._capture.read()
        self._next += 1
        if not read:
            raise self._cut_off(wanted)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def _cut_off(self, wanted: int) -> SaaneError:
        return SaaneError(
            f"The video {self.video} ends before frame {wanted}: download or copy it again."
        )


class NoImages:
    """Names alone, for recorded scores of images that are not there."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def key(self) -> str:
        return list_key([], self.names)

    def read(self, index: int) -> Rgb:
        raise SaaneError(
            f"Image {self.names[index]} is not there, only scores recorded for it: give recorded "
            "scores as --model, or a dataset with images."
        )


def open_video(path: Path) -> cv2.VideoCapture:
    """An opened video; SaaneError where it is missing or cannot be decoded."""
    capture = cv2.VideoCapture(str(path)) if path.is_file() else None
    if capture is None or not capture.isOpened():
        raise SaaneError(f"The video {path} is missing or cannot be decoded: copy it again.")
    return capture


def list_key(paths: Sequence[Path], parts: Sequence[str] = ()) -> str:
    """A digest over files (path, size, modification time) and texts."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        told = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n"
        digest.update(told.encode(errors="surrogateescape"))  # names of files may be no text
    for part in parts:
        digest.update(f"{part}\n".encode())
    return digest.hexdigest()
