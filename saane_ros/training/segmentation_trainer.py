"""Training of a segmentation network, trunk included where it has no pretrained weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from saane_ros.embedding.preprocessing import Preprocessing, resized
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.semantics import LightPspNet
from saane_ros.progress import progress
from saane_ros.training.checkpoint import load_checkpoint, save_checkpoint
from saane_ros.training.features import read_rgb
from saane_ros.types import Rgb

IGNORED = 255


@dataclass(frozen=True)
class SegmentationTraining:
    """train_trunk: from scratch; otherwise the trunk keeps its weights and BatchNorm statistics."""

    steps: int = 4000
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    train_trunk: bool = True
    validate_every: int = 500
    seed: int = 0


@dataclass(frozen=True)
class LabelledImages:
    """Image files, the PNG label map of each, and the names of the classes.

    Pixels whose label is not below the number of classes are ignored.
    """

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    class_names: tuple[str, ...]

    def read(self, index: int, height: int, width: int) -> tuple[Rgb, NDArray[np.uint8]]:
        """One image and its labels at the size of the network's input."""
        path = self.labels[index]
        labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise SaaneError(f"{path} is no readable label map: write it as an 8-bit PNG.")
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
        labels[labels >= len(self.class_names)] = IGNORED
        return resized(read_rgb(self.images[index]), height, width), labels.astype(np.uint8)


class SegmentationTrainer:
    """Trains trunk and LightPspNet; the best by validation mIoU is kept as two weight files."""

    def __init__(
        self,
        trunk: ResNetTrunk,
        segmentation: LightPspNet,
        preprocessing: Preprocessing,
        training: LabelledImages,
        validation: LabelledImages,
        options: SegmentationTraining,
        out: Path,
        device: torch.device,
    ) -> None:
        self.trunk, self.segmentation = trunk.to(device), segmentation.to(device)
        self.preprocessing, self.training, self.validation = preprocessing, training, validation
        self.options, self.out, self.device = options, out, device
        trunk.requires_grad_(options.train_trunk)
        modules = [trunk, segmentation] if options.train_trunk else [segmentation]
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.generator = np.random.default_rng(options.seed)
        self.torch_generator = torch.Generator().manual_seed(options.seed)
        self.best = -1.0
        self.history: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def run(self) -> float:
        """Train to the last step, going on from a checkpoint where there is one; the best mIoU."""
        self.out.mkdir(parents=True, exist_ok=True)
        start = self._resume() if self.checkpoint.exists() else 0
        bar = progress(range(start, self.options.steps), "segmentation", unit="step")
        running = 0.0
        for step in bar:
            running = 0.98 * running + 0.02 * self.step(step)
            if (step + 1) % self.options.validate_every == 0 or step + 1 == self.options.steps:
                score = self._validate(step + 1, running)
                bar.set_postfix({"loss": f"{running:.3f}", "mIoU": f"{score:.3f}"})
        return self.best

    def step(self, step: int) -> float:
        """One batch under a cosine schedule; returns its loss."""
        phase = np.pi * step / self.options.steps
        warm_up = min(1.0, (step + 1) / 100)
        for group in self.optimizer.param_groups:
            group["lr"] = warm_up * self.options.learning_rate * (1 + np.cos(phase)) / 2
        images, labels = self._draw()
        self.trunk.train(self.options.train_trunk)
        self.segmentation.train()
        loss = segmentation_loss(self.segmentation(self.trunk(images)).logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def _draw(self) -> tuple[Tensor, Tensor]:
        height, width = self.preprocessing.height, self.preprocessing.width
        chosen = self.generator.integers(len(self.training.images), size=self.options.batch)
        pairs = [self._augment(*self.training.read(int(i), height, width)) for i in chosen]
        images = self.preprocessing([image for image, _ in pairs], self.device)
        labels = torch.from_numpy(np.stack([labels for _, labels in pairs])).to(self.device)
        return images, labels.long()

    def _augment(self, image: Rgb, labels: NDArray[np.uint8]) -> tuple[Rgb, NDArray[np.uint8]]:
        """A mirror image now and then, and another exposure: neither moves a label."""
        if self.generator.random() < 0.5:
            image, labels = np.flip(image, 1), np.flip(labels, 1)
        gain, gamma = self.generator.uniform(0.7, 1.3), self.generator.uniform(0.7, 1.4)
        table = 255 * np.clip(gain * (np.arange(256) / 255) ** gamma, 0, 1)
        exposed = cv2.LUT(np.ascontiguousarray(image), table.astype(np.uint8))
        return exposed.astype(np.uint8), labels

    def _validate(self, step: int, loss: float) -> float:
        ious = self.intersection_over_union()
        score = float(np.nanmean(ious))
        self.history.append({"step": step, "loss": loss, "mIoU": score})
        if score > self.best:
            self.best = score
            self._save_weights()
        named = dict(zip(self.training.class_names, map(float, ious), strict=True))
        save_checkpoint(
            self.checkpoint,
            step,
            {"trunk": self.trunk, "segmentation": self.segmentation},
            self.optimizer,
            {"batches": self.generator},
            self.torch_generator,
            {"best": self.best, "history": self.history},
        )
        with replacing_file(self.out / "history.json") as temporary:
            temporary.write_text(json.dumps({"steps": self.history, "IoU": named}, indent=1))
        return score

    def _save_weights(self) -> None:
        for name, module in (("trunk", self.trunk), ("segmentation", self.segmentation)):
            tensors = {k: v.contiguous().cpu() for k, v in module.state_dict().items()}
            with replacing_file(self.out / f"{name}.safetensors") as temporary:
                save_file(tensors, temporary)

    @torch.no_grad()
    def intersection_over_union(self) -> NDArray[np.float64]:
        """IoU of every class over all pixels of the validation images; NaN for an absent class."""
        self.trunk.eval()
        self.segmentation.eval()
        classes = len(self.training.class_names)
        confusion = np.zeros((classes, classes), np.int64)
        height, width = self.preprocessing.height, self.preprocessing.width
        for index in range(len(self.validation.images)):
            image, labels = self.validation.read(index, height, width)
            logits = self.segmentation(self.trunk(self.preprocessing([image], self.device))).logits
            predicted = _enlarged(logits, labels.shape).argmax(1)[0].cpu().numpy()
            known = labels != IGNORED
            pairs = labels[known].astype(np.int64) * classes + predicted[known]
            confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        hits = np.diag(confusion).astype(np.float64)
        union = confusion.sum(0) + confusion.sum(1) - hits
        return np.divide(hits, union, out=np.full(classes, np.nan), where=union > 0)

    def _resume(self) -> int:
        step, extra = load_checkpoint(
            self.checkpoint,
            {"trunk": self.trunk, "segmentation": self.segmentation},
            self.optimizer,
            {"batches": self.generator},
            self.torch_generator,
        )
        self.best, self.history = extra["best"], extra["history"]
        return step


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits B x K x h x w against labels B x H x W, at the labels' size."""
    return functional.cross_entropy(_enlarged(logits, labels.shape[-2:]), labels, ignore_index=255)


def _enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
