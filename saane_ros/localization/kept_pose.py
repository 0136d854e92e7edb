"""The last pose in a file, so that a robot that was switched off begins where it stood."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.route_map.info import MapInfo
from saane_ros.types import Match, Pose

EVERY_S = 3.0
"""Seconds between two writings."""
MOVED_MPS, TURNED_RPS = 0.1, 0.02
"""Standard deviations of position and yaw that a second adds: in 10 minutes 60 m and any heading,
as a robot may have been pushed or carried; in a day it may be anywhere."""
UNKNOWN_AGE_S = 24 * 3600.0
"""Age of a pose from the future: the clock was set since."""


class KeptPose:
    """Writes the poses of matches to a file, not more often than every few seconds.

    The time in it is the machine's: stamps of images may be simulated, and begin anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next_s = 0.0
        self._unwritten = ""

    def keep(self, match: Match, info: MapInfo) -> None:
        """Remember where a match is; one without a pose changes nothing. Raises OSError."""
        if match.pose is None or match.covariance is None:
            return
        values = {
            "map": info.name,
            "fingerprint": info.fingerprint,
            "frame_id": info.frame_id,
            "time": time.time(),
            "position": match.pose.position,
            "orientation": match.pose.orientation,
            "covariance": match.covariance,
        }
        self._unwritten = json.dumps(values, indent=1)
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + EVERY_S
            self.write()

    def write(self) -> None:
        """Write what was not yet. Raises OSError."""
        text, self._unwritten = self._unwritten, ""
        if text:
            with replacing_file(self._path) as part:
                part.write_text(text, encoding="utf-8")


def recalled(path: Path, fingerprint: str) -> PosePrior | None:
    """The pose in a file, less certain the older it is; None where there is no file.

    Raises SaaneError where the file holds no pose, or one by another model than `fingerprint`.
    """
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        x, y, z = _numbers(values["position"], 3)
        qx, qy, qz, qw = _numbers(values["orientation"], 4)
        covariance = np.array(_numbers(values["covariance"], 36)).reshape(6, 6)
        names = [str(values[key]) for key in ("map", "frame_id", "fingerprint")]
        age_s = time.time() - float(values["time"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SaaneError(f"{path} holds no pose of an earlier run: delete it.") from error
    if names[2] != fingerprint:
        raise SaaneError(f"The pose in {path} is of map {names[0]} of another model: delete it.")
    age_s = age_s if 0 <= age_s < UNKNOWN_AGE_S else UNKNOWN_AGE_S
    grown = [(MOVED_MPS * age_s) ** 2] * 3 + [(TURNED_RPS * age_s) ** 2] * 3
    covariance += np.diag(grown)
    flat = tuple(map(float, covariance.ravel()))
    return PosePrior(Pose((x, y, z), (qx, qy, qz, qw)), flat, names[1], names[0])


def _numbers(values: object, count: int) -> tuple[float, ...]:
    """So many finite numbers; ValueError or TypeError where it is anything else."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError
    numbers = tuple(float(value) for value in values)
    if not np.isfinite(numbers).all():
        raise ValueError
    return numbers
