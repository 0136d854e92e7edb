"""Changing what `map.yaml` says, as a program with a fault would: its checksum fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from saane_ros.route_map.info import SEAL_NAME, sealed


def read_head(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "map.yaml").read_text(encoding="utf-8"))
    del values[SEAL_NAME]
    return values


def write_head(folder: Path, values: dict[str, Any]) -> None:
    (folder / "map.yaml").write_text(sealed(yaml.safe_dump(values)), encoding="utf-8")
