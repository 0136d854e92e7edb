"""The QoS of every subscription and publisher, what of it a parameter file may override, and what
the image subscription follows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_services_default,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from saane_ros.errors import SaaneError

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
# Transforms, with the depth of tf2_ros; those that never change are latched.
TF = keep_last(100)
TF_STATIC = keep_last(100, latched=True)
SERVICE = qos_profile_services_default


_OVERRIDES = "qos_overrides."
_CHOICES: dict[QoSPolicyKind, tuple[str, ...]] = {
    QoSPolicyKind.HISTORY: ("keep_last", "keep_all"),
    QoSPolicyKind.DEPTH: (),
    QoSPolicyKind.RELIABILITY: ("reliable", "best_effort"),
    QoSPolicyKind.DURABILITY: ("volatile", "transient_local"),
}
# Topics of every node, which rclpy sets up itself.
_OF_RCLPY = ("/clock", "/parameter_events", "/rosout")


def overridable(node: Node, topic: str, profile: QoSProfile, entity: str) -> dict[str, Any]:
    """The QoS arguments of `create_publisher` and `create_subscription`, as parameters change it.

    entity: publisher or subscription. The parameters are ROS's own,
    `qos_overrides.<topic>.<entity>.<history, depth, reliability or durability>`, read once; only
    those given are declared. One that makes no sense is a SaaneError.
    """
    kinds = [kind for kind in _CHOICES if override(node, topic, entity, kind) is not None]
    return {
        "qos_profile": copy.copy(profile),  # rclpy writes what is overridden into it
        "qos_overriding_options": QoSOverridingOptions(kinds),
    }


def override(node: Node, topic: str, entity: str, kind: QoSPolicyKind) -> str | int | None:
    """What a parameter says of one policy, None where it is left alone; SaaneError as above."""
    name = f"{_OVERRIDES}{node.resolve_topic_name(topic)}.{entity}.{kind.name.lower()}"
    given = node._parameter_overrides.get(name)
    if given is None:
        return None
    value, choices = given.value, _CHOICES[kind]
    if choices and value not in choices:
        raise SaaneError(f"Parameter {name} is {value!r}: choose one of {', '.join(choices)}.")
    if not choices and (type(value) is not int or value < 1):
        raise SaaneError(f"Parameter {name} is {value!r}: give a number of messages from 1 on.")
    return value


def idle_overrides(node: Node) -> list[str]:
    """One sentence for every given `qos_overrides` that fits nothing that the node has now."""
    topics = {end.topic_name for end in node.publishers}
    topics |= {end.topic_name for end in node.subscriptions}
    return [
        f"Parameter {name} overrides nothing: name publisher or subscription, one of "
        f"{', '.join(kind.name.lower() for kind in _CHOICES)}, and one of the topics "
        f"{', '.join(sorted(topics.difference(_OF_RCLPY)))}."
        for name in sorted(node._parameter_overrides)
        if name.startswith(_OVERRIDES)
        and not node.has_parameter(name)
        and not name.startswith(tuple(f"{_OVERRIDES}{topic}." for topic in _OF_RCLPY))
    ]


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
