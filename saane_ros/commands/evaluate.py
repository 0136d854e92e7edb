"""`saane evaluate`: models against datasets in one table, a paper's table, and panels of both."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros import __version__
from saane_ros.commands.evaluate_drive import add_drive
from saane_ros.commands.evaluate_metric import add_metric
from saane_ros.commands.parsers import command_parser, number, output_folder, threads
from saane_ros.errors import SaaneError
from saane_ros.evaluation.reranking import KINDS, OWN
from saane_ros.files import replacing_file

if TYPE_CHECKING:
    from saane_ros.data.datasets import Dataset
    from saane_ros.evaluation.evaluator import Evaluation
    from saane_ros.evaluation.results_table import Section
    from saane_ros.evaluation.systems import InputSize, System

EXAMPLES = """\
examples:
  saane evaluate --model saane-resnet18 --dataset corridor --root ~/data
  saane evaluate --model trunk:resnet18:max trunk:resnet18:avg:std saane-resnet18:app \\
      --weights ~/weights --dataset grief_season corridor --root ~/data --out results/seasons
  saane evaluate --model scores/ descriptors.npz --dataset my/ref-and-query-folder
  saane evaluate --model saane-town --dataset robotcar --pair am-pm --root ~/data
  saane evaluate --table config/paper.yaml --root ~/data --out results/paper
  saane evaluate --model saane-resnet18 --dataset corridor --root ~/data --attention
  saane evaluate --list
  saane evaluate drive --help    a localizer on its route and off it
  saane evaluate metric --help   poses by a map's points
  saane evaluate panels --help   pictures of what is found and attended to

models:
  a card's name or path, with :app, :app_sem, ... for a part of its wiring;
  trunk:<resnet18|resnet50|resnet50_msra>:<max|avg>, untrained, weights from --weights;
  either with :mean, :std, :pca512 or :pca1024 behind it, the post-processings of saane map build:
  mean taken out, standardised, or whitened, references and queries each by the statistics of
  their whole traverse; with :mean-online, :std-online, ... the queries in their order by running
  statistics, as a live localizer has them;
  a .npz with `queries` and `references` (or `similarity`), a .npy with references then queries;
  a folder of recorded scores (.npz with `similarity`), each a row.

--rerank puts the 100 nearest places of a query in a new order, as a second stage does; its time and
bytes are in the columns "search ms" and "bytes". Of the compact feature grids of maps, grids: the
localizer's agreement; rapid: Patch-NetVLAD's rapid spatial scoring; mutual: mutual nearest cells,
as SelaVPR counts them. own: by the authors' local features, of SelaVPR and of a NetVLAD's patches;
other models get no such row.

datasets:
  a name that --list shows, a YAML file (copy config/datasets/example.yaml), or a folder with
  ref/ and query/ or with database/ and queries/ of '@' names.
"""
PANEL_EXAMPLES = """\
examples:
  saane evaluate panels --model saane-resnet18 netvlad-resnet18 --dataset corridor --root ~/data
  saane evaluate panels --model saane-resnet18 --dataset my/pairs --queries 0012.jpg 0431.jpg

Writes panels.html: each query with what every model finds for it, right or wrong, its attention
maps on one scale for the page, and its segmentation. Models and datasets are named as in
`saane evaluate`.
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
    _add_common(parser, "out/evaluation")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="YAML of a paper's table; its models and datasets unless others are named",
    )
    parser.add_argument(
        "--pair", choices=PAIRS, help="of --dataset robotcar: one experiment; by default both"
    )
    parser.add_argument(
        "--attention", action="store_true", help="tell which classes each modality attends to"
    )
    parser.add_argument(
        "--published", action="store_true", help="add what was published of the models, marked"
    )
    parser.add_argument(
        "--rerank",
        nargs="+",
        default=[],
        choices=KINDS,
        help="one more row a model, its first places re-ranked by local features",
    )
    parser.add_argument("--list", action="store_true", help="list the described datasets and end")
    parser.set_defaults(run=_run)
    others = parser.add_subparsers(dest="evaluation", metavar="drive | metric | panels")
    add_drive(others)
    add_metric(others)
    panels = command_parser(
        others, "panels", "show what models find, attend to and see", PANEL_EXAMPLES
    )
    _add_common(panels, "out/panels")
    panels.add_argument(
        "--queries", nargs="+", default=["6"], metavar="Q", help="how many, or their names"
    )
    panels.set_defaults(run=_run_panels, pair=None, table=None)


def _add_common(parser: argparse.ArgumentParser, out: str) -> None:
    """Models, datasets, and how they are computed."""
    add_argument = parser.add_argument
    add_argument("--model", nargs="+", default=[], metavar="MODEL", help="see below")
    add_argument("--dataset", nargs="+", default=[], metavar="DATASET", help="see below")
    add_argument("--root", default="", help="folder that the datasets' folders lie in")
    add_argument("--out", type=output_folder, default=Path(out), help="folder of the results")
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


def _run(options: argparse.Namespace) -> None:
    if options.list:
        _list()
        return
    from saane_ros.evaluation.evaluation_report import write_report
    from saane_ros.evaluation.memory import machine_in_words
    from saane_ros.evaluation.model_notes import training_notes
    from saane_ros.evaluation.predictions import write_predictions
    from saane_ros.evaluation.published_table import (
        authors_section,
        published_sections,
        read_published_table,
    )
    from saane_ros.evaluation.results_table import as_text, blocks
    from saane_ros.weights.card_files import list_cards

    table = None if options.table is None else read_published_table(options.table)
    if table is not None:
        options.model = options.model or table.models
        options.dataset = options.dataset or table.datasets
    found, opened = _opened(options)
    evaluations = _all_rows(found, opened)
    rows = blocks(evaluations)
    names = {spec: one.name for spec, one in opened.items() if one}
    sections = [] if table is None else published_sections(table, evaluations, names, found)
    if options.published:
        sections.append(authors_section(list_cards()))
    if options.attention:
        sections += _attention(found, opened)
    command, machine = _command(options), machine_in_words(_device(opened))
    notes = training_notes(options.model)
    _write_json(evaluations, sections, notes, command, machine, options.out / "results.json")
    write_predictions(evaluations, options.out / "predictions.csv")
    embedders = {one.name: one.embedder for one in opened.values() if one and one.embedder}
    made = f"{command}\n# on {machine}"
    write_report(evaluations, rows, embedders, made, options.out / "report.html", sections)
    print(as_text(rows))
    for section in sections:
        print(f"\n{section.text()}")
    for model, note in notes.items():
        print(f"{model} was trained on: {note}")
    print(f"\nwrote {options.out}/results.json, predictions.csv and report.html; on {machine}")


def _run_panels(options: argparse.Namespace) -> None:
    from saane_ros.evaluation.panels import chosen_queries, write_panels

    found, opened = _opened(options)
    queries = {
        dataset.name: chosen_queries(dataset, options.queries)
        for datasets in found.values()
        for dataset in datasets
    }
    embedders = {one.name: one.embedder for one in opened.values() if one and one.embedder}
    path = options.out / "panels.html"
    evaluations = _all_rows(found, opened)
    write_panels(evaluations, embedders, queries, _command(options), path)
    print(f"wrote {path}: {sum(map(len, queries.values()))} queries, {len(opened)} models")


def _opened(
    options: argparse.Namespace,
) -> tuple[dict[str, list[Dataset]], dict[str, System | None]]:
    """The datasets by the names that open them, and the models by theirs."""
    if not options.model or not options.dataset:
        raise SaaneError("An evaluation needs --model and --dataset: see saane evaluate --help.")
    from saane_ros.data.datasets import open_datasets

    found = {name: open_datasets(name, options.root) for name in _dataset_names(options)}
    opened = {spec: _model(spec, options) for spec in options.model}
    embedders = {spec: one.embedder for spec, one in opened.items() if one and one.embedder}
    kinds = getattr(options, "rerank", [])
    if OWN in kinds and not any(one.own_score[0] for one in embedders.values()):
        raise SaaneError(
            f"None of {', '.join(options.model)} has local features of its own: leave out --rerank "
            f"{OWN}, or name a NetVLAD or SelaVPR too."
        )
    for spec, one in embedders.items():
        for kind in [kind for kind in kinds if kind != OWN or one.own_score[0]]:
            opened[f"{spec}+{kind}"] = _model(spec, options, kind)
    return found, opened


def _all_rows(
    found: dict[str, list[Dataset]], opened: dict[str, System | None]
) -> list[Evaluation]:
    return [row for several in found.values() for one in several for row in _rows(one, opened)]


def _attention(found: dict[str, list[Dataset]], opened: dict[str, System | None]) -> list[Section]:
    """Attention by class of every model that has both, over the different images of each name."""
    from saane_ros.evaluation.class_attention import class_attention

    sections = []
    for name, datasets in found.items():
        lists = {i.key: i for one in datasets for i in (one.references, one.queries)}
        for system in opened.values():
            if system is not None and system.embedder is not None:
                attended = class_attention(system.embedder, list(lists.values()))
                sections += [attended.section(name)] if attended else []
    if not sections:
        print("No model of the table has both attention and a segmentation.\n")
    return sections


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


def _model(spec: str, options: argparse.Namespace, rerank: str = "") -> System | None:
    """The system of a specification; None for a folder of recorded scores, one system a file."""
    from saane_ros.evaluation.model_specs import open_system

    path = Path(spec).expanduser()
    if path.is_dir():
        return None
    return open_system(
        spec,
        options.weights,
        options.device,
        options.precision,
        options.threads,
        _size(options),
        rerank,
    )


def _device(opened: dict[str, System | None]) -> str:
    """Of the first model that computes something."""
    known = [str(one.embedder.device) for one in opened.values() if one and one.embedder]
    return known[0] if known else "cpu"


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
    evaluations: list[Evaluation],
    sections: list[Section],
    notes: dict[str, str],
    command: str,
    machine: str,
    path: Path,
) -> None:
    content = {
        "command": command,
        "machine": machine,
        "version": __version__,
        "trained_on": notes,
        "sections": [section.as_dict() for section in sections],
        "rows": [evaluation.as_dict() for evaluation in evaluations],
    }
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _command(options: argparse.Namespace) -> str:
    """The command that gives these results again."""
    queries = getattr(options, "queries", [])
    parts = ["saane", "evaluate", *(["panels"] if queries else [])]
    for name, values in (("model", options.model), ("dataset", options.dataset)):
        parts += [f"--{name}", *values]
    parts += ["--queries", *queries] if queries else []
    parts += ["--rerank", *options.rerank] if getattr(options, "rerank", []) else []
    parts += [f"--{name}" for name in ("attention", "published") if getattr(options, name, False)]
    for name in ("table", "root", "weights", "device", "precision", "threads", "max_side", "pair"):
        value = getattr(options, name)
        if value and value != "auto":
            parts += [f"--{name.replace('_', '-')}", str(value)]
    if options.size:
        parts += ["--size", *map(str, options.size)]
    return shlex.join([*parts, "--out", str(options.out)])
