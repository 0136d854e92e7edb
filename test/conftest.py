"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import pytest
from hypothesis import settings
from scenes import ColourGridEmbedder

# A property is right or wrong however busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def colour_grid() -> ColourGridEmbedder:
    return ColourGridEmbedder()
