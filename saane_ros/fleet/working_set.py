"""A vehicle's maps on disk: versions side by side, and a link to the one that is installed.

    maps/street.routemap -> versions/street/3fa29c01b7de.routemap
    maps/versions/street/3fa29c01b7de.routemap/      a version
    maps/versions/street/3fa29c01b7de+9c01b7de.routemap/      a part of one
    maps/versions/street/installed.json      what was installed, the present one last

`maps/` and each link are what the localizer's `map` takes. Installing and rolling back switch a
link, in one step and without the network.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file, workspace
from saane_ros.route_map.info import INFO_FILE
from saane_ros.route_map.store import RouteMap

SUFFIX = ".routemap"
VERSIONS = "versions"
HISTORY_FILE = "installed.json"
TABLE_SUFFIX = ".places"
"""Of a file beside a version, by which the next pull knows what is here already."""


class WorkingSet:
    """The versions of one map below a folder of maps."""

    def __init__(self, maps: Path, name: str) -> None:
        if not name or name.startswith(".") or "/" in name or "\0" in name or len(name) > 200:
            raise SaaneError(f"A map called {name[:40]!r} cannot have a folder: push it renamed.")
        self.name, self.link = name, maps / f"{name}{SUFFIX}"
        self.folder = maps / VERSIONS / name

    def path(self, label: str) -> Path:
        """The folder of a version or part of one."""
        return self.folder / f"{label}{SUFFIX}"

    def table(self, label: str) -> Path:
        """The file with the ids of its places and their pieces."""
        return self.folder / f"{label}{TABLE_SUFFIX}"

    @property
    def labels(self) -> list[str]:
        """What is here, by name."""
        found = self.folder.glob(f"*{SUFFIX}")
        return sorted(one.name.removesuffix(SUFFIX) for one in found if (one / INFO_FILE).exists())

    @property
    def history(self) -> list[str]:
        """What was installed and is still here, the present one last."""
        try:
            values = json.loads((self.folder / HISTORY_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        there = set(self.labels)
        return [one for one in values if one in there] if isinstance(values, list) else []

    @property
    def installed(self) -> str:
        """What the link shows; empty where there is none."""
        if not self.link.is_symlink():
            return ""
        return Path(os.readlink(self.link)).name.removesuffix(SUFFIX)

    def install(self, label: str) -> RouteMap:
        """Let the link show a version that is here, once it was opened well.

        That before it stays for a rollback; older ones that were installed are removed.
        """
        told = [one for one in self.labels if one.startswith(label)]
        if len(told) != 1 and label not in told:
            there = ", ".join(self.labels) or "none"
            raise SaaneError(
                f"{self.folder} holds {len(told) or 'no'} versions {label} of {self.name} (there "
                f"is {there}): pull one first."
            )
        label = label if label in told else told[0]
        past = [one for one in self.history if one != label]
        present = self.installed
        if present and present != label and present in self.labels:
            past = [*(one for one in past if one != present), present]
        opened = self._switch(label, [*past[-1:], label])
        for old in past[:-1]:
            shutil.rmtree(self.path(old), ignore_errors=True)
            self.table(old).unlink(missing_ok=True)
        return opened

    def roll_back(self) -> RouteMap:
        """Let the link show what it showed before; what it shows now stays on disk."""
        history = self.history
        before = [one for one in history if one != self.installed]
        if not before:
            raise SaaneError(
                f"{self.link} was no other version before that is still here: pull one by "
                "--version and install it."
            )
        return self._switch(before[-1], before)

    def _switch(self, label: str, history: list[str]) -> RouteMap:
        target = self.path(label)
        opened = RouteMap.open(target)
        opened.localizable()
        if self.link.exists() and not self.link.is_symlink():
            raise SaaneError(
                f"{self.link} is a map of its own and no installed version: push it and move it "
                "away, or give another folder by --to."
            )
        with replacing_file(self.folder / HISTORY_FILE) as part:
            part.write_text(json.dumps(history))
        with workspace(self.link) as folder:
            new = folder / self.link.name
            new.symlink_to(Path(VERSIONS) / self.name / target.name)
            os.replace(new, self.link)
        return opened
