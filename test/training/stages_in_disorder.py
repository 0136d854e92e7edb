"""Run by a test: every stage of training, in a process in which all that should not matter varies.

Its arguments: a folder of configurations, an output folder and a number that sets how listings of
folders, the ambient generators and the speed of the readers are out of order.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch

from saane_ros.cli import main
from saane_ros.data.images import files

if __name__ == "__main__":
    stages, out, disorder = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    plain_listdir, plain_scandir, plain_read = os.listdir, os.scandir, files.read_pixels

    class Scan(list):  # type: ignore[type-arg]
        """What os.scandir gives, in another order."""

        def __enter__(self) -> Scan:
            return self

        def __exit__(self, *_: object) -> None: ...

        def close(self) -> None: ...

    def in_disorder(names: list) -> list:  # type: ignore[type-arg]
        return random.Random(disorder).sample(names, len(names))

    def slow_read(path: Path) -> object:
        time.sleep(random.uniform(0, 0.003))
        return plain_read(path)

    os.listdir = lambda path=".": in_disorder(sorted(plain_listdir(path)))  # type: ignore
    os.scandir = lambda path=".": Scan(  # type: ignore
        in_disorder(sorted(plain_scandir(path), key=lambda entry: str(entry.name)))
    )
    files.read_pixels = slow_read  # type: ignore[assignment]
    for stage, arguments in json.loads((stages / "stages.json").read_text()).items():
        torch.manual_seed(disorder)
        np.random.seed(disorder)
        random.seed(disorder)
        before = ["vocabulary"] if stage == "weak" else []
        for name in (*before, stage):
            assert main(["train", name, *arguments, "--out", str(out / stage)]) == 0, stage
