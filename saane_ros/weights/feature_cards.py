"""Cards of local features: what finds and matches keypoints; `models/features/<name>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from saane_ros.errors import SaaneError
from saane_ros.reading import parse_yaml, read_text
from saane_ros.weights.card_files import models_folder, shipped_card
from saane_ros.weights.card_rules import source_problems
from saane_ros.weights.cards import WeightSource
from saane_ros.weights.schema import read_mapping

ROOTSIFT = "rootsift"
"""The card that needs no weights."""
EXTRACTOR, MATCHER = "extractor", "matcher"
"""Keys of weights."""


@dataclass(frozen=True)
class FeatureCard:
    """What finds keypoints and what matches them. path: the card's own file.

    weights: of the `extractor`, and of the `matcher` where that is LightGlue.
    """

    name: str
    system: Literal["rootsift", "superpoint", "disk", "aliked"]
    licence: str
    matcher: Literal["nearest", "lightglue"] = "nearest"
    description: str = ""
    weights: dict[str, WeightSource] = field(default_factory=dict)
    path: Path = field(default=Path(), metadata={"key": False}, compare=False)

    @property
    def files(self) -> dict[str, WeightSource]:
        """Every file by key, as a model's card tells them."""
        return self.weights

    @property
    def reference(self) -> str:
        """What it is loaded by: the name of a shipped card, the path of any other."""
        own = self.path.parent != _folder().resolve()
        return str(self.path) if own else self.name


def load_feature_card(name_or_path: str | Path) -> FeatureCard:
    """The card of that name in models/features/, or the card in that file; SaaneError."""
    path = Path(name_or_path).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = shipped_card(str(name_or_path), _folder(), "feature card")
    values = parse_yaml(read_text(path, "Feature card"), path, "Feature card")
    problems: list[str] = []
    card = read_mapping(FeatureCard, values, "", problems)
    if card is not None:
        problems += _problems(card)
    if card is None or problems:
        raise SaaneError(f"Feature card {path} has mistakes: {'; '.join(problems)}. Correct them.")
    object.__setattr__(card, "path", path.resolve())
    return card


def feature_names() -> list[str]:
    """The names of the package's cards of features."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _folder() -> Path:
    return models_folder() / "features"


def _problems(card: FeatureCard) -> Iterator[str]:
    if not re.fullmatch(r"[\w.-]+", card.name):
        yield f"name {card.name[:60]!r} has more than letters, digits, - and _"
    glued = card.matcher == "lightglue"
    if card.system == ROOTSIFT and glued:
        yield f"{ROOTSIFT} is matched by nearest"
    needed = {EXTRACTOR} if card.system != ROOTSIFT else set()
    needed |= {MATCHER} if glued and needed else set()
    for key in sorted(needed ^ set(card.weights)):
        yield f"weights.{key} {'is missing' if key in needed else 'does not apply'}"
    for key, source in card.weights.items():
        yield from source_problems(f"weights.{key}", source)
