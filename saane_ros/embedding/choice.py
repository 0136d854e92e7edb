"""Which engine was measured fastest for a model on this machine: what `saane models tune` keeps."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch

from saane_ros import __version__
from saane_ros.embedding.engines import PACKAGES, PRECISIONS, TORCH
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    engine: str
    precision: str


def machine(device: str) -> str:
    """What a speed was measured on, in words: processor, cores, and the GPU for `cuda`."""
    found = f"{_processor()}, {os.cpu_count()} cores"
    return f"{found}, {torch.cuda.get_device_name()}" if device == "cuda" else found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else 'CPU'} ({platform.machine()})"


def versions(engine: str) -> dict[str, str]:
    """The versions that a speed depends on; empty for a package that is not installed."""
    named = {"saane_ros": __version__, "torch": torch.__version__}
    if engine in PACKAGES:
        named[PACKAGES[engine]] = _version(PACKAGES[engine])
    return named


def _version(package: str) -> str:
    # A wheel for GPUs has another name and the same module.
    for name in (package, f"{package}-gpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def choice_file(fingerprint: str, device: str) -> Path:
    """Where the choice lies, one for every model, device and machine."""
    key = hashlib.sha256(machine(device).encode()).hexdigest()[:12]
    return cache_folder() / "engines" / f"{fingerprint}-{device}-{key}.json"


def keep_choice(fingerprint: str, device: str, choice: Choice) -> Path:
    """Store a choice with the versions it was measured with."""
    path = choice_file(fingerprint, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        **asdict(choice),
        "machine": machine(device),
        "versions": versions(choice.engine),
    }
    with replacing_file(path) as part:
        part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def kept_choice(fingerprint: str, device: str) -> Choice | None:
    """The stored choice, None where the model was never tuned here.

    Raises SaaneError where it is damaged or was measured with other versions.
    """
    path = choice_file(fingerprint, device)
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        choice = Choice(document["engine"], document["precision"])
        told = dict(document["versions"])
        known = choice.precision in PRECISIONS[choice.engine]
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise SaaneError(f"The choice of an engine in {path} is damaged: tune the model again.")
    found = versions(choice.engine)
    for package, version in found.items():
        if told.get(package) != version:
            there = f"{version} is" if version else "it is not"
            raise SaaneError(
                f"Engine {choice.engine} was chosen with {package} {told.get(package)}, and "
                f"{there} installed now: tune the model again."
            )
    return choice


def picked(engine: str, precision: str, device: str, fingerprint: str, default: str) -> Choice:
    """What an embedder runs on: as asked for, and by the stored choice where `auto` leaves it open.

    default: the precision of PyTorch on the device.  A stored choice that cannot be used is warned
    of. For the engine torch none is looked up.
    """
    kept = None
    if engine != TORCH and AUTO in (engine, precision):
        try:
            kept = kept_choice(fingerprint, device)
        except SaaneError as error:
            logging.getLogger(__name__).warning("%s PyTorch goes on.", error)
    if kept and engine in (AUTO, kept.engine) and precision in (AUTO, kept.precision):
        return kept
    name = TORCH if engine == AUTO else engine
    if precision != AUTO:
        return Choice(name, precision)
    return Choice(name, "fp32" if name in PACKAGES else default)
