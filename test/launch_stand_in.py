"""A stand-in for launch and launch_ros that records what a launch file hands over to them."""

from __future__ import annotations

import builtins
import stat
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
ALLOWED = {"launch", "launch_ros", *sys.stdlib_module_names}


class Thing:
    """An object of launch or launch_ros of any class: it keeps what it was made of."""

    def __init__(self, kind: str, *values: Any, **named: Any) -> None:
        self.kind, self.values, self.named = kind, values, named

    @property
    def node_name(self) -> str:
        space, name = self.named["namespace"].strip("/"), self.named["name"]
        return f"/{space}/{name}" if space else f"/{name}"


class Context:
    """Launch arguments and the words of the command line; asked: the arguments that were read."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.launch_configurations = dict(given)
        self.argv = [f"{name}:={value}" for name, value in given.items()]
        self.is_shutdown = False
        self.asked: set[str] = set()


class World:
    """What of a robot's machine a launch file meets.  rviz: whether it is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rviz = folder, True
        self.saane = folder / "saane"
        self.saane.write_text(f'#!/bin/sh\nexec {sys.executable} -m saane_ros.cli "$@"\n')
        self.saane.chmod(self.saane.stat().st_mode | stat.S_IXUSR)

    def module(self, name: str) -> ModuleType:
        stand_in = ModuleType(name)
        stand_in.__path__ = []  # type: ignore[attr-defined]
        stand_in.__getattr__ = self.attribute  # type: ignore[method-assign]
        return stand_in

    def attribute(self, name: str) -> Any:
        special = {
            "LaunchConfiguration": self.configuration,
            "ExecutableInPackage": lambda *_: SimpleNamespace(perform=lambda _: str(self.saane)),
            "FindPackagePrefix": lambda _: SimpleNamespace(perform=self.find_rviz),
            "SubstitutionFailure": RuntimeError,
            "launch_config": SimpleNamespace(log_dir=str(self.folder)),
            "load_python_launch_file_as_module": load,
        }
        if name in special:
            return special[name]
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *values, **named: Thing(name, *values, **named)

    def configuration(self, name: str) -> SimpleNamespace:
        def perform(context: Context) -> str:
            context.asked.add(name)
            return context.launch_configurations.get(name, "")

        return SimpleNamespace(perform=perform)

    def find_rviz(self, _: Context) -> str:
        if not self.rviz:
            raise LookupError("rviz2")
        return "/opt/ros"


def load(path: str) -> ModuleType:
    loader = SourceFileLoader("python_launch_file", path)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine on which a launch file gets launch, launch_ros and the standard library alone."""
    made = World(folder)
    real = builtins.__import__

    def guarded(name: str, scope: Any = None, *rest: Any, **named: Any) -> Any:
        file = str((scope or {}).get("__file__", ""))
        if file.startswith(str(LAUNCH)) and name.split(".")[0] not in ALLOWED:
            raise AssertionError(f"{file} imports {name}")
        return real(name, scope, *rest, **named)

    for file in LAUNCH.glob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(("from launch", "import launch")):
                parts = line.split()[1].split(".")
                for count in range(1, len(parts) + 1):
                    name = ".".join(parts[:count])
                    monkeypatch.setitem(sys.modules, name, made.module(name))
    monkeypatch.setattr(builtins, "__import__", guarded)
    monkeypatch.setenv("PYTHONPATH", str(LAUNCH.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return made


def started(actions: Sequence[Thing], context: Context) -> dict[str, Thing]:
    """Processes among the actions and in what they start later."""
    found: dict[str, Thing] = {}
    for action in actions:
        if action.kind in ("Node", "LifecycleNode"):
            found[action.named["executable"]] = action
        elif action.kind == "ExecuteProcess":
            found[action.named["cmd"][0]] = action
        elif action.kind == "OpaqueFunction":
            found |= started(action.named["function"](context), context)
        elif action.kind == "RegisterEventHandler":
            (handler,) = action.values
            later = handler.named.get("entities") or handler.named["on_exit"](None, context)
            found |= started(later, context)
    return found
