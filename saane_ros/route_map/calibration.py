"""`calibration.yaml` of a route map: what its distances mean, and from when on it is believed.

The scale is measured on the map itself. Weights and acceptance come from drives on and off other
maps (`config/evidence.yaml`), or from those that `saane map calibrate` was given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from saane_ros.errors import SaaneError
from saane_ros.paths import share_folder
from saane_ros.reading import YAML_FAULTS

CALIBRATION_FILE = "calibration.yaml"
DEFAULT_FILE = "evidence.yaml"
SIGNALS = ("cohort", "absolute", "z", "ratio", "agreement", "agreement_ratio")
"""What is known of a candidate, see `localization/evidence.py`:
cohort: log of its distance over that to the nearest images of the cohort.
absolute: log of its distance over `MapScale.impostor`.
z: its distance standardised by those to the whole map.
ratio: log of its distance over the least of the other candidates.
agreement: log of the agreement of the feature grids over `MapScale.agreement`.
agreement_ratio: log of the same over the most of the other candidates."""
TRACK_SIGNALS = ("mass", "off", "support", "now", "against", "length", "progress")
"""What is known of a belief, see `localization/track.py`."""
_MOST = 1e9
"""Of any number in a calibration: a score of such weights still is one."""
WITH_GRIDS, WITHOUT_GRIDS = "with_grids", "without_grids"


@dataclass(frozen=True)
class MapScale:
    """The map's own yardsticks.

    impostor: median over places of the distance to the nearest other place.
    agreement: median agreement of the feature grids of these pairs by the map's score
    (`MapInfo.rerank`), 0 without grids.
    step: distance of successive places' descriptors, the median.
    """

    impostor: float
    agreement: float
    step: float


@dataclass(frozen=True)
class EvidenceWeights:
    """Weights of the conditional logit; candidate, missed: one per signal."""

    candidate: tuple[float, ...]
    candidate_offset: float
    missed: tuple[float, ...]
    missed_offset: float


@dataclass(frozen=True)
class TrustWeights:
    """What makes a belief right: a logistic regression of `TRACK_SIGNALS`, and its acceptance.

    errors, thresholds: of the frames of the calibration drives whose confidence is at least
    thresholds[i], a share of at most errors[i] was wrong; both ascending in errors.
    """

    weights: tuple[float, ...]
    offset: float
    errors: tuple[float, ...]
    thresholds: tuple[float, ...]

    def threshold(self, error_rate: float) -> float:
        """The confidence from which on a frame is accepted at an error rate.

        Linear in the logarithm of the rate between the measured ones; below the smallest of them
        the wrong share left is taken to fall as 1 - confidence does.
        """
        rates, levels = np.asarray(self.errors), np.asarray(self.thresholds)
        if error_rate < rates[0]:
            return float(1 - (1 - levels[0]) * error_rate / rates[0])
        return float(np.interp(np.log(error_rate), np.log(rates), levels))


@dataclass(frozen=True)
class Weights:
    """Evidence and trust of maps with feature grids, or of those without."""

    evidence: EvidenceWeights
    trust: TrustWeights


@dataclass(frozen=True)
class Calibration:
    """source: whose drives the weights come from, in words."""

    scale: MapScale
    weights: Weights
    source: str


def default_weights(grids: bool) -> tuple[Weights, str]:
    """The weights that ship with the package, and where they come from."""
    path = share_folder() / "config" / DEFAULT_FILE
    values = _read(path)
    part = values.get(WITH_GRIDS if grids else WITHOUT_GRIDS)
    if not isinstance(part, dict) or not isinstance(values.get("source"), str):
        raise _damaged(path, "it lacks weights or their source")
    return _weights(path, part), values["source"]


def defaults_text(with_grids: Weights, without_grids: Weights, source: str) -> str:
    """The content of `config/evidence.yaml`."""
    values = {
        "source": source,
        WITH_GRIDS: _plain(asdict(with_grids)),
        WITHOUT_GRIDS: _plain(asdict(without_grids)),
    }
    return yaml.safe_dump(values, sort_keys=False, width=100)


def calibration_text(calibration: Calibration) -> str:
    """The content of `calibration.yaml`."""
    values = {
        "source": calibration.source,
        "scale": _plain(asdict(calibration.scale)),
        **_plain(asdict(calibration.weights)),
    }
    return yaml.safe_dump(values, sort_keys=False, width=100)


def read_calibration(path: Path) -> Calibration:
    """Read and check a map's calibration; SaaneError says what is wrong with it."""
    values = _read(path)
    scale = values.get("scale")
    if not isinstance(scale, dict) or set(scale) != {"impostor", "agreement", "step"}:
        raise _damaged(path, "scale is not impostor, agreement and step")
    numbers = {name: _number(path, name, value) for name, value in scale.items()}
    if min(numbers["impostor"], numbers["step"]) <= 0 or numbers["agreement"] < 0:
        raise _damaged(path, "a scale is not above 0")
    if not isinstance(values.get("source"), str):
        raise _damaged(path, "source is no text")
    return Calibration(MapScale(**numbers), _weights(path, values), values["source"])


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, *YAML_FAULTS) as error:
        raise _damaged(path, "it is not YAML") from error
    if not isinstance(values, dict):
        raise _damaged(path, "it holds no names and values")
    return values


def _weights(path: Path, values: dict[str, Any]) -> Weights:
    evidence, trust = values.get("evidence"), values.get("trust")
    if not isinstance(evidence, dict) or not isinstance(trust, dict):
        raise _damaged(path, "it lacks evidence or trust")
    signals, track = len(SIGNALS), len(TRACK_SIGNALS)
    rates = _numbers(path, "errors", trust.get("errors"))
    levels = _numbers(path, "thresholds", trust.get("thresholds"), len(rates))
    if not rates or min(rates) <= 0 or max(rates) >= 1 or list(rates) != sorted(set(rates)):
        raise _damaged(path, "errors are not ascending shares")
    if min(levels) < 0 or max(levels) > 1 or list(levels) != sorted(levels, reverse=True):
        raise _damaged(path, "thresholds are not descending probabilities")
    return Weights(
        EvidenceWeights(
            _numbers(path, "candidate", evidence.get("candidate"), signals),
            _number(path, "candidate_offset", evidence.get("candidate_offset")),
            _numbers(path, "missed", evidence.get("missed"), signals),
            _number(path, "missed_offset", evidence.get("missed_offset")),
        ),
        TrustWeights(
            _numbers(path, "weights", trust.get("weights"), track),
            _number(path, "offset", trust.get("offset")),
            rates,
            levels,
        ),
    )


def _numbers(path: Path, name: str, values: Any, size: int | None = None) -> tuple[float, ...]:
    if not isinstance(values, list) or (size is not None and len(values) != size):
        raise _damaged(path, f"{name} is no list of {'numbers' if size is None else size}")
    return tuple(_number(path, name, value) for value in values)


def _number(path: Path, name: str, value: Any) -> float:
    if type(value) not in (int, float) or not -_MOST <= value <= _MOST:
        raise _damaged(path, f"{name} is {str(value)[:40]!r} and no number")
    return float(value)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, numbers with what digits they need to be read by a person."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        if isinstance(value, (tuple, list)):
            return [plain(part) for part in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    return {name: plain(value) for name, value in values.items()}


def _damaged(path: Path, what: str) -> SaaneError:
    return SaaneError(f"{path} is damaged, {what}: calibrate the map again or restore a copy.")
