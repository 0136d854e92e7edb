"""Model cards read from YAML: the package's own, by name, and any file; and their mistakes."""

from __future__ import annotations

import difflib
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.paths import share_folder
from saane_ros.reading import parse_yaml, read_text
from saane_ros.weights.card_rules import expand_shorthand, rule_problems
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.schema import read_mapping


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card of that name in the package's models/, or the card in that file."""
    path = Path(name_or_path).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = shipped_card(str(name_or_path), models_folder(), "model")
    return parse_card(read_text(path, "Model card"), path)


def parse_card(text: str, path: Path) -> ModelCard:
    """A card from its YAML text; all its mistakes are told in one SaaneError."""
    values = parse_yaml(text, path, "Model card")
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


def shipped_card(name: str, folder: Path, what: str) -> Path:
    """The package's card of that name in a folder of them; SaaneError tells those there are."""
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name in names:
        return folder / f"{name}.yaml"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? The" if close else "the"
    raise SaaneError(
        f"There is no {what} {name!r}: {hint} {what}s are {', '.join(names) or 'none'}; "
        "a card of your own is given as the path of its .yaml file."
    )
