"""What is told beside a table of the data that its models were trained on."""

from __future__ import annotations

from pathlib import Path

from saane_ros.evaluation.model_notes import training_notes


def test_cards_tell_what_they_were_trained_on(tmp_path: Path) -> None:
    specs = [
        "saane-town",
        "saane-town:app:std",
        "dense-vlad",
        "trunk:resnet18:max",
        "scores.npz",
        str(tmp_path),
    ]
    notes = training_notes(specs)
    assert list(notes) == specs[:3]
    assert "Synthetic towns" in notes["saane-town:app:std"]
    assert "600 images" in notes["dense-vlad"]
