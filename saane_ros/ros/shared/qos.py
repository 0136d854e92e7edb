"""The QoS of every subscription and publisher, and what the image subscription follows."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_services_default,
)

RELIABLE = ReliabilityPolicy.RELIABLE
BEST_EFFORT = ReliabilityPolicy.BEST_EFFORT


def keep_last(
    depth: int, reliability: ReliabilityPolicy = RELIABLE, latched: bool = False
) -> QoSProfile:
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(
        depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=reliability, durability=durability
    )


# Camera images: the newest wins, and the reliability is what `image_reliability` finds.
IMAGE = keep_last(1)
# Small sensor messages: best effort is matched by every publisher.
SENSOR = keep_last(50, BEST_EFFORT)
# Results: few and small, none may be missing from a recording.
RESULT = keep_last(20)
# Pictures for a person: only the newest matters.
PICTURE = keep_last(1)
# Said once, heard by whoever comes later.
LATCHED = keep_last(1, latched=True)
SERVICE = qos_profile_services_default


def image_reliability(setting: str, offered: Sequence[ReliabilityPolicy]) -> ReliabilityPolicy:
    """Reliability to ask of the image publishers: `auto`, `reliable` or `best_effort`.

    `auto` is reliable where every publisher offers it, because best effort loses most large
    images with Fast DDS's defaults. With no publisher yet it is reliable too: that is what most
    will offer, and a stream that starts as it goes on loses no image to a second subscription.
    """
    if setting == "auto":
        return RELIABLE if all(policy == RELIABLE for policy in offered) else BEST_EFFORT
    return RELIABLE if setting == "reliable" else BEST_EFFORT


def reliability_name(policy: ReliabilityPolicy) -> str:
    return "reliable" if policy == RELIABLE else "best effort"
