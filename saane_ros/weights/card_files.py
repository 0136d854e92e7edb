"""Model cards read from YAML: the package's own, by name, and any file; and their mistakes."""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml

from saane_ros.errors import SaaneError
from saane_ros.paths import share_folder
from saane_ros.weights.card_rules import expand_shorthand, rule_problems
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.schema import read_mapping


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card of that name in the package's models/, or the card in that file."""
    path = Path(name_or_path).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = _path_of(str(name_or_path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SaaneError(
            f"Model card {path} cannot be read ({error}): give the path of a card or one of the "
            f"names {', '.join(card_names())}."
        ) from error
    return parse_card(text, path)


def parse_card(text: str, path: Path) -> ModelCard:
    """A card from its YAML text; all its mistakes are told in one SaaneError."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SaaneError(f"Model card {path} is not YAML ({reason}): correct it.") from error
    problems: list[str] = []
    values = expand_shorthand(values, problems)
    card = read_mapping(ModelCard, values, "", problems)
    if card is not None:
        problems.extend(rule_problems(card))
    if card is None or problems:
        raise SaaneError(f"Model card {path} has mistakes: {'; '.join(problems)}. Correct them.")
    object.__setattr__(card, "path", path.resolve())
    return card


def card_names() -> list[str]:
    """The names of the package's cards."""
    return sorted(path.stem for path in models_folder().glob("*.yaml"))


def list_cards() -> list[ModelCard]:
    """The package's cards, by name."""
    return [load_card(name) for name in card_names()]


def models_folder() -> Path:
    """The package's own models/."""
    return share_folder() / "models"


def _path_of(name: str) -> Path:
    names = card_names()
    if name in names:
        return models_folder() / f"{name}.yaml"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? The" if close else "the"
    raise SaaneError(
        f"There is no model {name!r}: {hint} models are {', '.join(names) or 'none'}; "
        "a card of your own is given as the path of its .yaml file."
    )
