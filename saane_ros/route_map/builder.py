"""Building a route map from frames, in a way that survives interruption."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import Keypoints, LocalFeatures
from saane_ros.metric.store import Points
from saane_ros.metric.triangulation import View, drive_points
from saane_ros.progress import progress
from saane_ros.route_map.build_report import BuildReport
from saane_ros.route_map.cohort import (
    cohort_of,
    embedder_of,
    named_rerank,
    projection_of,
)
from saane_ros.route_map.existing import REPLACE, base_of, rerank_there
from saane_ros.route_map.feature_grids import GRIDS, Compact
from saane_ros.route_map.frame_intake import FrameIntake, ReadyFrame
from saane_ros.route_map.info import MapInfo, Origin
from saane_ros.route_map.journal import Journal, JournalHead, JournalRow
from saane_ros.route_map.postprocessing import NONE
from saane_ros.route_map.snapshot import Snapshot
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import check_target
from saane_ros.types import Embedding, Frame, Place, Pose, Rgb


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
    rerank: `MapInfo.rerank`, or "own", which the model names; a map that is extended keeps its own.
    features: what finds keypoints of a map that is to have points; it has if also its camera's
    `intrinsics` are told, which may be set until the map is written, and a pose of the camera.

    While the network embeds a batch, other threads make the next one ready and journal the one
    before. `save` may be called on another thread than `add`, which goes on while the map is
    written.
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
        kept = rerank_there(existing, self.path, embedder.fingerprint)
        self._rerank = kept or named_rerank(embedder, rerank)
        self._embedder = embedder_of(embedder, self._rerank)
        self._frame_id = frame_id
        self._grid = grid
        self._batch = batch
        self._dtype = dtype
        self._kind = postprocessing
        self._cohort = cohort_of(embedder, self._rerank)
        if self._rerank != GRIDS:
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
        self._entries: list[JournalRow] = []
        self._waiting: list[ReadyFrame] = []
        self._writer = ThreadPoolExecutor(1, "journal")
        self._writing: tuple[list[JournalRow], Future[None]] | None = None
        self._adding = threading.RLock()
        self._saved = 0
        self._intake = FrameIntake(self._journal, self.report)
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
        writing = self._writing
        return len(self._entries) + len(self._waiting) + (len(writing[0]) if writing else 0)

    def add(self, frames: Iterable[Frame]) -> None:
        """Take frames in route order; faulty ones are skipped and reported.

        Up to `batch` - 1 frames wait for the next `add` or `save` before they are embedded; the
        others are on disk when it is over. Frames are asked for and made ready on other threads,
        at most two batches before their use.
        """
        with closing(self._intake.ready(frames, 2 * self._batch)) as ready:
            for one in ready:
                with self._adding:
                    self._waiting.append(one)
                    self._shapes.add((one.image.shape[0], one.image.shape[1]))
                    if len(self._waiting) >= self._batch:
                        self._flush()
        with self._adding:
            self._settle()

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
        self._writer.shutdown()
        self._journal.remove()
        self.close()

    def close(self) -> None:
        """Stop without a map; what was embedded stays for the next build of this source."""
        self._writer.shutdown()
        self._journal.close()

    def _snapshot(self) -> Snapshot:
        self._flush()
        self._settle()
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

    def _flush(self) -> None:
        """Embed what waits, and let it be journaled while the next batch is embedded."""
        waiting, self._waiting = self._waiting, []
        entries = [one.entry for one in waiting]
        coming = {entry.key for entry in self._writing[0]} if self._writing else set()
        unknown = {
            one.entry.key: one
            for one in waiting
            if self._journal.find(one.entry.key) is None and one.entry.key not in coming
        }
        batch = list(unknown.values())
        embeddings, grids, keypoints = self._embed([one.image for one in batch])
        self._settle()
        write = self._writer.submit(self._write, batch, embeddings, grids, keypoints)
        self._writing = entries, write

    def _embed(self, images: list[Rgb]) -> tuple[list[Embedding], list[Compact], list[Keypoints]]:
        """What is to be journaled of images; grids and keypoints where there are to be any."""
        projection = self._cohort.projection
        embeddings = self._embedder.embed(images, grid=projection is not None) if images else []
        found = [one.grid for one in embeddings if one.grid is not None]
        grids = [] if projection is None else [projection.compact(grid) for grid in found]
        if self._features is None:
            return embeddings, grids, []
        return embeddings, grids, [self._features.extract(image) for image in images]

    def _write(
        self,
        batch: list[ReadyFrame],
        embeddings: list[Embedding],
        grids: list[Compact],
        keypoints: list[Keypoints],
    ) -> None:
        """Journal a batch, on the writer's thread; descriptors that are not finite are left out."""
        good = [i for i, one in enumerate(embeddings) if np.isfinite(one.descriptor).all()]
        if not good:
            return
        self._journal.append(
            [batch[i].entry for i in good],
            np.stack([embeddings[i].descriptor for i in good]),
            [grids[i] for i in good] if grids else [],
            [batch[i].thumbnail for i in good],
            [keypoints[i] for i in good] if keypoints else [],
        )

    def _settle(self) -> None:
        """Wait for the batch that is being journaled; its entries are places then."""
        if self._writing is None:
            return
        (entries, written), self._writing = self._writing, None
        written.result()
        for entry in entries:
            row = self._journal.find(entry.key)
            if row is None:
                self.report.skip(entry.name, entry.stamp_ns, "its descriptor is not finite")
                continue
            self._entries.append(entry)
            if row < self._before:
                self.report.continued += 1
            else:
                self.report.embedded += 1

    def _row_of(self, key: str) -> int:
        row = self._journal.find(key)
        assert row is not None, "every entry was journaled before it became one"
        return row

    def _take_over(self) -> None:
        self._entries = list(self._journal.rows)
        self._intake.take_over(self._entries)
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
