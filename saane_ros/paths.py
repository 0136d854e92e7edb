"""Where the package's own data lies: in the source tree or under an installation's share folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from saane_ros.errors import SaaneError


def share_folder() -> Path:
    """The folder with `models/`, `config/` and `launch/`.

    Looked for beside the package (a checkout or an editable install), then in every ament prefix,
    then in the prefix of the interpreter (a plain pip install).
    """
    beside = Path(__file__).resolve().parent.parent
    if (beside / "package.xml").is_file():
        return beside
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    for prefix in filter(None, prefixes):
        folder = Path(prefix) / "share" / "saane_ros"
        if (folder / "models").is_dir():
            return folder
    raise SaaneError(
        "The package's data folder share/saane_ros was not found in any ament prefix nor in "
        f"{sys.prefix}: install the package again with pip or colcon."
    )


def cache_folder() -> Path:
    """Where downloads and cached features go: $SAANE_CACHE, else the user's cache folder."""
    configured = os.environ.get("SAANE_CACHE")
    if configured:
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "saane_ros"
