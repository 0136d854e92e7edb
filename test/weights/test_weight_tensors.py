"""Reading weight files: both formats, and refusal of everything that is not plain tensors."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from saane_ros.errors import SaaneError
from saane_ros.weights.tensors import read_tensors, tensors_digest

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2).half()}


def same(read: dict[str, torch.Tensor]) -> bool:
    return read.keys() == TENSORS.keys() and all(
        torch.equal(read[key], TENSORS[key]) and read[key].dtype == TENSORS[key].dtype
        for key in TENSORS
    )


def test_both_formats_give_the_same_tensors(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "a.pth")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": TENSORS, "optimizer": {}}, tmp_path / "wrapped.pth")
    for name in ("a.safetensors", "a.pth", "old.pth", "wrapped.pth"):
        assert same(read_tensors(tmp_path / name)), name


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_weight_file_is_refused_and_not_run(tmp_path, zipped):
    trap = tmp_path / "trap"
    torch.save(
        {**TENSORS, "x": Malicious(trap)},
        tmp_path / "bad.pth",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(SaaneError, match=r"bad\.pth was refused .* would run code"):
        read_tensors(tmp_path / "bad.pth")
    assert not trap.exists()
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert trap.exists()  # The file really does harm where it is trusted.


def test_a_bare_pickle_is_refused(tmp_path):
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Malicious(tmp_path / "trap")))
    with pytest.raises(SaaneError, match="was refused"):
        read_tensors(tmp_path / "bad.pth")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("size", [0, 1, 7, 100, -1])
def test_damaged_files_are_told_in_one_sentence(tmp_path, suffix, size):
    whole = tmp_path / f"whole{suffix}"
    save_file(TENSORS, whole) if suffix == ".safetensors" else torch.save(TENSORS, whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(SaaneError, match=f"Weight file .*cut{suffix} (cannot be read|was refused)"):
        read_tensors(cut)


def test_files_without_a_state_dict_are_told(tmp_path):
    for content in ({}, {"a": 1}, {"a": TENSORS}, [1, 2], {"model_state_dict": {"a": 1}}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(SaaneError, match="holds no state dict"):
            read_tensors(tmp_path / "a.pth")
    with pytest.raises(SaaneError, match="No such file"):
        read_tensors(tmp_path / "absent.pth")


def test_the_digest_sees_every_change_and_no_order():
    digest = tensors_digest(TENSORS)
    assert digest == tensors_digest(dict(reversed(TENSORS.items())))
    changed = TENSORS["a.weight"].clone()
    changed[1, 2] += 1e-6
    variants = [
        {**TENSORS, "a.weight": changed},
        {**TENSORS, "a.weight": TENSORS["a.weight"].reshape(3, 2)},
        {**TENSORS, "a.bias": TENSORS["a.bias"].float()},
        {"b.weight": TENSORS["a.weight"], "a.bias": TENSORS["a.bias"]},
        {"a.weight": TENSORS["a.weight"]},
    ]
    assert len({digest, *map(tensors_digest, variants)}) == 1 + len(variants)
    assert tensors_digest({"n": torch.tensor(3)}) != tensors_digest({"n": torch.tensor(4)})
