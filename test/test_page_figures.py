"""The page of models: its table of trained heads says what the results say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def measured(trunk: str, system: str, post: str, benchmark: str) -> float:
    figures = json.loads((ROOT / "results" / f"saane-{trunk}.json").read_text())["figures"]
    wanted = {"system": system, "post": post, "benchmark": benchmark}
    recalls = [f["recall"] for f in figures if wanted.items() <= f.items()]
    assert recalls, wanted
    return float(np.mean(recalls))


def test_every_cell_is_the_mean_over_seeds() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    found = re.search(r"<!-- heads -->\n(.*?)\n<!-- /heads -->", page, re.DOTALL)
    assert found is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines()]
    benchmarks = rows[0][1:]
    assert len(rows) > 8
    for title, *cells in rows[2:]:
        trunk, system = title.split(", ")
        system = re.sub(r"^(untrained trunk|whitened trunk) ", r"\1, ", system)
        results = {"EfficientNet-Lite2": "street"}.get(trunk, trunk.lower().replace("-", ""))
        for benchmark, cell in zip(benchmarks, cells, strict=True):
            expected = [
                f"{measured(results, system, post, benchmark):.3f}" for post in ("raw", "mean")
            ]
            assert cell.split(" / ") == expected, (title, benchmark)
