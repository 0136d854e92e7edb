"""Every test over DDS has a domain of its own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_domain() -> None:
    pytest.importorskip("rclpy")
    from ros_world import use_own_domain

    use_own_domain()
