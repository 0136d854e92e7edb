"""Which file may import which, read from the source: the order of the house, and no way round it.

The tables are the architecture. A sentence here names the importer and the imported; to mend it,
move what both need further down.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "saane_ros"
MOST_LINES = 400

Floors = tuple[tuple[str, ...], ...]
FLOORS: Floors = (
    ("errors", "types", "geodesy", "progress"),
    ("files", "paths", "reading"),
    ("settings", "model", "messages"),
    ("weights", "simulation", "visualization"),
    ("embedding", "data"),
    ("metric",),
    ("route_map",),
    ("localization",),
    ("evaluation", "ros", "fleet"),
    ("training", "demo"),
    ("commands",),
    ("cli",),
)
"""Files and folders of the package, lowest floor first: each imports itself and floors below it.

So the model, which lies beside files, paths and messages, knows nothing of any of them.
"""

DATA: Floors = (
    ("selection", "frame_check", "in_order", "poses"),
    ("images",),
    ("bags",),
    ("robotcar",),
    ("datasets",),
)
"""The rooms of `data/` alike: a data set may be in bags, no bag knows data sets."""

ROS_FOLDERS = ("ros",)
"""Folders that may import ROS: the nodes, and what listens to them.

`messages/` converts by fields alone, through cv_bridge where that is installed.
"""
ROS_PACKAGES = (
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_updater",
    "launch",
    "launch_ros",
    "message_filters",
    "rcl_interfaces",
    "rclpy",
    "rosbag2_py",
    "tf2_ros",
)
ROS_SUFFIXES = ("_msgs", "_msgs_py", "_srvs")


@dataclass(frozen=True)
class Import:
    """One file imports another, or a foreign package.  typing: under TYPE_CHECKING alone."""

    importer: str
    imported: str
    line: int
    typing: bool = False


def modules_below(root: Path) -> dict[str, Path]:
    """Every module of the package in `root`, by its dotted name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, source: str, modules: dict[str, Path]) -> list[Import]:
    """All imports of a file, those inside functions too; names of modules are told from others."""
    return [
        Import(module, name if name in modules else owner, line, typing)
        for node, typing in _statements(ast.parse(source), False)
        for owner, name, line in _named(node, module, modules)
    ]


def _statements(node: ast.AST, typing: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        guard = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield child, typing
        yield from _statements(child, typing or guard)


def _named(node: ast.AST, module: str, modules: dict[str, Path]) -> Iterator[tuple[str, str, int]]:
    """(module, module or name in it, line) of every name that an import statement brings."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, alias.name, node.lineno
    elif isinstance(node, ast.ImportFrom):
        owner = node.module or ""
        if node.level:
            is_package = module in modules and modules[module].name == "__init__.py"
            parts = module.split(".")[: None if is_package else -1]
            parts = parts[: len(parts) - node.level + 1]
            owner = ".".join([*parts, *filter(None, [node.module])])
        for alias in node.names:
            yield owner, f"{owner}.{alias.name}", node.lineno


def floor_faults(
    imports: Sequence[Import], inside: str, floors: Sequence[Sequence[str]]
) -> set[str]:
    """Sentences on imports between the parts of `inside` that do not lead downwards."""
    height = {part: number for number, floor in enumerate(floors) for part in floor}
    faults = set()
    for found in imports:
        here, there = _part(found.importer, inside), _part(found.imported, inside)
        if here and here not in height:
            faults.add(f"{found.importer} is in no floor of the table: add {here}.")
        elif here and there in height and here != there and height[here] <= height[there]:
            faults.add(
                f"{found.importer}, line {found.line}, imports {found.imported}, but {here} lies "
                f"{'beside' if height[here] == height[there] else 'below'} {there}."
            )
    return faults


def _part(module: str, inside: str) -> str:
    """The file or folder of `inside` that a module is or lies in; empty for all others."""
    start = f"{inside}."
    return module[len(start) :].split(".")[0] if module.startswith(start) else ""


def cycles(imports: Sequence[Import]) -> list[list[str]]:
    """Groups of modules that import each other, by whatever way round; each sorted by name."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        graph.setdefault(found.importer, set()).add(found.imported)
        graph.setdefault(found.imported, set())
    reach = {start: _reached(graph, start) for start in graph}
    groups = {
        tuple(sorted(other for other in graph if other in reach[start] and start in reach[other]))
        for start in graph
    }
    return [list(group) for group in sorted(groups) if group]


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(graph[module])
    return seen


def is_ros(module: str) -> bool:
    package = module.split(".")[0]
    return package in ROS_PACKAGES or package.endswith(ROS_SUFFIXES)


@pytest.fixture(scope="module")
def everything() -> list[Import]:
    modules = modules_below(ROOT)
    return [
        found
        for module, path in modules.items()
        for found in imports_of(module, path.read_text(encoding="utf-8"), modules)
    ]


@pytest.mark.parametrize(
    ("inside", "floors"), [(PACKAGE, FLOORS), (f"{PACKAGE}.data", DATA)], ids=["package", "data"]
)
def test_imports_lead_downwards(everything: list[Import], inside: str, floors: Floors) -> None:
    faults = floor_faults(everything, inside, floors)
    assert not faults, "\n".join(sorted(faults))


def test_no_files_import_each_other(everything: list[Import]) -> None:
    own = [found for found in everything if found.imported.startswith(PACKAGE)]
    running = [" and ".join(group) for group in cycles([one for one in own if not one.typing])]
    assert not running, f"These import each other: {running}"
    pairs = {(found.importer, found.imported) for found in own}
    both = [f"{a} and {b}" for a, b in sorted(pairs) if a < b and (b, a) in pairs]
    assert not both, f"These name each other's types: {both}"


def test_ros_stays_in_its_folder(everything: list[Import]) -> None:
    faults = [
        f"{found.importer}, line {found.line}, imports {found.imported}, which is ROS."
        for found in everything
        if is_ros(found.imported) and _part(found.importer, PACKAGE) not in ROS_FOLDERS
    ]
    assert not faults, "\n".join(faults)


def test_no_file_is_long() -> None:
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (PACKAGE, "test", "launch")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(lengths) > 100
    faults = [
        f"{path} has {lines} lines, more than {MOST_LINES}."
        for path, lines in lengths.items()
        if lines > MOST_LINES
    ]
    assert not faults, "\n".join(faults)


SMALL_HOUSE = {
    "saane_ros/__init__.py": "",
    "saane_ros/errors.py": "if TYPE_CHECKING:\n    from saane_ros import attic\n",
    "saane_ros/data/__init__.py": "",
    "saane_ros/data/reader.py": "def read():\n    from saane_ros.route_map import store\n",
    "saane_ros/route_map/__init__.py": "from .store import Map\n",
    "saane_ros/route_map/store.py": "import rclpy\nfrom saane_ros.errors import SaaneError\n",
    "saane_ros/embedding.py": "from saane_ros.data.reader import read\n",
    "saane_ros/attic.py": "from .errors import SaaneError\n",
}


def test_what_is_wrong_is_found_and_named(tmp_path: Path) -> None:
    """A small house with every fault but length in it."""
    for name, text in SMALL_HOUSE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    modules = modules_below(tmp_path)
    found = [
        one for name, path in modules.items() for one in imports_of(name, path.read_text(), modules)
    ]
    assert floor_faults(found, PACKAGE, FLOORS) == {
        "saane_ros.data.reader, line 2, imports saane_ros.route_map.store, but data lies below "
        "route_map.",
        "saane_ros.embedding, line 1, imports saane_ros.data.reader, but embedding lies beside "
        "data.",
        "saane_ros.attic is in no floor of the table: add attic.",
    }
    assert {one.imported for one in found if is_ros(one.imported)} == {"rclpy"}
    assert Import("saane_ros.errors", "saane_ros.attic", 2, typing=True) in found
    assert Import("saane_ros.route_map", "saane_ros.route_map.store", 1) in found
    assert cycles(found) == [["saane_ros.attic", "saane_ros.errors"]]
    assert not cycles([one for one in found if not one.typing])


def test_a_long_way_round_is_a_cycle() -> None:
    ring = [Import(a, b, 1) for a, b in ("ab", "bc", "cd", "db", "xa")]
    assert cycles(ring) == [["b", "c", "d"]]


@pytest.mark.parametrize("module", ["cli", "route_map.store", "localization.localizer", "fleet"])
def test_what_only_reads_maps_does_without_pytorch(module: str) -> None:
    """It takes seconds to import, and half a gigabyte."""
    code = f"import sys, {PACKAGE}.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
