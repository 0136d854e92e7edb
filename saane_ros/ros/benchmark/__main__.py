"""What the localizer node costs beside the network, and what it does when frames come too fast.

`python -m saane_ros.ros.benchmark` prints both tables and writes them to out/bench.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from saane_ros.data.frame_check import image_fault
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.files import replacing_file
from saane_ros.messages.encode import rgb_to_image_fields
from saane_ros.messages.image import image_to_rgb
from saane_ros.progress import progress
from saane_ros.ros.benchmark.world import (
    HEIGHT,
    WIDTH,
    DriveEmbedder,
    large_map,
    run_camera,
    street,
)
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.ros.shared.fast_dds import profile_environment
from saane_ros.ros.shared.interface import OUTPUTS
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame

INFERENCE_S, RATE_HZ = 0.3, 16.0
TARGET_COST_MS, TARGET_AGE = 4.0, 1.5


def node_cost(route_map: RouteMap, frames: int) -> dict[str, dict[str, float]]:
    """Milliseconds (p50, p95) by step and in total, for 1280x960 rgb8 and 2,000 places at 7680-d.

    receive: from the bytes on the wire to a message.  convert: to an RGB array.  prepare: checked
    and resized to a network's input of 240x320.  search, filter: as `place_match` tells them.
    publish: every topic but the pictures, all of them subscribed.
    """
    node = _active_node(route_map, DriveEmbedder(noise=0.05))
    loaded = node.loaded
    assert loaded is not None
    listener = rclpy.create_node("listener")
    for key in ("place_match", "candidates", "pose", "markers"):
        topic = OUTPUTS[key]
        listener.create_subscription(
            topic.type, topic.name.replace("~", "/localizer"), lambda _: None, topic.qos
        )
    steps: dict[str, list[float]] = {
        name: []
        for name in ("receive", "convert", "prepare", "search", "filter", "publish", "total")
    }
    wire = [
        serialize_message(Image(header=Header(), **rgb_to_image_fields(street(seed))))
        for seed in range(8)
    ]
    preprocessing = Preprocessing(240, 320)
    for index in progress(range(frames + 10), "node cost", unit="frame"):
        began = time.perf_counter()
        message = deserialize_message(wire[index % len(wire)], Image)
        received = time.perf_counter()
        image = image_to_rgb(message)
        converted = time.perf_counter()
        image_fault(image)
        preprocessing.resized([image])
        prepared = time.perf_counter()
        frame = Frame(image, (index + 1) * 100_000_000)
        match = loaded.localizer.localize(frame).match
        localized = time.perf_counter()
        node.output.publish(frame, match, route_map, to_stamp(frame.stamp_ns), lambda: 0.0)
        published = time.perf_counter()
        if index >= 10:  # the first ones fill caches and connect topics
            times = (
                received - began,
                converted - received,
                prepared - converted,
                match.timings_ms["search"] / 1e3,
                match.timings_ms["filter"] / 1e3,
                published - localized,
                published - began - match.timings_ms["embed"] / 1e3,
            )
            for name, seconds in zip(steps, times, strict=True):
                steps[name].append(1e3 * seconds)
    listener.destroy_node()
    node.destroy_node()
    return {name: _quantiles(values) for name, values in steps.items()}


def overload(route_map: RouteMap, seconds: float) -> dict[str, float]:
    """A 16 Hz camera in another process into a model of 300 ms: ages, memory, and every frame.

    age_ratio is the age of the oldest image at the publication of its match over the inference
    time; rss_mb is the memory of this process after five seconds and at the end.
    """
    sent = round(RATE_HZ * seconds)
    processes = multiprocessing.get_context("spawn")
    ready, done = processes.Event(), processes.Event()
    camera = processes.Process(target=run_camera, args=(RATE_HZ, sent, ready, done), daemon=True)
    camera.start()
    node = _active_node(route_map, DriveEmbedder(INFERENCE_S, noise=0.05))
    listener = rclpy.create_node("listener")
    ages: list[float] = []
    listener.create_subscription(
        DiagnosticArray,
        "/localizer/place_match",
        lambda message: ages.append(_value(message, "image_age_ms")),
        OUTPUTS["place_match"].qos,
    )
    executors = [_spinning(node), _spinning(listener)]
    ready.set()
    memory = []
    for _ in progress(range(round(seconds)), "overload", unit="s"):
        time.sleep(1.0)
        memory.append(_resident_mb())
    while not done.wait(0.1):
        time.sleep(0.1)
    counters = node.counters
    while counters["processed"] + counters["dropped"] + counters["failed"] < counters["in"]:
        time.sleep(0.1)
    time.sleep(0.5)
    for executor in executors:
        executor.shutdown()
    camera.join()
    result = {
        "frames_sent": sent,
        **{f"frames_{w}": counters[w] for w in ("in", "processed", "dropped", "failed", "lost")},
        "matches_heard": len(ages),
        "age_max_ms": max(ages),
        **{f"age_{name}_ms": age for name, age in _quantiles(ages).items()},
        "age_ratio": max(ages) / (1e3 * INFERENCE_S),
        "rss_start_mb": memory[min(5, len(memory) - 1)],
        "rss_end_mb": memory[-1],
    }
    listener.destroy_node()
    node.destroy_node()
    return result


def _active_node(route_map: RouteMap, embedder: DriveEmbedder) -> LocalizerNode:
    overrides = {"map": str(route_map.path), "autostart": False}
    node = LocalizerNode(
        lambda settings: embedder,
        enable_rosout=False,
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )
    node.trigger_configure()
    node.trigger_activate()
    return node


def _spinning(node: Any) -> SingleThreadedExecutor:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    return executor


def _value(message: DiagnosticArray, key: str) -> float:
    return next(float(pair.value) for pair in message.status[0].values if pair.key == key)


def _quantiles(values: list[float]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _print(cost: dict[str, dict[str, float]], load: dict[str, float]) -> None:
    print(f"\nnode cost at {WIDTH}x{HEIGHT} rgb8, ms   p50     p95")
    for name, times in cost.items():
        print(f"  {name:30} {times['p50']:8.2f}{times['p95']:8.2f}")
    print(f"  {'target of the total, p95':38} {TARGET_COST_MS:7.2f}")
    print(f"\noverload: {RATE_HZ:g} Hz into a model of {1e3 * INFERENCE_S:g} ms")
    for name, value in load.items():
        print(f"  {name:30} {value:8.5g}")
    print(f"  {'target of age_ratio':30} {TARGET_AGE:8.5g}")


def main(arguments: list[str] | None = None) -> int:
    """Run both measurements."""
    parser = argparse.ArgumentParser(description="Measure the localizer node.")
    parser.add_argument("--frames", type=int, default=200, help="frames of the cost (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of overload (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"), help="%(default)s")
    options = parser.parse_args(arguments)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.update(profile_environment())
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        route_map = large_map(Path(folder))
        cost = node_cost(route_map, options.frames)
        load = overload(route_map, options.seconds)
    rclpy.shutdown()
    _print(cost, load)
    with replacing_file(options.out) as part:
        part.write_text(json.dumps({"node_cost_ms": cost, "overload": load}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
