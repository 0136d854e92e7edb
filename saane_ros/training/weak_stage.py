"""The weakly supervised stage of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from safetensors.torch import load_file
from torch import nn

from saane_ros.data.datasets import Dataset
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.evaluation.metrics import RetrievalScores
from saane_ros.evaluation.recall import recall_at
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.vlad import VladHead, Whitening
from saane_ros.training.features import Batches
from saane_ros.training.fine_tuning import ImageBatches, TrunkAndHead
from saane_ros.training.places import frozen_features, held_out_views, searches, training_views
from saane_ros.training.reading_ahead import Images
from saane_ros.training.run import Run
from saane_ros.training.tagged_images import TaggedImages, Tuples
from saane_ros.training.tagged_sources import TaggedSource, read_tagged
from saane_ros.training.tagged_towns import town_dataset
from saane_ros.training.tensorboard import ScalarLog
from saane_ros.training.validation import describe_all, euclidean, retrieval_scores
from saane_ros.training.vocabulary import Learner
from saane_ros.training.weak_trainer import WeakTrainer
from saane_ros.training.weight_files import save_weights
from saane_ros.weights.checkpoints import load_strict

COUNTS = (1, 5)


def train_weak(run: Run) -> tuple[dict[str, float], dict[str, float]]:
    """Train the head that the vocabulary stage left; figures before, and of the best epoch.

    The result replaces that head; with `train_trunk` there is a trunk beside it.
    """
    options = run.config.weak
    network = run.network()
    head, whitening = _start(run, network)
    training = TaggedImages(_datasets(run, options.sources, "training"))
    tuples, validation = Tuples(training), Validation(run, network)
    if set(training.list_keys) & set(validation.images.list_keys):
        raise SaaneError(
            f"{run.config.path} names the same images in weak.sources and weak.validation: give "
            "others to choose the epoch by."
        )
    model: nn.Module = TrunkAndHead(network.appearance, head) if options.train_trunk else head
    out = run.out / "weak"
    trainer = WeakTrainer(
        model,
        _batches(run, network, training, "training"),
        tuples,
        validation,
        options,
        out,
        run.device,
        ScalarLog(out / "tensorboard"),
    )
    trainer.run()
    model.load_state_dict(load_file(out / "best.safetensors"))
    if isinstance(whitening, Whitening):
        head.whitening = whitening
        views, options_of_words = training_views(run), run.config.vocabulary
        preprocessing = preprocessing_of(run.card)
        Learner(network, preprocessing, views, options_of_words, run.device).whiten(whitening)
    if options.train_trunk:
        save_weights(network.appearance, run.trained_file("trunk"))
    save_weights(head, run.trained_file("head"))
    best = max(trainer.history, key=lambda row: row["score"])
    return trainer.history[0], best


class Validation:
    """Recall@1 and Recall@5 of a model on images that it does not learn from.

    Called with a model, it gives them by search, and the mean Recall@5 as "score".
    """

    def __init__(self, run: Run, network: SaaneNetwork) -> None:
        options = run.config.weak
        self.device = run.device
        self.images = TaggedImages(_datasets(run, options.validation, "validation"))
        self.batches = _batches(run, network, self.images, "validation")
        self.views = held_out_views(run) if options.held_out else None
        if self.views is not None:
            self.searches = searches(run, self.views)
            self.view_batches = _batches(run, network, self.views, "held-out")

    def __call__(self, model: nn.Module) -> dict[str, float]:
        found: dict[str, list[dict[int, float]]] = {}
        for name, scores, all_queries in self._searched(model):
            recall = recall_at(scores.distances, scores.correct, COUNTS, all_queries)
            found.setdefault(name, []).append(recall)
        figures = {
            f"{name} R@{count}": float(np.mean([recall[count] for recall in recalls]))
            for name, recalls in found.items()
            for count in COUNTS
        }
        figures["score"] = float(np.mean([figures[f"{name} R@5"] for name in found]))
        return figures

    def _searched(self, model: nn.Module) -> Iterator[tuple[str, RetrievalScores, bool]]:
        """Name, distances and correct ones of every search, and whether all queries count."""
        descriptors = describe_all(model, self.batches, self.device)
        images = self.images
        for dataset, here, there in zip(
            images.datasets, images.queries, images.references, strict=True
        ):
            distances = euclidean(descriptors[here], descriptors[there])
            yield dataset.name, RetrievalScores(distances, dataset.correct), dataset.all_queries
        if self.views is not None:
            descriptors = describe_all(model, self.view_batches, self.device)
            for search in self.searches:
                yield search.name, retrieval_scores(descriptors, self.views.labels, search), False


def _start(run: Run, network: SaaneNetwork) -> tuple[VladHead, nn.Module]:
    """The head that the vocabulary stage left, without its whitening, and that whitening.

    A whitening is learned from descriptors as they are in the end, so training goes without.
    """
    head, file = network.head, run.trained_file("head")
    if not isinstance(head, VladHead):
        raise SaaneError(
            f"{run.config.path} describes a {run.card.system} model: weak supervision trains "
            "netvlad and sralnet."
        )
    if not file.is_file():
        raise SaaneError(
            f"{file} does not exist: run `saane train vocabulary` with the same --out first."
        )
    load_strict(head, load_file(file), str(file))
    whitening = head.whitening
    head.whitening = nn.Identity()
    return head, whitening


def _datasets(run: Run, sources: Sequence[TaggedSource], purpose: str) -> list[Dataset]:
    found: list[Dataset] = []
    for source in sources:
        if source.kind == "drive" and purpose == "validation":
            raise SaaneError(
                f"The drive {source.folder} in weak.validation would be searched in itself and "
                "find itself: give a dataset with other images as queries."
            )
        if source.kind != "towns":
            found += read_tagged(source, run.data)
            continue
        folder = run.towns(purpose).parent
        assert run.config.town is not None
        found.append(town_dataset(run.config.town, folder, purpose, source.reference))
    if not found:
        key = "sources" if purpose == "training" else "validation"
        raise SaaneError(
            f"{run.config.path} names no images with positions in weak.{key}: give at least one "
            "source."
        )
    return found


def _batches(run: Run, network: SaaneNetwork, images: Images, what: str) -> Batches:
    """Frozen features, or images where the trunk is trained too."""
    if run.config.weak.train_trunk:
        return ImageBatches(images, preprocessing_of(run.card))
    return frozen_features(run, network, images, f"features of {what} images")
