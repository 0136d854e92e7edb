"""Charts as SVG text, drawn with the report's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 40
_LEGEND_ROW = 18


@dataclass(frozen=True)
class Series:
    """One named run of points x (P,) and y (P,), joined by a line or left as dots."""

    name: str
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """A labelled range of values."""

    label: str
    low: float
    high: float


def chart(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Up to four series over common axes, with a legend above; values outside are cut off."""
    rows = _legend_rows([one.name for one in series])
    above = _LEGEND_ROW * max(len(rows) - 1, 0)
    box = f"0 {-above} {_WIDTH} {_HEIGHT + above}"
    parts = [f'<svg viewBox="{box}" role="img">', *_axes(x, y)]
    parts += [_drawn(one, x, y, index) for index, one in enumerate(series)]
    for number, row in enumerate(rows):
        height = 14 - above + _LEGEND_ROW * number
        for index, at in row:
            parts.append(
                f'<circle class="colour{index}" fill="currentColor" cx="{at + 5:g}" '
                f'cy="{height}" r="4"/>'
                f'<text x="{at + 14:g}" y="{height + 4}">{escape(series[index].name)}</text>'
            )
    return "\n".join([*parts, "</svg>"])


def _legend_rows(names: Sequence[str]) -> list[list[tuple[int, float]]]:
    """Index and left end of every name, in as many rows as the width asks for."""
    rows: list[list[tuple[int, float]]] = []
    at = float(_WIDTH)
    for index, name in enumerate(names):
        width = 30 + 6.6 * len(name)
        if at + width > _WIDTH:
            rows.append([])
            at = float(_LEFT)
        rows[-1].append((index, at))
        at += width
    return rows


def _axes(x: Axis, y: Axis) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value in _ticks(y):
        height = _place(value, y, bottom, _TOP)
        parts.append(f'<path class="axis" d="M{_LEFT} {height:.1f}H{right}"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in _ticks(x):
        place = _place(value, x, _LEFT, right)
        parts.append(
            f'<text x="{place:.1f}" y="{bottom + 17}" text-anchor="middle">{value:g}</text>'
        )
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text x="{(_LEFT + right) / 2:g}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x.label)}</text>"
        f'<text transform="translate(12 {middle:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    return parts


def _drawn(series: Series, x: Axis, y: Axis, index: int) -> str:
    inside = (series.x >= x.low) & (series.x <= x.high) & (series.y >= y.low) & (series.y <= y.high)
    points = [
        (_place(u, x, _LEFT, _WIDTH - _RIGHT), _place(v, y, _HEIGHT - _BOTTOM, _TOP))
        for u, v in zip(series.x[inside], series.y[inside], strict=True)
    ]
    if series.dots:
        circles = "".join(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="1.8"/>' for u, v in points)
        return f'<g class="colour{index}" fill="currentColor" fill-opacity="0.75">{circles}</g>'
    line = " ".join(f"{u:.1f},{v:.1f}" for u, v in points)
    return (
        f'<polyline class="colour{index}" points="{line}" fill="none" '
        'stroke="currentColor" stroke-width="2" stroke-linejoin="round"/>'
    )


def _ticks(axis: Axis) -> NDArray[np.float64]:
    """Four to eight round values inside the axis."""
    rough = (axis.high - axis.low) / 5
    magnitude = 10.0 ** np.floor(np.log10(rough))
    step = magnitude * min((1, 2, 5, 10), key=lambda factor: abs(factor * magnitude - rough))
    first = np.ceil(axis.low / step - 1e-9) * step
    ticks = np.arange(first, axis.high + step * 1e-6, step, dtype=np.float64)
    return np.asarray(np.round(ticks, 10) + 0.0, np.float64)  # no minus zero


def _place(value: float, axis: Axis, start: float, end: float) -> float:
    return float(start + (value - axis.low) / (axis.high - axis.low) * (end - start))
