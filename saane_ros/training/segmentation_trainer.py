"""Training of a segmentation network, trunk included where it has no pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.data.images.labelled import IGNORED, LabelledImages
from saane_ros.embedding.network import enlarged_logits
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import Trunk
from saane_ros.training.iou import Confusion, confusion_of, intersection_over_union
from saane_ros.training.label_augmentation import augment
from saane_ros.training.label_features import label_features
from saane_ros.training.trainer import Trainer
from saane_ros.training.weight_files import save_weights

BALANCE_SAMPLES = 500
VALIDATION_BATCH = 4


@dataclass(frozen=True)
class SegmentationTraining:
    """train_trunk: from scratch; otherwise the trunk keeps its weights and BatchNorm statistics.

    copies: augmented copies of every image whose trunk features are computed once and kept
        (frozen trunk only); 0: a new augmentation at every look.
    scale: smallest and largest factor of the augmentation's size.
    balance: 0 weighs all pixels alike, 1 all classes; between, frequency ** -balance.
    loss_stride: the loss looks at every n-th pixel in both directions.
    bf16: bfloat16 where it is safe (autocast), on devices that are faster with it.
    """

    steps: int = 4000
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    train_trunk: bool = True
    validate_every: int = 500
    seed: int = 0
    copies: int = 0
    scale: tuple[float, float] = (1.0, 1.0)
    balance: float = 0.0
    loss_stride: int = 1
    bf16: bool = False


class SegmentationTrainer(Trainer):
    """Trains a network on a trunk, or one that takes images; the best by validation mIoU is kept.

    segmentation: a network with `levels`, the trunk features that it takes, or one of images.
    """

    title, score = "segmentation", "mIoU"

    def __init__(
        self,
        trunk: Trunk,
        segmentation: nn.Module,
        preprocessing: Preprocessing,
        training: LabelledImages,
        validation: LabelledImages,
        options: SegmentationTraining,
        out: Path,
        device: torch.device,
    ) -> None:
        if options.copies and options.train_trunk:
            raise SaaneError("segmentation.copies needs train_trunk: false, a frozen trunk.")
        super().__init__(out, options.steps, options.validate_every, options.seed)
        self.trunk, self.segmentation = trunk.to(device), segmentation.to(device)
        self.preprocessing, self.training, self.validation = preprocessing, training, validation
        self.options, self.device = options, device
        self.on_trunk = hasattr(segmentation, "levels")
        self.trains_trunk = options.train_trunk and self.on_trunk
        trunk.requires_grad_(self.trains_trunk)
        modules = [trunk, segmentation] if self.trains_trunk else [segmentation]
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.modules = {"trunk": self.trunk, "segmentation": self.segmentation}
        self.random = np.random.default_rng(options.seed)
        self.generators = {"batches": self.random}
        self.features = self._features() if options.copies else None
        self.weights = self._class_weights()

    def step(self, step: int) -> float:
        """One batch under a cosine schedule; returns its loss."""
        phase = np.pi * step / self.options.steps
        warm_up = min(1.0, (step + 1) / 100)
        for group in self.optimizer.param_groups:
            group["lr"] = float(warm_up * self.options.learning_rate * (1 + np.cos(phase)) / 2)
        inputs, labels = self._draw()
        self.trunk.train(self.trains_trunk)
        self.segmentation.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            logits = self._logits(inputs)
        loss = self._loss(logits, self._thinned(labels))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def _logits(self, inputs: Any) -> Tensor:
        """inputs: normalised images, or the trunk's features where they were kept."""
        if self.on_trunk and isinstance(inputs, Tensor):
            inputs = self.trunk(inputs)
        return self.segmentation(inputs).logits

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of logits B x K x h x w against labels B x H x W, at the labels' size."""
        enlarged = self._enlarged(logits, labels)
        return functional.cross_entropy(enlarged, labels, self.weights, ignore_index=IGNORED)

    def _enlarged(self, logits: Tensor, labels: Tensor) -> Tensor:
        return enlarged_logits(self.segmentation, logits, labels.shape[-2:])

    def _thinned(self, labels: Tensor) -> Tensor:
        stride = self.options.loss_stride
        return labels[:, stride // 2 :: stride, stride // 2 :: stride]

    def _draw(self) -> tuple[Any, Tensor]:
        if self.features is not None:
            rows = self.random.integers(len(self.features), size=self.options.batch)
            return self.features.batch(np.sort(rows), self.device)
        chosen = self.random.integers(len(self.training), size=self.options.batch)
        pairs = [
            augment(
                *self.preprocessing.resize_labelled(*self.training.read(int(i))),
                self.random,
                self.options.scale,
            )
            for i in chosen
        ]
        return self._batch(pairs)

    def _batch(
        self, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    ) -> tuple[Tensor, Tensor]:
        images = self.preprocessing([image for image, _ in pairs], self.device)
        labels = torch.from_numpy(np.stack([labels for _, labels in pairs])).to(self.device)
        return images, labels.long()

    def _features(self) -> Any:
        return label_features(
            self.trunk,
            self.segmentation.levels,  # type: ignore[arg-type]
            self.preprocessing,
            self.training,
            self.options.copies,
            self.options.scale,
            self.out / "features",
            "features of labelled images",
        )

    def _class_weights(self) -> Tensor | None:
        """Weights of mean 1 over the pixels of some hundred training images."""
        if self.options.balance == 0:
            return None
        counts = np.zeros(256, np.int64)
        every = max(1, len(self.training) // BALANCE_SAMPLES)
        for index in range(0, len(self.training), every):
            labels = self.preprocessing.resize_labelled(*self.training.read(index))[1]
            counts += np.bincount(labels.ravel(), minlength=256)
        frequency = counts[: len(self.training.class_names)] / max(counts[:IGNORED].sum(), 1)
        weights = np.maximum(frequency, 1e-4) ** -self.options.balance
        weights /= (weights * frequency).sum()
        return torch.tensor(weights, dtype=torch.float32, device=self.device)

    def validate(self, step: int) -> float:
        ious = intersection_over_union(self.confusion(self.validation))
        score = float(np.nanmean(ious))
        named = dict(zip(self.training.class_names, map(float, ious), strict=True))
        self.history.append({"step": step, "loss": self.running, "mIoU": score, "IoU": named})
        if score > self.best:
            self.best = score
            for name, module in self.modules.items():
                save_weights(module, self.out / f"{name}.safetensors")
        return score

    @torch.no_grad()
    def confusion(self, images: LabelledImages) -> Confusion:
        """Pixel counts of true and predicted classes at the network's input size."""
        self.trunk.eval()
        self.segmentation.eval()
        classes = len(self.training.class_names)
        total = np.zeros((classes, classes), np.int64)
        for pixels, labels in self._all(images):
            predicted = self._enlarged(self._logits(pixels), labels).argmax(1)
            total += confusion_of(labels.byte().cpu().numpy(), predicted.cpu().numpy(), classes)
        return total

    def _all(self, images: LabelledImages) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(images), VALIDATION_BATCH):
            stop = min(start + VALIDATION_BATCH, len(images))
            yield self._batch(
                [self.preprocessing.resize_labelled(*images.read(i)) for i in range(start, stop)]
            )
