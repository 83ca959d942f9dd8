"""`mapper compare`: one model on every mapped target and beside every baseline system.

A mapped target is compiled with its default machine (or the machine that the filter names), at effort `fast`; one that
fails or does not fit becomes a row that says so. Baselines are roofline bounds over the same optimised graph. The wing
that holds them is reached by name, as all wings are.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mapper import compiler, inputs, machines, outputs, passes, registry
from mapper.boundaries import boundary_rows
from mapper.comparison import LevelUse, Row
from mapper.errors import CheckFailed, DoesNotFit, InputError, MapperError, Unsupported, clean
from mapper.ir import Graph
from mapper.machine import Machine, Memory
from mapper.report import comparison_page, comparison_plot, comparison_text
from mapper.report.data import dump
from mapper.request import Request
from mapper.result import ModelResult

__all__ = ["Comparison", "compare", "systems"]

BASELINES = "mapper.backends.roofline"
REGISTER_BYTES = 1024  # a memory of a PE up to this size is priced as a register file, a larger one as a buffer
STATUS: Mapping[type[MapperError], str] = {
    DoesNotFit: "does not fit", Unsupported: "unsupported", CheckFailed: "check failed",
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One model on several systems, and the ways to look at it."""

    name: str
    sha256: str
    rows: tuple[Row, ...]
    run: Mapping[str, Any]

    @cached_property
    def document(self) -> dict[str, Any]:
        """The contents of `compare.json`."""
        header = {
            "schema": 1,
            "version": version("dataflow-mapper"),
            "input": {"name": self.name, "sha256": self.sha256},
        }
        return {**header, "rows": [row.as_dict() for row in self.rows]}

    def json(self) -> str:
        """`compare.json`: the same bytes for the same input, systems and version."""
        return dump(self.document).rstrip("\n")

    def text(self) -> str:
        """The table that the command line prints."""
        return comparison_text.table(self.name, self.rows)

    def csv(self) -> str:
        """One line per system, safe to open in a spreadsheet."""
        return comparison_text.csv_table(self.rows)

    def svg(self) -> str:
        """Roofline plot and movement bars in one picture."""
        return comparison_plot.svg(self.name, self.rows)

    def html(self) -> str:
        """The self-contained page."""
        return comparison_page.html_page(self.name, self.sha256, self.rows)

    def _repr_html_(self) -> str:
        return self.svg()

    def verify(self) -> None:
        """Raise CheckFailed if a mapping of ours turned out illegal."""
        for row in self.rows:
            if row.status == STATUS[CheckFailed]:
                raise CheckFailed(row.words, row.system)

    def save(self, folder: str | Path) -> Path:
        """Write all outputs to `folder`, whole or not at all. Raises InputError if that place cannot be used."""
        files = {
            "compare.json": self.json() + "\n",
            "compare.csv": self.csv(),
            "compare.svg": self.svg(),
            "compare.html": self.html(),
            "run.json": dump(dict(self.run)),
        }
        return outputs.write_set(Path(folder), files)


def systems() -> tuple[str, ...]:
    """What can be compared: mapped targets as TARGET:MACHINE, then the ids of the baselines."""
    mapped = [f"{name}:{registry.backend(name).DEFAULT_MACHINE}" for name in registry.backend_names()]
    return (*mapped, *import_module(BASELINES).names())


def compare(source: str | Path, targets: Sequence[str] = (), dims: Mapping[str, int] | None = None) -> Comparison:
    """The model `source` on `targets`: ids of baselines, TARGET or TARGET:MACHINE; all of them by default.

    Raises InputError for an unknown system, with near misses, and for inputs that are no model.
    """
    chosen = tuple(dict.fromkeys(_resolved(name) for name in targets)) or systems()
    loaded = inputs.load(source, dims)
    if not isinstance(loaded.value, Graph):
        raise InputError("only models are compared", loaded.name, "loop kernels and contest graphs have one target")
    started, cpu = time.time(), time.process_time()
    baselines = import_module(BASELINES)
    ids = [name for name in chosen if name in baselines.names()]
    bounds = {row.system: row for row in baselines.rows(passes.optimise(loaded.value), ids)}
    rows = [bounds.get(name) or _mapped(source, name, dims, baselines.eyeriss_ratio) for name in chosen]
    run = {"command": sys.argv, "started": started, "wall_seconds": time.time() - started,
           "cpu_seconds": time.process_time() - cpu, "python": sys.version.split()[0]}  # fmt: skip
    return Comparison(loaded.name, loaded.sha256, tuple(rows), run)


def _resolved(name: str) -> str:
    """The full name of a system. Raises InputError with near misses."""
    known = systems()
    target, _, machine = name.partition(":")
    if name in known:
        return name
    if target in registry.backend_names():
        if not machine:
            return f"{target}:{registry.backend(target).DEFAULT_MACHINE}"
        machines.resolve(machine)
        return name
    near = _near(name, (*known, *registry.backend_names()))
    raise InputError(f"unknown system {name!r}", "--targets", f"did you mean {near}?" if near else ", ".join(known))


def _near(name: str, known: Iterable[str]) -> str:
    """Names that look alike, or that hold `name` (h100 for nvidia_h100_sxm5)."""
    listed = list(known)
    inside = [other for other in listed if len(name) > 2 and name.lower() in other.lower()]
    return " or ".join(map(repr, (inside or difflib.get_close_matches(name, listed, 3))[:3]))


def _mapped(source: str | Path, system: str, dims: Mapping[str, int] | None, ratio: Callable[[str], float]) -> Row:
    """The row of a mapped target: a legal mapping, or why there is none."""
    target, _, machine = system.partition(":")
    name = registry.backend(target).DESCRIPTION
    try:
        result = compiler.compile(source, target, machine, request=Request(effort="fast"), dims=dims)
    except MapperError as error:
        status = next((words for kind, words in STATUS.items() if isinstance(error, kind)), "failed")
        return Row(system, name, "mapped", status, clean(str(error), 400))
    except Exception as error:  # a fault in one target must not hide the other rows
        return Row(system, name, "mapped", "failed", clean(f"{type(error).__name__}: {error}", 400))
    assert isinstance(result, ModelResult)
    return _row(system, name, result, ratio)


def _row(system: str, name: str, result: ModelResult, ratio: Callable[[str], float]) -> Row:
    cost, machine = result.cost, result.machine
    crossing = boundary_rows(result.mapping, cost)
    levels = tuple(
        LevelUse(memory.name, _kind(memory), use.bytes, bound["mapping_bytes"],
                 None if memory.capacity_bytes is None else memory.capacity_bytes * memory.instances,
                 energy_pj=use.energy_pj, attainable_bytes=bound.get("attainable_bytes"),
                 provable_bytes=bound["provable_bytes"])
        for memory in machine.memories for use, bound in ((cost.level(memory.name), crossing[memory.name]),)
    )  # fmt: skip
    relative = sum(level.bytes * ratio(level.kind) for level in levels) + cost.hop_bytes * ratio("link")
    return Row(
        system=system, name=name, kind="mapped", lives="mapped", macs=result.mapping.graph.macs, levels=levels,
        seconds=cost.seconds, movement_pj=cost.movement_pj, technology=machine.energy.technology,
        eyeriss_macs=relative, hop_bytes=cost.hop_bytes,
        notes=_notes(result, machine),
    )  # fmt: skip


def _kind(memory: Memory) -> str:
    if memory.at == "off":
        return "dram"
    small = memory.capacity_bytes is not None and memory.capacity_bytes <= REGISTER_BYTES
    return "register" if small else "buffer"


def _notes(result: ModelResult, machine: Machine) -> tuple[str, ...]:
    notes = ["a checked mapping at effort fast: its latency and bytes are reached, not bounds"]
    if result.mapping.host:
        notes.append(f"{len(result.mapping.host)} operators run on the host: their bytes are charged")
    if "ratio" in machine.energy.technology:
        notes.append("no energies are published for this machine: movement is in Eyeriss ratios")
    return tuple(notes)
