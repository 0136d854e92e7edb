"""Files that people and other programs wrote, and that may be anything: read, or told of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from saane_ros.errors import SaaneError

YAML_FAULTS = (yaml.YAMLError, ValueError, AttributeError, OverflowError, RecursionError, TypeError)
"""What reading YAML may raise: a date or number that is none, or nesting without end, is no
YAMLError to the library."""
_REASON = 200
"""Letters of a library's reason that are passed on."""


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8; `what` it is begins the sentence of the SaaneError."""
    try:
        if path.is_char_device():
            raise SaaneError(f"{what} {path} is a device: name a file.")
        return path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise SaaneError(f"{what} {path} is a folder: name a file.") from None
    except UnicodeDecodeError as error:
        raise SaaneError(
            f"{what} {path} is no text in UTF-8 (byte {error.start}): save it as such."
        ) from error
    except (OSError, ValueError) as error:
        raise SaaneError(
            f"{what} {path} cannot be read ({reason_of(error)}): check its name."
        ) from error


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file holds; SaaneError."""
    return parse_yaml(read_text(path, what), path, what)


def parse_yaml(text: str, path: Path, what: str) -> Any:
    """The same of a text that came from `path`."""
    try:
        return yaml.safe_load(text)
    except YAML_FAULTS as error:
        raise SaaneError(f"{what} {path} is not YAML ({reason_of(error)}): correct it.") from error


def read_rows(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Line number and cells of every line of a CSV file, the header's first; SaaneError."""
    rows = csv.reader(io.StringIO(read_text(path, what), newline=""))
    try:
        return [(rows.line_num, row) for row in rows if row]
    except csv.Error as error:
        raise SaaneError(
            f"{what} {path} is no table in line {rows.line_num} ({error}): correct it."
        ) from error


def read_named_rows(path: Path, what: str) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every line below the header; short lines lack some."""
    (_, header), *rows = read_rows(path, what) or [(1, [])]
    return [(number, dict(zip(header, row, strict=False))) for number, row in rows]


def read_arrays(path: Path, remedy: str) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name, or that of a .npy file under ""; SaaneError."""
    with parsing(f"{path} is no readable .npy or .npz file of NumPy arrays", remedy):
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"": content}
        with content:
            return dict(content)


def read_matlab(path: Path, fault: str, remedy: str) -> dict[str, Any]:
    """The variables of a .mat file, structs as objects; SaaneError as of `parsing`.

    In a process of its own, as SciPy's reader may crash over damaged bytes.
    """
    with parsing(f"Reading {path} needs SciPy", "pip install scipy"):
        from scipy.io import loadmat
    with parsing(fault, remedy), ProcessPoolExecutor(1, get_context("fork")) as pool:
        options = {"struct_as_record": False, "squeeze_me": True}
        values: dict[str, Any] = pool.submit(loadmat, str(path), **options).result()
        return values


@contextmanager
def parsing(fault: str, remedy: str) -> Iterator[None]:
    """Around a library that takes a file apart: what it raises becomes `fault (reason): remedy.`

    No library promises what it raises over damaged bytes, and most raise whatever came up.
    """
    try:
        yield
    except SaaneError:
        raise
    except Exception as error:
        raise SaaneError(f"{fault} ({reason_of(error)}): {remedy}.") from error


def reason_of(error: BaseException) -> str:
    """What an error says, in one line of some length; its kind where it says nothing."""
    told = (error.strerror or "") if isinstance(error, OSError) else ""
    text = " ".join((told or str(error)).split())
    return text[:_REASON] or type(error).__name__


def no_folder(path: Path, wanted: str) -> SaaneError:
    """For a path that is no folder; wanted: what to name."""
    only = ", only a file of that name" if path.exists() else ""
    return SaaneError(f"There is no folder {path}{only}: name {wanted}.")
