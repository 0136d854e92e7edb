"""Label maps go back to the image the way their network took."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from saane_ros.embedding.network import enlarged_logits


@pytest.mark.parametrize("aligned", [True, False])
def test_corners_are_aligned_as_by_the_network(aligned: bool) -> None:
    logits = torch.tensor([[[[0.0, 1.0]]]])
    row = enlarged_logits(SimpleNamespace(align_corners=aligned), logits, (1, 7))[0, 0, 0]
    if aligned:
        expected = [i / 6 for i in range(7)]
    else:
        expected = [min(max((i + 0.5) * 2 / 7 - 0.5, 0), 1) for i in range(7)]
    torch.testing.assert_close(row, torch.tensor(expected))
    without = [enlarged_logits(one, logits, (1, 7)) for one in (None, SimpleNamespace())]
    assert torch.equal(*without)
