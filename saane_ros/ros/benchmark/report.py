"""What `make bench` found, dated, beside what it found before on the same machine.

`python -m saane_ros.ros.benchmark.report` gathers the figures in out/, writes
results/bench/<date>-<machine>.json and a row of results/bench/README.md, and prints the ratios that
fell since the latest earlier report.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from saane_ros import __version__
from saane_ros.embedding.choice import machine, versions
from saane_ros.embedding.engines import ONNX, OPENVINO
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.reading import read_text
from saane_ros.ros.benchmark.__main__ import TARGET_AGE, TARGET_COST_MS

TARGET_FRAME_MS = 5.0
"""Of a frame in a map of a million places."""
FELL = 0.1
"""A ratio that is less by more than this share is told."""
TABLE = "README.md"
_HEAD = """# Speed

Written by `make bench`, a row a run. Every ratio is better the larger it is: of the node, the
image's age, maps and points, the target over what was measured; of RobotCar, frames over those of
decoding and encoding alone; of building, places of a bag over its images embedded alone; of an
engine that finds as many places, the time of PyTorch in float32 over its own. Compare rows of one
machine.

"""


def ratios(folder: Path) -> dict[str, float]:
    """The ratios of the benchmarks whose figures lie in a folder, by name."""
    found = {}
    node = folder / "bench.json"
    if node.is_file():
        figures = _figures(node)
        found["node"] = TARGET_COST_MS / figures["node_cost_ms"]["total"]["p95"]
        found["image age"] = TARGET_AGE / figures["overload"]["age_ratio"]
    for name in ("robotcar", "build"):
        if (path := folder / f"bench-{name}.json").is_file():
            found[name] = _figures(path)["ratio"]
    maps, points = folder / "bench-maps.json", folder / "bench-metric.json"
    if maps.is_file():
        for count, one in _figures(maps).items():
            found[f"{int(count):,} places"] = TARGET_FRAME_MS / one["frame_ms"]
    if points.is_file():
        cost = _figures(points)
        found["points"] = cost["budget_ms"] / cost["frame_p95_ms"]
    engines = folder / "bench-engines.json"
    return found | (engine_ratios(engines) if engines.is_file() else {})


def engine_ratios(path: Path) -> dict[str, float]:
    """The speed of every engine that finds as many places, as a ratio to the first of a device."""
    found = {}
    for device, figures in _figures(path).items():
        height, width = figures["size"]
        of = f"{figures['model']} {height}x{width}"
        for name, row in list(figures["trials"].items())[1:]:
            if row.get("equal_recall"):
                found[f"{of} {device} {name}"] = row["ratio"]
    return found


def report_of(found: Mapping[str, float], figures: Mapping[str, Any]) -> dict[str, Any]:
    """A report: what was measured, when, where, on which commit and with what versions."""
    libraries: dict[str, str] = {}
    for engine in (ONNX, OPENVINO):
        libraries |= versions(engine)
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "machine": machine("cpu"),
        "python": sys.version.split()[0],
        "versions": libraries,
        "ratios": {name: round(value, 3) for name, value in found.items()},
        "figures": dict(figures),
    }


def keep_report(report: Mapping[str, Any], folder: Path) -> Path:
    """Write a report and its row."""
    key = hashlib.sha256(report["machine"].encode()).hexdigest()[:6]
    stamp = report["date"].translate(str.maketrans("", "", "-:"))
    path = folder / f"{stamp}-{key}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as part:
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    rows = [table_row(one) for one in reports(folder)]
    head = "| date | commit | machine | ratios |\n|---|---|---|---|\n"
    with replacing_file(folder / TABLE) as part:
        part.write_text(_HEAD + head + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def table_row(report: Mapping[str, Any]) -> str:
    """A report as a row of the table."""
    told = ", ".join(f"{name} {value:.2f}" for name, value in report["ratios"].items())
    return f"| {report['date'][:10]} | {report['commit']} | {report['machine']} | {told} |"


def reports(folder: Path) -> list[dict[str, Any]]:
    """The reports of a folder, the oldest first."""
    found = [_figures(path) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda report: str(report["date"]))


def fallen(report: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, float]:
    """The ratios that fell by more than a tenth, each as what is left of the earlier one."""
    if earlier is None:
        return {}
    left = {
        name: value / earlier["ratios"][name]
        for name, value in report["ratios"].items()
        if earlier["ratios"].get(name)
    }
    return {name: share for name, share in left.items() if share < 1 - FELL}


def latest(folder: Path, machine_name: str) -> dict[str, Any] | None:
    """The latest report of a machine, None where there is none."""
    own = [report for report in reports(folder) if report["machine"] == machine_name]
    return own[-1] if own else None


def _figures(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path, "The benchmark's report"))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SaaneError(f"The benchmark's report {path} holds no figures: remove it.")
    return document


def _commit() -> str:
    """The commit of the sources, with a + where they were changed; else the release."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        text = subprocess.run(
            [*git, "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return text.strip()


def main(arguments: list[str] | None = None) -> int:
    """Gather, measure, write, compare."""
    parser = argparse.ArgumentParser(description="Write a dated report of the benchmarks.")
    parser.add_argument("--figures", type=Path, default=Path("out"), help="%(default)s")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="%(default)s")
    options = parser.parse_args(arguments)
    found = ratios(options.figures)
    paths = sorted(options.figures.glob("bench*.json"))
    figures = {path.stem: _figures(path) for path in paths}
    report = report_of(found, figures)
    earlier = latest(options.out, report["machine"])
    path = keep_report(report, options.out)
    print(table_row(report))
    print(f"written to {path}")
    if earlier is None:
        print("It is the first report of this machine.")
    for name, share in fallen(report, earlier).items():
        print(f"{name} fell to {share:.2f} of what it was on {earlier and earlier['date'][:10]}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
