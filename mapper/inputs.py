"""From what the user names to what the backends take: a Graph, a loop kernel or a contest graph."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mapper.dfg import Dfg
from mapper.errors import InputError
from mapper.ir import Graph
from mapper.registry import frontend_for

__all__ = ["Loaded", "load"]

HEAD_BYTES = 4096
Kind = Literal["onnx", "dfg", "kgraph"]


@dataclass(frozen=True)
class Loaded:
    """An input: `value` is a Graph, Dfg or KernelGraph; `model` names what can be run again for reference."""

    name: str
    kind: Kind
    sha256: str
    value: Any
    source: Path | str

    @property
    def stem(self) -> str:
        """A file-name-safe short name for the default output folder."""
        stem = re.sub(
            r"[^A-Za-z0-9._-]+", "-", Path(self.name.replace(":", "-")).stem if "/" in self.name else self.name
        )
        return (stem.removesuffix(".onnx").removesuffix(".json").strip(".-") or "input")[:80]


def load(source: str | Path, dims: Mapping[str, int] | None = None) -> Loaded:
    """Read `source`: a file, or `zoo:NAME`. Raises InputError for anything that is not a readable input."""
    if str(source).startswith("zoo:"):
        return _zoo(str(source).removeprefix("zoo:"), dims or {})
    path = Path(source)
    head = _head(path)
    frontend = frontend_for(path, head)
    with _refusals():
        value = frontend.load(path, dims or {}) if getattr(frontend, "TAKES_DIMS", False) else frontend.load(path)
    return Loaded(path.name, _kind(value), digest_of(path), value, path)


@contextmanager
def _refusals() -> Iterator[None]:
    """A frontend refuses input by ValueError; users see what, where and hint, whatever the frontend."""
    try:
        yield
    except ValueError as error:
        what, where, hint = (str(getattr(error, name, "")) for name in ("what", "where", "hint"))
        raise InputError(what or str(error), where, hint) from error


def _kind(value: Any) -> Kind:
    if isinstance(value, Graph):
        return "onnx"
    return "dfg" if isinstance(value, Dfg) else "kgraph"


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError("input is a folder", str(path), "name a file: model.onnx, kernel.json or zoo:NAME")
        if not path.is_file():
            what = "input does not exist" if not path.exists() else "input is not a regular file"
            raise InputError(what, str(path), "name a file: model.onnx, kernel.json or zoo:NAME")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise InputError("input cannot be read", str(path), getattr(error, "strerror", None) or str(error)) from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zoo(name: str, dims: Mapping[str, int]) -> Loaded:
    from importlib import import_module

    zoo, frontend = import_module("mapper.models.zoo"), import_module("mapper.frontends.onnx")
    try:
        model = zoo.build(name)
    except KeyError as error:
        raise InputError(str(error.args[0]), f"zoo:{name}", "see 'mapper zoo'") from error
    data = model.SerializeToString(deterministic=True)
    with _refusals():
        graph = frontend.load_model(model, dims)
    return Loaded(f"zoo:{name}", "onnx", hashlib.sha256(data).hexdigest(), graph, f"zoo:{name}")
