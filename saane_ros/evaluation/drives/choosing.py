"""Which model is the one for a road: each tried by the drive evaluation, and ranked by one rule."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np

from saane_ros import __version__
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.drive import Drive, away_frames, embed_away, embed_drive
from saane_ros.evaluation.drives.evaluation import evaluate_embedded, replay
from saane_ros.evaluation.drives.kept import KeptEmbedder
from saane_ros.evaluation.drives.metrics import Figures
from saane_ros.evaluation.drives.results import Results
from saane_ros.evaluation.drives.roads import Road
from saane_ros.evaluation.drives.scenarios import build_scenarios
from saane_ros.evaluation.memory import machine_in_words, measured_memory
from saane_ros.evaluation.results_table import UNKNOWN, aligned
from saane_ros.evaluation.speeds import Speed, one_image_ms, remember_speeds
from saane_ros.files import replacing_file
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings

MAP_NAME = "road.routemap"
TRIAL_FILE = "trial.json"


@dataclass(frozen=True)
class Trial:
    """What a model did on a road.

    judged: frames on the route whose true place is known.  recall: share of these whose nearest
    place by descriptor is right.  coverage: share LOCALIZED and right on the plain drive.
    localized, wrong: frames LOCALIZED over all scenarios, and those of them that are wrong or off
    the route.  off: frames off the route, in all scenarios.
    place_bytes: of a descriptor in the map.  map: its folder.
    """

    model: str
    judged: int
    recall: float
    coverage: float
    localized: int
    wrong: int
    off: int
    speed: Speed
    place_bytes: int
    map: str

    @property
    def wrong_share(self) -> float:
        """Of the frames LOCALIZED over all scenarios."""
        return self.wrong / self.localized if self.localized else 0.0

    def keeps(self, error_rate: float) -> bool:
        """Whether the wrong ones are no more than chance makes of a rate that is kept.

        Up to two standard deviations above the expected number.
        """
        expected = error_rate * self.localized
        return self.wrong <= expected + 2 * sqrt(expected * (1 - error_rate))


def ranked(trials: Sequence[Trial], error_rate: float) -> list[Trial]:
    """The best model first. The rule, each line deciding where those before it are equal:

    1. models that keep the promise (`Trial.keeps`) before those that do not, and of the latter
       the one with the smaller wrong share first, as a wrong fix costs a robot more than none;
    2. more frames LOCALIZED and right, to the whole per cent;
    3. higher recall@1, to the whole per cent;
    4. fewer milliseconds an image;
    5. fewer megabytes.
    """

    def key(trial: Trial) -> tuple[float, ...]:
        kept = trial.keeps(error_rate)
        return (
            0.0 if kept else trial.wrong_share,
            -round(100 * trial.coverage),
            -round(100 * trial.recall),
            trial.speed.milliseconds,
            trial.speed.megabytes or 0.0,
        )

    return sorted(trials, key=key)


def try_model(
    embedder: NetworkEmbedder,
    settings: Settings,
    road: Road,
    away: Sequence[Path],
    command: str,
    folder: Path,
    postprocessing: str,
) -> Trial:
    """Build the map of a road, evaluate its drive, and measure the model.

    Writes the map, `drive.json`, `drive.html` and `trial.json` to `folder`, and does nothing where
    the last is there and of the same files, weights and settings. An interrupted trial goes on;
    one that the map shows to be impossible leaves nothing.
    """
    key = _key(embedder, settings, road, away, postprocessing)
    known = _known(folder / TRIAL_FILE, key)
    if known is not None:
        return known
    made = [one for one in (folder, *folder.absolute().parents) if not one.exists()]
    with ExitStack() as opened:
        frames, origin = road.map_frames(opened)
        route_map = build_map(
            frames,
            embedder,
            folder / MAP_NAME,
            origin=origin,
            source=key,
            postprocessing=postprocessing,
        )
    with _leaving_nothing(made):
        own = replace(settings, map=str(route_map.path))
        kept = KeptEmbedder(embedder, folder / f"{key}.kept")
        localizer = Localizer(kept, route_map, own)
        with ExitStack() as opened:
            queries, truth, total = road.query_frames(route_map, opened)
            drive = embed_drive(localizer, queries, truth, total)
        elsewhere = [
            embed_away(localizer, path.name, away_frames(path, road.image_topic)) for path in away
        ]
        evaluation = evaluate_embedded(localizer, route_map, drive, truth.rule, elsewhere)
        title = f"{road.drive.name}, {embedder.name}"
        Results(title, evaluation, route_map, own, command, folder).write()
        trial = _trial(localizer, route_map, drive, evaluation.rows, _speed(embedder, road))
    with replacing_file(folder / TRIAL_FILE) as part:
        part.write_text(json.dumps({"key": key, **asdict(trial)}, indent=1) + "\n")
    kept.forget()
    return trial


@contextmanager
def _leaving_nothing(made: Sequence[Path]) -> Iterator[None]:
    """Where the block refuses, remove the trial's folder and what is empty above it.

    made: the folder and those above it that were not there before.  After a write that failed all
    stays: what was embedded serves the same command once there is room.
    """
    try:
        yield
    except SaaneError as error:
        if made and not isinstance(error.__cause__, OSError):
            shutil.rmtree(made[0], ignore_errors=True)
            with suppress(OSError):
                for above in made[1:]:
                    above.rmdir()
        raise


def _key(
    embedder: NetworkEmbedder,
    settings: Settings,
    road: Road,
    away: Sequence[Path],
    postprocessing: str,
) -> str:
    parts = [
        __version__,
        embedder.fingerprint,
        str(embedder.dtype),
        str(embedder.device),
        road.label,
        repr(replace(settings, map="")),
        repr([str(path.resolve()) for path in away]),
        postprocessing,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _known(path: Path, key: str) -> Trial | None:
    """The finished trial of that key; None where there is none, or not as it was written."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("key") != key:
            return None
        return Trial(**{**values, "speed": Speed(**values["speed"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _speed(embedder: NetworkEmbedder, road: Road) -> Speed:
    """Measured on the first image of the road, and kept for `saane models list`."""
    with ExitStack() as opened:
        frames, _ = road.map_frames(opened)
        image = next(frame.image for frame in frames if frame.image.size)
    memory = measured_memory(embedder, image)
    sizes = (memory.model, memory.added)
    known = [size for size in sizes if size is not None]
    speed = Speed(
        one_image_ms(embedder, image),
        sum(known) / 1e6 if len(known) == len(sizes) else None,
        machine_in_words(str(embedder.device)),
    )
    remember_speeds({embedder.name: speed})
    return speed


def _trial(
    localizer: Localizer,
    route_map: RouteMap,
    drive: Drive,
    rows: Sequence[Figures],
    speed: Speed,
) -> Trial:
    plain = next(build_scenarios(drive))
    right = [
        bool(np.isin(match.candidates.places[0], step.where.rows))
        for step, match in zip(plain.steps, replay(localizer, plain), strict=True)
        if match is not None and step.where.rows is not None and len(step.where.rows)
    ]
    if not right:
        raise SaaneError(
            "Nothing is known of where the query drive was on the map, so that no model can be "
            "judged: give poses of both drives in one frame, or --truth."
        )
    descriptors = route_map.descriptors
    return Trial(
        model=route_map.info.model,
        judged=len(right),
        recall=float(np.mean(right)),
        coverage=rows[0].right_share or 0.0,
        localized=sum(row.right + row.wrong + row.false_localized for row in rows),
        wrong=sum(row.wrong + row.false_localized for row in rows),
        off=sum(row.off for row in rows),
        speed=speed,
        place_bytes=descriptors.shape[1] * descriptors.itemsize,
        map=str(route_map.path),
    )


TITLES = ("model", "R@1", "right %", "wrong %", "promise", "ms", "MB", "bytes")
LEGEND = (
    "R@1: nearest place by descriptor is right. right %: LOCALIZED and right on the plain drive. "
    "wrong %: of all frames LOCALIZED in all scenarios of the drive evaluation. promise: whether "
    "that is no more than error_rate and chance make. ms, MB: of one image alone, here. bytes: of "
    "a place's descriptor. Ranked by promise, right %, R@1, ms, MB."
)


def as_text(trials: Sequence[Trial], error_rate: float) -> str:
    """Ranked trials as a table for a terminal."""
    rows = [list(TITLES)]
    for one in trials:
        megabytes = one.speed.megabytes
        rows.append(
            [
                one.model,
                f"{one.recall:.3f}",
                f"{100 * one.coverage:.1f}",
                f"{100 * one.wrong_share:.1f}",
                "kept" if one.keeps(error_rate) else "broken",
                f"{one.speed.milliseconds:.1f}",
                UNKNOWN if megabytes is None else f"{megabytes:.0f}",
                str(one.place_bytes),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(TITLES))]
    return "\n".join(aligned(row, widths) for row in rows)
