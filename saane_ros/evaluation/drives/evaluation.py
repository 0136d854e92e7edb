"""A localizer on every scenario of a drive: the figures, as a table and as plain values."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.drives.drive import Away, Drive, embed_away, embed_drive
from saane_ros.evaluation.drives.metrics import (
    Answers,
    Figures,
    Nees,
    Reliability,
    answers_of,
    calibration_error,
    figures,
    reliability,
)
from saane_ros.evaluation.drives.scenarios import Scenario, build_scenarios
from saane_ros.evaluation.drives.truth import Truth
from saane_ros.evaluation.results_table import UNKNOWN, aligned
from saane_ros.localization.localizer import Localizer
from saane_ros.progress import progress
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Match

TRACE_ROWS = 240
"""Most places, or groups of neighbouring ones, that a drawn belief tells apart."""
DRAWN = ("plain", "inserted")


@dataclass(frozen=True, eq=False)
class Trace:
    """A scenario, what was answered, and the belief of every step.

    belief: float32 (n, r), mass in each of r equal parts of the map's places, in route order.
    found: row of the matched place (n,), -1 for a refused image.  places: of the map.
    """

    scenario: Scenario
    answers: Answers
    belief: NDArray[np.float32]
    found: NDArray[np.int64]
    places: int


@dataclass(frozen=True, eq=False)
class DriveEvaluation:
    """rows: one a scenario.  rule: when a match is right, in words.

    reliability, calibration_error: over all scenarios, of the frames known ("all"), of those on
    the route and off it ("on", "off").
    traces: of the plain drive, and of the one that leaves the route with most false LOCALIZED.
    """

    rule: str
    rows: list[Figures]
    reliability: dict[str, Reliability]
    calibration_error: dict[str, float | None]
    traces: list[Trace] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without traces."""
        return {
            "rule": self.rule,
            "scenarios": [row.as_dict() for row in self.rows],
            "reliability": {name: asdict(one) for name, one in self.reliability.items()},
            "calibration_error": self.calibration_error,
        }


def evaluate_drive(
    localizer: Localizer,
    route_map: RouteMap,
    frames: Iterable[Frame],
    truth: Truth,
    away: Mapping[str, Iterable[Frame]] | None = None,
    *,
    total: int | None = None,
    seed: int = 0,
) -> DriveEvaluation:
    """Embed a drive and images from elsewhere once, and replay them in every scenario.

    route_map: the localizer's.  frames: their `travelled` is odometry; poses are for `truth` alone.
    away: frames of each source from elsewhere.  total: number of frames, where it is known.
    Raises SaaneError where no frame of the drive can be matched.
    """
    drive = embed_drive(localizer, frames, truth, total)
    sources = [embed_away(localizer, name, images) for name, images in (away or {}).items()]
    return evaluate_embedded(localizer, route_map, drive, truth.rule, sources, seed)


def evaluate_embedded(
    localizer: Localizer,
    route_map: RouteMap,
    drive: Drive,
    rule: str,
    away: Sequence[Away] = (),
    seed: int = 0,
) -> DriveEvaluation:
    """The same of what is embedded already."""
    rows: list[Figures] = []
    judged: list[Answers] = []
    traces: list[Trace] = []
    for scenario in progress(build_scenarios(drive, away, seed), "scenarios", unit="scenario"):
        beliefs: list[NDArray[np.float32]] = []
        watch = None
        if scenario.name in DRAWN and localizer.settings.sequence_filter:
            watch = _Watch(localizer, route_map, beliefs).take
        matches = list(replay(localizer, scenario, watch))
        answers = answers_of(scenario, matches)
        rows.append(figures(scenario, answers))
        judged.append(answers)
        if beliefs:
            found = np.array([-1 if match is None else match.place.id for match in matches])
            traces.append(Trace(scenario, answers, np.stack(beliefs), found, len(route_map.places)))
    return DriveEvaluation(rule, rows, *_calibration(judged), _worth_drawing(traces))


def _worth_drawing(traces: list[Trace]) -> list[Trace]:
    """The first, and of the others the worst."""
    return traces[:1] + sorted(traces[1:], key=_false_localized)[-1:]


def _false_localized(trace: Trace) -> int:
    return int((trace.answers.off & trace.answers.localized).sum())


def replay(
    localizer: Localizer, scenario: Scenario, after: Callable[[], None] | None = None
) -> Iterator[Match | None]:
    """The match of every step, None for an image that is refused; as a node would, which does not
    show those to the localizer. after: called after every step."""
    localizer.reset()
    for index, step in enumerate(scenario.steps):
        if index in scenario.fresh:
            localizer.reset()
        match = None
        if step.view is not None:
            match = localizer.locate(step.view, step.stamp_ns, step.travelled)
        if after is not None:
            after()
        yield match


class _Watch:
    """Notes the belief along the route."""

    def __init__(
        self, localizer: Localizer, route_map: RouteMap, beliefs: list[NDArray[np.float32]]
    ) -> None:
        self._localizer, self._beliefs = localizer, beliefs
        graph = route_map.localizable().graph
        count = len(graph.spot)
        self._parts = min(count, TRACE_ROWS)
        first = np.zeros(graph.count, np.int64)
        first[graph.spot[::-1]] = np.arange(count)[::-1]
        self._part = first * self._parts // count

    def take(self) -> None:
        spots, masses, _, _ = self._localizer.belief
        mass = np.bincount(self._part[spots], masses, minlength=self._parts)
        self._beliefs.append(mass.astype(np.float32))


def _calibration(
    judged: Sequence[Answers],
) -> tuple[dict[str, Reliability], dict[str, float | None]]:
    diagrams, errors = {}, {}
    for name in ("all", "on", "off"):
        said, true = [], []
        for one in judged:
            known = {"all": one.on | one.off, "on": one.on, "off": one.off}[name] & ~one.refused
            said.append(one.confidence[known])
            true.append(one.right[known])
        confidence, right = np.concatenate(said), np.concatenate(true)
        diagrams[name] = reliability(confidence, right)
        errors[name] = calibration_error(confidence, right)
    return diagrams, errors


@dataclass(frozen=True)
class Column:
    """title: of the head.  cell: of one row.  words: what it is."""

    title: str
    cell: Callable[[Figures], str]
    words: str


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.1f}"


def _number(value: float | None, form: str = "g") -> str:
    return UNKNOWN if value is None else format(value, form)


def _of(part: int, whole: int) -> str:
    return f"{part}/{whole}" if whole else UNKNOWN


def _wrong(row: Figures) -> str:
    wrong = row.jumps.wrong
    return f"{np.median(wrong):g} / {max(wrong)}" if wrong else UNKNOWN


def _recovery(row: Figures) -> str:
    if not row.jumps.recovery:
        return UNKNOWN
    middle, worst = row.jumps.median_recovery, row.jumps.worst_recovery
    told = ("never" if one is None else f"{one:g}" for one in (middle, worst))
    return " / ".join(told)


def _nees(found: Nees | None) -> str:
    return UNKNOWN if found is None else f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}]"


def _centimetres(metres: tuple[float, float] | None) -> str:
    return UNKNOWN if metres is None else "{:.0f} / {:.0f}".format(*(100 * one for one in metres))


def _times(milliseconds: tuple[float, float] | None) -> str:
    return UNKNOWN if milliseconds is None else "{:.1f} / {:.1f}".format(*milliseconds)


COLUMNS = (
    Column("scenario", lambda row: row.name, ""),
    Column("away", lambda row: row.tag or UNKNOWN, "the source from elsewhere"),
    Column("on", lambda row: str(row.on), "frames taken on the route"),
    Column("right %", lambda row: _percent(row.right_share), "of these LOCALIZED and right"),
    Column("wrong %", lambda row: _percent(row.wrong_share), "of these LOCALIZED and wrong"),
    Column(
        "precision",
        lambda row: _number(row.precision, ".3f"),
        "of the LOCALIZED ones on the route, those that are right",
    ),
    Column("off", lambda row: str(row.off), "frames taken off the route"),
    Column("false %", lambda row: _percent(row.false_share), "of these LOCALIZED"),
    Column("said %", lambda row: _percent(row.off_share), "of these OFF_ROUTE"),
    Column(
        "jump wrong", _wrong, "LOCALIZED and wrong after a kidnap, pause or return: median/worst"
    ),
    Column("recover", _recovery, "frames from there to LOCALIZED and right: median/worst"),
    Column(
        "stops wrong",
        lambda row: _of(row.stops_wrong, row.stops),
        "stops on the route that end LOCALIZED and wrong",
    ),
    Column(
        "parked",
        lambda row: _of(row.parked_localized, row.parked),
        "stops off the route that end LOCALIZED",
    ),
    Column("fix", lambda row: _number(row.first_fix), "frames to the first LOCALIZED and right"),
    Column("fix s", lambda row: _number(row.first_fix_s, ".1f"), "seconds to it"),
    Column("lost", lambda row: str(row.lost_frames), "longest run on the route not LOCALIZED"),
    Column("ECE", lambda row: _number(row.ece, ".3f"), "expected calibration error of confidence"),
    Column(
        "NEES",
        lambda row: _nees(row.nees),
        "of the pose in the plane, ideally 2, with its 95 % band",
    ),
    Column(
        "refined %",
        lambda row: _percent(row.refined_share),
        "of the right ones, poses by points of the map",
    ),
    Column(
        "cm",
        lambda row: _centimetres(row.refined_m),
        "error of these poses in the plane, centimetres, median/95 % quantile",
    ),
    Column(
        "place cm", lambda row: _centimetres(row.place_m), "what the places alone make of the same"
    ),
    Column("refined NEES", lambda row: _nees(row.refined_nees), "NEES of these poses"),
    Column("search ms", lambda row: _times(row.search_ms), "a frame, median/95 % quantile"),
    Column("filter ms", lambda row: _times(row.filter_ms), "alike"),
    Column(
        "re-rank ms", lambda row: _times(row.rerank_ms), "of these, comparing candidates' grids"
    ),
    Column("refused", lambda row: str(row.refused), "images that were not matched"),
)
TITLES = tuple(column.title for column in COLUMNS)
NOTES = (
    "The NEES band holds for independent frames; successive ones are not, so a mean just outside "
    "it is no proof.",
    "Odometry is that of the drive, or exact, from its true positions.",
)


def cells(evaluation: DriveEvaluation) -> list[list[str]]:
    """The table's rows."""
    return [[column.cell(row) for column in COLUMNS] for row in evaluation.rows]


def footnotes(evaluation: DriveEvaluation) -> list[str]:
    """The rule, the calibration over all scenarios, the columns, and what to mind."""
    errors = {name: _number(one, ".3f") for name, one in evaluation.calibration_error.items()}
    return [
        f"Rule: {evaluation.rule}.",
        f"Expected calibration error over all scenarios: {errors['all']}, on the route "
        f"{errors['on']}, off it {errors['off']}.",
        "; ".join(f"{column.title}: {column.words}" for column in COLUMNS[1:]) + ".",
        *NOTES,
    ]


def as_text(evaluation: DriveEvaluation) -> str:
    """The table for a terminal, with its footnotes."""
    rows = [list(TITLES), *cells(evaluation)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(TITLES))]
    lines = [aligned(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    notes = [textwrap.fill(note, 100) for note in footnotes(evaluation)]
    return "\n".join([*lines, "", *notes])
