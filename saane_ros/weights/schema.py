"""Dataclasses filled from YAML mappings, with every mistake collected instead of the first."""

from __future__ import annotations

import math
import reprlib
import types
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_mapping(cls: type[T], value: Any, where: str, problems: list[str]) -> T | None:
    """An instance of the dataclass `cls`, or None where `problems` grew.

    where: the key that holds the mapping, named in the problems.  Fields without a default are
    required; unknown keys, missing keys and wrong types each add one problem.
    """
    if not isinstance(value, dict):
        problems.append(f"{where or 'the card'} must be a mapping")
        return None
    before = len(problems)
    prefix = f"{where}." if where else ""
    known = {f.name: f for f in fields(cast(Any, cls)) if f.metadata.get("key", True)}
    problems.extend(f"unknown key {prefix}{str(key)[:60]}" for key in value if key not in known)
    hints = get_type_hints(cls)
    filled = {}
    for name, item in known.items():
        if name in value:
            filled[name] = _convert(hints[name], value[name], f"{prefix}{name}", problems)
        elif item.default is MISSING and item.default_factory is MISSING:
            problems.append(f"missing key {prefix}{name}")
    return cls(**filled) if len(problems) == before else None


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = next(option for option in get_args(hint) if option is not type(None))
        return None if value is None else _convert(inner, value, where, problems)
    if origin is Literal:
        return _choice(get_args(hint), value, where, problems)
    if origin is tuple:
        return _items(get_args(hint), value, where, problems)
    if origin is dict:
        return _entries(get_args(hint)[1], value, where, problems)
    if hint in NAMES:
        return _scalar(hint, value, where, problems)
    return read_mapping(hint, value, where, problems)


def shown(value: Any) -> str:
    """A value for a sentence, shortened: YAML can make much out of little."""
    return _SHOWN.repr(value)[:100]


_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother = 2, 60, 60


def _choice(choices: tuple[Any, ...], value: Any, where: str, problems: list[str]) -> Any:
    if value not in choices:
        problems.append(f"{where} is {shown(value)} instead of one of {', '.join(choices)}")
    return value


def _scalar(hint: type, value: Any, where: str, problems: list[str]) -> Any:
    if hint is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    if hint is float and type(value) is float and not math.isfinite(value):
        problems.append(f"{where} is {value} instead of a finite number")
    if type(value) is not hint:
        problems.append(f"{where} is {shown(value)} instead of {NAMES[hint]}")
    return value


def _items(hints: tuple[Any, ...], value: Any, where: str, problems: list[str]) -> Any:
    """`tuple[int, ...]` takes any number of items, `tuple[float, float, float]` three."""
    if not isinstance(value, list):
        problems.append(f"{where} is {shown(value)} instead of a list")
        return ()
    if hints[-1] is not Ellipsis and len(value) != len(hints):
        problems.append(f"{where} has {len(value)} entries instead of {len(hints)}")
        return ()
    return tuple(_convert(hints[0], item, where, problems) for item in value)


def _entries(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{where} must be a mapping")
        return {}
    return {
        str(key): _convert(hint, item, f"{where}.{key}", problems) for key, item in value.items()
    }
