"""What poses by a map's points cost: milliseconds a frame, bytes a place, seconds of building.

`python -m saane_ros.evaluation.metric_benchmark` prints it for a synthetic town, on one core, and
writes it to out/bench-metric.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from saane_ros.evaluation.metric import LOOKED_AT, Mapped, town_map, town_queries
from saane_ros.files import replacing_file
from saane_ros.metric.pnp import BUDGET_MS
from saane_ros.progress import progress
from saane_ros.types import Frame

SEED, REPEATED = 3000, 3


def frame_cost(built: Mapped, queries: list[Frame]) -> dict[str, float]:
    """Milliseconds of one image, each the best of a few tries, and the share that is refined.

    features: finding keypoints.  pose: matching and solving at `LOOKED_AT` places.
    """
    at = np.array([pose.position for pose in built.poses])
    features, poses = [], []
    for frame in progress(queries, "points of a frame", unit="image", delay_s=2.0):
        assert frame.pose is not None, "a town's queries have poses"
        near = np.argsort(np.linalg.norm(at - frame.pose.position, axis=1))[:LOOKED_AT].tolist()
        found = [built.refiner.refine(frame.image, built.camera, near) for _ in range(REPEATED)]
        told = [one.timings_ms for one in found if one is not None]
        if told:
            features.append(min(one["features"] for one in told))
            poses.append(min(one["pose"] for one in told))
    whole = np.add(features, poses)
    return {
        "refined": len(whole) / len(queries),
        "features_ms": float(np.median(features)),
        "pose_ms": float(np.median(poses)),
        "frame_ms": float(np.median(whole)),
        "frame_p95_ms": float(np.percentile(whole, 95)),
        "budget_ms": BUDGET_MS,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Measure poses by a map's points.")
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench-metric.json"), help="%(default)s"
    )
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    town, built = town_map(SEED)
    figures = {
        **frame_cost(built, town_queries(town, "day")),
        "bytes_a_place": built.points.place_bytes,
        "build_s_a_place": built.seconds / len(built.points),
    }
    for name, value in figures.items():
        print(f"  {name:16} {value:10.4g}")
    with replacing_file(options.out) as part:
        part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
