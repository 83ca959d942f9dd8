"""Baseline systems: peaks and memories as published, each figure with its source and a mark where it is not certain.

A system is a list of memories from the outermost inwards. `kind` is `dram`, `buffer` or `register`; registers are what
the arithmetic units hold: their size decides what crosses the boundary around them, their own accesses belong to the
unit and are charged on no system. A capacity, bandwidth or peak that is not published is absent, never guessed.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mapper.comparison import Figure
from mapper.errors import InputError

__all__ = ["MemoryLevel", "System", "eyeriss_ratio", "load", "names", "system", "system_file"]

FOLDER = Path(__file__).parent / "systems"
PRICES = Path(__file__).parent / "energy.yaml"
OPS_PER_MAC = 2  # peaks are stated in operations, a multiply-accumulate is two

UNITS = {
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "KB": 1e3, "MB": 1e6, "GB": 1e9, "GB/s": 1e9, "TB/s": 1e12,
    "GFLOP/s": 1e9 / OPS_PER_MAC, "TFLOP/s": 1e12 / OPS_PER_MAC, "PFLOP/s": 1e15 / OPS_PER_MAC,
    "TOP/s": 1e12 / OPS_PER_MAC, "pJ/B": 1.0, "MAC/B": 1.0,
}  # fmt: skip
Mark = Literal["", "recalled", "derived", "disputed", "projected", "preliminary"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NumberForm(_Form):
    """One figure: value, unit, source; `seen` says that it was read there."""

    v: float = Field(ge=0)
    u: str
    s: str
    seen: bool
    mark: Mark = ""
    note: str = ""

    def figure(self) -> Figure:
        return Figure(self.v * UNITS[self.u], f"{self.v:g} {self.u}", self.s,
                      self.mark or ("" if self.seen else "recalled"), self.note)  # fmt: skip


class SourceForm(_Form):
    title: str
    url: str


class LevelForm(_Form):
    name: str
    kind: Literal["dram", "buffer", "register"]
    capacity: NumberForm | None = None
    bandwidth: NumberForm | None = None
    energy: str | None = None


class SystemForm(_Form):
    """The keys of a baseline file."""

    schema_: Literal[1] = Field(alias="schema")
    id: str
    name: str
    kind: str
    column: Literal["7nm", "45nm"]
    process: str = ""
    mark: Mark = ""
    note: str = ""
    peaks: dict[str, NumberForm]
    levels: list[LevelForm] = Field(min_length=1)
    sources: dict[str, SourceForm]


class PricesForm(_Form):
    schema_: Literal[1] = Field(alias="schema")
    dram: dict[str, NumberForm]
    columns: dict[str, dict[str, NumberForm]]
    eyeriss: dict[str, NumberForm]
    sources: dict[str, SourceForm]


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """One memory of a chip, all its copies together; None where nothing is published."""

    name: str
    kind: str
    capacity: Figure | None = None
    bandwidth: Figure | None = None
    energy: Figure | None = None


@dataclass(frozen=True)
class System:
    """One chip: `peaks` in multiply-accumulates per second by element type, memories from the outermost inwards."""

    id: str
    name: str
    kind: str
    column: str
    process: str
    mark: str
    note: str
    peaks: tuple[tuple[str, Figure], ...]
    levels: tuple[MemoryLevel, ...]

    @property
    def figures(self) -> tuple[tuple[str, Figure], ...]:
        """Every figure with a name that says where it stands in the file."""
        found = [(f"peaks.{dtype}", figure) for dtype, figure in self.peaks]
        for level in self.levels:
            parts = (("capacity", level.capacity), ("bandwidth", level.bandwidth), ("energy", level.energy))
            found += [(f"{level.name}.{part}", figure) for part, figure in parts if figure is not None]
        return tuple(found)


def names() -> tuple[str, ...]:
    """Ids of the baseline systems, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def system_file(name: str) -> Path:
    """The file of a baseline. Raises InputError with near misses."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        raise InputError(f"unknown system {name!r}", "", f"did you mean {near[0]!r}?" if near else ", ".join(names()))
    return FOLDER / f"{name}.yaml"


@cache
def system(name: str) -> System:
    """The baseline called `name`."""
    return load(system_file(name))


def load(path: Path) -> System:
    """Read a baseline file. Raises InputError with file, key and what was expected."""
    form: SystemForm = _read(path, SystemForm)
    _known_sources(path, form.sources, [*form.peaks.values(), *(n for f in form.levels for n in _numbers(f))])
    levels = tuple(_level(path, f, form.column) for f in form.levels)
    peaks = tuple((dtype, number.figure()) for dtype, number in form.peaks.items())
    return System(form.id, form.name, form.kind, form.column, form.process, form.mark, form.note, peaks, levels)


def _numbers(form: LevelForm) -> list[NumberForm]:
    return [number for number in (form.capacity, form.bandwidth) if number is not None]


def _level(path: Path, form: LevelForm, column: str) -> MemoryLevel:
    capacity = form.capacity.figure() if form.capacity else None
    bandwidth = form.bandwidth.figure() if form.bandwidth else None
    energy = None
    if form.energy is not None:
        prices = _prices()
        table = prices.dram if form.kind == "dram" else prices.columns[column]
        if form.energy not in table:
            raise InputError(f"unknown energy {form.energy!r} of level {form.name!r}", str(path), ", ".join(table))
        energy = table[form.energy].figure()
    return MemoryLevel(form.name, form.kind, capacity, bandwidth, energy)


def eyeriss_ratio(kind: str) -> float:
    """Energy of a byte at a kind of memory (or `link`, per hop), in energies of one 16-bit multiply-accumulate."""
    return _prices().eyeriss[kind].figure().value


@cache
def _prices() -> PricesForm:
    form: PricesForm = _read(PRICES, PricesForm)
    every = [*form.dram.values(), *form.eyeriss.values(), *(n for c in form.columns.values() for n in c.values())]
    _known_sources(PRICES, form.sources, every)
    return form


def _known_sources(path: Path, sources: dict[str, SourceForm], numbers: list[NumberForm]) -> None:
    for number in numbers:
        if number.s not in sources:
            raise InputError(f"figure {number.v:g} {number.u} names no source of the file: {number.s!r}", str(path))
        if number.u not in UNITS:
            raise InputError(f"unknown unit {number.u!r}", str(path), f"one of {', '.join(UNITS)}")


def _read(path: Path, form: type[BaseModel]) -> Any:
    try:
        return form.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"key {'.'.join(map(str, fault['loc']))!r} is wrong", str(path), fault["msg"]) from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("not a system file", str(path), str(error)) from error
