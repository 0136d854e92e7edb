"""Work that is done in shards: one after another here, or by the processes of a Ray cluster.

Every shard leaves what it made on disk and may be done again from where it was, so a process that
dies costs the rest of its shard, and nothing else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from saane_ros.errors import SaaneError
from saane_ros.progress import progress
from saane_ros.reading import parsing, reason_of

AGAIN = 3
"""Times that a shard is done again whose process died."""
S = TypeVar("S")
T = TypeVar("T")


def run_shards(
    work: Callable[[S], T], shards: Sequence[S], workers: int, devices: bool = False
) -> list[T]:
    """The results of all shards, in their order.

    workers: processes; 1 is this one. More are those of a local Ray cluster, or of the one that
    $RAY_ADDRESS names, which needs the same files under the same names.  devices: whether each has
    a GPU for itself. Raises SaaneError where a shard does, or where its process died too often.
    """
    shown = progress(shards, "drives", unit="drive")
    if workers == 1:
        return [work(shard) for shard in shown]
    with parsing("Several workers need Ray", "pip install 'saane_ros[fleet]', or --workers 1"):
        import ray
    with parsing("The Ray cluster cannot be reached", "check $RAY_ADDRESS, or --workers 1"):
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        else:
            # Only this machine's processes may speak to it.
            ray.init(
                "local",
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
            )
    try:
        limits = {"num_cpus": 1, "num_gpus": int(devices), "max_retries": AGAIN}
        task = ray.remote(**limits)(work)  # type: ignore[call-overload]
        waiting = [task.remote(shard) for shard in shards]
        return [ray.get(one) for one, _ in zip(waiting, shown, strict=True)]
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, SaaneError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise SaaneError(
            f"A worker died {AGAIN + 1} times over one drive ({reason_of(error)}): give fewer "
            "--workers, as memory is what most lack; what was finished is kept."
        ) from error
    finally:
        ray.shutdown()
