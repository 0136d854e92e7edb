"""`saane train evidence`: what distances mean, fitted once for all models and kinds of maps.

Every figure and every threshold is of drives whose kind of place, on the map and off it, was left
out of both fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding.loading import load_embedder
from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.route_map.calibration import (
    DEFAULT_FILE,
    SIGNALS,
    EvidenceWeights,
    Weights,
    defaults_text,
)
from saane_ros.route_map.cohort import cohort_of
from saane_ros.training.evidence.fit import (
    confidences,
    fit_evidence,
    fit_trust,
    trust_weights,
)
from saane_ros.training.evidence.material import (
    Elsewhere,
    EvidenceConfig,
    Material,
    Route,
    Views,
    read_evidence_config,
)
from saane_ros.training.evidence.runs import (
    Belonging,
    Example,
    Ground,
    examples,
    follow,
    runs,
)
from saane_ros.training.evidence.table import drive_table

GRID_SIGNALS = ("agreement", "agreement_ratio")
EVIDENCE_FILE = "evidence"
TESTED_TOWNS = 1
"""Towns that a model is tested on which the fit does not see."""


def train_evidence(
    config_path: Path, data: Path, weights: str, out: Path, models: Path, results: Path, device: str
) -> None:
    """Fit, write `config/evidence.yaml`, and a table a model to `results/`."""
    config = read_evidence_config(config_path)
    worlds = {name: _world(name, config, data, weights, out, device) for name in config.models}
    others = {
        name: _world(name, config, data, weights, out, device, TESTED_TOWNS)
        for name in config.tested
    }
    with_grids, tables = _fit(worlds, SIGNALS, others)
    bare = tuple(name for name in SIGNALS if name not in GRID_SIGNALS)
    without = {name: _without_grids(world) for name, world in worlds.items()}
    without_grids, bare_tables = _fit(without, bare, {})
    source = f"fitted on drives of {', '.join(config.models)} by saane train evidence"
    with replacing_file(models / DEFAULT_FILE) as part:
        part.write_text(defaults_text(with_grids, without_grids, source), encoding="utf-8")
    texts = {**tables, **{f"{name}-without-grids": text for name, text in bare_tables.items()}}
    for name, text in texts.items():
        with replacing_file(results / f"{EVIDENCE_FILE}-{name}.txt") as part:
            part.write_text(text, encoding="utf-8")
    print(f"wrote {models / DEFAULT_FILE} and the tables {results}/{EVIDENCE_FILE}-*.txt")


World = tuple[list[Ground], list[Elsewhere]]


def _world(
    model: str,
    config: EvidenceConfig,
    data: Path,
    weights: str,
    out: Path,
    device: str,
    towns: int | None = None,
) -> World:
    embedder = load_embedder(model, weights, device)
    cohort = cohort_of(embedder)
    material = Material(config, embedder, cohort, data, out / "embedded")
    grounds = [Ground(route, cohort) for route in material.routes(towns)]
    return grounds, material.elsewhere()


def _without_grids(world: World) -> World:
    def bare(views: Views) -> Views:
        return Views(views.descriptors, None)

    grounds, others = world
    routes = [
        Route(
            ground.route.name,
            ground.route.kind,
            bare(ground.route.places),
            [type(d)(d.name, bare(d.views), d.right, d.travelled) for d in ground.route.drives],
            ground.route.positions,
        )
        for ground in grounds
    ]
    return (
        [Ground(route, ground.cohort) for route, ground in zip(routes, grounds, strict=True)],
        [Elsewhere(other.name, other.kind, bare(other.views)) for other in others],
    )


def _fit(
    worlds: dict[str, World], used: tuple[str, ...], tested: dict[str, World]
) -> tuple[Weights, dict[str, str]]:
    """Both fits over all models, and a table a model of what was left out.

    tested: models that only get a table.
    """
    frames = [
        frame
        for name, (grounds, others) in worlds.items()
        for ground in progress(grounds, f"frames of {name}", len(grounds), "route")
        for frame in examples(ground, _foreign(ground, others))
    ]
    evidence = fit_evidence(frames, used)
    held_out = _held_out(frames, used)
    followed = {name: list(_follow_all(name, world, held_out)) for name, world in worlds.items()}
    everything = [one for each in followed.values() for one in each]
    trusted = _held_out_trust(everything)
    confidence = _confidence(everything, trusted)
    trust = trust_weights(*fit_trust(everything), everything, confidence)
    followed |= {name: list(_follow_all(name, world, held_out)) for name, world in tested.items()}
    tables = {
        name: drive_table(name, each, _confidence(each, trusted), trust)
        for name, each in followed.items()
    }
    return Weights(evidence, trust), tables


def _foreign(ground: Ground, others: list[Elsewhere]) -> list[Elsewhere]:
    """Other places; images of the route's own place go by its name."""
    return [other for other in others if other.name != ground.route.name]


def _without(kind: str, elsewhere: str) -> Callable[[Example | Belonging], bool]:
    """Which frames remain when a kind of route and a kind of other place are left out."""
    gone = {kind, elsewhere} - {""}
    return lambda frame: frame.kind != kind and frame.elsewhere not in gone


def _held_out(
    frames: list[Example], used: tuple[str, ...]
) -> Callable[[str, str], EvidenceWeights]:
    @cache
    def weights(kind: str, elsewhere: str) -> EvidenceWeights:
        return fit_evidence(list(filter(_without(kind, elsewhere), frames)), used)

    return weights


def _follow_all(
    name: str, world: World, weights: Callable[[str, str], EvidenceWeights]
) -> Iterable[Belonging]:
    grounds, others = world
    for ground in progress(grounds, f"drives of {name}", len(grounds), "route"):
        kind = ground.route.kind
        for run in runs(ground.route, _foreign(ground, others)):
            yield from follow(ground, run, weights(kind, run.elsewhere))


def _held_out_trust(
    frames: list[Belonging],
) -> Callable[[str, str], tuple[tuple[float, ...], float]]:
    @cache
    def trust(kind: str, elsewhere: str) -> tuple[tuple[float, ...], float]:
        return fit_trust(list(filter(_without(kind, elsewhere), frames)))

    return trust


def _confidence(
    frames: list[Belonging], trust: Callable[[str, str], tuple[tuple[float, ...], float]]
) -> NDArray[np.float64]:
    """The confidence of every frame by a fit without its kinds of places."""
    pairs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, frame in enumerate(frames):
        pairs[frame.kind, frame.elsewhere].append(row)
    confidence = np.empty(len(frames))
    for (kind, elsewhere), rows in progress(pairs.items(), "left out", len(pairs), "pair"):
        own = [frames[row] for row in rows]
        confidence[rows] = confidences(own, *trust(kind, elsewhere))
    return confidence
