"""Another system on the same frames, through the same localizer, without the live part."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from saane_ros.demo.scoring import Answer
from saane_ros.embedding import Embedder
from saane_ros.localization.localizer import Localizer
from saane_ros.progress import progress
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame


def offline_answers(
    embedder: Embedder,
    route_map: RouteMap,
    settings: Settings,
    frames: Iterable[Frame],
    wanted: Collection[int],
    odometry: bool,
) -> list[Answer]:
    """Localize the frames whose numbers are `wanted`, in their order.

    odometry: whether the localizer may know the distance travelled, as the live one did.
    """
    localizer = Localizer(embedder, route_map, settings)
    numbered = ((n, frame) for n, frame in enumerate(frames) if n in wanted)
    shown = progress(numbered, embedder.name, len(wanted), "frame")
    return list(_answers(localizer, shown, odometry))


def _answers(
    localizer: Localizer, frames: Iterable[tuple[int, Frame]], odometry: bool
) -> Iterator[Answer]:
    for number, frame in frames:
        known = frame if odometry else replace(frame, travelled=None)
        match = localizer.localize(known).match
        yield Answer(
            query=number,
            state=match.state.value,
            place=match.place.id,
            confidence=match.confidence,
            candidates=match.candidates.places,
            distances=match.candidates.distances.astype(float),
            ratio=match.ratio,
            inference_ms=match.timings_ms["embed"],
        )
