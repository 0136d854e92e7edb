"""MOSAIC R4: its sizes, its paddings and its interpolation, each against a naive one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from saane_ros.embedding.segmenting import load_segmentation
from saane_ros.model.mosaic import Mosaic, SameConv, resized_from_origin

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
IMAGES = SHARED / "data" / "camvid" / "test"
WEIGHTS = SHARED / "weights"


@cache
def network() -> Mosaic:
    torch.manual_seed(0)
    return Mosaic().eval()


def test_parameters_and_grids():
    # 1.86 M is the published count.
    assert sum(values.numel() for values in network().parameters()) == 1_862_176
    for size, coarse, fine in (
        ((128, 192), (8, 12), (32, 48)),
        ((97, 50), (7, 4), (25, 13)),
        ((1, 3), (1, 1), (1, 1)),
    ):
        with torch.no_grad():
            features, logits = network()(torch.rand(1, 3, *size))
        assert features.shape == (1, 128, *coarse)
        assert logits.shape == (1, 32, *fine)
        assert torch.isfinite(logits).all()
        assert network().channels == 128


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_padding_is_that_of_tensorflow(size, side, stride, dilation):
    torch.manual_seed(1)
    layer = SameConv(1, 1, size, stride, dilation=dilation, activated=False)
    image = torch.randn(side, side)
    with torch.no_grad():
        found = layer(image[None, None])[0, 0]
    outputs = -(-side // stride)
    # tf.nn.convolution: of all padding, the smaller half goes before.
    before = max(0, (outputs - 1) * stride + (size - 1) * dilation + 1 - side) // 2
    weight, bias = layer.weight[0, 0].tolist(), float(layer.bias.detach())
    for row, column in np.ndindex(outputs, outputs):
        total = bias
        for i, j in np.ndindex(size, size):
            y = row * stride - before + i * dilation
            x = column * stride - before + j * dilation
            if 0 <= y < side and 0 <= x < side:
                total += weight[i][j] * float(image[y, x])
        assert float(found[row, column]) == pytest.approx(total, abs=1e-5)
    assert found.shape == (outputs, outputs)


@pytest.mark.parametrize("target", [(12, 20), (7, 11), (3, 5), (4, 9)])
def test_interpolation_starts_at_the_origin(target):
    torch.manual_seed(2)
    small = torch.randn(3, 5)
    found = resized_from_origin(small[None, None], target)[0, 0]
    for row, column in np.ndindex(*target):
        y, x = row * 3 / target[0], column * 5 / target[1]
        top, left = int(y), int(x)
        bottom, right = min(top + 1, 2), min(left + 1, 4)
        expected = (
            small[top, left] * (1 - y + top) * (1 - x + left)
            + small[top, right] * (1 - y + top) * (x - left)
            + small[bottom, left] * (y - top) * (1 - x + left)
            + small[bottom, right] * (y - top) * (x - left)
        )
        assert float(found[row, column]) == pytest.approx(float(expected), abs=1e-5)


def test_it_sees_images_as_it_was_trained():
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    given = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    own = Mosaic(mean=(0.5,) * 3, std=(0.5,) * 3).eval()
    own.load_state_dict(network().state_dict())
    with torch.no_grad():
        expected = own((255 * pixels) / 127.5 - 1)
        found = network()(given)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_labels_agree_with_the_runtime_of_the_published_file():
    """The runtime rounds every layer to eight bits; that moves a few edges and no areas."""
    pytest.importorskip("tflite", reason="needs the extra mosaic")
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs litert")
    file = WEIGHTS / "mosaic_r4.tflite"
    if not (IMAGES.is_dir() and file.is_file()):
        pytest.skip(f"{IMAGES} and {file} are not here")
    interpreter = litert.Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    segmentation = load_segmentation("mosaic-ade31", str(WEIGHTS), "cpu")
    shares = []
    for path in sorted(IMAGES.iterdir())[::60]:
        image = cv2.resize(cv2.imread(str(path))[..., ::-1], (512, 512))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        theirs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        shares.append(float((segmentation.labels([image])[0] == theirs).mean()))
    print(f"equal pixels {np.mean(shares):.4f}")
    assert np.mean(shares) > 0.96
    assert min(shares) > 0.9
