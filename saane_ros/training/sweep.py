"""How wide a head has to be: one system with several widths C on the benchmarks of `comparison`.

Figure 3 of the SAANE paper is of this kind, with C from 16 to 1024.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.evaluation.charts import Axis, Series, chart, svg_file
from saane_ros.files import replacing_file
from saane_ros.training.comparison import (
    POSTS,
    Figures,
    columns_of,
    described,
    measured,
    open_benchmarks,
    over_seeds,
    table_of,
    trained_head,
)
from saane_ros.training.pipeline import on_fabric, shared_data
from saane_ros.training.run import Run

RAW = {"raw": POSTS["raw"]}
CURVES = {"paper": "auc_paper", "headline": "auc_headline"}
SERIES = 6
"""Lines that one chart can hold."""


def sweep(run: Run, channels: Sequence[int], results: Path) -> str:
    """Train the configuration's system at every width and seed that is not trained yet; the table.

    Finished heads are kept in `run.out`/channels-<C>/heads, those of the configuration's own width
    shared with `saane train table`.  Writes <configuration>-channels.json, .md, and an .svg of the
    areas for both conventions.
    """
    wanted = run.config.comparison
    if wanted is None:
        raise SaaneError(f"{run.config.path} has no section `comparison`: add it.")
    if min(channels) < run.card.head.reduction:
        raise SaaneError(
            f"A head of {min(channels)} channels is narrower than its attention's reduction of "
            f"{run.card.head.reduction}: give --channels at least that, or a smaller reduction."
        )
    run, fabric = on_fabric(run)
    network = run.network()
    with fabric.rank_zero_first(local=False):
        benchmarks = [b for name in wanted.datasets for b in open_benchmarks(run, network, name)]
    data = shared_data(run, network, fabric)
    figures: list[Figures] = []
    widths = sorted(set(channels))
    for width in widths:
        own = of_width(run, width)
        for seed in wanted.seeds:
            head = trained_head(own, run.card.system, seed, data, fabric)
            for benchmark in benchmarks:
                rows = described(head, benchmark, run.device)
                figures += measured(f"C = {width}", seed, benchmark.dataset, rows, RAW)
    if fabric.is_global_zero:
        _write(results / f"{run.config.path.stem}-channels", run.card.system, widths, figures)
    return _table(figures)


def of_width(run: Run, channels: int) -> Run:
    """The run with another width of the head, and with its heads in a folder of their own."""
    if channels == run.card.head.channels:
        return run
    head = {**run.config.model.get("head", {}), "channels": channels}
    config = replace(run.config, model={**run.config.model, "head": head})
    return replace(run, config=config, out=run.out / f"channels-{channels}")


def _table(figures: Sequence[Figures]) -> str:
    names = dict.fromkeys(f.system for f in figures)
    return table_of(figures, [(name, post) for name in names for post in RAW], costs=True)


def sweep_chart(widths: Sequence[int], figures: Sequence[Figures], curve: str) -> str:
    """Mean area over the seeds by width, a line a column of the table, as SVG."""
    columns = list(dict.fromkeys(title for f in figures for title in columns_of(f)))[:SERIES]
    by_width = [[f for f in figures if f.system == f"C = {width}"] for width in widths]
    series = [
        Series(
            column,
            np.array(widths, np.float64),
            np.array([np.mean(over_seeds(column, rows, CURVES[curve])) for rows in by_width]),
        )
        for column in columns
    ]
    low, high = min(widths), max(widths)
    x = Axis("C", low if low < high else low / 2, high if low < high else 2 * high, log2=True)
    return chart(series, x, Axis(f"AUC, {curve}", 0, 1))


def _write(stem: Path, system: str, widths: Sequence[int], figures: Sequence[Figures]) -> None:
    values = {"system": system, "channels": widths, "figures": [vars(f) for f in figures]}
    texts = {
        ".json": json.dumps(values, indent=1),
        ".md": _table(figures) + "\n",
        **{f"-{c}.svg": svg_file(sweep_chart(widths, figures, c)) for c in CURVES},
    }
    for suffix, text in texts.items():
        with replacing_file(stem.with_name(stem.name + suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")
