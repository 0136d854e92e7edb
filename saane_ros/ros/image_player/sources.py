"""What the image player plays: serialized messages of a bag, or made of a folder's images."""

from __future__ import annotations

import queue
import threading
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from saane_ros.data.bags import BagReader, RawMessage, TopicInfo
from saane_ros.data.bags.storage import holds_bag
from saane_ros.data.images.files import is_image, read_image
from saane_ros.data.images.folders import image_files
from saane_ros.errors import SaaneError
from saane_ros.messages.encode import rgb_to_image_fields, rgb_to_jpeg_fields
from saane_ros.messages.image import ImageDecoder
from saane_ros.messages.stretch import To8Bit
from saane_ros.ros.image_player.settings import PlayerSettings
from saane_ros.ros.shared.clock import to_stamp

_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}
_FRAME_ID = "camera"


class Source(Protocol):
    """Messages in the order of their times, as often as they are asked for."""

    topics: dict[str, TopicInfo]

    @property
    def notes(self) -> list[str]:
        """What could not be read so far."""

    def messages(self) -> Iterator[RawMessage]:
        """Every message once; its data is CDR."""


def open_source(settings: PlayerSettings, topics: Sequence[str]) -> Source:
    """The folder or bag that the settings name; SaaneError where it is neither."""
    if not settings.source:
        raise SaaneError(
            "Parameter source is empty: give a folder of images or a bag, -p source:=<path>."
        )
    path = Path(settings.source).expanduser()
    if path.is_dir() and not holds_bag(path) and any(map(is_image, path.iterdir())):
        if topics:
            raise SaaneError(
                f"{path} is a folder of images, which has no topics to choose from: leave the "
                "parameter topics empty and name the topic with image_topic."
            )
        return FolderSource(path, settings)
    return BagSource(path, topics)


class FolderSource:
    """Images of a folder in natural order, the first at time 0, then at the set frequency."""

    def __init__(self, path: Path, settings: PlayerSettings) -> None:
        self._files = image_files(path)
        self._period_ns = 1e9 / settings.frequency
        self._topic = settings.image_topic
        self._compressed = settings.compressed
        self._type = "CompressedImage" if settings.compressed else "Image"
        self._bad: dict[str, None] = {}
        self.topics = {self._topic: TopicInfo(f"sensor_msgs/msg/{self._type}", len(self._files))}

    @property
    def notes(self) -> list[str]:
        return list(self._bad)

    def messages(self) -> Iterator[RawMessage]:
        decoder = ImageDecoder()
        for number, file in enumerate(self._files):
            stamp_ns = round(number * self._period_ns)
            try:
                message = self._message(file, decoder.to_8_bit(stamp_ns))
            except SaaneError as error:
                self._bad[f"{error} It was left out."] = None
                continue
            message.header.stamp = to_stamp(stamp_ns)
            message.header.frame_id = _FRAME_ID
            yield RawMessage(
                self._topic, self.topics[self._topic].type, stamp_ns, serialize_message(message)
            )

    def _message(self, file: Path, to_8_bit: To8Bit) -> Image | CompressedImage:
        image = read_image(file, to_8_bit)
        if not self._compressed:
            return Image(**rgb_to_image_fields(image))
        format_ = _FORMATS.get(file.suffix.lower())
        if format_ is None:
            return CompressedImage(**rgb_to_jpeg_fields(image))
        return CompressedImage(format=format_, data=array("B", file.read_bytes()))


class BagSource:
    """Messages of a bag as they were recorded."""

    def __init__(self, path: Path, topics: Sequence[str]) -> None:
        self._reader = BagReader(path)
        known = self._reader.topics()
        if not known:
            raise SaaneError(f"The bag {path} holds no topic: name another one.")
        self._names = tuple(topics) or tuple(known)
        for name in self._names:
            if name not in known:
                raise SaaneError(
                    f"Topic {name} is not in {path}: its topics are {', '.join(sorted(known))}."
                )
        self.topics = {name: known[name] for name in self._names}

    @property
    def notes(self) -> list[str]:
        return self._reader.notes

    def messages(self) -> Iterator[RawMessage]:
        return self._reader.messages([name for name in self._names if self.topics[name].count])


class ReadAhead:
    """Iterates over messages that a thread of its own reads, some ahead of their use.

    An exception of the reading is raised in the iterating thread, after what was read before.
    """

    def __init__(self, messages: Iterator[RawMessage], ahead: int = 16) -> None:
        self._queue: queue.Queue[RawMessage | BaseException | None] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(messages,), name="read ahead", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[RawMessage]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop reading; what is still waiting is dropped."""
        self._stopped.set()
        self._thread.join()

    def _read(self, messages: Iterator[RawMessage]) -> None:
        last: BaseException | None = None
        try:
            for message in messages:
                if not self._put(message):
                    return
        except Exception as error:
            last = error
        if last is not None:
            self._put(last)
        self._put(None)

    def _put(self, item: RawMessage | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
