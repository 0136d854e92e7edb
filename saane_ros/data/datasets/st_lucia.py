"""St Lucia (UQ, Multiple Times of Day): ten drives of one suburb, video and GPS.

Each session is a folder with `webcam_video.avi` and `fGPS.txt`: one line `latitude,longitude` a
video frame, the (southern) latitude without its sign, each fix repeated until the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.drives import Drive, RouteTolerance, drive_dataset
from saane_ros.data.datasets.truth import courses_deg
from saane_ros.data.images.lists import VideoFrames, open_video
from saane_ros.errors import SaaneError
from saane_ros.geodesy import to_utm
from saane_ros.reading import read_text

VIDEO, GPS = "webcam_video.avi", "fGPS.txt"
REFERENCE = "100909_0845"
QUERIES = (
    "100909_1000",
    "100909_1210",
    "100909_1410",
    "110909_1545",
    "180809_1545",
    "190809_0845",
    "190809_1410",
    "210809_1000",
    "210809_1210",
)
UTM_ZONE = 56


@dataclass(frozen=True)
class StLucia(RouteTolerance):
    """queries: sessions, each a dataset of its own; average and worst are reported of all.

    rate: frames per second.
    """

    reference: str = REFERENCE
    queries: tuple[str, ...] = QUERIES
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise SaaneError(f"Frames at a rate of {self.rate} 1/s: give a rate above 0.")


def read(where: Where, options: StLucia) -> list[Dataset]:
    """One dataset a query session."""
    reference = read_session(where, options.reference, options.rate)
    return [
        drive_dataset(
            f"{where.name}/{name}",
            read_session(where, name, options.rate),
            reference,
            options,
            f"session {name} searched in {options.reference}, {options.rate:g} frames/s, GPS "
            "interpolated between fixes",
            group=where.name,
        )
        for name in options.queries
    ]


def read_session(where: Where, session: str, rate: float) -> Drive:
    """The frames nearest to k / rate seconds, k = 0, 1, ..., that also have a GPS line."""
    video = where.file(session, VIDEO)
    track = interpolated(read_gps(where.file(session, GPS)))
    capture = open_video(video)
    per_second, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if per_second <= 0 or count <= 0:
        raise SaaneError(f"The video {video} names no frame rate: download or copy it again.")
    times = np.arange(int(np.ceil(count / per_second * rate)) + 1) / rate
    frames = np.unique(np.round(times * per_second).astype(int))
    frames = frames[frames < min(count, len(track))]
    positions = np.array([to_utm(lat, lon, UTM_ZONE)[:2] for lat, lon in track[frames].tolist()])
    return Drive(VideoFrames(video, frames.tolist()), positions, courses_deg(positions))


def read_gps(path: Path) -> NDArray[np.float64]:
    """Latitude (south negative) and longitude in degrees (n, 2), one row a video frame."""
    rows = []
    for number, line in enumerate(read_text(path, "The fixes").splitlines(), start=1):
        cells = line.replace(",", " ").split()
        if not cells:
            continue
        try:
            latitude, longitude = map(float, cells)
            if not (abs(latitude) <= 80 and abs(longitude) <= 180):
                raise ValueError
        except ValueError as error:
            raise SaaneError(
                f"{path} line {number} is not `latitude,longitude`: copy the file again."
            ) from error
        rows.append((-abs(latitude), longitude))
    if not rows:
        raise SaaneError(f"{path} is empty: copy the file again.")
    return np.array(rows)


def interpolated(fixes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fixes (n, 2) that repeat until the next one, made linear between the changes of value."""
    changed = np.append(True, np.any(np.diff(fixes, axis=0) != 0, axis=1))
    rows = np.flatnonzero(changed)
    frames = np.arange(len(fixes))
    return np.column_stack([np.interp(frames, rows, fixes[rows, axis]) for axis in (0, 1)])
