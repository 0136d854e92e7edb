"""Building maps: bad frames are skipped by name, interruption loses nothing."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.route_map import journal, snapshot
from saane_ros.route_map.builder import RouteMapBuilder, build_map
from saane_ros.route_map.cohort import cohort_images
from saane_ros.route_map.frame_intake import thumbnail_jpeg
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Embedding, Frame, Pose, Rgb


class CountingEmbedder(ColourGridEmbedder):
    """Counts the images that it embeds, those of the cohort apart."""

    def __init__(self) -> None:
        self.embedded = 0

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        cohort = [any(image is one for one in cohort_images()) for image in images]
        self.embedded += len(images) - sum(cohort)
        return super().embed(images, attention, labels, grid)


def scenes(count: int, start: int = 0) -> list[Frame]:
    return [Frame(smooth_scene(i), i * 10**9, f"{i}.jpg") for i in range(start, start + count)]


def interrupted(frames: list[Frame], after: int) -> Iterator[Frame]:
    yield from frames[:after]
    raise KeyboardInterrupt


def test_bad_frames_are_skipped_and_named(tmp_path: Path) -> None:
    good = scenes(5)
    nan, zero = Pose((0.0, float("nan"), 0.0)), Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
    noise = np.random.default_rng(0).integers(0, 3, (48, 64, 3)).astype(np.uint8)
    frames = [
        good[0],
        replace(good[1], name="again", stamp_ns=good[0].stamp_ns),
        good[1],
        replace(good[2], name="late", stamp_ns=5),
        replace(good[2], name="nan pose", pose=nan),
        replace(good[2], name="no turn", pose=zero),
        Frame(np.zeros((48, 64, 3), np.uint8), 2 * 10**9, "black"),
        Frame(noise, 2 * 10**9, "noise"),
        Frame(np.zeros((0, 64, 3), np.uint8), 2 * 10**9, ""),
        Frame(np.zeros((48, 64), np.uint8), 2 * 10**9, "grey"),
        *good[2:],
    ]
    builder = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "m", batch=3)
    builder.add(frames)
    route_map = builder.finish()
    assert [place.name for place in route_map.places] == [frame.name for frame in good]
    assert builder.report.embedded == 5
    assert builder.report.skipped == [
        ("again", "its stamp is that of the frame before"),
        ("late", "its stamp is older than that of the frame before"),
        ("nan pose", "its pose is not finite"),
        ("no turn", "the quaternion of its pose is zero"),
        ("black", "the image is black"),
        ("noise", "the image is black"),
        ("frame at 2000000000 ns", "the image is empty or unreadable"),
        ("grey", "the image is uint8 (48, 64), not uint8 height x width x 3"),
    ]
    text = builder.report.summary()
    assert "5 frames embedded" in text
    assert "8 frames skipped: again (its stamp is that of the frame before), late" in text
    assert text.endswith("and 3 more")


def test_a_dark_night_is_not_black(tmp_path: Path) -> None:
    night = np.zeros((48, 64, 3), np.uint8)
    night[10:14, 20:24] = 200
    route_map = build_map([Frame(night, 0, "night")], ColourGridEmbedder(), tmp_path / "m")
    assert len(route_map.places) == 1


def test_an_empty_source_is_an_error_and_names_what_was_skipped(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="no usable frame"):
        build_map([], ColourGridEmbedder(), tmp_path / "m")
    black = Frame(np.zeros((4, 4, 3), np.uint8), 0, "dark.png")
    with pytest.raises(SaaneError, match=r"dark\.png \(the image is black\)"):
        build_map([black], ColourGridEmbedder(), tmp_path / "m")


def test_skipped_frames_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [*scenes(2), Frame(np.zeros((4, 4, 3), np.uint8), 9**12, "dark.png")]
    with caplog.at_level(logging.WARNING):
        build_map(frames, ColourGridEmbedder(), tmp_path / "m")
    assert "1 frames skipped: dark.png" in caplog.text


def test_descriptors_that_are_not_finite_leave_their_frame_out(tmp_path: Path) -> None:
    class Faulty(ColourGridEmbedder):
        def embed(
            self,
            images: Sequence[Rgb],
            attention: bool = False,
            labels: bool = False,
            grid: bool = False,
        ) -> list[Embedding]:
            found = super().embed(images, attention, labels, grid)
            for image, one in zip(images, found, strict=True):
                if np.array_equal(image, smooth_scene(2)):
                    one.descriptor[0] = np.inf
            return found

    builder = RouteMapBuilder(Faulty(), tmp_path / "m", batch=4)
    builder.add(scenes(4))
    route_map = builder.finish()
    assert [place.name for place in route_map.places] == ["0.jpg", "1.jpg", "3.jpg"]
    assert builder.report.skipped == [("2.jpg", "its descriptor is not finite")]
    expected = ColourGridEmbedder().embed([smooth_scene(3)])[0].descriptor
    np.testing.assert_array_equal(route_map.descriptors[2], expected)


def test_an_interrupted_build_keeps_the_old_map_and_is_continued(tmp_path: Path) -> None:
    path, frames = tmp_path / "m.routemap", scenes(20)
    build_map(scenes(3, 100), ColourGridEmbedder(), path)
    first = CountingEmbedder()
    with pytest.raises(KeyboardInterrupt):
        build_map(interrupted(frames, 14), first, path, batch=4, source="drive")
    assert first.embedded == 12
    assert [place.name for place in RouteMap.open(path).places] == ["100.jpg", "101.jpg", "102.jpg"]

    second = CountingEmbedder()
    builder = RouteMapBuilder(second, path, batch=4, source="drive")
    builder.add(frames)
    continued = builder.finish()
    assert second.embedded == 8
    assert (builder.report.continued, builder.report.embedded) == (12, 8)
    whole = build_map(frames, ColourGridEmbedder(), tmp_path / "whole", batch=4)
    np.testing.assert_array_equal(continued.descriptors, whole.descriptors)
    assert [p.name for p in continued.places] == [p.name for p in whole.places]
    for ours, theirs in zip(continued.places, whole.places, strict=True):
        assert ours.thumbnail.read_bytes() == theirs.thumbnail.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.routemap", "whole"]


@pytest.mark.parametrize("other", ["source", "model"])
def test_another_build_starts_anew(tmp_path: Path, other: str) -> None:
    frames, path = scenes(8), tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        build_map(interrupted(frames, 8), CountingEmbedder(), path, batch=2, source="one")
    embedder = CountingEmbedder()
    if other == "model":
        embedder.fingerprint = "retrained"
    build_map(frames, embedder, path, batch=2, source="two" if other == "source" else "one")
    assert embedder.embedded == 8


def test_a_changed_image_is_embedded_again(tmp_path: Path) -> None:
    frames, path = scenes(4), tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        build_map(interrupted(frames, 4), CountingEmbedder(), path, batch=1)
    frames[2] = replace(frames[2], image=smooth_scene(77), pose=Pose((1.0, 2.0, 3.0)))
    embedder = CountingEmbedder()
    route_map = build_map(frames, embedder, path, batch=1)
    assert embedder.embedded == 1
    expected = embedder.embed([smooth_scene(77)])[0].descriptor
    np.testing.assert_array_equal(route_map.descriptors[2], expected)
    assert route_map.places[2].pose == Pose((1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "torn", ["descriptors.f32", "frames.jsonl", "thumbnails/000005.jpg", "row"]
)
def test_a_journal_torn_by_a_crash_is_used_as_far_as_it_is_whole(tmp_path: Path, torn: str) -> None:
    frames, path = scenes(10), tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        build_map(interrupted(frames, 8), CountingEmbedder(), path, batch=2)
    journal = tmp_path / ".m.building"
    if torn == "row":
        lines = (journal / "frames.jsonl").read_text().splitlines(keepends=True)
        lines[6] = '{"key": \n'
        (journal / "frames.jsonl").write_text("".join(lines))
    elif torn.endswith(".jpg"):
        (journal / torn).unlink()
    else:
        data = (journal / torn).read_bytes()
        (journal / torn).write_bytes(data[:-5])
    embedder = CountingEmbedder()
    route_map = build_map(frames, embedder, path, batch=2)
    whole = {"descriptors.f32": 7, "frames.jsonl": 7, "row": 6}.get(torn, 5)
    assert embedder.embedded == 10 - whole
    expected = np.stack([e.descriptor for e in embedder.embed([f.image for f in frames])])
    np.testing.assert_array_equal(route_map.descriptors, expected)


def test_a_build_goes_on_after_a_write_that_lacked_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a row is left in each file then, on which no other may be set."""
    frames, real = scenes(7), journal._append
    torn = ""

    def short(file: Path, at: int, data: bytes) -> None:
        if file.name != torn:
            return real(file, at, data)
        real(file, at, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(journal, "_append", short)
    builder = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "live", batch=1, live=True)
    for number, name in enumerate(("descriptors.f32", "grids.i8", "frames.jsonl")):
        builder.add([frames[2 * number]])
        torn = name
        with pytest.raises(SaaneError, match=f"There is no room in {tmp_path} to write live"):
            builder.add([frames[2 * number + 1]])
        torn = ""
    builder.close()
    builder = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "live", batch=1, live=True)
    builder.add(frames[6:])
    route_map, kept = builder.finish(), frames[::2]
    assert [place.name for place in route_map.places] == [frame.name for frame in kept]
    expected = ColourGridEmbedder().embed([frame.image for frame in kept])
    np.testing.assert_array_equal(route_map.descriptors, [one.descriptor for one in expected])
    whole = build_map(kept, ColourGridEmbedder(), tmp_path / "whole")
    np.testing.assert_array_equal(route_map.localizable().grids, whole.localizable().grids)


def test_two_builds_of_one_map_do_not_mix(tmp_path: Path) -> None:
    first = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "m")
    with pytest.raises(SaaneError, match="Another build is writing"):
        RouteMapBuilder(ColourGridEmbedder(), tmp_path / "m")
    first.close()
    RouteMapBuilder(ColourGridEmbedder(), tmp_path / "m").close()


def test_a_live_map_can_be_saved_on_the_way_and_survives_a_crash(tmp_path: Path) -> None:
    frames, path = scenes(9), tmp_path / "live"
    builder = RouteMapBuilder(CountingEmbedder(), path, batch=1, live=True)
    builder.add(frames[:3])
    assert [p.name for p in builder.save().places] == ["0.jpg", "1.jpg", "2.jpg"]
    builder.add(frames[3:6])
    assert len(builder) == 6
    builder.close()  # as the end of the process does

    embedder = CountingEmbedder()
    again = RouteMapBuilder(embedder, path, batch=1, live=True)
    assert len(again) == 6
    again.add(frames[6:])
    route_map = again.finish()
    assert [place.name for place in route_map.places] == [frame.name for frame in frames]
    assert embedder.embedded == 3
    assert (again.report.continued, again.report.embedded) == (6, 3)


def test_frames_are_taken_while_the_map_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, begun, go_on = scenes(9), threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        write_map(*arguments)

    monkeypatch.setattr(snapshot, "write_map", slowly)
    builder = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "live", batch=2, live=True)
    builder.add(frames[:5])
    with ThreadPoolExecutor(1) as thread:
        saving = thread.submit(builder.save)
        assert begun.wait(60)
        builder.add(frames[5:])
        assert (len(builder), builder.unsaved) == (9, 9)
        go_on.set()
        saved = saving.result(60)
    assert [place.name for place in saved.places] == [frame.name for frame in frames[:5]]
    assert builder.unsaved == 4
    expected = [one.descriptor for one in ColourGridEmbedder().embed([f.image for f in frames])]
    np.testing.assert_array_equal(saved.descriptors, expected[:5])
    np.testing.assert_array_equal(builder.finish().descriptors, expected)


def test_journal_lines_are_plain_json(tmp_path: Path) -> None:
    frame = Frame(smooth_scene(1), 7, "naïve, \n.jpg", Pose((1.0, 2.0, 3.0)))
    builder = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "m", batch=1)
    builder.add([frame])
    line = (tmp_path / ".m.building" / "frames.jsonl").read_text()
    values = json.loads(line)
    assert (values["name"], values["stamp"]) == ("naïve, \n.jpg", 7)
    assert values["pose"] == [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0]
    assert builder.finish().places[0].name == frame.name


def test_thumbnails_are_small_and_in_the_right_colours() -> None:
    red = np.zeros((960, 1280, 3), np.uint8)
    red[..., 0] = 250
    small = cv2.imdecode(np.frombuffer(thumbnail_jpeg(red), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (180, 240, 3)
    blue, green, shown_red = small.reshape(-1, 3).mean(axis=0)
    assert shown_red > 240
    assert max(blue, green) < 10
