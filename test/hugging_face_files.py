"""Tiny random segmentation models as `save_pretrained` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

CLASSES = ("road", "car", "sky", "tree", "person")


def labels() -> dict[str, dict]:
    return {
        "id2label": dict(enumerate(CLASSES)),
        "label2id": {name: index for index, name in enumerate(CLASSES)},
    }


def save_segformer(folder: Path) -> torch.nn.Module:
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1] * 4,
        decoder_hidden_size=24,
        **labels(),
    )
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    torch.nn.init.uniform_(model.decode_head.batch_norm.running_mean, -0.5, 0.5)
    model.save_pretrained(folder)
    return model


def save_mask2former(folder: Path) -> torch.nn.Module:
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    torch.manual_seed(0)
    swin = transformers.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=16,
        num_queries=6,
        **labels(),
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    model.save_pretrained(folder)
    return model
