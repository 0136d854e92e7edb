"""Why no images come, or not all of them: one sentence with the cause and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.qos import ReliabilityPolicy

from saane_ros.ros.shared.qos import BEST_EFFORT, RELIABLE, reliability_name

LOSSY = 0.05  # share of lost images from which on the topic is reported
PROFILE_HINT = (
    "start both sides with FASTDDS_DEFAULT_PROFILES_FILE set to config/fast_dds.xml of this "
    "package (a shared-memory segment that a whole image fits into)"
)


@dataclass(frozen=True)
class Offer:
    """One publisher of the image topic, as the graph shows it."""

    node: str
    type: str
    reliability: ReliabilityPolicy


@dataclass(frozen=True)
class Stream:
    """What is known of the image topic at one moment.

    silent_s: seconds since the last image, or since the subscription.
    overridden: whether a `qos_overrides` parameter has set the reliability.
    other_topics: topics that carry images of the wanted type.
    """

    topic: str
    type: str
    reliability: ReliabilityPolicy
    offers: Sequence[Offer]
    silent_s: float
    loss: float = 0.0
    overridden: bool = False
    other_topics: Sequence[str] = ()


def problem(stream: Stream, silent_after: float) -> str:
    """The sentence about a silent or lossy topic; empty where all is well."""
    if _refused(stream):
        mended = "take it out of qos_overrides, or set it to best_effort there"
        if not stream.overridden:
            mended = "set the parameter reliability to auto or best_effort"
        return (
            f"No image can come on {stream.topic}: {', '.join(o.node for o in stream.offers)} "
            f"offers it best effort and the node asks for reliable, so {mended}."
        )
    if stream.silent_s > silent_after:
        return f"No image on {stream.topic} for over {silent_after:g} s: {_silence(stream)}."
    if stream.loss > LOSSY:
        return (
            f"{stream.loss:.0%} of the images on {stream.topic} are lost on the way: "
            f"{_loss(stream)}."
        )
    return ""


def _refused(stream: Stream) -> bool:
    """Whether every publisher offers less than the subscription asks for."""
    policies = [offer.reliability for offer in stream.offers]
    return stream.reliability == RELIABLE and bool(policies) and set(policies) == {BEST_EFFORT}


def _silence(stream: Stream) -> str:
    offers = [offer for offer in stream.offers if offer.type == stream.type]
    if not stream.offers:
        return "nobody publishes it, so start the camera or remap `image`" + _others(stream)
    if not offers:
        return _wrong_type(stream)
    publishers = ", ".join(offer.node for offer in offers)
    if stream.reliability == BEST_EFFORT:
        return (
            f"{publishers} publishes it best effort and either sends nothing or every image is "
            f"lost as fragments, so check the camera, then {PROFILE_HINT}"
        )
    return f"{publishers} is connected but sends nothing, so check the camera or the bag"


def _wrong_type(stream: Stream) -> str:
    published = sorted({offer.type for offer in stream.offers})
    remedy = "remap `image` to a topic of that type" + _others(stream)
    if any("Image" in name for name in published):
        other = "compressed" if "Compressed" in published[0] else "raw"
        remedy = f"set the parameter image_transport to {other}"
    return f"it carries {', '.join(published)} and the node wants {stream.type}, so {remedy}"


def _others(stream: Stream) -> str:
    return f" (images are on {', '.join(stream.other_topics)})" if stream.other_topics else ""


def _loss(stream: Stream) -> str:
    if stream.reliability == BEST_EFFORT:
        return (
            "a best-effort image larger than the shared-memory segment falls to fragments, so let "
            f"the camera publish {reliability_name(RELIABLE)}, or {PROFILE_HINT}, or publish "
            "compressed images"
        )
    return (
        "the camera or the network skips images, or this machine is too busy to receive them, so "
        f"lower the rate or the size, or {PROFILE_HINT}"
    )
