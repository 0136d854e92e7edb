"""One table of untrained, random and trained heads on benchmarks that none of them has seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from saane_ros.data.datasets import Dataset, open_datasets
from saane_ros.embedding.untrained import TrunkPooling, load_untrained
from saane_ros.errors import SaaneError
from saane_ros.evaluation.descriptors import describe
from saane_ros.evaluation.metrics import RetrievalResult, RetrievalScores, evaluate_retrieval
from saane_ros.evaluation.postprocessed import RAW, Processing, processed
from saane_ros.evaluation.results_table import OVER_SETS
from saane_ros.evaluation.searches import search_descriptors
from saane_ros.files import replacing_file
from saane_ros.model.heads import HEADS, Head, HeadSizes
from saane_ros.model.saane import SaaneNetwork
from saane_ros.route_map.postprocessing import MEAN, PROJECTIONS, STANDARDISE
from saane_ros.training.config import Comparison
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
POSTS = {"raw": RAW, "mean": Processing(MEAN), "standardised": Processing(STANDARDISE)}
"""Post-processing by its name in the table of systems; each traverse by its own statistics."""
ALL_POSTS = {
    **POSTS,
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
        benchmarks = [b for name in wanted.datasets for b in open_benchmarks(run, network, name)]
    data = shared_data(run, network, fabric)
    figures = _other_trunks(run, benchmarks) if fabric.is_global_zero else []
    for name, seed, head in _heads(run, network, data, fabric):
        for row, zeroed in _rows(name, seed, head).items():
            for benchmark in benchmarks:
                rows = described(head, benchmark, run.device, zeroed)
                figures += measured(row, seed, benchmark.dataset, rows, _posts(wanted, row, seed))
        if fabric.is_global_zero:
            _write(results, run, benchmarks, figures)
    return table(figures)


def _other_trunks(run: Run, benchmarks: Sequence[Benchmark]) -> list[Figures]:
    """Rows of untrained trunks and fusions beside the configuration's own."""
    assert run.config.comparison is not None
    figures = []
    for spec in run.config.comparison.untrained:
        embedder = load_untrained(spec, run.weights, str(run.device), "fp32")
        for dataset in (benchmark.dataset for benchmark in benchmarks):
            rows = [
                describe(embedder, embedder.fingerprint, images, f"{spec} on {dataset.name}")
                for images in (dataset.queries, dataset.references)
            ]
            pair = rows[0].descriptors, rows[1].descriptors
            figures += measured(f"untrained {spec}", None, dataset, pair, POSTS)
    return figures


def _posts(wanted: Comparison, row: str, seed: int | None) -> dict[str, Processing]:
    """All of them for rows of the second table, of trained heads for those of the first seed."""
    return ALL_POSTS if row in POSTPROCESSED and seed in (None, wanted.seeds[0]) else POSTS


def _rows(name: str, seed: int | None, head: Head) -> dict[str, str]:
    """Titles of a head's rows and what is zeroed: each modality of a trained head that fuses."""
    rows = {name: ""}
    if seed is not None and head.uses_semantics:
        rows |= {f"{name}, {part} zeroed": part for part in ("semantics", "appearance")}
    return rows


@dataclass(frozen=True)
class Zeroed:
    """Features without one of the two modalities, as a head gets them that lost that branch."""

    cache: Features
    stream: str

    @property
    def batch_size(self) -> int:
        return self.cache.batch_size

    def __len__(self) -> int:
        return len(self.cache)

    def expect(self, indices: NDArray[np.int64]) -> None:
        self.cache.expect(indices)

    def batch(self, indices: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        appearance, semantic = self.cache.batch(indices, device)
        assert semantic is not None
        if self.stream == "semantics":
            return appearance, torch.zeros_like(semantic)
        return torch.zeros_like(appearance), semantic


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


def open_benchmarks(run: Run, network: SaaneNetwork, name: str) -> list[Benchmark]:
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


def described(
    head: Head, benchmark: Benchmark, device: torch.device, zeroed: str = ""
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Descriptors of a benchmark's queries and references; zeroed: a modality that is left out."""
    head.eval()
    queries, references = (
        describe_all(head, Zeroed(cache, zeroed) if zeroed else cache, device)
        for cache in (benchmark.queries, benchmark.references)
    )
    return queries, references


def measured(
    name: str,
    seed: int | None,
    dataset: Dataset,
    descriptors: tuple[NDArray[np.float32], NDArray[np.float32]],
    posts: Mapping[str, Processing],
) -> list[Figures]:
    """One line of figures a post-processing."""
    figures, (queries, references) = [], descriptors
    for post, how in posts.items():
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
    return f"{table_of(figures, rows, costs=False)}\n\n{table_of(figures, more, costs=True)}"


def table_of(figures: Sequence[Figures], rows: Sequence[tuple[str, str]], costs: bool) -> str:
    columns = list(dict.fromkeys(title for f in figures for title in columns_of(f)))
    title = "R@1 / AUC paper / AUC headline"
    titles = [title, *columns, *(["bytes a place", "ms a query"] if costs else [])]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for system, post in rows:
        here = [f for f in figures if (f.system, f.post) == (system, post)]
        if not here:
            continue
        cells = [_cell(column, here) for column in columns]
        if costs:
            sizes = sorted({f.descriptor_bytes for f in here})
            cells.append(f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}")
            cells.append(f"{np.median([f.query_ms for f in here]):.2f}")
        suffix = "" if post == "raw" else f", {post}"
        lines.append(f"| {system}{suffix} | {' | '.join(cells)} |")
    return "\n".join(lines)


def columns_of(figures: Figures) -> list[str]:
    """The columns of the table that these figures count for."""
    if not figures.group:
        return [figures.benchmark]
    return [f"{figures.group} {word}" for word in OVER_SETS]


def over_seeds(column: str, figures: Sequence[Figures], name: str) -> list[float]:
    """A figure of a column seed by seed, of several query sets their average or worst."""
    here = [f for f in figures if column in columns_of(f)]
    over_sets = next((f for word, f in OVER_SETS.items() if column.endswith(f" {word}")), np.mean)
    seeds = dict.fromkeys(f.seed for f in here)
    return [float(over_sets([getattr(f, name) for f in here if f.seed == seed])) for seed in seeds]


def _cell(column: str, figures: Sequence[Figures]) -> str:
    names = ("recall", "auc_paper", "auc_headline")
    return " / ".join(_spread(over_seeds(column, figures, name)) for name in names)


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
