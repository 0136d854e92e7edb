"""The same command gives the same bytes, stage by stage, whatever else differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_trees import stages

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")
pytest.importorskip("tensorboard", reason="the extra train is not installed")

HERE = Path(__file__).resolve().parent
STAGES = ("segmentation", "embedding", "vocabulary", "weak", "classification", "filter")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What two processes left: other hashes, listings of folders, ambient seeds, and timing."""
    root = tmp_path_factory.mktemp("stages")
    (root / "stages.json").write_text(json.dumps(stages(root)))
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent), str(HERE)])
    running = []
    for disorder in (1, 2):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")]),
            "PYTHONHASHSEED": str(disorder),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, str(HERE / "stages_in_disorder.py"), str(root)]
        command += [str(root / f"out{disorder}"), str(disorder)]
        running.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        )
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-3000:]
    return root / "out1", root / "out2"


@pytest.mark.parametrize("stage", STAGES)
def test_two_runs_leave_the_same_files(outputs: tuple[Path, Path], stage: str) -> None:
    """All but the events for TensorBoard, which hold times."""
    found = [
        {
            str(path.relative_to(out)): path.read_bytes()
            for path in sorted((out / stage).rglob("*"))
            if path.is_file() and "tensorboard" not in path.parts
        }
        for out in outputs
    ]
    assert any(name.endswith(".safetensors") for name in found[0])
    assert found[0].keys() == found[1].keys()
    different = [name for name, data in found[0].items() if data != found[1][name]]
    assert not different
