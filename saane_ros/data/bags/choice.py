"""Which topics of a bag to take where nobody names them."""

from __future__ import annotations

from saane_ros.data.bags.poses import FIX, ODOMETRY_TYPE
from saane_ros.data.bags.reader import COMPRESSED_IMAGE, IMAGE_TYPES, BagReader
from saane_ros.errors import SaaneError

_TRUTH = "ground_truth"
_POSES = {
    "odometry": ODOMETRY_TYPE,
    "fix": FIX,
    "pose": "geometry_msgs/msg/PoseStamped",
}


def choose_topics(bag: BagReader, image_topic: str = "") -> dict[str, str]:
    """Use to topic, for those uses that the bag has a topic with messages for.

    image: `image_topic`, else the first compressed one by name, else the first raw one.
    motion: odometry that is no ground truth, which would tell a replay what it is to find out.
    odometry, fix, pose: where a map's poses come from, ground truth before others.

    Raises SaaneError where the bag has no image topic, or not this one.
    """
    types = {n: t.type for n, t in sorted(bag.topics().items()) if t.readable and t.count}
    if image_topic:
        bag.image_type(image_topic)
    images = [name for name, type_ in types.items() if type_ in IMAGE_TYPES]
    if not images:
        raise SaaneError(f"The bag {bag.path} has no image topic: see `saane bag info {bag.path}`.")
    images.sort(key=lambda name: types[name] != COMPRESSED_IMAGE)
    chosen = {"image": image_topic or images[0]}
    for use, wanted in {"motion": ODOMETRY_TYPE, **_POSES}.items():
        names = [name for name, type_ in types.items() if type_ == wanted]
        if use == "motion":
            names = [name for name in names if _TRUTH not in name]
        names.sort(key=lambda name: _TRUTH not in name)
        if names:
            chosen[use] = names[0]
    return chosen
