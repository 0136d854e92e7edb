"""Files of the hub against servers in its layout: who gets the token, what refusals mean."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
from pathlib import Path

import pytest
from file_servers import COMMIT, FileServer
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.weights import hub
from saane_ros.weights.download import DownloadError, download

NAME, FILE = "someone/net", "model.safetensors"
ADDRESS = hub.address(NAME, COMMIT, FILE)
PATH = ADDRESS.removeprefix(hub.HUB)
SECRET = "Bearer hf_secret"


def anything(_: Path) -> None:
    return None


def fetched(address: str, folder: Path) -> bytes:
    download(address, folder / "net", anything)
    return (folder / "net").read_bytes()


def test_a_mirror_serves_the_hubs_addresses_and_gets_the_token(hub_server, tmp_path):
    hub_server.files[PATH] = b"weights"
    assert fetched(ADDRESS, tmp_path) == b"weights"
    assert (hub_server.paths, hub_server.tokens) == ([PATH], [SECRET])


def test_the_token_does_not_follow_a_redirect_to_another_host(hub_server, file_server, tmp_path):
    """As the hub sends to the store of large files, and to a model's new name on itself."""
    hub_server.redirects[PATH] = "/someone/renamed"
    hub_server.redirects["/someone/renamed"] = file_server.url("/store")
    file_server.files["/store"] = b"weights"
    file_server.cuts = [3]
    assert fetched(ADDRESS, tmp_path) == b"weights"
    assert hub_server.tokens == [SECRET] * 4
    assert (file_server.tokens, file_server.ranges) == (["", ""], ["", "bytes=3-"])


@pytest.mark.parametrize("nowhere", ["http://[x/", "http://127.0.0.1:abc/", "ftp:", "file:///x"])
def test_a_redirect_to_nowhere_is_told(nowhere, hub_server, tmp_path):
    hub_server.redirects[PATH] = nowhere
    with pytest.raises(DownloadError):
        download(ADDRESS, tmp_path / "net", anything)
    assert hub_server.tokens[0] == SECRET


def test_another_host_that_redirects_to_the_hub_learns_nothing(hub_server, file_server, tmp_path):
    hub_server.files["/public"] = b"weights"
    file_server.redirects["/net"] = hub_server.url("/public")
    assert fetched(file_server.url("/net"), tmp_path) == b"weights"
    assert (file_server.tokens, hub_server.tokens) == ([""], [SECRET])


def test_without_encryption_no_token_leaves_the_machine(
    hub_server, file_server, tmp_path, monkeypatch
):
    """The mirror is reached by a proxy, which sees what others on the way would see."""
    monkeypatch.setenv("http_proxy", file_server.url(""))
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    file_server.files[f"http://mirror.example{PATH}"] = b"weights"
    assert fetched(ADDRESS, tmp_path) == b"weights"
    assert (file_server.tokens, hub_server.paths) == ([""], [])


def test_the_token_of_a_login_is_taken_where_none_is_set(hub_server, tmp_path, monkeypatch):
    from huggingface_hub import constants

    hub_server.files[PATH] = b"weights"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "stored"))
    hub.open_url(ADDRESS).close()
    (tmp_path / "token").write_text("hf_login\n")
    hub.open_url(ADDRESS).close()
    assert hub_server.tokens == ["", "Bearer hf_login"]


def test_a_token_with_a_slip_of_the_keyboard_is_told(hub_server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")
    with pytest.raises(SaaneError, match="has characters that no token has"):
        download(ADDRESS, tmp_path / "net", anything)
    assert hub_server.paths == []


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (401, {}, "accept the terms at https://huggingface.co/someone/net, log in with `hf auth"),
        (403, {"X-Error-Code": "GatedRepo"}, "accept the terms at .* or set HF_TOKEN, and give"),
        (401, {"X-Error-Code": "RepoNotFound"}, "Hugging Face has no model someone/net, or it is"),
        (404, {"X-Error-Code": "RevisionNotFound"}, f"someone/net has no .*branch {COMMIT}"),
        (404, {"X-Error-Code": "EntryNotFound"}, f"someone/net has no such file at {COMMIT}"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "no longer"),
        (500, {}, "^the server answered 500 Internal Server Error, $"),
    ],
)
def test_refusals_say_what_to_do(status, headers, told, hub_server, tmp_path):
    hub_server.refused[PATH] = (status, headers)
    with pytest.raises(DownloadError) as caught:
        download(ADDRESS, tmp_path / "net", anything)
    assert re.search(told, f"{caught.value}, {caught.value.remedy}")


def test_a_wrong_mirror_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "mirror.example")
    with pytest.raises(SaaneError, match=r"HF_ENDPOINT is 'mirror\.example' instead of an"):
        download(ADDRESS, tmp_path / "net", anything)


def test_a_repository_tells_commit_digests_and_licence(hub_server):
    content = b"w" * 2_400_000
    hub_server.publish(NAME, {FILE: content, "config.json": b"{}"}, "apache-2.0")
    told = hub.repository(NAME)
    assert told is not None
    assert (told.commit, told.licence) == (COMMIT, "apache-2.0")
    digest = hashlib.sha256(content).hexdigest()
    assert told.files == {FILE: hub.HubFile(digest, 2), "config.json": hub.HubFile("", 0)}
    assert hub_server.tokens == [SECRET]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b"null",
        b'{"sha": 5}',
        json.dumps({"sha": "main", "siblings": []}).encode(),
        json.dumps({"sha": COMMIT}).encode(),
        json.dumps({"sha": COMMIT, "siblings": [{"rfilename": "a", "lfs": 3}]}).encode(),
        json.dumps({"sha": COMMIT, "siblings": [], "cardData": "mit"}).encode(),
    ],
)
def test_what_is_no_answer_of_the_hub_is_no_answer(answer: bytes, hub_server: FileServer) -> None:
    hub_server.files[f"/api/models/{NAME}/revision/main?blobs=true"] = answer
    assert hub.repository(NAME) is None


def test_the_hub_that_cannot_be_asked_and_the_model_that_is_not_there(hub_server, monkeypatch):
    assert hub.repository(NAME) is None
    path = f"/api/models/{NAME}/revision/main?blobs=true"
    hub_server.refused[path] = (401, {"X-Error-Code": "RepoNotFound"})
    with pytest.raises(SaaneError, match="Hugging Face has no model someone/net, or it is private"):
        hub.repository(NAME)
    hub_server.refused[path] = (403, {"X-Error-Code": "GatedRepo"})
    with pytest.raises(SaaneError, match="says nothing of someone/net: accept the terms at"):
        hub.repository(NAME)
    hub_server.refused[path] = (404, {})
    assert hub.repository(NAME) is None  # a mirror that has files alone
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.repository(NAME) is None


PART = st.text("abcXYZ019_.-", min_size=1, max_size=12)


@given(owner=PART, name=PART, revision=PART, file=st.text(min_size=1, max_size=12))
def test_addresses_and_ids_are_read_as_they_are_written(owner, name, revision, file):
    model = f"{owner}/{name}"
    assert hub.split_id(f"{model}@{revision}") == (model, revision)
    assert hub.split_id(model) == (model, "main")
    address = hub.address(model, revision, file)
    assert hub.revision_of(address) == revision
    assert hub.moves(address)
    assert not hub.moves(hub.address(model, COMMIT, file))
    assert hub.revision_of(f"https://example.org/{model}/resolve/{revision}/{file}") == ""


@pytest.mark.parametrize("model", ["net", "a/b/c", "a/b@", "a b/c", "a/b@c@d", "a/b@refs/pr/3"])
def test_what_is_no_model_of_the_hub_is_told(model):
    with pytest.raises(SaaneError, match="is no model of Hugging Face: give <owner>/<name>"):
        hub.split_id(model)


def test_errors_of_other_addresses_mean_nothing_of_the_hub():
    error = urllib.error.HTTPError("https://example.org/net", 401, "no", {}, None)  # type: ignore[arg-type]
    assert hub.refusal("https://example.org/net", error) == ""
