"""Hugging Face's hub: where its files are, a mirror in its place, the user's token, what it tells.

Everything is asked for by plain HTTP, so that one rule says who is given the token.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from saane_ros.errors import SaaneError

HUB = "https://huggingface.co"
MAIN = "main"
CONFIG, PROCESSOR, MODEL = "config.json", "preprocessor_config.json", "model.safetensors"
"""The files of a segmentation, as `save_pretrained` writes them."""
TIMEOUT_S = 30.0
HERE = ("localhost", "127.0.0.1", "::1")
"""Hosts that a token may be sent to without encryption: it does not leave the machine."""
ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?")
"""A model of the hub, with the commit or branch that is meant behind an @."""
_ADDRESS = re.compile(rf"{HUB}/(?P<name>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[^/]+)/\S+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """sha256: empty of small files, which git keeps itself.  megabytes: rounded."""

    sha256: str
    megabytes: int


@dataclass(frozen=True)
class Repository:
    """What the hub tells of a model at a commit. licence: empty where it names none."""

    commit: str
    files: dict[str, HubFile]
    licence: str


def split_id(model: str) -> tuple[str, str]:
    """Name and revision of "<owner>/<name>@<revision>"; without one it is the branch main."""
    match = ID.fullmatch(model)
    if match is None:
        raise SaaneError(
            f"{model!r} is no model of Hugging Face: give <owner>/<name>, with @<commit> behind "
            "it, or the path of a folder that is there."
        )
    return match["name"], match["revision"] or MAIN


def is_folder(checkpoint: str) -> bool:
    """Whether a checkpoint is a folder of this machine, or written as one, and not of the hub."""
    return checkpoint.startswith(("/", ".", "~")) or Path(checkpoint).is_dir()


def address(name: str, revision: str, file: str) -> str:
    """Where the hub has a file of a model."""
    return f"{HUB}/{name}/resolve/{quote(revision, safe='')}/{quote(file)}"


def revision_of(url: str) -> str:
    """The commit or branch in an address of the hub; empty for any other address."""
    match = _ADDRESS.fullmatch(url)
    return match["revision"] if match else ""


def moves(url: str) -> bool:
    """Whether the hub may give another file at this address tomorrow: it names no commit."""
    revision = revision_of(url)
    return bool(revision) and not _COMMIT.fullmatch(revision)


def endpoint() -> str:
    """The hub, or the mirror of $HF_ENDPOINT."""
    given = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    if given and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", given):
        raise SaaneError(
            f"HF_ENDPOINT is {given!r} instead of an http or https address: correct or unset it."
        )
    return given or HUB


def open_url(url: str, headers: Mapping[str, str] | None = None) -> http.client.HTTPResponse:
    """GET an address, the hub's from the mirror where there is one; errors as urllib's.

    The user's token goes to the hub (or mirror) alone, and to no host that it redirects to.
    """
    if url.startswith(f"{HUB}/"):
        url = endpoint() + url.removeprefix(HUB)
    request = urllib.request.Request(url, headers={"User-Agent": "saane_ros", **(headers or {})})
    _authorise(request)
    opener = urllib.request.build_opener(_Redirects)
    response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
    return response


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*arguments)
        if request is not None:
            _authorise(request)
        return request


def _authorise(request: urllib.request.Request) -> None:
    """Add the token where the request goes to the hub.

    urllib carries headers over a redirect, but not those that are added in this way.
    """
    target, hub = urlsplit(request.full_url), urlsplit(endpoint())
    to_hub = (target.scheme, target.netloc) == (hub.scheme, hub.netloc)
    if to_hub and (target.scheme == "https" or target.hostname in HERE):
        # Comes with timm; knows all places of a token, and renews one that is about to end.
        from huggingface_hub import get_token

        token = get_token() or ""
        if not re.fullmatch(r"[!-~]*", token):
            raise SaaneError(
                "The token for Hugging Face ($HF_TOKEN, else what `hf auth login` wrote) has "
                "characters that no token has: set it anew."
            )
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")


def refusal(url: str, error: urllib.error.HTTPError) -> str:
    """What the hub's refusal means for a person; empty for other addresses and other answers."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return ""
    name, told = match["name"], error.headers.get("X-Error-Code", "")
    if told == "RepoNotFound":
        return f"Hugging Face has no model {name}, or it is private: correct the name, or log in"
    if told == "RevisionNotFound":
        return f"{name} has no commit or branch {match['revision']}: correct it"
    if error.code == 404:
        return f"{name} has no such file at {match['revision']}"
    if "Invalid credentials" in error.headers.get("X-Error-Message", ""):
        return "your token is no longer valid: `hf auth login`, or set HF_TOKEN anew"
    if error.code in (401, 403):
        return (
            f"accept the terms at {HUB}/{name}, log in with `hf auth login` or set HF_TOKEN, and "
            "give the same command again"
        )
    return ""


def repository(name: str, revision: str = MAIN) -> Repository | None:
    """What the hub tells of a model; None where it cannot be asked.

    Raises SaaneError where there is no such model or revision, or it is for other users alone.
    """
    url = f"{HUB}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        with open_url(url) as response:
            return _repository(json.load(response))
    except urllib.error.HTTPError as error:
        told = error.headers.get("X-Error-Code", "")
        why = refusal(address(name, revision, CONFIG), error)
        if told in ("RepoNotFound", "RevisionNotFound"):
            raise SaaneError(f"{why}.") from error
        if error.code in (401, 403):
            raise SaaneError(f"The hub says nothing of {name}: {why}.") from error
        return None
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError):
        return None


def _repository(told: dict[str, Any]) -> Repository:
    """From the answer; ValueError, TypeError, KeyError or AttributeError where it is another."""
    if not _COMMIT.fullmatch(told["sha"]):
        raise ValueError("no commit")
    files = {}
    for one in told["siblings"]:
        large = one.get("lfs") or {}
        sha256 = str(large.get("sha256", ""))
        size = int(large.get("size") or one.get("size") or 0)
        files[str(one["rfilename"])] = HubFile(
            sha256 if _SHA256.fullmatch(sha256) else "", round(size / 1e6)
        )
    licence = (told.get("cardData") or {}).get("license")
    return Repository(told["sha"], files, str(licence or ""))
