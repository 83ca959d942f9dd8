"""Plays a mapping: the values that it computes and the bytes that it moves, from the semantics of `mapper.mapping`.

:func:`simulate` visits the stages in their order. Counts come from the replay of each stage's tile program
(`mapper.proof.replay`), or from playing it step by step (`mapper.proof.literal`) where `Limits` ask for it; to them
come the hops of loop bodies and routes, configurations, and the bytes of host calls. With `feeds`, each stage is also
executed on values (`mapper.proof.values`): every buffer starts empty, holds what its fills brought and nothing else,
and an operator that reads an element which is not there is reported and yields poison.

:func:`compare_counts` holds the counts against a cost (exactly), :func:`compare_values` the values against a reference.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from mapper.interpret import Host
from mapper.ir import Op, Opaque
from mapper.mapping import Mapping, Stage
from mapper.proof.crossings import body_crossings, route_hop_bytes
from mapper.proof.literal import literal_links
from mapper.proof.replay import iterations, replay_links
from mapper.proof.run import run_mapping
from mapper.proof.tally import LinkCount, MemoryCount, link_bytes, memory_counts
from mapper.violation import Violation

__all__ = ["Limits", "OpCounts", "Simulation", "compare_counts", "compare_values", "simulate"]

Array = np.ndarray[Any, Any]
RELATIVE, ABSOLUTE = 1e-4, 1e-5
NARROW_STEPS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How far to play: stages of at most `literal_points` iterations are counted loop by loop; values are played in
    at most `windows` windows per stage (below that, inner loops are evaluated at once)."""

    literal_points: int = 0
    windows: int = 2_000


@dataclass(frozen=True, slots=True)
class OpCounts:
    """What one operator moved: per memory, over links in bytes x links, and per link of its chains."""

    op: str
    stage: str
    memories: tuple[MemoryCount, ...]
    hop_bytes: int
    links: tuple[LinkCount, ...] = ()


@dataclass(frozen=True)
class Simulation:
    """Counts per operator and in total; values of all tensors and what went wrong on the way, if values were played."""

    ops: tuple[OpCounts, ...]
    memories: tuple[MemoryCount, ...]
    hop_bytes: int
    values: Dict[str, Array] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()


def simulate(
    mapping: Mapping, feeds: Dict[str, Array] | None = None, host: Host | None = None, limits: Limits | None = None
) -> Simulation:
    """Play `mapping`; values only with `feeds` (inputs and weights by name), opaque operators through `host`."""
    limits = limits or Limits()
    ops = {op.name: op for op in mapping.graph.ops}
    found = [_stage_counts(mapping, stage, ops[stage.op], limits) for stage in mapping.stages]
    found += [_host_counts(mapping, ops[call.op]) for call in mapping.host]
    names = [memory.name for memory in mapping.machine.memories]
    parts = [(m.memory, m.read_bytes, m.write_bytes) for op in found for m in op.memories]
    values, violations = run_mapping(mapping, feeds, host, limits.windows) if feeds is not None else ({}, ())
    total = memory_counts(names, parts)
    return Simulation(tuple(found), total, sum(op.hop_bytes for op in found), values, violations)


def _stage_counts(mapping: Mapping, stage: Stage, op: Any, limits: Limits) -> OpCounts:
    """Chains of operands, configuration from the backing store, hops of bodies and of routes that end here."""
    assert isinstance(op, Op)
    literal = op.points <= limits.literal_points
    links = literal_links(mapping, stage, op) if literal else replay_links(mapping, stage, op)
    each = [link_bytes(mapping.graph, op, link) for link in links]
    names = [memory.name for memory in mapping.machine.memories]
    configuration = (names[0], stage.configuration_bytes * stage.launches, 0)
    memories = memory_counts(names, [configuration, *(part for parts, _ in each for part in parts)])
    hop_bytes = sum(bytes_ for _, bytes_ in each) + _body_hop_bytes(mapping, stage, op)
    hop_bytes += route_hop_bytes(mapping, stage.name)
    return OpCounts(op.name, stage.name, memories, hop_bytes, tuple(links))


def _body_hop_bytes(mapping: Mapping, stage: Stage, op: Op) -> int:
    """Words that the loop body and its tail pass between PEs, over all their runs."""
    word, line = int(mapping.machine.links.bytes_per_cycle), mapping.machine.fabric.topology == "line"
    total = 0
    for body, loops in ((stage.body, frozenset(op.extents)), (stage.tail, op.output_loops)):
        if body is not None:
            total += body_crossings(mapping.bodies[body], line) * word * iterations(stage, op, loops)
    return total


def _host_counts(mapping: Mapping, op: Any) -> OpCounts:
    """The host reads its inputs from and writes its outputs to the backing store."""
    assert isinstance(op, Opaque)
    names = [memory.name for memory in mapping.machine.memories]
    read = sum(mapping.graph.tensor(name).bytes for name in op.inputs)
    write = sum(mapping.graph.tensor(name).bytes for name in op.outputs)
    return OpCounts(op.name, "host", memory_counts(names, [(names[0], read, write)]), 0)


class _Level(Protocol):
    @property
    def read_bytes(self) -> int: ...
    @property
    def write_bytes(self) -> int: ...


class _Costed(Protocol):
    """Something with bytes per memory and over links: a cost or one operator's share."""

    @property
    def levels(self) -> Sequence[tuple[str, _Level]]: ...
    @property
    def hop_bytes(self) -> int: ...


class _OpCosted(_Costed, Protocol):
    @property
    def name(self) -> str: ...


class _Cost(_Costed, Protocol):
    @property
    def ops(self) -> Sequence[_OpCosted]: ...


def compare_counts(simulation: Simulation, cost: _Cost) -> tuple[Violation, ...]:
    """Differences between what was counted and what was charged: per operator, per memory and in total, exactly."""
    found: list[Violation] = []
    charged = {op.name: op for op in cost.ops}
    counted = {op.op: op for op in simulation.ops}
    for name in sorted(charged.keys() ^ counted.keys()):
        both = ("counted", "charged") if name in counted else ("charged", "counted")
        found.append(Violation("counts", f"operator {name!r}", f"{both[0]} only", f"{both[1]} too"))
    for name in (op.op for op in simulation.ops if op.op in charged):
        found += _differences(f"operator {name!r}", counted[name].memories, counted[name].hop_bytes, charged[name])
    found += _differences("total", simulation.memories, simulation.hop_bytes, cost)
    return tuple(found)


def _differences(subject: str, memories: Sequence[MemoryCount], hop_bytes: int, cost: _Costed) -> list[Violation]:
    found = []
    levels = dict(cost.levels)
    for count in memories:
        level = levels.get(count.memory)
        pairs = (("read", count.read_bytes, level.read_bytes if level else 0),
                 ("written", count.write_bytes, level.write_bytes if level else 0))  # fmt: skip
        for verb, played, charged in pairs:
            if played != charged:
                what = f"{subject}, memory {count.memory!r}"
                found.append(
                    Violation("counts", what, f"{charged} bytes {verb} charged", f"{played} bytes as counted by play")
                )
    if hop_bytes != cost.hop_bytes:
        found.append(
            Violation("counts", f"{subject}, links", f"{cost.hop_bytes} byte hops charged",
                      f"{hop_bytes} byte hops as counted by play")
        )  # fmt: skip
    return found


def compare_values(
    values: Dict[str, Array], reference: Dict[str, Array], quantised: frozenset[str] = frozenset()
) -> tuple[Violation, ...]:
    """Tensors of `values` that differ from the reference.

    Equal means |d| <= 1e-4 |ref| + 1e-5 max|ref|; narrow floats, which round at every step, a unit in the last place
    and four of the largest value's; integers exactly, those in `quantised` by at most one step.
    """
    found = []
    for name in sorted(values.keys() & reference.keys()):
        mine, theirs = np.asarray(values[name]), np.asarray(reference[name])
        problem = _mismatch(mine, theirs, name in quantised)
        if problem:
            found.append(Violation("values", f"tensor {name!r}", problem[0], problem[1]))
    return tuple(found)


def _mismatch(mine: Array, theirs: Array, quantised: bool) -> tuple[str, str] | None:
    """(found, expected) at the worst element, or None."""
    if mine.shape != theirs.shape:
        return f"shape {mine.shape}", f"shape {theirs.shape}"
    if mine.size == 0:
        return None
    if "float" in theirs.dtype.name or theirs.dtype.kind == "c":
        wrong = _far(mine, theirs)
    elif quantised:
        wrong = np.abs(mine.astype(np.int64) - theirs.astype(np.int64)) > 1
    else:
        wrong = mine != theirs
    if not wrong.any():
        return None
    worst = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    where = tuple(int(i) for i in worst)
    return f"{mine[worst]} at {where} ({int(wrong.sum())} elements differ)", f"{theirs[worst]}"


def _far(mine: Array, theirs: Array) -> Array:
    """Float elements outside the tolerance; infinities and NaN must agree."""
    wide = np.complex128 if theirs.dtype.kind == "c" else np.float64
    a, b = mine.astype(wide), theirs.astype(wide)
    finite = np.isfinite(b)
    scale = float(np.abs(b[finite]).max()) if finite.any() else 0.0
    with np.errstate(invalid="ignore"):
        unit = _unit(theirs.dtype)
        near = (
            np.abs(a - b)
            <= max(RELATIVE, unit) * np.abs(b) + max(ABSOLUTE, NARROW_STEPS * unit if unit > RELATIVE else 0.0) * scale
        )
        same = near | (a == b) | (np.isnan(a) & np.isnan(b))
    return np.asarray(~same)


def _unit(dtype: np.dtype[Any]) -> float:
    """The relative distance of neighbouring values of a float type."""
    if "float" not in dtype.name:
        return 0.0
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
