"""Model cards: the shipped ones, every kind of mistake, and what moves a fingerprint."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.weights.card_files import (
    card_names,
    list_cards,
    load_card,
    models_folder,
    parse_card,
)
from saane_ros.weights.cards import fingerprint
from saane_ros.weights.class_lists import CLASS_LISTS, DYNAMIC_CLASSES

LIGHT = {
    "name": "town",
    "system": "saane",
    "appearance": {"trunk": "resnet18", "width": 32, "weights": "trunk"},
    "semantics": {
        "network": "light_pspnet",
        "channels": 128,
        "weights": "segmentation",
        "classes": ["sky", "road", "car"],
        "dynamic": ["car"],
    },
    "head": {"channels": 64, "reduction": 8, "levels": [2, 1], "weights": "head"},
    "preprocessing": {"height": 224, "width": 320},
    "weights": {
        key: {"file": f"{key}.safetensors", "sha256": f"{index}" * 64}
        for index, key in enumerate(("trunk", "segmentation", "head"))
    },
    "licence": "Apache-2.0",
}


def parse(values: object) -> object:
    return parse_card(yaml.safe_dump(values), Path("town.yaml"))


def changed(changes: dict[str, object]) -> dict:
    """LIGHT with values set under dotted keys; None removes."""
    values = copy.deepcopy(LIGHT)
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        inner = values
        for key in path:
            inner = inner[key]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return values


def test_a_card_becomes_typed_values():
    card = parse(LIGHT)
    assert card.appearance.width == 32
    assert card.appearance.stride_on == "conv2"
    assert card.semantics.weights == ("segmentation",)
    assert card.semantics.classes == ("sky", "road", "car")
    assert card.preprocessing.mean == (0.485, 0.456, 0.406)
    assert card.descriptor_size == 64 * (4 + 1)
    assert card.trained


def test_every_shipped_card_is_valid_and_named_after_its_file():
    cards = list_cards()
    assert [card.name for card in cards] == card_names()
    for card in cards:
        assert card.path == models_folder() / f"{card.name}.yaml"
        assert card.description
        for source in card.weights.values():
            assert source.licence or card.licence, f"{card.name}: {source}"
            assert source.trained_on or card.trained_on, f"{card.name}: {source}"


def test_the_paper_card_is_the_paper():
    card = load_card("saane-resnet50-pspnet")
    assert card.descriptor_size == 7680
    assert not card.trained
    assert len(card.semantics.classes) == 150
    assert card.semantics.variant == "csail"
    assert set(card.weights) == {"trunk", "encoder", "decoder"}


def test_built_in_classes_stand_at_their_published_indices():
    ade, cityscapes = CLASS_LISTS["ade20k"], CLASS_LISTS["cityscapes"]
    assert (len(ade), len(set(ade)), len(cityscapes)) == (150, 150, 19)
    moving = [ade.index(name) for name in DYNAMIC_CLASSES["ade20k"]]
    assert moving == [2, 12, 20, 76, 80, 83, 90, 92, 102, 103, 116, 126, 127, 149]
    assert [cityscapes.index(n) for n in DYNAMIC_CLASSES["cityscapes"]] == list(range(10, 19))
    assert CLASS_LISTS["cityscapes_background"] == (*cityscapes, "background")
    # MLPerf Mobile's list: 0 for all other classes, then the 31 most frequent.
    top = CLASS_LISTS["ade20k_top31"]
    known = {0: "other", 1: "wall", 3: "sky", 7: "road", 13: "person", 21: "car", 31: "armchair"}
    assert len(top) == 32
    assert {index: top[index] for index in known} == known
    for name, moving in DYNAMIC_CLASSES.items():
        assert set(moving) <= set(CLASS_LISTS[name])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"colour": 1, "head.colour": 2}, ("unknown key colour", "unknown key head.colour")),
        ({"licence": None, "head.channels": "x"}, ("missing key licence", "head.channels is 'x'")),
        ({"system": "sane"}, ("system is 'sane' instead of one of app, app_sem",)),
        ({"system": "app"}, ("system app has no semantics",)),
        ({"semantics": None, "weights.segmentation": None}, ("system saane needs semantics",)),
        ({"semantics.channels": None}, ("missing key semantics.channels",)),
        ({"semantics.variant": "csail"}, ("semantics.variant does not apply",)),
        ({"semantics.classes": "ade"}, ("semantics.classes is 'ade' instead of a list or one",)),
        ({"semantics.dynamic": ["bus"]}, ("semantics.dynamic names bus",)),
        ({"semantics.classes": ["a", "a", "car"]}, ("names a class twice",)),
        ({"appearance.trunk": "resnet50"}, ("appearance.width is for resnet18",)),
        ({"appearance.stride_on": "conv1"}, ("stride_on is for resnet50",)),
        ({"appearance.trunk": "resnet19"}, ("appearance.trunk is 'resnet19' instead of one of",)),
        ({"layer": {"output": 3}}, ("system saane has no layer",)),
        ({"appearance.tap": "layer3"}, ("appearance.tap is for trunks of timm, or layer4",)),
        ({"beside": [{"trunk": "vgg16"}]}, ("beside.0 needs a trunk with weights",)),
        ({"beside": [{"trunk": "vgg16", "weights": "vgg"}]}, ("weights has no entry 'vgg'",)),
        ({"weights.head.package": "../pkg"}, ("weights.head.package is '../pkg' instead of",)),
        ({"semantics.squeeze": -1}, ("semantics.squeeze must be greater than 0",)),
        ({"head.weights": "hed"}, ("no entry 'hed'", "weights.head is used by nothing")),
        ({"head.reduction": 7}, ("no multiple of head.reduction",)),
        ({"head.levels": []}, ("head.levels must be greater than 0",)),
        ({"head.levels": [2, True]}, ("head.levels is True instead of a whole number",)),
        ({"preprocessing.std": [1, 1]}, ("preprocessing.std has 2 entries instead of 3",)),
        ({"preprocessing.std": [1, 1, 0]}, ("preprocessing.std must be greater than 0",)),
        ({"preprocessing.mean": [float("nan"), 0, 0]}, ("preprocessing.mean",)),
        ({"weights.head.sha256": None}, ("missing key weights.head.sha256",)),
        ({"weights.head.sha256": "ab"}, ("weights.head.sha256 is not 64",)),
        ({"weights.head.file": "../head.pth"}, ("instead of a plain file name",)),
        ({"weights.head.url": "file:///etc/passwd"}, ("instead of an http or https",)),
        ({"weights.head.torchvision": "X"}, ("come from torchvision",)),
        ({"weights": []}, ("weights must be a mapping",)),
        ({"appearance": "resnet18"}, ("appearance must be a mapping",)),
        ({"appearance": None}, ("system saane needs appearance", "weights.trunk is used by")),
        (
            {"system": "segmentation", "appearance": None},
            ("system segmentation needs appearance",),
        ),
        (
            {"system": "segmentation", "semantics.network": "mosaic"},
            (
                "system segmentation with a network that takes images has no appearance",
                "semantics.channels does not apply to mosaic",
            ),
        ),
    ],
)
def test_every_mistake_is_named(changes, told):
    with pytest.raises(SaaneError) as caught:
        parse(changed(changes))
    for part in told:
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "3", "!!python/object:os.system {}"])
def test_files_that_are_no_cards_are_told(text):
    with pytest.raises(SaaneError, match=r"Model card town\.yaml"):
        parse_card(text, Path("town.yaml"))


def test_unknown_names_suggest_the_nearest(tmp_path):
    with pytest.raises(SaaneError, match=r"did you mean saane-resnet50-pspnet\?"):
        load_card("saane-resnet50-psp")
    with pytest.raises(SaaneError, match=r"the models are .*saane-resnet50-pspnet"):
        load_card("zzz")
    with pytest.raises(SaaneError, match="cannot be read"):
        load_card(tmp_path / "absent.yaml")


def test_a_card_is_found_by_its_path(tmp_path):
    (tmp_path / "town.yaml").write_text(yaml.safe_dump(LIGHT))
    card = load_card(tmp_path / "town.yaml")
    assert (card.name, card.path) == ("town", tmp_path / "town.yaml")


DIGESTS = {"trunk": "aa", "segmentation": "bb", "head": "cc"}


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "app_sem"},
        {"appearance.width": 48},
        {"semantics.channels": 64},
        {"head.pool": "avg"},
        {"head.levels": [1, 2]},
        {"preprocessing.width": 224},
        {"preprocessing.mean": [0, 0, 0]},
    ],
)
def test_the_fingerprint_moves_with_what_changes_a_descriptor(changes):
    assert fingerprint(parse(changed(changes)), DIGESTS) != fingerprint(parse(LIGHT), DIGESTS)


def test_the_fingerprint_keeps_still_otherwise():
    card = parse(LIGHT)
    stamp = fingerprint(card, DIGESTS)
    assert len(stamp) == 16
    assert int(stamp, 16) >= 0
    other = replace(card, name="x", description="y", licence="z", trained_on="w")
    assert fingerprint(other, dict(reversed(DIGESTS.items()))) == stamp
    renamed = replace(card, appearance=replace(card.appearance, weights="base"))
    assert fingerprint(renamed, {**DIGESTS, "base": "aa", "trunk": "aa"}) != stamp
    assert fingerprint(renamed, {"base": "aa", "segmentation": "bb", "head": "cc"}) == stamp
    assert fingerprint(card, {**DIGESTS, "head": "cd"}) != stamp


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PATHS = [
    key if not isinstance(value, dict) else f"{key}.{inner}"
    for key, value in LIGHT.items()
    for inner in (value if isinstance(value, dict) else [""])
]


@given(st.sampled_from(PATHS), VALUES)
def test_no_value_does_more_harm_than_a_told_error(path, value):
    values = changed({path: "placeholder"})
    *parents, last = path.split(".")
    inner = values
    for key in parents:
        inner = inner[key]
    inner[last] = value
    with suppress(SaaneError):
        assert len(fingerprint(parse(values), DIGESTS)) == 16
