"""A report that is one HTML file: no scripts, no assets beside it, readable in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.evaluation.report_style import STYLE
from saane_ros.files import replacing_file
from saane_ros.types import Rgb


@dataclass(frozen=True)
class Number:
    """One figure worth seeing first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption; `tone` ("good", "bad", "warn") colours a short verdict.

    scale: what the darkest and the brightest of inferno's colours stand for, of an attention map.
    """

    image: Rgb
    caption: str
    verdict: str = ""
    tone: str = ""
    scale: tuple[str, str] | None = None


class Report:
    """Collects sections in reading order and writes them. All text is escaped."""

    def __init__(self, title: str, lead: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(lead)}</p>']

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def subheading(self, text: str, depth: int = 1) -> None:
        self._parts.append(f"<h{2 + depth}>{escape(text)}</h{2 + depth}>")

    def paragraph(self, text: str, quiet: bool = False) -> None:
        self._parts.append(f"<p{_class('note' if quiet else '')}>{escape(text)}</p>")

    def numbers(self, numbers: Sequence[Number]) -> None:
        """The figures to see first, as cards."""
        cards = "".join(
            f'<div class="number"><b>{escape(one.value)}</b><span>{escape(one.label)}</span>'
            f"<small>{escape(one.note)}</small></div>"
            for one in numbers
        )
        self._parts.append(f'<div class="numbers">{cards}</div>')

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], strong: Sequence[int] = ()
    ) -> None:
        """Rows of text under column names; the rows listed in `strong` stand out."""
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(
            f"<tr{_class('strong' if index in strong else '')}>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in row)
            + "</tr>"
            for index, row in enumerate(rows)
        )
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def pictures(self, pictures: Sequence[Picture]) -> None:
        """Pictures one below the other, as JPEG inside the file."""
        self._parts.append(f'<div class="pictures">{"".join(map(_figure, pictures))}</div>')

    def tiles(self, pictures: Sequence[Picture]) -> None:
        """Small pictures, as many side by side as have room; the tone colours their border too."""
        figures = "".join(_figure(one, one.tone) for one in pictures)
        self._parts.append(f'<div class="tiles">{figures}</div>')

    def legend(self, colours: Sequence[tuple[str, Sequence[int]]]) -> None:
        """What colours (red, green, blue) stand for."""
        entries = "".join(
            f'<span><i style="background:rgb({",".join(str(int(part)) for part in rgb)})"></i>'
            f"{escape(name)}</span>"
            for name, rgb in colours
        )
        self._parts.append(f'<div class="legend">{entries}</div>')

    def charts(self, charts: Sequence[tuple[str, str]]) -> None:
        """(svg, caption) pairs, side by side where there is room; the SVG is taken as it is."""
        figures = "".join(
            f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
            for svg, caption in charts
        )
        self._parts.append(f'<div class="charts">{figures}</div>')

    def commands(self, text: str) -> None:
        """Lines to be typed, kept as they are."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def html(self) -> str:
        """The whole document."""
        body = "\n".join(self._parts)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{STYLE}</style>\n</head>\n"
            f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        )

    def write(self, path: Path) -> None:
        with replacing_file(path) as temporary:
            temporary.write_text(self.html(), encoding="utf-8", errors="backslashreplace")


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _figure(picture: Picture, border: str = "") -> str:
    return (
        f"<figure{_class(border)}>"
        f'<img alt="{escape(picture.caption)}" src="{_data_uri(picture.image)}">{_scale(picture)}'
        f"<figcaption>{_verdict(picture)}{escape(picture.caption)}</figcaption></figure>"
    )


def _scale(picture: Picture) -> str:
    if picture.scale is None:
        return ""
    low, high = map(escape, picture.scale)
    bar = f'<i style="background:linear-gradient(to right,{",".join(_INFERNO)})"></i>'
    return f'<div class="scale">{low}{bar}{high}</div>'


def _inferno(stops: int) -> list[str]:
    """Colours of the map of `overlay_attention` from its lowest to its highest value."""
    levels = np.linspace(0, 255, stops).round().astype(np.uint8)[:, None]
    return [
        f"rgb({red},{green},{blue})"
        for blue, green, red in cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, 0].tolist()
    ]


_INFERNO = _inferno(9)


def _verdict(picture: Picture) -> str:
    if not picture.verdict:
        return ""
    return f"<b{_class(picture.tone)}>{escape(picture.verdict)}</b>&ensp;"


def _data_uri(image: Rgb) -> str:
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85]
    )
    if not encoded:
        raise SaaneError(f"A picture of shape {image.shape} could not be written as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
