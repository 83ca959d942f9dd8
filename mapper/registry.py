"""Names to modules: two sorted tables, read in one glance; outsiders join by entry points.

Built-ins are listed here and imported only when used, so start-up stays fast. A package outside this repository adds
a target or frontend through the entry-point groups `mapper.backends` and `mapper.frontends`; a name that is taken is an
error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from mapper.errors import InputError
from mapper.ir import Graph
from mapper.machine import Machine
from mapper.mapping import Infeasible
from mapper.request import Option, Request, Solved

__all__ = [
    "BACKENDS",
    "FRONTENDS",
    "Backend",
    "Frontend",
    "backend",
    "backend_modules",
    "backend_names",
    "frontend_for",
    "target_with",
]

BACKENDS: Mapping[str, str] = {
    "cgla": "mapper.backends.cgla",
    "cgra": "mapper.backends.cgra",
    "wafer": "mapper.backends.wafer",
}

FRONTENDS: Mapping[str, str] = {  # asked in this order: JSON inputs are told apart by content
    "imax": "mapper.frontends.imax",
    "dfg": "mapper.frontends.dfg",
    "kgraph": "mapper.frontends.kgraph",
    "onnx": "mapper.frontends.onnx",
}


class Backend(Protocol):
    """One target: a module (or object) with these names. `solve_kernel`, `solve_contest`, and `EXPORTS` with
    `export_body` (see :mod:`mapper.export`), are optional."""

    DESCRIPTION: str
    DEFAULT_MACHINE: str
    OPTIONS: tuple[Option, ...]

    def legalise(self, graph: Graph, machine: Machine, request: Request) -> Graph:
        """The graph as this target runs it: same results, operators it can place."""

    def solve(self, graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
        """Place and route a legalised graph."""


class Frontend(Protocol):
    """One input format. A frontend with `TAKES_DIMS = True` gets symbolic dimensions as a second argument of `load`."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Does the file look like this format? `head` holds its first bytes."""

    def load(self, path: Path) -> Any:
        """The input as a Graph, Dfg or KernelGraph."""


def _table(group: str, built_in: Mapping[str, str]) -> dict[str, str]:
    table = dict(built_in)
    for point in entry_points(group=group):
        if point.name in table:
            raise InputError(f"{group} {point.name!r} is registered twice", point.value, "rename the plug-in's entry")
        table[point.name] = point.value
    return table


def backend_names() -> tuple[str, ...]:
    return tuple(sorted(_table("mapper.backends", BACKENDS)))


def backend_modules() -> tuple[str, ...]:
    """Dotted paths of all targets' modules, in the order of their names."""
    table = _table("mapper.backends", BACKENDS)
    return tuple(table[name] for name in sorted(table))


def backend(name: str) -> Any:
    """The backend called `name`. Raises InputError with near misses."""
    table = _table("mapper.backends", BACKENDS)
    if name not in table:
        near = difflib.get_close_matches(name, table, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(table))}"
        raise InputError(f"unknown target {name!r}", "--target", hint)
    return import_module(table[name])


def target_with(path: str) -> Path:
    """Folder of the package at dotted `path`, where its data files lie."""
    module = import_module(path)
    return Path(str(module.__file__)).parent


def frontend_for(path: Path, head: bytes) -> Any:
    """The first frontend that recognises the file. Raises InputError when none does."""
    for module in _table("mapper.frontends", FRONTENDS).values():
        frontend = import_module(module)
        if frontend.recognises(path, head):
            return frontend
    raise InputError(
        "not a model or kernel that mapper reads", str(path), "expected ONNX, a loop kernel or a kernel graph"
    )
