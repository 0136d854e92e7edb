"""`saane evaluate`: models against datasets in one table, with predictions and a report."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros import __version__
from saane_ros.commands.evaluate_drive import add_drive
from saane_ros.commands.parsers import number, output_folder, threads
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file

if TYPE_CHECKING:
    from saane_ros.data.datasets import Dataset
    from saane_ros.evaluation.evaluator import Evaluation
    from saane_ros.evaluation.systems import InputSize, System

EXAMPLES = """\
examples:
  saane evaluate --model saane-resnet18 --dataset corridor --root ~/data
  saane evaluate --model trunk:resnet18:max trunk:resnet18:avg:std saane-resnet18:app \\
      --weights ~/weights --dataset grief_season corridor --root ~/data --out results/seasons
  saane evaluate --model scores/ descriptors.npz --dataset my/ref-and-query-folder
  saane evaluate --model saane-town --dataset robotcar --pair am-pm --root ~/data
  saane evaluate --list
  saane evaluate drive --help    a localizer on its route and off it

models:
  a card's name or path, with :app, :app_sem, ... for a part of its wiring;
  trunk:<resnet18|resnet50|resnet50_msra>:<max|avg>, untrained, weights from --weights;
  either with :mean, :std, :pca512 or :pca1024 behind it, the post-processings of saane map build:
  mean taken out, standardised, or whitened, references and queries each by the statistics of
  their whole traverse; with :mean-online, :std-online, ... the queries in their order by running
  statistics, as a live localizer has them;
  a .npz with `queries` and `references` (or `similarity`), a .npy with references then queries;
  a folder of recorded scores (.npz with `similarity`), each a row.

datasets:
  a name that --list shows, a YAML file (copy config/datasets/example.yaml), or a folder with
  ref/ and query/ or with database/ and queries/ of '@' names.
"""


ROBOTCAR, PAIRS = "robotcar", ("am-pm", "sum-win")


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare models on datasets",
        description="Compare models on datasets; writes results.json, predictions.csv, "
        "report.html.",
        epilog=EXAMPLES,
    )
    add_argument = parser.add_argument
    add_argument("--model", nargs="+", default=[], metavar="MODEL", help="see below")
    add_argument("--dataset", nargs="+", default=[], metavar="DATASET", help="see below")
    add_argument(
        "--pair", choices=PAIRS, help="of --dataset robotcar: one experiment; by default both"
    )
    add_argument("--root", default="", help="folder that the datasets' folders lie in")
    add_argument(
        "--out", type=output_folder, default=Path("out/evaluation"), help="folder of the results"
    )
    add_argument("--weights", default="", help="folder (or trunk file) looked into first")
    add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_argument("--precision", default="auto", choices=("auto", "fp32", "fp16", "bf16"))
    add_argument("--threads", type=threads, default=0, help="CPU threads; 0: PyTorch's choice")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--size", nargs=2, type=number(1, 8192, int), metavar=("H", "W"), help="input size, pixels"
    )
    size.add_argument(
        "--max-side", type=number(1, 8192, int), help="longer input side, keeping the aspect"
    )
    add_argument("--list", action="store_true", help="list the described datasets and end")
    parser.set_defaults(run=_run)
    add_drive(parser.add_subparsers(dest="evaluation", metavar="drive"))


def _run(options: argparse.Namespace) -> None:
    if options.list:
        _list()
        return
    if not options.model or not options.dataset:
        raise SaaneError("An evaluation needs --model and --dataset: see saane evaluate --help.")
    from saane_ros.data.datasets import open_datasets
    from saane_ros.evaluation.evaluation_report import write_report
    from saane_ros.evaluation.model_notes import training_notes
    from saane_ros.evaluation.predictions import write_predictions
    from saane_ros.evaluation.results_table import as_text, blocks

    names = _dataset_names(options)
    datasets = [one for name in names for one in open_datasets(name, options.root)]
    opened = {spec: _model(spec, options) for spec in options.model}
    evaluations = [row for dataset in datasets for row in _rows(dataset, opened)]
    found = blocks(evaluations)
    command = _command(options)
    notes = training_notes(options.model)
    _write_json(evaluations, notes, command, options.out / "results.json")
    write_predictions(evaluations, options.out / "predictions.csv")
    embedders = {one.name: one.embedder for one in opened.values() if one and one.embedder}
    write_report(evaluations, found, embedders, command, options.out / "report.html")
    print(as_text(found))
    for model, note in notes.items():
        print(f"{model} was trained on: {note}")
    print(f"\nwrote {options.out}/results.json, predictions.csv and report.html")


def _dataset_names(options: argparse.Namespace) -> list[str]:
    """The datasets, "robotcar" by its two experiments."""
    if options.pair and ROBOTCAR not in options.dataset:
        raise SaaneError("--pair names an experiment of RobotCar: give --dataset robotcar too.")
    pairs = [options.pair] if options.pair else PAIRS
    return [
        each
        for name in options.dataset
        for each in ([f"{name}-{pair}" for pair in pairs] if name == ROBOTCAR else [name])
    ]


def _rows(dataset: Dataset, opened: dict[str, System | None]) -> list[Evaluation]:
    from saane_ros.evaluation.evaluator import evaluate
    from saane_ros.evaluation.systems import distinct_names, recorded_systems

    systems: list[System] = []
    for spec, one in opened.items():
        systems += [one] if one else recorded_systems(Path(spec).expanduser(), dataset)
    distinct_names(systems)
    return [evaluate(one.name, dataset, one.search(dataset)) for one in systems]


def _model(spec: str, options: argparse.Namespace) -> System | None:
    """The system of a specification; None for a folder of recorded scores, one system a file."""
    from saane_ros.evaluation.model_specs import open_system

    path = Path(spec).expanduser()
    if path.is_dir():
        return None
    return open_system(
        spec, options.weights, options.device, options.precision, options.threads, _size(options)
    )


def _size(options: argparse.Namespace) -> InputSize | None:
    from saane_ros.evaluation.systems import InputSize

    if options.size:
        return InputSize(height=options.size[0], width=options.size[1])
    return InputSize(longer=options.max_side) if options.max_side else None


def _list() -> None:
    from saane_ros.data.datasets.registry import descriptions

    for one in descriptions():
        print(f"{one.name}  ({one.reader})\n  {one.about}\n  to get it: {one.source}")


def _write_json(
    evaluations: list[Evaluation], notes: dict[str, str], command: str, path: Path
) -> None:
    content = {
        "command": command,
        "version": __version__,
        "trained_on": notes,
        "rows": [evaluation.as_dict() for evaluation in evaluations],
    }
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _command(options: argparse.Namespace) -> str:
    """The command that gives these results again."""
    parts = ["saane", "evaluate", "--model", *options.model, "--dataset", *options.dataset]
    for name in ("root", "weights", "device", "precision", "threads", "max_side", "pair"):
        value = getattr(options, name)
        if value and value != "auto":
            parts += [f"--{name.replace('_', '-')}", str(value)]
    if options.size:
        parts += ["--size", *map(str, options.size)]
    return shlex.join([*parts, "--out", str(options.out)])
