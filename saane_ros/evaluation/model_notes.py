"""What the models of a table were trained on, so that little data is told beside the figures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from saane_ros.embedding.untrained import PREFIX
from saane_ros.errors import SaaneError
from saane_ros.evaluation.model_specs import ARRAY_SUFFIXES
from saane_ros.evaluation.postprocessed import split_suffix
from saane_ros.model.heads import HEADS
from saane_ros.weights.card_files import load_card


def training_notes(specs: Sequence[str]) -> dict[str, str]:
    """`trained_on` of every specification that names a card."""
    notes = {}
    for spec in specs:
        plain, _ = split_suffix(spec)
        card, _, wiring = plain.rpartition(":")
        name = card if wiring in HEADS and card else plain
        path = Path(name).expanduser()
        if name.startswith(PREFIX) or path.is_dir() or path.suffix in ARRAY_SUFFIXES:
            continue
        with suppress(SaaneError):
            notes[spec] = load_card(name).trained_on
    return {spec: note for spec, note in notes.items() if note}
