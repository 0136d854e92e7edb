"""One table of untrained, random and trained heads on benchmarks that none of them has seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from saane_ros.data.datasets import Dataset, open_datasets
from saane_ros.embedding.untrained import TrunkPooling
from saane_ros.errors import SaaneError
from saane_ros.evaluation.metrics import RetrievalResult, RetrievalScores, evaluate_retrieval
from saane_ros.evaluation.postprocessed import RAW, Processing, processed
from saane_ros.evaluation.searches import search_descriptors
from saane_ros.files import replacing_file
from saane_ros.model.heads import HEADS, Head, HeadSizes
from saane_ros.model.saane import SaaneNetwork
from saane_ros.route_map.postprocessing import MEAN, PROJECTIONS, STANDARDISE
from saane_ros.training.features import Features
from saane_ros.training.initialisation import start_whitened
from saane_ros.training.pipeline import on_fabric, shared_data, train_head, with_embedding
from saane_ros.training.places import EmbeddingData, frozen_features
from saane_ros.training.run import Run
from saane_ros.training.validation import AUC, describe_all

if TYPE_CHECKING:
    from lightning_fabric import Fabric

POOLS = ("max", "avg")
POSTPROCESSED = ("untrained trunk, avg", "app", "app_att", "saane")
"""Systems of the second table."""
POSTS = {"raw": RAW, "standardised": Processing(STANDARDISE)}
"""Post-processing by its name in the table of systems; each traverse by its own statistics."""
ALL_POSTS = {
    **POSTS,
    "mean": Processing(MEAN),
    "mean, online": Processing(MEAN, online=True),
    "standardised, online": Processing(STANDARDISE, online=True),
    **{kind: Processing(kind) for kind in PROJECTIONS},
    **{f"{kind}, online": Processing(kind, online=True) for kind in PROJECTIONS},
}
"""Those of the table of post-processings; online: statistics as a live localizer has them."""


@dataclass(frozen=True)
class Benchmark:
    """A dataset with the frozen features of its queries and references."""

    dataset: Dataset
    queries: Features
    references: Features


@dataclass(frozen=True)
class Figures:
    """Recall@1 and areas under the precision-recall curve of one head on one benchmark.

    auc: of the curve that the training is judged by.  auc_paper, auc_headline: by the conventions
    that the evaluation names so.  group: of benchmarks that are the query sets of one dataset.
    post: of `ALL_POSTS`.  descriptor_bytes: of a place.  query_ms: what post-processing adds to a
    query.
    """

    system: str
    seed: int | None
    benchmark: str
    post: str
    recall: float
    auc: float
    auc_paper: float
    auc_headline: float
    descriptor_bytes: int
    query_ms: float
    group: str = ""


def compare(run: Run, results: Path) -> str:
    """Train what is not trained yet, measure everything, write table.json and table.md; the table.

    Finished heads are kept in `run.out`/heads: a second call only measures.
    """
    wanted = run.config.comparison
    if wanted is None:
        raise SaaneError(f"{run.config.path} has no section `comparison`: add it.")
    strangers = [name for name in wanted.systems if name not in HEADS]
    if strangers:
        raise SaaneError(f"There is no system {strangers[0]}: choose of {', '.join(HEADS)}.")
    run, fabric = on_fabric(run)
    network = run.network("saane" if run.card.semantics is not None else "app")
    with fabric.rank_zero_first(local=False):
        benchmarks = [b for name in wanted.datasets for b in _benchmarks(run, network, name)]
    data = shared_data(run, network, fabric)
    figures: list[Figures] = []
    for name, seed, head in _heads(run, network, data, fabric):
        head.eval()
        for benchmark in benchmarks:
            figures += _measured(name, seed, head, benchmark, run.device)
        if fabric.is_global_zero:
            _write(results, run, benchmarks, figures)
    return table(figures)


def _heads(
    run: Run, network: SaaneNetwork, data: EmbeddingData, fabric: Fabric
) -> Iterator[tuple[str, int | None, Head]]:
    """Every row of the table: the untrained trunk, a random projection, the trained systems."""
    wanted = run.config.comparison
    assert wanted is not None
    channels = network.appearance.channels16
    for pool in POOLS:
        sizes = HeadSizes(c_a=channels, channels=channels, pool=pool)
        yield f"untrained trunk, {pool}", None, TrunkPooling(sizes)
    whitened = run.network("app", 0).head
    start_whitened(whitened, data.training, 0)
    yield f"whitened trunk, {run.card.head.pool}", None, whitened
    for seed in wanted.seeds:
        yield "app, random projection", seed, run.network("app", seed).head
    for system in wanted.systems:
        for seed in wanted.seeds:
            yield system, seed, trained_head(run, system, seed, data, fabric)


def trained_head(run: Run, system: str, seed: int, data: EmbeddingData, fabric: Fabric) -> Head:
    """A head of `run.out`/heads/<system>-<seed>, trained if it is not finished."""
    out = run.out / "heads" / f"{system}-{seed}"
    head = run.network(system, seed).head
    done = out / "done"
    if not done.exists():
        config = with_embedding(run.config, seed=seed)
        train_head(replace(run, config=config, out=out), head, data, fabric)
        if fabric.is_global_zero:
            with replacing_file(done) as temporary:
                temporary.touch()
        fabric.barrier()
    head.load_state_dict(load_file(out / "embedding" / "head.safetensors"))
    return head


def _benchmarks(run: Run, network: SaaneNetwork, name: str) -> list[Benchmark]:
    """One benchmark a query set; sets of one dataset may share their references' features."""
    found = []
    for dataset in open_datasets(name, run.data):
        what = f"features of {dataset.name}"
        caches = [
            frozen_features(run, network, images, what)
            for images in (dataset.queries, dataset.references)
        ]
        found.append(Benchmark(dataset, *caches))
    return found


def _measured(
    name: str, seed: int | None, head: Head, benchmark: Benchmark, device: torch.device
) -> list[Figures]:
    queries = describe_all(head, benchmark.queries, device)
    references = describe_all(head, benchmark.references, device)
    figures, dataset = [], benchmark.dataset
    for post, how in ALL_POSTS.items():
        rows = processed(how, queries, references)
        result = _result(rows.queries, rows.references, dataset)
        figures.append(
            Figures(
                name,
                seed,
                dataset.name,
                post,
                result.recall[1],
                result.curves[AUC].auc,
                result.saane_comparable_auc,
                result.headline_auc,
                rows.references.shape[1] * rows.references.itemsize,
                rows.query_ms,
                dataset.group,
            )
        )
    return figures


def _result(
    queries: NDArray[np.float32], references: NDArray[np.float32], dataset: Dataset
) -> RetrievalResult:
    distances = search_descriptors(queries, references).distances
    return evaluate_retrieval(RetrievalScores(distances, dataset.correct), (1,))


def table(figures: Sequence[Figures]) -> str:
    """Two tables in Markdown: all systems, and what each post-processing does to a few of them.

    R@1 / AUC "paper" / AUC "headline", mean and standard deviation over seeds where there are
    several; of a dataset with several query sets their average and, seed by seed, their worst.
    """
    systems = list(dict.fromkeys(f.system for f in figures))
    few = [name for name in systems if name in POSTPROCESSED]
    rows = [(system, post) for system in systems for post in POSTS]
    more = [(system, post) for system in few for post in ALL_POSTS]
    return f"{_table(figures, rows, costs=False)}\n\n{_table(figures, more, costs=True)}"


def _table(figures: Sequence[Figures], rows: Sequence[tuple[str, str]], costs: bool) -> str:
    columns = list(dict.fromkeys(title for f in figures for title in _columns(f)))
    title = "R@1 / AUC paper / AUC headline"
    titles = [title, *columns, *(["bytes a place", "ms a query"] if costs else [])]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for system, post in rows:
        here = [f for f in figures if (f.system, f.post) == (system, post)]
        if not here:
            continue
        cells = [_cell(column, [f for f in here if column in _columns(f)]) for column in columns]
        if costs:
            sizes = sorted({f.descriptor_bytes for f in here})
            cells.append(f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}")
            cells.append(f"{np.median([f.query_ms for f in here]):.2f}")
        suffix = "" if post == "raw" else f", {post}"
        lines.append(f"| {system}{suffix} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _columns(figures: Figures) -> list[str]:
    """The columns of the table that these figures count for."""
    if not figures.group:
        return [figures.benchmark]
    return [f"{figures.group} {word}" for word in _OVER_SETS]


def _cell(column: str, found: Sequence[Figures]) -> str:
    over_sets = next((f for word, f in _OVER_SETS.items() if column.endswith(f" {word}")), np.mean)
    seeds = dict.fromkeys(f.seed for f in found)
    spreads = []
    for name in ("recall", "auc_paper", "auc_headline"):
        of_seeds = [[getattr(f, name) for f in found if f.seed == seed] for seed in seeds]
        spreads.append(_spread([float(over_sets(values)) for values in of_seeds]))
    return " / ".join(spreads)


_OVER_SETS: dict[str, Callable[[Sequence[float]], Any]] = {"average": np.mean, "worst": np.min}


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{np.mean(values):.3f}"
    return f"{np.mean(values):.3f}±{np.std(values, ddof=1):.3f}"


def _write(
    results: Path, run: Run, benchmarks: Sequence[Benchmark], figures: Sequence[Figures]
) -> None:
    protocols = {
        b.dataset.name: {
            "protocol": b.dataset.protocol,
            "tolerance": b.dataset.tolerance,
            "queries": len(b.dataset.queries),
            "with_match": b.dataset.matched,
            "references": len(b.dataset.references),
        }
        for b in benchmarks
    }
    values: dict[str, Any] = {
        "configuration": run.config.path.name,
        "curve": AUC,
        "benchmarks": protocols,
        "figures": [vars(f) for f in figures],
    }
    stem = run.config.path.stem
    for name, text in (
        (f"{stem}.json", json.dumps(values, indent=1)),
        (f"{stem}.md", table(figures) + "\n"),
    ):
        with replacing_file(results / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
