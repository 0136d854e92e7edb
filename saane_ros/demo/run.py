"""The demo from beginning to end: record, map, replay live, compare, report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saane_ros.demo.by_hand import commands_by_hand
from saane_ros.demo.comparison import offline_answers
from saane_ros.demo.finished import Finished, key_of
from saane_ros.demo.folders import folder_scene
from saane_ros.demo.pages import Findings, write_report
from saane_ros.demo.queries import read_queries
from saane_ros.demo.replay import replay
from saane_ros.demo.scene import Recording, Scene
from saane_ros.demo.scoring import score
from saane_ros.demo.summary import as_text, live_answers, node_table, summary, system_table
from saane_ros.demo.town import town_scene
from saane_ros.embedding import Embedder
from saane_ros.embedding.loading import load_embedder
from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.calibration import default_weights
from saane_ros.route_map.info import CALIBRATED_FORMAT
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Rgb
from saane_ros.weights.cards import System

LIVE, REDUCED = "live", "appearance_only"
REDUCED_SYSTEM: System = "app"
"""The wiring of the same weights without attention and semantics."""
_REDUCED_TITLE = "attention and semantics off"


@dataclass(frozen=True)
class DemoOptions:
    """data: a person's own images, None for the town.  rate_hz: of the camera, 0 for the scene's
    usual one.  length_m: of the town's route."""

    data: Path | None
    model: str
    out: Path
    rate_hz: float = 0.0
    length_m: float = 400.0


@dataclass
class _Stages:
    """Seconds that every stage took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        print(f"== {name}", file=sys.stderr)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run it, print the tables and leave `summary.json` and `report.html`; the summary's values."""
    stages, out = _Stages(), options.out
    finished = Finished(out / "finished")
    with stages.stage("recordings"):
        scene = _scene(options, finished)
        queries = read_queries(scene.query)
    with stages.stage("map"):
        full = load_embedder(options.model)
        route_map = recorded_map(scene.route, full, out / f"{scene.name}.routemap", finished)
    settings = Settings(model=options.model, map=str(route_map.path))
    with stages.stage("live"):
        heard = replay({"model": settings.model, "map": settings.map}, scene.query, out / "logs")
    live = live_answers(heard, queries)
    with stages.stage("comparison"):
        reduced = load_embedder(options.model, system=REDUCED_SYSTEM)
        reduced_map = recorded_map(scene.route, reduced, out / "appearance_only.routemap", finished)
        answers = {
            LIVE: live.answers,
            REDUCED: offline_answers(
                reduced,
                reduced_map,
                settings,
                scene.query.frames(),
                {answer.query for answer in live.answers},
                odometry=False,
            ),
        }
    with stages.stage("report"):
        correct = scene.truth(route_map.places, queries.frames)
        scores = {name: score(given, correct) for name, given in answers.items()}
        head = {"scene": scene.name, "model": options.model, "tolerance": scene.tolerance}
        figures = summary(head, heard, queries, route_map.places, correct, live, scores)
        findings = Findings(
            scene=scene,
            figures=figures,
            heard=heard,
            route_map=route_map,
            queries=queries,
            correct=correct,
            live=live,
            answers=answers,
            scores=scores,
            titles={LIVE: f"{full.name}, live node", REDUCED: f"same, {_REDUCED_TITLE}"},
            legend={LIVE: "live node", REDUCED: _REDUCED_TITLE},
            commands=commands_by_hand(scene, options.model, route_map.path),
        )
        images = _images(scene.query, findings)
        write_report(findings, images).write(out / "report.html")
    figures["stages_s"] = stages.seconds
    with replacing_file(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n")
    _tell(findings, out)
    return figures


def _scene(options: DemoOptions, finished: Finished) -> Scene:
    if options.data is None:
        return town_scene(options.out / "bags", finished, options.length_m, options.rate_hz or 10.0)
    return folder_scene(options.data, options.out / "parts", options.rate_hz or 5.0)


def recorded_map(
    recording: Recording, embedder: Embedder, path: Path, finished: Finished
) -> RouteMap:
    """The route map of a recording, built unless it is there."""
    ingredients = {
        "recording": recording.key,
        "embedder": embedder.fingerprint,
        "format": CALIBRATED_FORMAT,
        "calibration": default_weights(grids=True),
    }
    key = key_of(ingredients)
    if finished.has(path, key):
        return RouteMap.open(path)
    route_map = build_map(
        recording.frames(), embedder, path, total=recording.count, source=recording.key
    )
    finished.add(path, key)
    return route_map


def _images(recording: Recording, findings: Findings) -> dict[int, Rgb]:
    """The images of the queries that the report shows."""
    good, bad = findings.pictured()
    wanted = {findings.live.answers[i].query for i in (*good, *bad)}
    frames = progress(recording.frames(), "pictures", recording.count, "frame")
    return {n: frame.image for n, frame in enumerate(frames) if n in wanted}


def _tell(findings: Findings, out: Path) -> None:
    """Print the tables and where everything lies."""
    print(f"\n{findings.scene.title}\n")
    print(as_text(*node_table(findings.figures)))
    if findings.scores[LIVE] is not None:
        print()
        print(as_text(*system_table(findings.scores, findings.titles)))
        print(f"\ncorrect: {findings.scene.tolerance}")
    print(f"\nEvery step by hand:\n\n{findings.commands}\n")
    print(f"{out / 'report.html'} has the pictures, {out / 'summary.json'} the figures.")
