"""Datasets by name, YAML and folder, and the sentences for what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from saane_ros.data.datasets import open_datasets, open_places
from saane_ros.data.datasets.registry import READERS, descriptions
from saane_ros.errors import SaaneError


def test_every_described_dataset_says_what_it_is_and_where_it_is_got() -> None:
    found = {described.name: described for described in descriptions()}
    wanted = {"nordland-1h-clean", "nordland-1403", "st_lucia", "robotcar-am-pm", "msls-val"}
    assert wanted <= found.keys()
    assert {described.reader for described in found.values()} | {"recorded", "at_tree"} == set(
        READERS
    )
    for described in found.values():
        assert described.source.endswith("--root.")


def test_st_lucia_searches_nine_sessions_in_the_first() -> None:
    (lucia,) = [one for one in descriptions() if one.name == "st_lucia"]
    assert lucia.options.reference == "100909_0845"
    assert len(set(lucia.options.queries)) == 9


@pytest.mark.parametrize("name", [d.name for d in descriptions() if d.reader != "town"])
def test_absent_data_is_told_with_its_source(name: str, tmp_path: Path) -> None:
    (described,) = [one for one in descriptions() if one.name == name]
    with pytest.raises(SaaneError) as told:
        open_datasets(name, tmp_path)
    assert described.source in str(told.value)


def test_a_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(SaaneError, match="did you mean corridor"):
        open_datasets("coridor")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reader: magic\n", "names no known reader"),
        ("- a\n", "names no known reader"),
        ("a: [\n", "is not YAML"),
        ("reader: pairs\nframs: 2\n", "unknown key frams"),
        ("reader: pairs\nframes: two\n", "frames is 'two' instead of a whole number"),
        ("reader: pairs\nevery: 0\n", "every >= 1"),
        ("reader: nordland\nqueries: monsoon\n", "'monsoon' instead of one of spring"),
    ],
)
def test_mistakes_of_a_file_are_told(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SaaneError, match=told):
        open_datasets(str(path))


def test_a_folder_of_no_known_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="no layout known here"):
        open_datasets(str(tmp_path))


def test_a_dataset_without_places_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="no places to train on"):
        open_places("corridor", tmp_path)
