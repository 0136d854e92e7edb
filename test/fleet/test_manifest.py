"""The entry of a version: what is written is read, and anything else is told in one sentence."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.fleet.manifest import (
    Manifest,
    Pieces,
    id_of,
    membership_token,
    read_manifest,
    version_of,
)
from saane_ros.route_map.info import MapInfo

ONE = Manifest(
    *("street", "3fa2", "2026", "2026", "night", "m", "f", 4, 72, "float32", "none", "enu"),
    *((48.0, 11.0, 5.5), (48.0, 11.0, 48.1, 11.1), {"descriptors.npy": "93"}, True),
    {"map.yaml": Pieces(5, (id_of(b"a"),))},
    Pieces(128, (id_of(b"b"), id_of(b"c"))),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_what_is_written_is_read() -> None:
    for one in (ONE, replace(ONE, origin=None, box=None)):
        assert read_manifest(json.loads(json.dumps(one.payload())), "here") == one


def sealed(values: Any) -> dict[str, Any]:
    """A payload whose digest is right, whatever it holds."""
    text = json.dumps(values)
    digest = hashlib.sha256(json.dumps(text).encode()).hexdigest()
    return {"format": 1, "map": "street", "manifest": text, "digest": digest}


@given(ANYTHING)
def test_anything_else_is_told(value: Any) -> None:
    with pytest.raises(SaaneError, match=r"^here has a damaged entry of map street: push its"):
        read_manifest(sealed(value), "here")


@given(st.sampled_from(sorted(json.loads(ONE.payload()["manifest"]))), ANYTHING)
def test_any_value_in_place_of_one(name: str, value: Any) -> None:
    plain = json.loads(ONE.payload()["manifest"])
    with suppress(SaaneError):
        manifest = read_manifest(sealed({**plain, name: value}), "here")
        assert {key: type(read) for key, read in asdict(manifest).items()} in (
            {key: type(read) for key, read in asdict(ONE).items()},
            {**{key: type(read) for key, read in asdict(ONE).items()}, name: type(None)},
        )


@given(st.dictionaries(st.sampled_from(["format", "map", "manifest", "digest"]), ANYTHING))
def test_any_payload(values: dict[str, Any]) -> None:
    with pytest.raises(SaaneError, match=r"of format|has a damaged entry"):
        read_manifest(values, "here")


def test_a_version_is_of_the_content_alone() -> None:
    info = MapInfo("a", "f", "m", "map", None, "now", 3, 4, "float32", files={"x": "1"})
    assert version_of(replace(info, name="b", created="then")) == version_of(info)
    assert version_of(replace(info, files={"x": "2"})) != version_of(info)
    assert version_of(replace(info, frame_id="odom")) != version_of(info)
    assert membership_token(["b", "a"]) == membership_token(["a", "b"]) != membership_token(["a"])
