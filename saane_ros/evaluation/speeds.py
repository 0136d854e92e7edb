"""What models cost on this machine, kept in the cache for those who list models."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from saane_ros.embedding import Embedder
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder
from saane_ros.types import Rgb

FILE = "speeds.json"
TRIES, UNCOUNTED = 15, 2


@dataclass(frozen=True)
class Speed:
    """milliseconds: of one image alone, feature grid included.  megabytes: of the parameters and
    what embedding adds at most, None where unknown.  machine: in words."""

    milliseconds: float
    megabytes: float | None
    machine: str


def one_image_ms(embedder: Embedder, image: Rgb) -> float:
    """Least milliseconds of embedding one image as a localizer does, after a few uncounted.

    The least of all tries: what else the machine does at that moment can only add to them.
    """
    times = []
    for _ in range(UNCOUNTED + TRIES):
        start = time.perf_counter()
        embedder.embed([image], grid=True)
        times.append(1e3 * (time.perf_counter() - start))
    return min(times[UNCOUNTED:])


def known_speeds() -> dict[str, Speed]:
    """By name of the model; nothing where the cache has none or not what was written."""
    try:
        values = json.loads(_path().read_text(encoding="utf-8"))
        return {str(name): Speed(**one) for name, one in values.items()}
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError):
        return {}


def remember_speeds(measured: Mapping[str, Speed]) -> None:
    """Keep what was measured beside what is known of other models."""
    _path().parent.mkdir(parents=True, exist_ok=True)
    values = {name: asdict(one) for name, one in sorted({**known_speeds(), **measured}.items())}
    with replacing_file(_path()) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _path() -> Path:
    return cache_folder() / FILE
