"""Fixtures that every part of the suite shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tf2_messages
from file_servers import FileServer, serving
from hypothesis import settings
from scenes import ColourGridEmbedder

NO_TF = pytest.StashKey[str]()
"""Why there is no tf2_msgs; empty where there is."""

# A property is right or wrong however busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported that looks whether transforms can be spoken."""
    cache = getattr(config, "cache", None)
    if cache is None:
        config.stash[NO_TF] = "there is no cache to make tf2_msgs in"
    else:
        config.stash[NO_TF] = tf2_messages.provide(cache.mkdir(tf2_messages.folder_name()))


@pytest.fixture
def tf(request: pytest.FixtureRequest) -> None:
    """Skips where there is no tf2_msgs."""
    if reason := request.config.stash[NO_TF]:
        pytest.skip(reason)


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server in the place of Hugging Face's hub, and a user who is logged in there."""
    for name in ("HF_OIDC_RESOURCE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url(""))
        yield server


@pytest.fixture
def colour_grid() -> ColourGridEmbedder:
    return ColourGridEmbedder()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Training comes first, before solvers and engines bring thread pools of their own.

    Late in a process that had loaded all of them, PyTorch's backward pass once crashed.
    """
    items.sort(key=lambda item: "training" not in item.path.parts)
