"""Building a route map from frames, in a way that survives interruption."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from saane_ros.data.frame_check import image_fault, pose_fault
from saane_ros.data.poses.plausibility import Order, StampGate
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import LocalFeatures
from saane_ros.metric.store import Points
from saane_ros.metric.triangulation import View, drive_points
from saane_ros.progress import progress
from saane_ros.route_map.build_report import BuildReport
from saane_ros.route_map.cohort import cohort_of, projection_of
from saane_ros.route_map.existing import REPLACE, base_of
from saane_ros.route_map.feature_grids import GRIDS
from saane_ros.route_map.info import MapInfo, Origin
from saane_ros.route_map.journal import Journal, JournalHead, JournalRow
from saane_ros.route_map.postprocessing import NONE
from saane_ros.route_map.snapshot import Snapshot
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import check_target
from saane_ros.types import Frame, Place, Pose, Rgb

THUMBNAIL_SIZE = 240
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True)
class _Entry:
    """A frame that becomes a place, once its pixels are embedded."""

    name: str
    stamp_ns: int
    pose: Pose | None
    key: str


class RouteMapBuilder:
    """Embeds frames, journals them beside the map, and writes the map.

    path: folder of the map to be.  origin: latitude, longitude, altitude of the poses' zero, grid:
    how their frame lies there (`MapInfo`).  body, camera: what the poses are of and the camera on
    it, as in `MapInfo`; may be set until the map is written.
    source: names what the frames come from; an interrupted build of the same source by the same
    embedder is continued.  live: the frames of an interrupted build are not shown again (a camera
    rather than a recording), so they are places of this build from the start.
    postprocessing: of the stored descriptors, one of `postprocessing.CHOICES`, fitted to all places
    whenever the map is written.  existing: what to do with a finished map of that name, one of
    `existing.EXISTING`; `base` is the map that is extended.
    rerank: `MapInfo.rerank`.
    features: what finds keypoints of a map that is to have points; it has if also its camera's
    `intrinsics` are told, which may be set until the map is written, and a pose of the camera.

    `save` may be called on another thread than `add`, which goes on while the map is written.
    """

    def __init__(
        self,
        embedder: Embedder,
        path: str | Path,
        *,
        frame_id: str = "map",
        origin: Origin | None = None,
        grid: str = PLANE,
        batch: int = 8,
        source: str = "",
        dtype: str = "float32",
        live: bool = False,
        postprocessing: str = NONE,
        body: str = "",
        camera: Pose | None = None,
        existing: str = REPLACE,
        features: LocalFeatures | None = None,
        intrinsics: Camera | None = None,
        rerank: str = GRIDS,
    ) -> None:
        self.path = Path(path)
        self.report = BuildReport()
        self.body, self.camera, self.intrinsics = body, camera, intrinsics
        self._features = features
        self._shapes: set[tuple[int, int]] = set()
        check_target(self.path)
        self._embedder = embedder
        self._frame_id = frame_id
        self._grid = grid
        self._batch = batch
        self._dtype = dtype
        self._kind = postprocessing
        self._cohort, self._rerank = cohort_of(embedder), rerank
        if rerank != GRIDS:
            projection_of(embedder, self._cohort)
        head = JournalHead(
            embedder.fingerprint,
            embedder.descriptor_size,
            source,
            self._cohort.grid_shape,
            "" if features is None else features.name,
        )
        self._journal = Journal(self.path, head)
        self._origin = origin or self._journal.origin()
        self._before = len(self._journal.rows)
        self._entries: list[_Entry] = []
        self._waiting: list[tuple[_Entry, Rgb]] = []
        self._adding = threading.RLock()
        self._saved = 0
        self._stamps = StampGate()
        self._mapped = range(0)
        try:
            self.base = base_of(existing, self.path, self._journal, self._info())
        except BaseException:
            if not self._before:
                self._journal.remove()
            self.close()
            raise
        if live:
            self._take_over()

    @property
    def unsaved(self) -> int:
        """Places that came after the last `save`, or are of an interrupted build."""
        return len(self) - self._saved

    @property
    def origin(self) -> Origin | None:
        """Where the poses' zero lies; may be set once the first fix of a live build tells it."""
        return self._origin

    @origin.setter
    def origin(self, origin: Origin) -> None:
        self._journal.remember_origin(origin)
        self._origin = origin

    def __len__(self) -> int:
        """Places so far, those still waiting for a full batch included."""
        return len(self._entries) + len(self._waiting)

    def add(self, frames: Iterable[Frame]) -> None:
        """Take frames in route order; faulty ones are skipped and reported.

        Up to `batch` - 1 frames wait for the next `add` or `save` before they are embedded.
        """
        for frame in frames:
            fault = image_fault(frame.image) or pose_fault(frame.pose) or self._stamp_fault(frame)
            if fault is not None:
                self._skip(frame.name, frame.stamp_ns, fault)
                continue
            entry = _Entry(frame.name, frame.stamp_ns, frame.pose, _key(frame.image))
            with self._adding:
                self._waiting.append((entry, frame.image))
                self._shapes.add((frame.image.shape[0], frame.image.shape[1]))
                if len(self._waiting) >= self._batch:
                    self._flush()

    def save(self) -> RouteMap:
        """Write the map as it stands and go on building."""
        with self._adding:
            snapshot = self._snapshot()
        route_map = snapshot.write()
        self._saved = len(snapshot.places)
        return route_map

    def finish(self) -> RouteMap:
        """Write the map, check it by opening it, and forget the journal."""
        route_map = self.save()
        self.discard()
        return route_map

    def discard(self) -> None:
        """Stop and forget the journal; what was saved stays."""
        self._journal.remove()
        self.close()

    def close(self) -> None:
        """Stop without a map; what was embedded stays for the next build of this source."""
        self._journal.close()

    def _snapshot(self) -> Snapshot:
        self._flush()
        if not self._entries:
            why = f" ({self.report.summary()})" if self.report.skipped else ""
            raise SaaneError(
                f"There is no usable frame for {self.path}{why}: check the image source."
            )
        rows = [self._row_of(entry.key) for entry in self._entries]
        poses = [entry.pose for entry in self._entries]
        return Snapshot(
            self.path,
            self._info(),
            [Place(n, e.name, e.stamp_ns, e.pose) for n, e in enumerate(self._entries)],
            self._journal.descriptors(),
            self._journal.grids(),
            rows,
            [self._journal.thumbnail(row) for row in rows],
            self._cohort,
            None if self.base is None else self.base.path,
            None if self._features is None else lambda: self._points(poses, rows),
        )

    def _points(
        self, poses: Sequence[Pose | None], rows: Sequence[int]
    ) -> tuple[Points | None, Sequence[Pose | None]]:
        """The points of places and the poses by which they are seen.

        None, and the report says why, where there are no points; the poses then stay.
        """
        self.report.no_points = self.report.moved = ""
        try:
            views = [
                View(pose, self._journal.keypoints(row))
                for pose, row in zip(poses, rows, strict=True)
            ]
            assert self._features is not None, "asked for only with features"
            points, adjusted = drive_points(
                views, self.intrinsics, self._shapes, self.camera, self._features
            )
        except SaaneError as error:
            self.report.no_points = str(error)
            return None, poses
        if points.moved != (0.0, 0.0):
            self.report.moved = f"The map's poses were {points.adjustment} by its images."
        return points, adjusted

    def _stamp_fault(self, frame: Frame) -> str | None:
        """Why a stamp is wrong; one far from that before is not: the clock may be set anew."""
        if frame.stamp_ns in self._mapped:
            return "the interrupted build has its time"
        order = self._stamps.arrive(frame.stamp_ns)
        if order is Order.REPEATED:
            return "its stamp is that of the frame before"
        return "its stamp is older than that of the frame before" if order is Order.OLDER else None

    def _skip(self, name: str, stamp_ns: int, reason: str) -> None:
        self.report.skipped.append((name or f"frame at {stamp_ns} ns", reason))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        unknown = {e.key: (e, image) for e, image in waiting if self._journal.find(e.key) is None}
        bad = self._embed(list(unknown.values())) if unknown else set()
        for entry, _ in waiting:
            if entry.key in bad:
                self._skip(entry.name, entry.stamp_ns, "its descriptor is not finite")
                continue
            self._entries.append(entry)
            if self._row_of(entry.key) < self._before:
                self.report.continued += 1
            else:
                self.report.embedded += 1

    def _embed(self, batch: list[tuple[_Entry, Rgb]]) -> set[str]:
        """Embed and journal; the keys whose descriptors are not finite come back."""
        projection = self._cohort.projection
        images = [image for _, image in batch]
        embeddings = self._embedder.embed(images, grid=projection is not None)
        descriptors = np.stack([embedding.descriptor for embedding in embeddings])
        good = np.flatnonzero(np.isfinite(descriptors).all(axis=1))
        kept = [batch[i] for i in good]
        rows = [JournalRow(e.key, e.name, e.stamp_ns, e.pose) for e, _ in kept]
        grids = [
            projection.compact(grid)
            for grid in (embeddings[i].grid for i in good)
            if projection is not None and grid is not None
        ]
        thumbnails = [thumbnail_jpeg(image) for _, image in kept]
        keypoints = [] if self._features is None else [self._features.extract(i) for _, i in kept]
        self._journal.append(rows, descriptors[good], grids, thumbnails, keypoints)
        return {entry.key for entry, _ in batch} - {entry.key for entry, _ in kept}

    def _row_of(self, key: str) -> int:
        row = self._journal.find(key)
        assert row is not None, "every entry was journaled before it became one"
        return row

    def _take_over(self) -> None:
        for row in self._journal.rows:
            self._entries.append(_Entry(row.name, row.stamp_ns, row.pose, row.key))
            self._stamps.arrive(row.stamp_ns)
        stamps = [entry.stamp_ns for entry in self._entries]
        self._mapped = range(min(stamps), max(stamps) + 1) if stamps else range(0)
        self.report.continued = len(self._entries)

    def _info(self) -> MapInfo:
        return MapInfo(
            name=self.path.name.removesuffix(".routemap"),
            fingerprint=self._embedder.fingerprint,
            model=self._embedder.name,
            frame_id=self._frame_id,
            origin=self._origin,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            count=len(self._entries),
            descriptor_size=self._embedder.descriptor_size,
            dtype=self._dtype,
            grid=self._grid,
            postprocessing=self._kind,
            body=self.body,
            camera=self.camera,
            rerank=self._rerank,
        )


def build_map(
    frames: Iterable[Frame],
    embedder: Embedder,
    path: str | Path,
    *,
    frame_id: str = "map",
    origin: Origin | None = None,
    batch: int = 8,
    total: int | None = None,
    source: str = "",
    dtype: str = "float32",
    postprocessing: str = NONE,
    body: str = "",
    camera: Pose | None = None,
    features: LocalFeatures | None = None,
    intrinsics: Camera | None = None,
) -> RouteMap:
    """Build a map from frames, with a progress bar; skipped frames are logged by name.

    Raises SaaneError where no frame is usable. Interrupted, the old map stays as it was and the
    next build of the same `source` by the same embedder continues.
    """
    builder = RouteMapBuilder(
        embedder,
        path,
        frame_id=frame_id,
        origin=origin,
        batch=batch,
        source=source,
        dtype=dtype,
        postprocessing=postprocessing,
        body=body,
        camera=camera,
        features=features,
        intrinsics=intrinsics,
    )
    try:
        builder.add(progress(frames, "map", total=total, unit="frame"))
        route_map = builder.finish()
    except BaseException:
        builder.close()
        raise
    if builder.report.skipped or builder.report.no_points:
        logging.getLogger(__name__).warning(builder.report.summary())
    return route_map


def thumbnail_jpeg(image: Rgb) -> bytes:
    """A small JPEG of an RGB image."""
    scale = min(1.0, THUMBNAIL_SIZE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
    return bytes(encoded.tobytes())


def _key(image: Rgb) -> str:
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
