from __future__ import annotations

from dataclasses import replace

import pytest
from rclpy.qos import ReliabilityPolicy

from saane_ros.ros.intake.stream_health import Offer, Stream, problem
from saane_ros.ros.shared.qos import BEST_EFFORT, RELIABLE, image_reliability

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
HEALTHY = Stream("/image", IMAGE, RELIABLE, [Offer("cam", IMAGE, RELIABLE)], silent_s=0.1)


@pytest.mark.parametrize(
    ("setting", "offered", "wanted"),
    [
        ("auto", [], RELIABLE),
        ("auto", [RELIABLE], RELIABLE),
        ("auto", [RELIABLE, RELIABLE], RELIABLE),
        ("auto", [RELIABLE, BEST_EFFORT], BEST_EFFORT),
        ("auto", [BEST_EFFORT], BEST_EFFORT),
        ("reliable", [BEST_EFFORT], RELIABLE),
        ("best_effort", [RELIABLE], BEST_EFFORT),
    ],
)
def test_reliability_follows_the_publishers(
    setting: str, offered: list[ReliabilityPolicy], wanted: ReliabilityPolicy
) -> None:
    assert image_reliability(setting, offered) == wanted


def test_a_healthy_stream_has_no_problem() -> None:
    assert problem(HEALTHY, 2.0) == ""


@pytest.mark.parametrize(
    ("change", "cause", "remedy"),
    [
        ({"offers": []}, "nobody publishes", "remap `image`"),
        (
            {"offers": [], "other_topics": ["/cam/image_raw"]},
            "nobody publishes",
            "images are on /cam/image_raw",
        ),
        ({}, "cam is connected but sends nothing", "check the camera"),
        (
            {"offers": [Offer("cam", COMPRESSED, RELIABLE)]},
            f"carries {COMPRESSED}",
            "image_transport to compressed",
        ),
        (
            {"offers": [Offer("cam", IMAGE, BEST_EFFORT)], "reliability": BEST_EFFORT},
            "lost as fragments",
            "config/fast_dds.xml",
        ),
        (
            {"offers": [Offer("cam", "std_msgs/msg/String", RELIABLE)]},
            "carries std_msgs/msg/String",
            "remap `image`",
        ),
    ],
)
def test_silence_is_explained(change: dict[str, object], cause: str, remedy: str) -> None:
    sentence = problem(replace(HEALTHY, silent_s=3.0, **change), 2.0)  # type: ignore[arg-type]
    assert sentence.startswith("No image on /image for over 2 s: ")
    assert cause in sentence
    assert remedy in sentence


def test_an_incompatible_publisher_is_told_before_the_silence() -> None:
    stream = replace(HEALTHY, offers=[Offer("cam", IMAGE, BEST_EFFORT)])
    sentence = problem(stream, 2.0)
    assert "cam offers it best effort and the node asks for reliable" in sentence
    assert "auto or best_effort" in sentence


def test_loss_is_explained_by_the_reliability() -> None:
    lossy = replace(HEALTHY, loss=0.3)
    assert "30% of the images" in problem(lossy, 2.0)
    best_effort = replace(lossy, reliability=BEST_EFFORT)
    assert "config/fast_dds.xml" in problem(best_effort, 2.0)
    assert problem(replace(HEALTHY, loss=0.04), 2.0) == ""
