"""A paper's table: what its file may say, and that of config/paper.yaml."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saane_ros.data.datasets.registry import descriptions
from saane_ros.errors import SaaneError
from saane_ros.evaluation.published_table import authors_section, read_published_table
from saane_ros.weights.card_files import list_cards, load_card

PAPER = Path(__file__).resolve().parents[2] / "config" / "paper.yaml"


def test_the_paper_has_ten_systems_and_five_columns() -> None:
    table = read_published_table(PAPER)
    assert len(table.rows) == 10
    assert len(table.columns) == 5
    assert set(table.datasets) <= {one.name for one in descriptions()}
    systems = [load_card(model).system for model in table.models]
    ours = ["app", "app_att", "app_att_sem_att", "app_sem", "saane"]
    others = ["amosnet", "apanet", "apanet_mm", "dense_vlad", "netvlad"]
    assert sorted(systems) == sorted([*ours, *others])


def test_the_figures_have_the_differences_that_the_paper_shows() -> None:
    """A slip of typing would change a mean gain."""
    published = {row.title: np.array(row.published) for row in read_published_table(PAPER).rows}
    best = published["SAANE"]
    assert all((best >= figures).all() for figures in published.values())
    gains = {name: (best - figures).mean() for name, figures in published.items()}
    assert gains["App"] == pytest.approx(15.88)
    assert gains["AMOSNet"] == pytest.approx(15.1)
    assert gains["NetVLAD"] == pytest.approx(25.84)
    assert all(figures[2] < figures[1] for figures in published.values())


GOOD = """\
source: a paper
columns: [{title: one, dataset: corridor}]
rows: [{title: mine, model: x.npz, published: [50.0]}]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[50.0]", "[50.0, 1.0]", "mine has 2 figures"),
        ("dataset: corridor", "dataset: corridor, over_sets: best", "over_sets is 'best' instead"),
        ("source", "sauce", "unknown key sauce; missing key source"),
        ("[{title: mine, model: x.npz, published: [50.0]}]", "[]", "no columns or no rows"),
        (GOOD, "- 1", "must be a mapping"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(GOOD)
    assert read_published_table(path).datasets == ["corridor"]
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SaaneError, match=told):
        read_published_table(path)


def test_what_authors_published_is_marked_and_told_by_protocol() -> None:
    cards = list_cards()
    section = authors_section(cards)
    assert len(section.rows) == sum(len(card.published) for card in cards)
    (row,) = [r for r in section.rows if r[0] == "salad-dinov2-vitb14" and r[1] == "Nordland"]
    assert row[2:4] == [
        "[76.0]",
        "2,760 queries of summer among 27,592 references of winter, right within 1 frame",
    ]
    assert all(cell.startswith("[") and cell.endswith("]") for _, _, cell, *_ in section.rows)
