"""Styles of features: what mixing leaves as it is, and what it takes from a partner."""

from __future__ import annotations

import numpy as np
import torch

from saane_ros.training.style_mixing import CONCENTRATION, SMALLEST_DEVIATION, draw_styles


def features(count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    scales = torch.rand(count, 3, 1, 1, generator=generator) + 0.5
    return torch.rand(count, 3, 4, 5, generator=generator) * scales


def mix_styles(given: torch.Tensor, chance: float, generator: torch.Generator) -> torch.Tensor:
    return draw_styles(len(given), chance, generator).apply(given)


def test_without_probability_nothing_changes() -> None:
    given = features()
    mixed = mix_styles(given, 0.0, torch.Generator().manual_seed(0))
    assert torch.allclose(mixed, given, atol=1e-6)


def test_the_same_generator_mixes_the_same() -> None:
    first = mix_styles(features(), 0.5, torch.Generator().manual_seed(3))
    again = mix_styles(features(), 0.5, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)


def test_moments_are_those_of_a_naive_mixture() -> None:
    given = features()
    mixed = mix_styles(given, 1.0, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    partner = torch.randperm(len(given), generator=generator).tolist()
    torch.rand(len(given), generator=generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    shares = np.random.default_rng(seed).beta(CONCENTRATION, CONCENTRATION, len(given))
    values = given.double().numpy()
    for image, (other, share) in enumerate(zip(partner, shares, strict=True)):
        for channel in range(3):
            own, lent = values[image, channel], values[other, channel]
            mean = share * own.mean() + (1 - share) * lent.mean()
            deviations = [x.std(ddof=1) + SMALLEST_DEVIATION for x in (own, lent)]
            deviation = share * deviations[0] + (1 - share) * deviations[1]
            expected = np.maximum((own - own.mean()) / deviations[0] * deviation + mean, 0)
            assert np.allclose(mixed[image, channel].numpy(), expected, atol=1e-5)


def test_a_changed_style_moves_no_image_in_space() -> None:
    given = features()
    mixed = mix_styles(given, 1.0, torch.Generator().manual_seed(1))
    peak = given.flatten(2).argmax(dim=2)
    assert torch.equal(mixed.flatten(2).argmax(dim=2), peak)
    assert not torch.allclose(mixed, given, atol=1e-3)
