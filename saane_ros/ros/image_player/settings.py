"""The parameters of the image player."""

from __future__ import annotations

from dataclasses import dataclass

from saane_ros.settings import check_all, setting


@dataclass(frozen=True)
class PlayerSettings:
    """What is played, when, and how. The node itself declares the lists `topics` and
    `wait_topics`."""

    source: str = setting(
        "", "Folder of images, or rosbag2 bag (folder, .mcap or .db3 file).", path=True
    )
    rate: float = setting(1.0, "Speed of a bag; 2 plays twice as fast.", low=0.01, high=100.0)
    frequency: float = setting(10.0, "Images a second of a folder.", low=0.01, high=1000.0)
    image_topic: str = setting("image", "Topic of the images of a folder.")
    compressed: bool = setting(
        False, "Publish a folder as CompressedImage: JPEG and PNG files as they are."
    )
    clock: bool = setting(False, "Publish the time of the source on /clock, 100 times a second.")
    restamp: bool = setting(
        False,
        "Shift all stamps of a bag so that the first is start_time_ns; a folder always is so.",
    )
    start_time_ns: int = setting(
        0,
        "Time (ns since 1970) of the first message, which is waited for; 0: at once.",
        low=0,
        high=2.0e18,
    )
    wait_for_subscribers: int = setting(
        0,
        "Subscribers that playing waits for, on every image topic or those of wait_topics.",
        low=0,
        high=1000,
    )
    loop: bool = setting(False, "Begin again at the end, until interrupted.")
    reliability: str = setting(
        "reliable", "QoS of the publishers.", choices=("reliable", "best_effort")
    )

    def __post_init__(self) -> None:
        check_all(self)
