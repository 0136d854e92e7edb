"""The page of panels: which queries, what is right, and on which scale attention is shown."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.datasets import Dataset, open_datasets
from saane_ros.errors import SaaneError
from saane_ros.evaluation.evaluator import evaluate
from saane_ros.evaluation.panels import chosen_queries, write_panels
from saane_ros.evaluation.searches import search_descriptors


@pytest.fixture
def scenes(tmp_path: Path) -> Dataset:
    """Twelve places by day and darker; the queries 3 and 4 have no match."""
    for side, gain in (("ref", 1.0), ("query", 0.6)):
        (tmp_path / "scenes" / side).mkdir(parents=True)
        for number in range(12):
            image = (smooth_scene(number, 48, 64) * gain).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "scenes" / side / f"{number:02d}.png"), image[..., ::-1])
    rows = "".join(f"{n},{'' if n in (3, 4) else n}\n" for n in range(12))
    truth = tmp_path / "scenes" / "ground_truth.csv"
    truth.write_text(f"query_index,correct_reference_indices\n{rows}")
    return open_datasets(str(tmp_path / "scenes"))[0]


def test_a_number_spreads_over_the_queries_that_have_a_match(scenes: Dataset) -> None:
    assert chosen_queries(scenes, ["2"]) == [0, 11]
    assert chosen_queries(scenes, ["4"]) == [0, 5, 8, 11]
    assert chosen_queries(scenes, ["99"]) == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
    assert chosen_queries(scenes, ["07.png", "03.png"]) == [7, 3]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(["0"], "number above 0"), (["07.pgn"], "such as 07.png"), (["2", "3"], "no query '2'")],
)
def test_what_is_no_query_is_told(scenes: Dataset, wanted: list[str], told: str) -> None:
    with pytest.raises(SaaneError, match=told):
        chosen_queries(scenes, wanted)


def page(dataset: Dataset, path: Path, rows: list[int]) -> str:
    """Of a system that sees and one that finds reference 0 for every query."""
    embedder = ColourGridEmbedder()
    described = [
        np.stack([embedder.embed([images.read(i)])[0].descriptor for i in range(12)])
        for images in (dataset.queries, dataset.references)
    ]
    stuck = np.ones((12, 12), np.float32)
    stuck[1:] += 1
    evaluations = [
        evaluate("seeing", dataset, search_descriptors(*described)),
        evaluate("stuck", dataset, search_descriptors(np.zeros_like(stuck), stuck)),
    ]
    queries = {dataset.name: rows}
    write_panels(evaluations, {"seeing": embedder}, queries, "saane evaluate panels", path)
    return path.read_text()


def figures(html: str, tone: str) -> list[str]:
    """The text of the figures with a border of this tone."""
    found = re.findall(rf'<figure class="{tone}">.*?<figcaption>(.*?)</figcaption>', html)
    return [re.sub(r"<[^>]*>|&\w+;", " ", one) for one in found]


def test_right_and_wrong_have_borders_and_distances(scenes: Dataset, tmp_path: Path) -> None:
    html = page(scenes, tmp_path / "p.html", [0, 5, 3])
    right, wrong = figures(html, "good"), figures(html, "bad")
    assert [" ".join(one.split()[:3]) for one in right] == [
        "seeing: right 00.png,",
        "stuck: right 00.png,",
        "seeing: right 05.png,",
    ]
    assert len(wrong) == 1
    assert "stuck: wrong 00.png, distance 3.464" in " ".join(wrong[0].split())
    assert html.count("the query has no match</figcaption>") == 2  # of query 3, by both
    assert html.count("<b>its place</b>") == 2
    again = page(scenes, tmp_path / "again.html", [0, 5, 3])
    assert again == html


def test_attention_has_one_scale_a_modality_on_the_page(scenes: Dataset, tmp_path: Path) -> None:
    html = page(scenes, tmp_path / "p.html", [0, 5])
    scales = set(re.findall(r'<div class="scale">([\d.]+)<i [^>]*></i>([\d.]+)</div>', html))
    shown = [scenes.queries.read(i) for i in (0, 5)] + [scenes.references.read(i) for i in (0, 5)]
    maps = [one.attention for one in ColourGridEmbedder().embed(shown, attention=True)]
    expected = {
        (f"{min(m[k].min() for m in maps):.3f}", f"{max(m[k].max() for m in maps):.3f}")
        for k in ("appearance", "semantic")
    }
    assert scales == expected
    own = re.findall(r"appearance attention, ([\d.]+) to ([\d.]+)</fig", html)
    assert own[0] == (f"{maps[0]['appearance'].min():.3f}", f"{maps[0]['appearance'].max():.3f}")
    assert len(own) == 4
    assert html.count("segmentation</figcaption>") == 4
    legends = re.findall(r'<div class="legend">(.*?)</div>', html)
    assert len(legends) == 2
    assert {"bright", "dark"} <= set(re.findall(r"</i>(\w+)</span>", legends[0]))
