"""Frozen dataclasses to JSON and back, by their type hints.

One reader and one writer for every value that leaves the process (graphs, machines, mappings). Unions of dataclasses
are told apart by a "$type" key; tuples are lists; bytes are base64; infinities and fractions are words. Reading checks
every type and names the path of the fault (`mapping.stages[3].loops[0].step: expected int, found str`).
"""

from __future__ import annotations

import base64
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

__all__ = ["CodecError", "decode", "encode"]

T = TypeVar("T")
TAG = "$type"


class CodecError(ValueError):
    """A document that does not have the expected form; the message starts with the path."""


def encode(value: Any) -> Any:
    """`value` as JSON-ready lists, dicts and scalars; dataclass fields at their defaults are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        document: dict[str, Any] = {TAG: type(value).__name__}
        for field in _stored(type(value)):
            item = getattr(value, field.name)
            if not (_is_default(field, item)):
                document[field.name] = encode(item)
        return document
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, (frozenset, set)):
        return [encode(item) for item in sorted(value, key=repr)]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _stored(cls: type) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(cls) if f.init]


def _is_default(field: dataclasses.Field[Any], item: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return type(item) is type(field.default) and bool(item == field.default)
    return field.default_factory is not dataclasses.MISSING and item == field.default_factory()


def decode(cls: type[T], document: Any, path: str = "") -> T:
    """An instance of dataclass `cls` from what :func:`encode` wrote. Raises :class:`CodecError`."""
    result: T = _dataclass(cls, document, path or cls.__name__.lower())
    return result


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _dataclass(cls: Any, document: Any, path: str) -> Any:
    if not isinstance(document, dict):
        raise CodecError(f"{path}: expected an object of kind {cls.__name__}, found {type(document).__name__}")
    hints, known = _hints(cls), {f.name: f for f in _stored(cls)}
    values = {}
    for name, item in document.items():
        if name == TAG:
            continue
        if name not in known:
            raise CodecError(f"{path}.{name}: unknown key of {cls.__name__}; known are {', '.join(known)}")
        values[name] = _value(hints[name], item, f"{path}.{name}")
    for name, field in known.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise CodecError(f"{path}: {cls.__name__} lacks key {name!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise CodecError(f"{path}: {error}") from error


def _value(hint: Any, item: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args, item, path)
    if origin is typing.Literal:
        if item not in args:
            raise CodecError(f"{path}: expected one of {', '.join(map(str, args))}, found {item!r}")
        return item
    if origin is tuple:
        return _tuple(args, item, path)
    if origin is frozenset:
        return frozenset(_value(args[0], part, f"{path}[{i}]") for i, part in enumerate(_list(item, path)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(item, dict):
            raise CodecError(f"{path}: expected an object, found {type(item).__name__}")
        return {key: _value(args[1], part, f"{path}.{key}") for key, part in item.items()}
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, item, path)
    return _scalar(hint, item, path)


def _list(item: Any, path: str) -> list[Any]:
    if not isinstance(item, list):
        raise CodecError(f"{path}: expected a list, found {type(item).__name__}")
    return item


def _tuple(args: tuple[Any, ...], item: Any, path: str) -> tuple[Any, ...]:
    parts = _list(item, path)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_value(args[0], part, f"{path}[{i}]") for i, part in enumerate(parts))
    if len(parts) != len(args):
        raise CodecError(f"{path}: expected {len(args)} items, found {len(parts)}")
    return tuple(_value(hint, part, f"{path}[{i}]") for i, (hint, part) in enumerate(zip(args, parts, strict=True)))


def _union(args: tuple[Any, ...], item: Any, path: str) -> Any:
    if item is None and type(None) in args:
        return None
    classes = [a for a in args if dataclasses.is_dataclass(a)]
    if isinstance(item, dict) and TAG in item:
        for cls in classes:
            if getattr(cls, "__name__", "") == item[TAG]:
                return _dataclass(cls, item, path)
        names = ", ".join(getattr(c, "__name__", "?") for c in classes)
        raise CodecError(f"{path}.{TAG}: expected one of {names}, found {item[TAG]!r}")
    faults = []
    for hint in sorted((a for a in args if a is not type(None) and a not in classes), key=_strictness):
        try:
            return _value(hint, item, path)
        except CodecError as fault:
            faults.append(str(fault))
    raise CodecError(faults[0] if faults else f"{path}: expected an object with a $type, found {item!r}")


def _strictness(hint: Any) -> int:
    """Try narrow scalar types first, so that 1 is not read as True or 1.0."""
    order = [bool, int, float, str]
    return order.index(hint) if hint in order else -1


def _scalar(hint: Any, item: Any, path: str) -> Any:
    if hint is Any:
        return item
    if hint is bytes and isinstance(item, dict) and "base64" in item:
        return base64.b64decode(item["base64"])
    if hint is Fraction and isinstance(item, dict) and "fraction" in item:
        return Fraction(item["fraction"])
    if hint is float and isinstance(item, dict) and "float" in item:
        return float(item["float"])
    if hint is float and isinstance(item, (int, float)) and not isinstance(item, bool):
        return float(item)
    if isinstance(hint, type) and type(item) is hint:
        return item
    raise CodecError(f"{path}: expected {getattr(hint, '__name__', hint)}, found {item!r}"[:400])
