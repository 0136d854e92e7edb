from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from scenes import smooth_scene

from saane_ros.evaluation.charts import Axis, Bars, Series, bar_chart, chart, svg_file
from saane_ros.evaluation.report import Number, Picture, Report

VOID = {"meta", "img"}


class Balanced(HTMLParser):
    """Collects text and fails where a tag is closed that was not opened last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A self-closing tag opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def full_report(image: np.ndarray) -> Report:
    report = Report("Night on day", "A lead with <tags> & ampersands.")
    report.numbers([Number("Recall@1", "0.951", "single image")])
    report.heading("Table")
    report.table(["system", "AUC"], [["saane", "0.91"], ["app", "0.52"]], strong=[0])
    report.charts([(chart([line()], Axis("recall", 0, 1), Axis("precision", 0, 1)), "a curve")])
    report.pictures([Picture(image, "frame 7 <b>", "correct", "good")])
    report.commands("saane map build a && saane localize b")
    report.paragraph("small print", quiet=True)
    return report


def line() -> Series:
    return Series("a & b", np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 0.5]))


def test_report_is_one_well_formed_file_with_its_pictures_inside(tmp_path: Path) -> None:
    image = smooth_scene(1, 48, 64)
    path = tmp_path / "out" / "report.html"
    full_report(image).write(path)
    text = path.read_text(encoding="utf-8")
    page = Balanced()
    page.feed(text)
    assert page.open == []
    shown = " ".join(page.text)
    for part in ("A lead with <tags> & ampersands.", "0.951", "frame 7 <b>", "a && b"):
        assert part in shown.replace("saane map build a && saane localize b", "a && b")
    kind, data = page.images[0].split(",")
    assert kind == "data:image/jpeg;base64"
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    decoded = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    assert np.abs(decoded.astype(int) - image.astype(int)).mean() < 4
    assert not re.search(r"(src|href)=.?https?:", text)
    assert "<script" not in text
    assert list(path.parent.iterdir()) == [path]


def test_strong_rows_and_verdicts_are_marked() -> None:
    text = full_report(smooth_scene(1, 24, 32)).html()
    assert '<tr class="strong"><td>saane</td>' in text
    assert "<tr><td>app</td>" in text
    assert '<b class="good">correct</b>' in text


def test_chart_places_points_linearly_and_drops_those_outside() -> None:
    series = Series("s", np.array([0.0, 5.0, 10.0, 11.0]), np.array([0.0, 1.0, 2.0, 1.0]))
    svg = chart([series], Axis("x", 0, 10), Axis("y", 0, 2))
    root = ElementTree.fromstring(svg)
    points = [
        tuple(map(float, point.split(",")))
        for point in root.find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    ]
    assert len(points) == 3
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == x2 - x1 > 100
    assert y0 - y1 == y1 - y2 > 50
    labels = [element.text for element in root.iter("text")]
    for tick in ("0", "2", "4", "6", "8", "10", "0.5", "1.5"):
        assert tick in labels


def test_dots_are_drawn_one_a_point() -> None:
    series = Series("dots", np.arange(7.0), np.arange(7.0), dots=True)
    root = ElementTree.fromstring(chart([series], Axis("x", 0, 6), Axis("y", 0, 6)))
    group = root.find("g")
    assert group is not None
    assert len(group.findall("circle")) == 7


def test_a_long_legend_takes_rows_and_stays_inside() -> None:
    names = ["a" * 28, "b" * 30, "c" * 12, "d" * 60]
    points = np.array([0.0, 1.0])
    axis = Axis("value", 0.0, 1.0)
    text = chart([Series(name, points, points) for name in names], axis, axis)
    _, top, width, height = map(float, re.search(r'viewBox="([^"]*)"', text)[1].split())
    found = {
        name: (float(x), float(y))
        for x, y, name in re.findall(r'<text x="([\d.]+)" y="(-?[\d.]+)">([abcd]+)<', text)
    }
    assert set(found) == set(names)
    assert all(x + 6.0 * len(name) <= width for name, (x, _) in found.items())
    assert len({y for _, y in found.values()}) == 3
    assert top < min(y for _, y in found.values())
    assert top + height == 300


def test_bars_begin_at_the_base_and_carry_their_spread() -> None:
    bars = [
        Bars("near", np.array([1.5, 0.5, np.nan]), np.array([0.25, 0.0, 0.0])),
        Bars("far", np.array([1.0, 9.0, 1.25]), np.array([0.0, 0.0, 0.5])),
    ]
    text = bar_chart(["road", "a < b", "sky"], bars, Axis("times the mean", 0, 2), 1.0)
    root = ElementTree.fromstring(text)
    drawn = [{k: float(r.attrib[k]) for k in ("x", "y", "width")} for r in root.iter("rect")]
    assert len(drawn) == 5  # what is not known has no bar
    base = drawn[0]["x"]
    unit = 2 * drawn[0]["width"]
    assert unit > 100
    assert drawn[2]["x"] + drawn[2]["width"] == base  # below the base it ends there
    assert drawn[2]["width"] == unit / 2
    assert drawn[1]["width"] == 0
    assert drawn[3]["width"] == unit  # cut off at the end of the axis
    spreads = [p.attrib["d"] for p in root.iter("path") if p.get("class") == "spread"]
    start, end = map(float, re.match(r"M([\d.]+) [\d.]+H([\d.]+)", spreads[0]).groups())
    assert abs(start - (base + unit / 4)) < 0.2
    assert abs(end - (base + 3 * unit / 4)) < 0.2
    assert drawn[1]["y"] - drawn[0]["y"] < drawn[2]["y"] - drawn[1]["y"]
    assert {"road", "a < b", "sky", "near", "far"} <= {t.text for t in root.iter("text")}


def test_a_chart_alone_is_a_file_with_its_colours() -> None:
    line = Series("line", np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    root = ElementTree.fromstring(svg_file(chart([line], Axis("x", 1, 2), Axis("y", 0, 1))))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ".colour0" in str(root.find("{http://www.w3.org/2000/svg}style").text)  # type: ignore[union-attr]
