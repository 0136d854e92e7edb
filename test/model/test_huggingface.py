"""Hugging Face models through their real loading path, on tiny random checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from hugging_face_files import CLASSES, save_mask2former, save_segformer

from saane_ros.errors import SaaneError
from saane_ros.model.huggingface import load_segmenter, mask_class_logits

transformers = pytest.importorskip("transformers", reason="needs the extra transformers")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    folder = tmp_path_factory.mktemp("segformer")
    return folder, save_segformer(folder)


@pytest.fixture(scope="module")
def mask2former(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    folder = tmp_path_factory.mktemp("mask2former")
    return folder, save_mask2former(folder)


def test_segformer_gives_its_own_logits_and_the_map_before_them(segformer):
    folder, model = segformer
    network = load_segmenter(folder, MEAN, STD)
    assert (network.class_names, network.channels) == (CLASSES, 24)
    assert not network.training
    images = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        features, logits = network(images)
        expected = model(pixel_values=images).logits
        classifier = model.decode_head.classifier
        again = torch.einsum("kc,bchw->bkhw", classifier.weight[:, :, 0, 0], features)
    assert features.shape == (2, 24, 24, 32)
    assert float(features.min()) == 0.0
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(again + classifier.bias[:, None, None], expected)


def test_mask2former_scores_masks_as_its_own_post_processing_does(mask2former):
    folder, model = mask2former
    network = load_segmenter(folder, MEAN, STD)
    assert (network.class_names, network.channels) == (CLASSES, 32)
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        features, logits = network(images)
        raw = model(pixel_values=images)
    assert features.shape == (1, 32, 24, 32)
    assert logits.shape == (1, 5, 24, 32)
    torch.testing.assert_close(features, raw.pixel_decoder_last_hidden_state)
    scores = naive_scores(raw.class_queries_logits[0], raw.masks_queries_logits[0])
    expected = scores / scores.sum(dim=0)
    torch.testing.assert_close(logits[0].softmax(dim=0).double(), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(logits[0].argmax(0), scores.argmax(0))


def naive_scores(classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """sum over queries of p(class) sigmoid(mask), the null class (the last) left out."""
    exponents = classes.double().exp()
    total = torch.zeros(classes.shape[1] - 1, *masks.shape[1:], dtype=torch.float64)
    for query in range(len(classes)):
        for index in range(classes.shape[1] - 1):
            probability = exponents[query, index] / exponents[query].sum()
            total[index] += probability / (1 + (-masks[query].double()).exp())
    return total


def test_class_scores_by_hand():
    # One query surely of class 0 inside its mask, one surely nothing: the null class is dropped.
    classes = torch.tensor([[[50.0, 0.0, 0.0], [0.0, 0.0, 50.0]]])
    masks = torch.tensor([[[[0.0, 40.0]], [[40.0, 40.0]]]])
    scores = mask_class_logits(classes, masks).exp()
    torch.testing.assert_close(scores[0, 0], torch.tensor([[0.5, 1.0]]))
    assert float(scores[0, 1].max()) < 1e-6
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.isfinite(mask_class_logits(classes.to(dtype), masks.to(dtype))).all()


def test_images_are_brought_to_the_normalisation_of_the_checkpoint(segformer, tmp_path):
    _, model = segformer
    model.save_pretrained(tmp_path)
    wanted = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, **wanted}))
    pixels = torch.rand(1, 3, 64, 64)
    ours = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    theirs = (pixels - torch.tensor(wanted["image_mean"]).view(3, 1, 1)) / torch.tensor(
        wanted["image_std"]
    ).view(3, 1, 1)
    with torch.no_grad():
        expected = model(pixel_values=theirs).logits
        actual = load_segmenter(tmp_path, MEAN, STD)(ours).logits
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_flip_channel_order": True}))
    with pytest.raises(SaaneError, match="wants BGR images"):
        load_segmenter(tmp_path, MEAN, STD)


def test_pickled_weights_are_not_loaded(segformer, tmp_path):
    folder, model = segformer
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(SaaneError, match=r"no file named model\.safetensors"):
        load_segmenter(tmp_path, MEAN, STD)


def test_a_checkpoint_without_its_decoder_is_refused(segformer, tmp_path):
    _, model = segformer
    model.segformer.save_pretrained(tmp_path)
    model.config.save_pretrained(tmp_path)
    with pytest.raises(SaaneError, match=r"lacks \d+ weights of its network \(decode_head"):
        load_segmenter(tmp_path, MEAN, STD)


def test_a_model_that_does_not_segment_is_refused(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(SaaneError, match=r"cannot be loaded .*ViTConfig"):
        load_segmenter(tmp_path, MEAN, STD)


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(SaaneError, match=r"has no config\.json"):
        load_segmenter(tmp_path, MEAN, STD)


def test_without_the_extra_the_remedy_is_told(segformer, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SaaneError, match="pip install transformers"):
        load_segmenter(segformer[0], MEAN, STD)
