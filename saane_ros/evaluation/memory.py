"""The memory of a model: what it holds all the time, and what embedding one image adds at most.

The second figure is resident memory of this process, or what is allocated on a GPU. Before each
try, freed memory goes back to the system, so that what an earlier image left behind does not hide
what this one takes; libraries' buffers from a first image that is not counted stay out of it. The
kernel counts pages in lots, so that figures are good to about a megabyte.
"""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.types import Rgb

TRIES = 3
CPUS = Path("/proc/cpuinfo")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to clear_refs it makes the peak start anew at what is resident (Linux, proc(5))."""


@dataclass(frozen=True)
class Memory:
    """model: bytes of parameters and buffers, or of an engine's graph.

    added: bytes at most while one image is embedded.  None where it cannot be measured.
    """

    model: int | None = None
    added: int | None = None


def measured_memory(embedder: NetworkEmbedder, image: Rgb) -> Memory:
    """Of an embedder as it is, with one image alone; the most of `TRIES` tries."""
    embedder.embed([image])
    tries = [peak_added(lambda: embedder.embed([image]), embedder.device) for _ in range(TRIES)]
    known = [one for one in tries if one is not None]
    return Memory(embedder.model_bytes, max(known, default=None))


def machine_in_words(device: str) -> str:
    """What times were measured on: the GPU, or the processor and the threads of PyTorch."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    names = {""}
    with suppress(OSError):
        lines = CPUS.read_text(encoding="ascii", errors="replace").splitlines()
        names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    name = " and ".join(sorted(names)) or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def peak_added(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes by which memory grew at most while `work` ran; None where the system does not tell."""
    if device.type == "cuda":
        return _added_on_gpu(work, device)
    gc.collect()
    _give_back_freed()
    try:
        CLEAR.write_text(RESET_PEAK)
        before = _status_bytes("VmRSS")
        work()
        return max(0, _status_bytes("VmHWM") - before)
    except (OSError, KeyError):
        return None


def _added_on_gpu(work: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _give_back_freed() -> None:
    """glibc keeps freed memory for later; other C libraries have no such call, nor its need."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status_bytes(name: str) -> int:
    """A figure of /proc/self/status, which is in KiB; KeyError where it is not there."""
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise KeyError(name)
