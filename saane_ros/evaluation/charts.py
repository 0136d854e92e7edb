"""Charts as SVG text, drawn with the report's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.report_style import STYLE

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 40
_LEGEND_ROW = 18
_NAMES, _BAR, _BETWEEN = 130, 9, 9
"""Of a bar chart: room for the names, thickness of a bar, room between two names' bars."""


@dataclass(frozen=True)
class Series:
    """One named run of points x (P,) and y (P,), joined by a line or left as dots."""

    name: str
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    dots: bool = False


@dataclass(frozen=True)
class Bars:
    """One named run of bars (P,), and how far their values spread to both sides (P,)."""

    name: str
    values: NDArray[np.floating]
    spreads: NDArray[np.floating]


@dataclass(frozen=True)
class Axis:
    """A labelled range of values; log2: by powers of two, each as far from the next."""

    label: str
    low: float
    high: float
    log2: bool = False


def chart(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Up to six series over common axes, with a legend above; values outside are cut off."""
    parts = [*_axes(x, y), *(_drawn(one, x, y, index) for index, one in enumerate(series))]
    return _with_legend([one.name for one in series], parts, _HEIGHT)


def bar_chart(names: Sequence[str], bars: Sequence[Bars], x: Axis, base: float) -> str:
    """A bar of each run beside every name, from `base` to its value, with its spread as a line."""
    step = len(bars) * _BAR + _BETWEEN
    bottom = _TOP + step * len(names)
    right = _WIDTH - _RIGHT

    def place(value: float) -> float:
        return _place(min(max(value, x.low), x.high), x, _NAMES, right)

    parts = _upright(x, _NAMES, right, bottom, grid=True)
    zero = place(base)
    for row, name in enumerate(names):
        top = _TOP + step * row + _BETWEEN / 2
        middle = top + len(bars) * _BAR / 2
        parts.append(
            f'<text x="{_NAMES - 8}" y="{middle + 4:g}" text-anchor="end">{escape(name)}</text>'
        )
        for index, one in enumerate(bars):
            value, spread = float(one.values[row]), float(one.spreads[row])
            if not np.isfinite(value):
                continue
            end, y = place(value), top + _BAR * index
            parts.append(
                f'<rect class="colour{index}" fill="currentColor" x="{min(zero, end):.1f}" '
                f'y="{y:g}" width="{abs(end - zero):.1f}" height="{_BAR - 1}"/>'
                f'<path class="spread" d="M{place(value - spread):.1f} {y + _BAR / 2 - 0.5:g}'
                f'H{place(value + spread):.1f}"/>'
            )
    parts.append(f'<path class="base" d="M{zero:.1f} {_TOP}V{bottom}"/>')
    return _with_legend([one.name for one in bars], parts, bottom + _BOTTOM)


def svg_file(drawn: str) -> str:
    """A chart as a file of its own: it brings its colours, light and dark."""
    start = '<svg xmlns="http://www.w3.org/2000/svg" '
    return drawn.replace("<svg ", start, 1).replace(">", f"><style>{STYLE}</style>", 1) + "\n"


def _with_legend(names: Sequence[str], parts: Sequence[str], bottom: float) -> str:
    rows = _legend_rows(names)
    above = _LEGEND_ROW * max(len(rows) - 1, 0)
    box = f"0 {-above} {_WIDTH} {bottom + above:g}"
    whole = [f'<svg viewBox="{box}" role="img">', *parts]
    for number, row in enumerate(rows):
        height = 14 - above + _LEGEND_ROW * number
        for index, at in row:
            whole.append(
                f'<circle class="colour{index}" fill="currentColor" cx="{at + 5:g}" '
                f'cy="{height}" r="4"/>'
                f'<text x="{at + 14:g}" y="{height + 4}">{escape(names[index])}</text>'
            )
    return "\n".join([*whole, "</svg>"])


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
    middle = (_TOP + bottom) / 2
    parts += _upright(x, _LEFT, right, bottom)
    parts.append(
        f'<text transform="translate(12 {middle:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    return parts


def _upright(x: Axis, left: float, right: float, bottom: float, grid: bool = False) -> list[str]:
    """Ticks and label of the x axis, with lines through the picture where it has a grid."""
    parts = []
    for value in _ticks(x):
        place = _place(value, x, left, right)
        if grid:
            parts.append(f'<path class="axis" d="M{place:.1f} {_TOP}V{bottom:g}"/>')
        parts.append(
            f'<text x="{place:.1f}" y="{bottom + 17:g}" text-anchor="middle">{value:g}</text>'
        )
    parts.append(
        f'<text x="{(left + right) / 2:g}" y="{bottom + 34:g}" text-anchor="middle">'
        f"{escape(x.label)}</text>"
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
    """Four to eight round values inside the axis, or every power of two."""
    if axis.log2:
        low, high = np.log2(axis.low), np.log2(axis.high)
        return np.exp2(np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1))
    rough = (axis.high - axis.low) / 5
    magnitude = 10.0 ** np.floor(np.log10(rough))
    step = magnitude * min((1, 2, 5, 10), key=lambda factor: abs(factor * magnitude - rough))
    first = np.ceil(axis.low / step - 1e-9) * step
    ticks = np.arange(first, axis.high + step * 1e-6, step, dtype=np.float64)
    return np.asarray(np.round(ticks, 10) + 0.0, np.float64)  # no minus zero


def _place(value: float, axis: Axis, start: float, end: float) -> float:
    low, high = axis.low, axis.high
    if axis.log2:
        value, low, high = float(np.log2(value)), float(np.log2(low)), float(np.log2(high))
    return float(start + (value - low) / (high - low) * (end - start))
