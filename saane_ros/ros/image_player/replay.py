"""What a replay needs to know of a bag before it starts."""

from __future__ import annotations

from saane_ros.data.bags import BagReader
from saane_ros.data.bags.reader import COMPRESSED_IMAGE, IMAGE_TYPES
from saane_ros.errors import SaaneError


def image_topic_of(bag: str, wanted: str = "") -> str:
    """The image topic `wanted`, or by default the first compressed one, else the first raw one.

    Raises SaaneError where the bag is missing or has no such topic.
    """
    if not bag:
        raise SaaneError("Launch argument traverse is empty: give the bag, traverse:=<bag>.")
    with BagReader(bag) as reader:
        if wanted:
            reader.image_type(wanted)
            return wanted
        found = {
            n: t for n, t in sorted(reader.topics().items()) if t.type in IMAGE_TYPES and t.count
        }
    if not found:
        raise SaaneError(f"The bag {bag} has no image topic: see `saane bag info {bag}`.")
    compressed = (name for name, info in found.items() if info.type == COMPRESSED_IMAGE)
    return next(compressed, next(iter(found)))


def playing_rate(text: str) -> str:
    """The rate as `ros2 bag play` takes it, or empty; SaaneError where it is no number above 0."""
    try:
        usable = not text or 0 < float(text) < float("inf")
    except ValueError:
        usable = False
    if not usable:
        raise SaaneError(f"Launch argument rate is {text!r}: give a number above 0.")
    return text
