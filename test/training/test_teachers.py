"""Answers of teachers against plain NumPy, and verdicts against a loop over pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.data.images.labelled import IGNORED
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.embedding.segmenting import Segmentation
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.semantics import LightPspNet
from saane_ros.training.teachers import Teacher, verdict

SIZE = (64, 96)
OWN = ("road", "vegetation", "truck", "car", "pole")
MEANT = {0: 2, 1: 0, 2: 1, 3: 1}
"""Of OWN among (tree, car, road, ceiling): trucks and cars are one, poles and ceilings nothing."""


@pytest.fixture
def segmentation() -> Segmentation:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", 8)
    network = LightPspNet(trunk.channels8, trunk.channels16, 8, len(OWN))
    torch.nn.init.normal_(network.classifier.weight, std=3.0)
    return Segmentation(trunk, network, Preprocessing(*SIZE), OWN, (), torch.device("cpu"))


def own_probabilities(segmentation: Segmentation, image: np.ndarray) -> np.ndarray:
    scores = np.exp(segmentation.logits([image])[0].numpy().astype(np.float64))
    return scores / scores.sum(axis=0)


def in_own_words(own: np.ndarray) -> np.ndarray:
    """Tree, car, road, ceiling and what has no counterpart."""
    return np.stack([own[1], own[2] + own[3], own[0], 0 * own[0], own[4]])


def test_an_answer_is_the_mean_of_both_views_summed_over_the_classes_of_one_meaning(
    segmentation: Segmentation,
) -> None:
    image = smooth_scene(3, 50, 70)
    plain = own_probabilities(segmentation, image)
    mirrored = own_probabilities(segmentation, image[:, ::-1].copy())[..., ::-1]
    assert np.abs(plain - mirrored).max() > 0.01
    teacher = Teacher(segmentation, MEANT, 4, flip=True)
    answer = teacher.answer(image, SIZE).numpy()
    np.testing.assert_allclose(answer, in_own_words((plain + mirrored) / 2), atol=1e-5)
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-5)
    assert teacher.known.tolist() == [True, True, True, False]
    unflipped = Teacher(segmentation, MEANT, 4).answer(image, SIZE).numpy()
    np.testing.assert_allclose(unflipped, in_own_words(plain), atol=1e-5)


def test_scales_are_averaged_at_the_size_of_the_label_map(segmentation: Segmentation) -> None:
    image = smooth_scene(4, 50, 70)
    before = segmentation.preprocessing
    answer = Teacher(segmentation, MEANT, 4, scales=(1.0, 1.6)).answer(image, (30, 40)).numpy()
    expected = np.zeros((5, 30, 40))
    for size in (SIZE, (96, 160)):  # 102 x 154 to the nearest multiples of 32
        segmentation.preprocessing = Preprocessing(*size)
        for sums, channel in zip(
            expected, in_own_words(own_probabilities(segmentation, image)), strict=True
        ):
            sums += cv2.resize(channel, (40, 30), interpolation=cv2.INTER_LINEAR) / 2
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert (before.height, before.width) == SIZE


def naive_verdict(
    answers: np.ndarray, known: np.ndarray, confidence: float
) -> tuple[int, float, list[list[bool]]]:
    """Label and confidence of one pixel, and what each further teacher did.

    answers: (teachers, classes + 1).  known: bool (teachers, classes).
    """
    first, classes = answers[0], answers.shape[1] - 1
    chosen = int(first.argmax())
    says, refused, counts = [first], False, []
    for answer, knows in zip(answers[1:], known[1:], strict=True):
        shared = sum(first[c] for c in range(classes) if knows[c])
        row = [shared * answer[c] if c < classes and knows[c] else first[c] for c in range(classes)]
        says.append(np.array([*row, first[classes]]))
        asked = chosen < classes and bool(knows[chosen])
        same = int(answer.argmax()) == chosen
        against = asked and not same and first.max() >= confidence and answer.max() >= confidence
        refused |= against
        counts.append([asked, asked and same, against])
    mean = np.mean(says, axis=0)
    label = int(mean.argmax())
    if refused or label == classes or mean[label] < confidence:
        label = IGNORED
    return label, float(mean.max()), counts


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([0.3, 0.5, 0.7]))
def test_a_verdict_equals_the_loop_over_pixels(seed: int, teachers: int, confidence: float) -> None:
    random = np.random.default_rng(seed)
    known = random.random((teachers, 4)) < 0.6
    answers = random.dirichlet(np.full(5, 0.4), (teachers, 5, 6)).transpose(0, 3, 1, 2)
    answers[:, :4] *= known[:, :, None, None]
    answers /= answers.sum(axis=1, keepdims=True) + 1e-9
    answers = answers.astype(np.float32)
    found = verdict(
        [torch.from_numpy(one) for one in answers],
        [torch.from_numpy(one) for one in known],
        confidence,
    )
    pixels = [naive_verdict(answers[:, :, y, x], known, confidence) for y, x in np.ndindex(5, 6)]
    assert found.labels.ravel().tolist() == [label for label, _, _ in pixels]
    np.testing.assert_allclose(found.confidence.ravel(), [p for _, p, _ in pixels], atol=1e-6)
    for index, counts in enumerate(zip(found.asked, found.agreed, found.refused, strict=True)):
        assert list(counts) == np.sum([c[index] for _, _, c in pixels], axis=0).tolist()


NAMES = ("ceiling", "building", "sky", "road")
STREETS = torch.tensor([False, True, True, True])


@pytest.mark.parametrize(
    ("first", "second", "label", "confidence"),
    [
        # Of a corridor the network of streets is sure, and is not asked.
        ([0.9, 0.06, 0.02, 0.02, 0], [0, 0.01, 0.98, 0.01, 0], "ceiling", 0.9),
        # Two that are sure and differ teach nothing, nor does what the student has no name for.
        ([0, 0.9, 0.1, 0, 0], [0, 0.05, 0.95, 0, 0], None, None),
        ([0, 0.9, 0.1, 0, 0], [0, 0.1, 0, 0, 0.9], None, None),
        # An unsure first is decided by the second, within what they share.
        ([0.1, 0.45, 0.4, 0.05, 0], [0, 0.1, 0.9, 0, 0], "sky", (0.4 + 0.9 * 0.9) / 2),
        ([0, 0.6, 0.4, 0, 0], [0, 0.9, 0.1, 0, 0], "building", 0.75),
    ],
)
def test_a_second_teacher_counts_where_the_first_names_what_both_know(
    first: list[float], second: list[float], label: str | None, confidence: float | None
) -> None:
    answers = [torch.tensor(p).view(5, 1, 1) for p in (first, second)]
    found = verdict(answers, [torch.ones(4, dtype=torch.bool), STREETS], 0.5)
    assert found.labels.item() == (IGNORED if label is None else NAMES.index(label))
    if confidence is not None:
        assert found.confidence.item() == pytest.approx(confidence)
