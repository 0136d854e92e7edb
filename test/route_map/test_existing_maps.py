"""A new drive beside a finished map of its name: refused, added to it, or in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros import files
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose

DAY, EVENING, NIGHT = 0, 10_000, 20_000
"""Seeds of what is seen, and seconds at which a drive begins."""


def drive(season: int, metres: np.ndarray, aside: float = 0.0) -> list[Frame]:
    """Frames of a straight road to the north, one a second."""
    return [
        Frame(
            smooth_scene(season + round(m), 48, 64),
            (season + second + 1) * 10**9,
            f"{second:03d}",
            Pose((aside, float(m), 0.0)),
        )
        for second, m in enumerate(metres)
    ]


def builder(path: Path, frames: list[Frame], **options: Any) -> RouteMapBuilder:
    """A live build that has taken these frames."""
    built = RouteMapBuilder(ColourGridEmbedder(), path, batch=1, live=True, **options)
    built.add(frames)
    return built


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished map of 60 places."""
    folder = tmp_path / "road.routemap"
    builder(folder, drive(DAY, np.arange(0, 120, 2.0))).finish()
    return folder


def content(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_finished_map_is_not_replaced_unasked(path: Path) -> None:
    before = content(path)
    with pytest.raises(SaaneError, match="finished map of 60 places"):
        builder(path, [], existing="refuse")
    assert content(path) == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    builder(path, drive(NIGHT, np.arange(0, 10, 2.0)), existing="replace").finish()
    assert RouteMap.open(path).info.count == 5


def test_what_a_build_has_saved_itself_is_no_finished_map(tmp_path: Path) -> None:
    path, frames = tmp_path / "m.routemap", drive(DAY, np.arange(0, 16, 2.0))
    first = builder(path, frames[:5], existing="refuse")
    first.save()
    first.close()
    again = builder(path, frames[5:], existing="refuse")
    assert (again.base, again.unsaved) == (None, 8)
    assert [place.name for place in again.finish().places] == [frame.name for frame in frames]


@pytest.mark.parametrize("links", [True, False])
def test_drives_are_added_to_a_map_and_all_are_localized(
    path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(files.os, "link", lambda *_: os.stat(path / "none"))
    day = RouteMap.open(path).places
    evening = drive(EVENING, np.arange(80, 180, 2.0), aside=3.0)
    one = builder(path, evening[:1], existing="extend")
    assert one.save().info.count == 61
    one.add(evening[1:20])
    assert one.save().info.count == 80
    one.close()  # as the end of the process does
    one = builder(path, evening[20:], existing="refuse")
    extended = one.finish()
    assert [path.name] == [entry.name for entry in path.parent.iterdir()]
    night = drive(NIGHT, np.arange(20, 150, 2.0), aside=1.5)
    builder(path, night, existing="extend").finish()

    both = RouteMap.open(path)
    assert (extended.info.count, both.info.count) == (110, 175)
    drives = {name: [] for name in ("road", "road-2", "road-3")}
    for place in both.places:
        name, own = place.name.split("/")
        drives[name].append((own, place.stamp_ns, place.pose))
        assert place.along == pytest.approx(place.pose.position[1], abs=0.5)
        assert place.thumbnail.is_file()
    assert drives["road"] == [(place.name, place.stamp_ns, place.pose) for place in day]
    for name, frames in (("road-2", evening), ("road-3", night)):
        assert drives[name] == [(frame.name, frame.stamp_ns, frame.pose) for frame in frames]
    # Nobody drives from one season to another: edges go 2 m ahead, on each drive's own road.
    graph = both.localizable().graph
    position = np.array([place.pose.position for place in both.places])
    first = [int(np.flatnonzero(graph.spot == spot)[0]) for spot in range(graph.count)]
    ahead = np.diff(position[np.array(first)[graph.edges]], axis=1)[:, 0]
    np.testing.assert_allclose(ahead[:, 1], 2.0, atol=0.5)

    for season, road in ((DAY, (0, 120)), (EVENING, (80, 180)), (NIGHT, (20, 150))):
        localizer, errors = Localizer(ColourGridEmbedder(), both, Settings()), []
        for metres in range(*road, 2):
            scene = smooth_scene(season + metres, 48, 64)
            match = localizer.localize(Frame(scene, (metres + 1) * 10**9)).match
            found = np.inf if match.pose is None else match.pose.position[1]
            errors.append(abs(found - metres))
        assert max(errors[10:]) < 2.5, season


def test_a_drive_that_does_not_fit_the_map_is_refused_before_it_begins(path: Path) -> None:
    class Other(ColourGridEmbedder):
        fingerprint = "other"

    refused: list[tuple[str, Callable[[], Any]]] = [
        (
            "has the model fingerprint colour-grid-4x6 and the new drive other",
            lambda: RouteMapBuilder(Other(), path, existing="extend"),
        ),
        (
            "has the frame map and the new drive odom",
            lambda: builder(path, [], existing="extend", frame_id="odom"),
        ),
        (
            "has the post-processing none and the new drive mean",
            lambda: builder(path, [], existing="extend", postprocessing="mean"),
        ),
    ]
    for reason, build in refused:
        with pytest.raises(SaaneError, match=reason):
            build()
    frames = [replace(frame, pose=None) for frame in drive(DAY, np.arange(0, 20, 2.0))]
    bare = path.with_name("bare.routemap")
    builder(bare, frames).finish()
    with pytest.raises(SaaneError, match="has no poses"):
        builder(bare, [], existing="extend")
    white = path.with_name("white.routemap")
    frames = drive(DAY, np.arange(0, 80, 2.0))
    builder(white, frames, postprocessing="pca512").finish()
    with pytest.raises(SaaneError, match="build it with --postprocessing mean"):
        builder(white, [], existing="extend", postprocessing="pca512")
    assert len(list(path.parent.iterdir())) == 3


def test_each_drive_keeps_its_own_mean(tmp_path: Path) -> None:
    path = tmp_path / "m.routemap"
    day, night = drive(DAY, np.arange(0, 40, 2.0)), drive(NIGHT, np.arange(0, 30, 2.0))
    alone = builder(tmp_path / "night", night, postprocessing="mean").finish()
    builder(path, day, postprocessing="mean").finish()
    both = builder(path, night, postprocessing="mean", existing="extend").finish()
    rows = [row for row, place in enumerate(both.places) if place.name.startswith("m-2/")]
    np.testing.assert_array_equal(both.descriptors[rows], alone.descriptors)
