"""Fitting a map's own calibration to drives that its user names as on or off its route."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.calibration import TrustWeights, Weights, default_weights
from saane_ros.route_map.cohort import cohort_of, named_rerank, projection_of
from saane_ros.route_map.derived import write_calibrated
from saane_ros.route_map.feature_grids import rerank_of
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.training.evidence.fit import fit_evidence
from saane_ros.training.evidence.runs import Example
from saane_ros.types import Embedding, Frame

STRENGTH = 0.02
"""How strongly the weights are held to those that were there: one drive is no proof."""
LEAST = 20
"""Frames of a drive below which it tells nothing."""


@dataclass(frozen=True)
class Named:
    """A drive and what its user says of it."""

    name: str
    frames: Iterable[Frame]
    on: bool


def calibrate(
    route_map: RouteMap,
    embedder: Embedder,
    drives: list[Named],
    weights: tuple[Weights, str] | None = None,
    rerank: str = "",
) -> RouteMap:
    """Write the map anew with a calibration of these drives, and give it back.

    A map of an older format gets graph, cohort and the package's calibration. weights: and their
    source, that the fit begins at; the package's where None.  rerank: of the map from now on; as it
    was where empty. Raises SaaneError where the embedder is not the map's or has no grids to
    re-rank by, the map keeps other features than those, or a drive has hardly an image that can be
    used.
    """
    route_map.check_embedder(embedder)
    before = route_map.info.rerank
    named = named_rerank(embedder, rerank) or before
    if rerank_of(named).own != rerank_of(before).own:
        raise SaaneError(
            f"{route_map.path} keeps what {before} compares, and {rerank} compares other features: "
            f"build it again with --rerank {rerank}."
        )
    cohort = cohort_of(embedder, named)
    if rerank:
        projection_of(embedder, cohort)
    fresh = write_calibrated(route_map, cohort, weights, named)
    if not drives:
        return fresh
    bearings = fresh.localizable()
    start, source = weights or default_weights(bearings.grids is not None)
    localizer = Localizer(embedder, fresh, Settings())
    embedded = {drive.name: _embedded(localizer, drive) for drive in drives}
    examples = [one for drive in drives for one in _examples(localizer, drive, embedded)]
    evidence = fit_evidence(examples, prior=start.evidence, strength=STRENGTH)
    fitted = Weights(evidence, start.trust)
    names = ", ".join(f"{drive.name} ({'on' if drive.on else 'off'})" for drive in drives)
    told = f"{source}; then on {names}"
    fitted_map = write_calibrated(fresh, cohort, (fitted, told))
    off = [drive for drive in drives if not drive.on]
    if not off:
        return fitted_map
    follower = Localizer(embedder, fitted_map, Settings())
    reached = np.concatenate([_confidences(follower, embedded[d.name]) for d in off])
    return write_calibrated(
        fitted_map, cohort, (replace(fitted, trust=_raised(start.trust, reached)), told)
    )


Embedded = list[tuple[Embedding, int]]


def _embedded(localizer: Localizer, drive: Named) -> Embedded:
    """Embeddings and stamps of the frames that can be used."""
    found = []
    for frame in drive.frames:
        try:
            found.append((localizer.embed(frame), frame.stamp_ns))
        except SaaneError:
            continue
    if len(found) < LEAST:
        raise SaaneError(
            f"The drive {drive.name} has {len(found)} images that can be used, and a calibration "
            f"needs {LEAST} of each: name a longer one."
        )
    return found


def _examples(
    localizer: Localizer, drive: Named, embedded: dict[str, Embedded]
) -> Iterator[Example]:
    for embedding, _ in embedded[drive.name]:
        found = localizer.candidates_of(embedding)
        values = found.signals.values
        right = np.ones(len(values), np.bool_) if drive.on else None
        yield Example(drive.name, "", "" if drive.on else drive.name, values, right, drive.on)


def _confidences(localizer: Localizer, frames: Embedded) -> NDArray[np.float64]:
    localizer.reset()
    return np.array([localizer.locate(one, stamp).confidence for one, stamp in frames])


def _raised(trust: TrustWeights, reached: NDArray[np.float64]) -> TrustWeights:
    """Thresholds that at most the stated share of the frames off the route reaches."""
    levels = [
        max(level, float(np.quantile(reached, 1 - rate, method="higher")) + 1e-6)
        for rate, level in zip(trust.errors, trust.thresholds, strict=True)
    ]
    descending = np.maximum.accumulate(np.minimum(levels, 1.0)[::-1])[::-1]
    return replace(trust, thresholds=tuple(map(float, descending)))
