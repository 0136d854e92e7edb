"""Building beside reading and journaling: what overlaps, what is the same, what is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_map_builder import CountingEmbedder, scenes

from saane_ros.route_map.builder import RouteMapBuilder, build_map
from saane_ros.route_map.journal import Journal
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Embedding, Frame, Pose, Rgb


class WatchedEmbedder(CountingEmbedder):
    """Calls `begun` with its number at every batch that is not the cohort's."""

    def __init__(self, begun: Callable[[int], None]) -> None:
        super().__init__()
        self._begun, self._batches = begun, 0

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        before = self.embedded
        found = super().embed(images, attention, labels, grid)
        if self.embedded > before:
            self._batches += 1
            self._begun(self._batches)
        return found


def test_frames_are_read_and_journaled_while_the_network_embeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch is embedded once the second is read, and journaled once that is embedded."""
    asked, second_read, second_embedded = [], threading.Event(), threading.Event()

    def source() -> Iterator[Frame]:
        for frame in scenes(12):
            asked.append(threading.get_ident())
            if len(asked) == 6:
                second_read.set()
            yield frame

    def begun(number: int) -> None:
        assert number > 1 or second_read.wait(60)
        if number == 2:
            second_embedded.set()

    real = Journal.append

    def append(*arguments: Any) -> None:
        assert second_embedded.wait(60)
        real(*arguments)

    monkeypatch.setattr(Journal, "append", append)
    builder = RouteMapBuilder(WatchedEmbedder(begun), tmp_path / "m", batch=3)
    builder.add(source())
    assert set(asked) == {asked[0]} != {threading.get_ident()}
    assert len(builder) == builder.report.embedded == 12
    assert len(builder.finish().places) == 12


def test_a_map_is_the_same_whether_or_not_frames_were_read_ahead(tmp_path: Path) -> None:
    frames = [replace(frame, pose=Pose((2.0 * n, 0.0, 0.0))) for n, frame in enumerate(scenes(11))]
    frames.insert(7, replace(frames[2], name="seen before", stamp_ns=6_500_000_000))
    frames.insert(4, replace(frames[3], name="stands", stamp_ns=3_500_000_000))
    for name, parts in (("at once", [frames]), ("one by one", [[frame] for frame in frames])):
        folder = tmp_path / name
        folder.mkdir()
        builder = RouteMapBuilder(CountingEmbedder(), folder / "m", batch=4)
        for part in parts:
            builder.add(part)
        assert len(builder.finish().places) == 13
    for file in (tmp_path / "at once" / "m").rglob("*"):
        other = tmp_path / "one by one" / file.relative_to(tmp_path / "at once")
        if file.is_file() and file.name != "map.yaml":  # it tells when it was made
            assert file.read_bytes() == other.read_bytes(), file.name
    assert RouteMap.open(tmp_path / "at once" / "m").info.files == (
        RouteMap.open(tmp_path / "one by one" / "m").info.files
    )


def test_an_interruption_of_the_network_leaves_what_was_embedded_and_no_thread(
    tmp_path: Path,
) -> None:
    def begun(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_map(scenes(40), WatchedEmbedder(begun), tmp_path / "m", batch=2)
    running = {thread.name.split("_")[0] for thread in threading.enumerate()}
    assert not running & {"items", "work", "journal"}
    embedder = CountingEmbedder()
    assert len(build_map(scenes(40), embedder, tmp_path / "m", batch=2).places) == 40
    assert embedder.embedded == 36
