"""Drives, and places from elsewhere, read and embedded once, to be replayed in many ways."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.bags import BagReader
from saane_ros.data.bags.storage import holds_bag
from saane_ros.data.images.at_names import is_at_name, parse_at_name
from saane_ros.data.images.files import is_image
from saane_ros.data.images.folders import ImageFolder, natural_key
from saane_ros.data.poses.signed_way import SignedWay, forward_axis
from saane_ros.data.poses.track import PoseTrack
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.truth import OFF_MAP, Truth, Whereabouts
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.points import with_look
from saane_ros.progress import progress
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Embedding, Frame, Pose, Rgb

SPOTS = 20
"""Views at which a drive stops."""
PARKED_VIEWS = 10
AWAY_FRAMES = 200
"""Frames taken of a source from elsewhere, evenly from its folders."""
COPIES = 5
"""Images taken of one view, beside the first."""
SENSOR_NOISE = 3.0
"""Standard deviation between two images of one view, grey levels."""
BLANKS = ("black", "over-exposed", "no contrast")

View = Embedding | None
"""What a localizer makes of an image; None where it refuses it."""


@dataclass(frozen=True, eq=False)
class Step:
    """One image of a drive.

    travelled: metres along the heading since the start, backwards negative; None without odometry.
    """

    view: View
    stamp_ns: int
    travelled: float | None
    where: Whereabouts


@dataclass(frozen=True, eq=False)
class Drive:
    """An embedded drive.

    again: by index of a step, further images of the same view with sensor noise.
    blanks: by index of a step, what a covered, blinded or fogged lens shows there, as `BLANKS`.
    """

    steps: list[Step]
    again: dict[int, list[View]]
    blanks: dict[int, list[View]]

    @property
    def has_odometry(self) -> bool:
        """Whether every step has travelled somewhere."""
        return all(step.travelled is not None for step in self.steps)


@dataclass(frozen=True, eq=False)
class Away:
    """Images from elsewhere. parked: several images of each of some views."""

    name: str
    views: list[View]
    parked: list[list[View]]


class _Kept:
    """Keeps about `count` to twice as many frames, evenly, of a run of any length."""

    def __init__(self, count: int) -> None:
        self._count, self._every, self._frames = count, 1, dict[int, Frame]()

    def add(self, index: int, frame: Frame) -> None:
        if index % self._every == 0 and frame.image.size:
            self._frames[index] = frame
        if len(self._frames) > 2 * self._count:
            self._every *= 2
            self._frames = {i: one for i, one in self._frames.items() if i % self._every == 0}

    def chosen(self) -> dict[int, Frame]:
        """`count` of them or fewer."""
        indices = sorted(self._frames)
        picked = np.unique(np.linspace(0, len(indices) - 1, min(self._count, len(indices))).round())
        return {indices[int(at)]: self._frames[indices[int(at)]] for at in picked}


def embed_drive(
    localizer: Localizer, frames: Iterable[Frame], truth: Truth, total: int | None = None
) -> Drive:
    """Embed a drive with a progress bar; the images of frames are not kept.

    Raises SaaneError where there is no frame.
    """
    kept, steps = _Kept(SPOTS), []
    for index, frame in enumerate(progress(frames, "drive", total, "frame")):
        step = Step(_view(localizer, frame), frame.stamp_ns, frame.travelled, truth.of(frame))
        steps.append(step)
        kept.add(index, frame)
    if not any(step.view is not None for step in steps):
        raise SaaneError("The drive has no frame that can be matched: check its images.")
    chosen = kept.chosen()
    rng = np.random.default_rng(0)
    again, blanks = {}, {}
    for index, frame in progress(chosen.items(), "stops", len(chosen), "view"):
        same = [replace(frame, image=noisy(frame.image, rng)) for _ in range(COPIES)]
        none = [replace(frame, image=blank(frame.image, kind, rng)) for kind in BLANKS]
        again[index] = [_view(localizer, one) for one in same]
        blanks[index] = [_view(localizer, one) for one in none]
    return Drive(steps, again, blanks)


def embed_away(localizer: Localizer, name: str, frames: Iterable[Frame]) -> Away:
    """Embed images from elsewhere alike."""
    kept, views = _Kept(PARKED_VIEWS), []
    for index, frame in enumerate(progress(frames, name, unit="frame")):
        views.append(_view(localizer, frame))
        kept.add(index, frame)
    rng = np.random.default_rng(0)
    parked = [
        [
            views[index],
            *(
                _view(localizer, replace(frame, image=noisy(frame.image, rng)))
                for _ in range(COPIES)
            ),
        ]
        for index, frame in kept.chosen().items()
    ]
    return Away(name, views, parked)


def away_step(view: View) -> Step:
    """A step off the map; its time is told where it is played."""
    return Step(view, 0, None, OFF_MAP)


def noisy(image: Rgb, rng: np.random.Generator) -> Rgb:
    """The same view a moment later."""
    return _levels(image + rng.normal(0.0, SENSOR_NOISE, image.shape))


def blank(image: Rgb, kind: str, rng: np.random.Generator) -> Rgb:
    """What a lens that shows nothing makes of a view; `kind` is one of `BLANKS`."""
    noise = rng.normal(0.0, SENSOR_NOISE, image.shape)
    if kind == "black":
        return _levels(0.3 * noise)
    if kind == "over-exposed":
        return _levels(3.0 * image.astype(np.float64) + 120.0 + noise)
    return _levels(128.0 + 0.03 * (image.astype(np.float64) - 128.0) + noise)


def _levels(values: NDArray[np.float64]) -> Rgb:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _view(localizer: Localizer, frame: Frame) -> View:
    """Poses are for the truth alone."""
    shown = Frame(frame.image, 0, camera=frame.camera)
    try:
        return with_look(localizer.embed(shown), localizer.look(shown))
    except SaaneError:
        return None


def signed_travelled(
    positions: NDArray[np.float64], orientations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Metres driven along the heading (n,), backwards negative, from the first of n poses.

    As a node counts them.  positions: (n, 3).  orientations: quaternions xyzw (n, 4), x of the
    body forward.
    """
    way, metres = SignedWay(), []
    for (x, y, z), turn in zip(positions.tolist(), orientations.tolist(), strict=True):
        way.add((x, y, z), forward_axis(turn))
        metres.append(way.metres)
    return np.array(metres)


def with_travelled(frames: Sequence[Frame]) -> list[Frame]:
    """Frames with the distance that their poses tell, where all have a finite one."""
    poses = [frame.pose for frame in frames if frame.pose is not None]
    if len(poses) < len(frames) or not poses:
        return [replace(frame, travelled=None) for frame in frames]
    positions = np.array([pose.position for pose in poses], np.float64)
    metres = signed_travelled(positions, np.array([pose.orientation for pose in poses]))
    if not np.isfinite(metres).all():
        return [replace(frame, travelled=None) for frame in frames]
    return [replace(one, travelled=float(m)) for one, m in zip(frames, metres, strict=True)]


class DriveFolder:
    """A folder of images as a drive; poses in the frame of the map.

    poses: a pose file; by default one inside the folder, else what '@' names tell, as far as those
    of the map do too.
    told: the frames without images.
    """

    def __init__(self, folder: Path, route_map: RouteMap, poses: Path | None = None) -> None:
        self._images = ImageFolder(folder, poses, route_map.info.origin)
        empty = np.empty((0, 0, 3), np.uint8)
        told = [
            Frame(empty, entry.stamp_ns, entry.path.name, entry.pose)
            for entry in self._images.entries
        ]
        self.told = with_travelled(told)
        if self._images.pose_file is None and told[0].pose is not None:
            shift = _at_shift(self._images, route_map)
            self.told = [replace(one, pose=_shifted(one.pose, shift)) for one in self.told]

    @property
    def posed(self) -> bool:
        """Whether a pose is known in the frame of the map."""
        return any(frame.pose is not None for frame in self.told)

    def frames(self) -> Iterator[Frame]:
        """The frames, decoded one by one."""
        for frame, shown in zip(self.told, self._images.frames(), strict=True):
            yield replace(frame, image=shown.image)


def _at_shift(images: ImageFolder, route_map: RouteMap) -> tuple[float, float] | None:
    """From metres since the drive's first '@' name to metres of a map made of such names."""
    first, place = images.entries[0], route_map.places[0]
    if first.pose is None or place.pose is None or not is_at_name(Path(place.name).name):
        return None
    here, there = parse_at_name(first.path.name), parse_at_name(Path(place.name).name)
    x, y = place.pose.position[:2]
    return (
        here.easting - first.pose.position[0] - (there.easting - x),
        here.northing - first.pose.position[1] - (there.northing - y),
    )


def _shifted(pose: Pose | None, shift: tuple[float, float] | None) -> Pose | None:
    if pose is None or shift is None:
        return None
    x, y, z = pose.position
    return replace(pose, position=(x + shift[0], y + shift[1], z))


def bag_frames(
    bag: BagReader,
    image_topic: str,
    odometry_topic: str | None = None,
    pose_track: PoseTrack | None = None,
) -> Iterator[Frame]:
    """The frames of a bag, with poses of a track in the frame of the map.

    Distances are those of the odometry topic, or of the poses where there is none.
    """
    track = bag.pose_track(odometry_topic) if odometry_topic else pose_track
    metres = None if track is None else signed_travelled(track.positions, track.orientations)
    for frame in bag.frames(image_topic):
        travelled = None
        if track is not None and metres is not None and track.at(frame.stamp_ns) is not None:
            travelled = float(np.interp(frame.stamp_ns, track.stamps_ns, metres))
        found = None if pose_track is None else pose_track.at(frame.stamp_ns)
        yield replace(frame, pose=None if found is None else found[0], travelled=travelled)


def away_frames(source: Path, image_topic: str | None = None) -> Iterator[Frame]:
    """Images from elsewhere: of a bag, or of a folder and the folders in it, a run of each."""
    if not source.exists():
        raise SaaneError(f"There is no folder or bag {source}: name images from elsewhere.")
    if source.is_file() or holds_bag(source):
        if not image_topic:
            raise SaaneError(f"{source} is a bag: name the topic of its images by --image-topic.")
        with BagReader(source) as bag:
            yield from itertools.islice(bag.frames(image_topic), AWAY_FRAMES)
        return
    folders = sorted(
        {path.parent for path in source.rglob("*") if is_image(path)},
        key=lambda path: natural_key(str(path)),
    )
    if not folders:
        raise SaaneError(f"The folder {source} holds no images: name one that does.")
    each = -(-AWAY_FRAMES // len(folders))
    for folder in folders:
        yield from itertools.islice(ImageFolder(folder).frames(), each)
