"""Keeping freed memory in the process, for networks on the CPU.

glibc gives every large freed block back to the kernel, and a training step frees and maps hundreds
of megabytes: half of its time went into page faults.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
TOP_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Let malloc reuse large blocks instead of unmapping them; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
