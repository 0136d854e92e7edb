"""What the engines bring: the speed of each as a ratio to PyTorch in float32, at equal recall.

`python -m saane_ros.evaluation.engine_benchmark` measures the shipped `saane-town`, or with
`--weights` the paper's appearance network and a segmentation on it, `saane-resnet50`, at 480x640;
on the CPU and on CUDA where there is one. Queries by night are to be found in a synthetic town by
day; int8 learns its ranges from those by day. It writes out/bench-engines.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from saane_ros.embedding.choice import Choice, machine, versions
from saane_ros.embedding.engines import ONNX, OPENVINO
from saane_ros.embedding.graphs import forget, quantise
from saane_ros.embedding.loading import load_embedder, load_exportable
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.tuning import (
    CANDIDATES,
    QUANTISED,
    Trial,
    TuningImages,
    equal,
    town_images,
    trials,
)
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.settings import TOWN_MODEL
from saane_ros.weights.card_files import load_card

PAPERS, SIZE = "saane-resnet50", (480, 640)
FRAMES, CALIBRATED = 100, 40


def resized_card(model: str, size: tuple[int, int], folder: Path) -> Path:
    """The card of a model at another height and width, written into a folder."""
    card = yaml.safe_load(load_card(model).path.read_text(encoding="utf-8"))
    card["preprocessing"] |= {"height": size[0], "width": size[1]}
    path = folder / f"{model}.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return path


def measured(
    model: str, weights: str, device: str, images: TuningImages, threads: int
) -> list[Trial]:
    """A trial of every engine at hand, PyTorch in float32 first."""

    def load(choice: Choice) -> NetworkEmbedder:
        return load_embedder(
            model, weights, device, choice.precision, threads, engine=choice.engine, strict=True
        )

    choices = list(CANDIDATES[device])
    exportable = load_exportable(model, weights)
    if device == "cpu":
        try:
            sized = exportable.preprocessing.resized(images.references[:CALIBRATED])
            quantise(exportable, list(sized))
            choices += QUANTISED
        except SaaneError as error:
            print(error, file=sys.stderr)
    found = trials(choices, load, images)
    told = list(progress(found, f"engines on {device}", len(choices), "engine"))
    for precision in ("fp32", "int8"):
        forget(exportable, precision)
    return told


def figures_of(told: Sequence[Trial], model: str, size: Sequence[int], on: str) -> dict[str, Any]:
    """What came of the trials of a model on a machine, as a document."""
    libraries: dict[str, str] = {}
    for engine in (ONNX, OPENVINO):
        libraries |= versions(engine)
    rows = {}
    for trial in told:
        name = f"{trial.choice.engine} {trial.choice.precision}"
        rows[name] = {"fault": trial.fault} if trial.fault else _row(trial, told[0])
    return {
        "machine": on,
        "model": model,
        "size": list(size),
        "versions": libraries,
        "trials": rows,
    }


def _row(trial: Trial, first: Trial) -> dict[str, Any]:
    return {
        "ms": trial.ms,
        "ratio": first.ms / trial.ms,
        "megabytes": trial.megabytes,
        "cosine": list(trial.cosine),
        "recall@1": trial.recall,
        "equal_recall": equal(trial, first),
    }


def _print(figures: dict[str, Any]) -> None:
    height, width = figures["size"]
    print(f"{figures['model']} at {height}x{width} on {figures['machine']}")
    for name, row in figures["trials"].items():
        if "fault" in row:
            print(f"  {name:15} {row['fault']}")
            continue
        print(
            f"  {name:15} {row['ms']:8.2f} ms  {row['ratio']:5.2f}  cosine {row['cosine'][0]:.5f} "
            f"{row['cosine'][1]:.5f}  R@1 {row['recall@1']:.3f}"
            f"{'' if row['equal_recall'] else '  (too few)'}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Measure the engines of a network.")
    parser.add_argument("--weights", default="", help=f"folder with the trunk of {PAPERS}")
    parser.add_argument("--frames", type=int, default=FRAMES, help="queries (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    parser.add_argument("--device", nargs="+", choices=sorted(CANDIDATES), help="all there are")
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench-engines.json"), help="%(default)s"
    )
    options = parser.parse_args(arguments)
    name = PAPERS if options.weights else TOWN_MODEL
    size = load_card(name).preprocessing
    height, width = SIZE if options.weights else (size.height, size.width)
    images = town_images(options.frames)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        card = str(resized_card(name, (height, width), Path(folder)))
        for device in options.device or _devices():
            told = measured(card, options.weights, device, images, options.threads)
            found[device] = figures_of(told, name, (height, width), machine(device))
            _print(found[device])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(options.out) as part:
        part.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


if __name__ == "__main__":
    sys.exit(main())
