"""A model on a baseline system: where it lives, what it moves, and the least time that this takes.

    time = sum over operators of max(MACs / peak, bytes across a boundary / bandwidth of the memory outside it)
    stream time = bytes of weights and inputs, each once / bandwidth of the memory where they live

The first holds for schedules that run one operator after the other and overlap transfers perfectly (bytes by
`crossing.py`), the second for every schedule. The model lives on chip if weights, inputs and the activations alive at
one time fit in half of the memory there; a system without DRAM is given as many chips as hold weights and inputs, and
capacity, bandwidth and peak count once per chip. Links between chips are free here.
Movement is bytes at the ports of each memory x its energy per byte: what crosses a boundary is read on one side and
written on the other. Power x time is never used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from mapper import dtypes
from mapper.bounds import external_bytes
from mapper.comparison import Figure, LevelUse, Row
from mapper.ir import AnyOp, Graph, Opaque, View

from .crossing import Crossings, Inside, resident_activations
from .system import MemoryLevel, System, eyeriss_ratio

__all__ = ["model_facts", "nearest_peak", "row"]


@dataclass(frozen=True)
class ModelFacts:
    """What holds on every system: bytes to keep, bytes to stream, the widest moment of activations, element type."""

    crossings: Crossings
    stored: dict[str, int]
    stream_bytes: int
    peak_activation_bytes: int
    dtype: str

    @property
    def graph(self) -> Graph:
        return self.crossings.graph

    @property
    def stored_bytes(self) -> int:
        """Weights, constants and inputs (with the state of earlier tokens)."""
        return sum(self.stored.values())


def model_facts(graph: Graph) -> ModelFacts:
    """Facts of an optimised graph."""
    made = {name for op in graph.ops for name in op.outputs}
    used = dict.fromkeys(graph.root(name) for op in graph.ops for name in op.inputs)
    stored = {name: graph.tensor(name).bytes for name in used if name not in made}
    return ModelFacts(Crossings(graph), stored, external_bytes(graph), _peak_activations(graph),
                      _dtype(graph, stored))  # fmt: skip


def _dtype(graph: Graph, stored: dict[str, int]) -> str:
    """Element type of most bytes of weights (of inputs, where a model has none)."""
    total: dict[str, int] = defaultdict(int)
    weights = [name for name in stored if graph.tensor(name).role == "weight"]
    for name in weights or stored:
        total[graph.tensor(name).dtype] += stored[name]
    return max(total, key=lambda dtype: (total[dtype], dtype), default="float32")


def _peak_activations(graph: Graph) -> int:
    """Most bytes of activations alive at one operator."""
    last = {graph.root(name): at for at, op in enumerate(graph.ops) for name in op.inputs}
    alive = peak = 0
    ends: dict[int, int] = defaultdict(int)
    for at, op in enumerate(graph.ops):
        if not isinstance(op, View):
            for name in op.outputs:
                alive += graph.tensor(name).bytes
                ends[last.get(name, len(graph.ops))] += graph.tensor(name).bytes
        peak = max(peak, alive)
        alive -= ends[at]
    return peak


def nearest_peak(system: System, dtype: str) -> tuple[str, Figure] | None:
    """The peak for `dtype`, else for the type nearest in width, kinds of number kept apart where widths tie."""

    def distance(peak: tuple[str, Figure]) -> tuple[float, str]:
        kind = dtypes.is_float(peak[0]) != dtypes.is_float(dtype)
        width = abs(math.log2(_bits(peak[0]) / _bits(dtype)))
        return 2 * width + kind + (0.1 if peak[0] != dtype else 0.0), peak[0]

    return min(system.peaks, key=distance, default=None)


def _bits(dtype: str) -> int:
    """Width of a type; peaks are stated for families such as float8 and float4."""
    return {"float8": 8, "float4": 4}.get(dtype) or dtypes.BITS[dtype]


@dataclass(frozen=True)
class _Home:
    """Where the model lives: level number, chips, and what need not cross the outermost boundary."""

    level: int
    chips: int
    inside: Inside
    tile_bytes: int | None
    words: str


def _home(facts: ModelFacts, system: System) -> _Home:
    outer = system.levels[0]
    if outer.kind != "dram":
        chips = _chips(facts.stored_bytes, outer)
        return _Home(0, chips, frozenset(), None, f"on chip ({outer.name})" if chips == 1 else f"on {chips} chips")
    chips = _chips(facts.stored_bytes, outer)
    first = next((level for level in system.levels[1:] if level.kind == "buffer"), None)
    room = None if first is None or first.capacity is None else int(first.capacity.value * chips)
    if room is not None and facts.stored_bytes + facts.peak_activation_bytes <= room // 2:
        weights = [name for name in facts.stored if facts.graph.tensor(name).role != "input"]
        inside = resident_activations(facts.graph, None) | frozenset(weights)
        assert first is not None
        return _Home(1, chips, inside, room // 2, f"on chip ({first.name})")
    half = None if room is None else room // 2
    return _Home(0, chips, resident_activations(facts.graph, half), half, f"streamed from {outer.name}")


def _chips(stored_bytes: int, level: MemoryLevel) -> int:
    return 1 if level.capacity is None else max(1, math.ceil(stored_bytes / level.capacity.value))


def row(facts: ModelFacts, system: System) -> Row:
    """The row of one baseline."""
    home = _home(facts, system)
    peak = nearest_peak(system, facts.dtype)
    macs_per_s = None if peak is None else peak[1].value * home.chips
    ports = [level for level in system.levels if level.kind != "register"]
    inward, seconds, limited = _operators(facts, system, home, ports, macs_per_s)
    levels = _levels(ports, inward, home.chips)
    movement = [level.energy_pj for level in levels]
    holder = ports[home.level]
    rate = None if holder.bandwidth is None else holder.bandwidth.value * home.chips
    price = None if holder.energy is None else holder.energy.value
    return Row(
        system=system.id, name=system.name, kind="baseline", lives=home.words, chips=home.chips,
        share_of_capacity=_share(facts, holder, home.chips),
        dtype=facts.dtype, peak_dtype="" if peak is None else peak[0], peak_macs_per_s=macs_per_s,
        macs=facts.graph.macs, levels=levels, seconds=seconds, limited_by=limited, stream_bytes=facts.stream_bytes,
        stream_seconds=None if rate is None else facts.stream_bytes / rate,
        stream_pj=None if price is None else facts.stream_bytes * price,
        movement_pj=None if None in movement else sum(pj for pj in movement if pj is not None),
        technology=_technology(system),
        eyeriss_macs=sum(level.bytes * eyeriss_ratio(level.kind) for level in levels),
        marks=_marks(system), notes=_notes(system, facts, home, peak, ports), figures=system.figures,
    )  # fmt: skip


def _operators(
    facts: ModelFacts, system: System, home: _Home, ports: list[MemoryLevel], macs_per_s: float | None
) -> tuple[list[int], float | None, str]:
    """Bytes that cross inwards of each memory; the sum of the operators' bounds, and what sets most of it."""
    inward = [0] * len(ports)
    spent: dict[str, float] = defaultdict(float)
    for op in facts.graph.ops:
        crossing = [_crossing(facts, system, home, op, at) for at in range(len(ports))]
        inward = [total + size for total, size in zip(inward, crossing, strict=True)]
        bounds = {f"{level.name} bandwidth": size / (level.bandwidth.value * home.chips)
                  for level, size in zip(ports, crossing, strict=True) if level.bandwidth is not None}  # fmt: skip
        if macs_per_s is not None:
            bounds["arithmetic"] = op.macs / macs_per_s
        if bounds:
            longest = max(bounds, key=lambda name: bounds[name])
            spent[longest] += bounds[longest]
    if not spent:
        return inward, None, ""
    limit = max(spent, key=lambda name: spent[name])
    if all(level.bandwidth is None for level in ports):
        limit = "arithmetic alone"  # no bandwidth is published: the time says nothing about movement
    return inward, math.fsum(spent.values()), limit


def _crossing(facts: ModelFacts, system: System, home: _Home, op: AnyOp, at: int) -> int:
    """Bytes of `op` between memory `at` and the next memory inwards, whose size may be unknown."""
    if isinstance(op, Opaque):  # runs on the host: beside the outermost memory
        return facts.crossings.bytes(op, None) if at == 0 else 0
    following = system.levels[at + 1] if at + 1 < len(system.levels) else None
    capacity = None if following is None or following.capacity is None else following.capacity.value * home.chips
    if at == 0 and system.levels[0].kind == "dram":
        return facts.crossings.bytes(op, home.tile_bytes, home.inside)
    return facts.crossings.bytes(op, None if capacity is None else int(capacity))


def _levels(ports: list[MemoryLevel], inward: list[int], chips: int) -> tuple[LevelUse, ...]:
    """Bytes at a memory's ports: what crosses inwards and, inside the outermost, what crosses from outside."""
    found = []
    for at, level in enumerate(ports):
        size = inward[at] + (inward[at - 1] if at else 0)
        rate = None if level.bandwidth is None else level.bandwidth.value * chips
        found.append(
            LevelUse(level.name, level.kind, size, inward[at],
                     None if level.capacity is None else level.capacity.value * chips, rate,
                     None if rate is None else inward[at] / rate,
                     None if level.energy is None else size * level.energy.value)
        )  # fmt: skip
    return tuple(found)


def _share(facts: ModelFacts, holder: MemoryLevel, chips: int) -> float | None:
    return None if holder.capacity is None else facts.stored_bytes / (holder.capacity.value * chips)


def _technology(system: System) -> str:
    process = f", made in {system.process}" if system.process else ""
    return f"{system.column} column{process}"


def _marks(system: System) -> tuple[str, ...]:
    """Kinds of doubt among the figures, worst first."""
    order = ("disputed", "unpublished", "preliminary", "projected", "recalled", "derived")
    found = {figure.mark for _, figure in system.figures} | {system.mark}
    if any(level.capacity is None for level in system.levels[1:2]):
        found.add("unpublished")
    return tuple(mark for mark in order if mark in found)


def _notes(
    system: System, facts: ModelFacts, home: _Home, peak: tuple[str, Figure] | None, ports: list[MemoryLevel]
) -> tuple[str, ...]:
    """What a reader must know to use the row."""
    notes = [system.note] if system.note else []
    if peak is None:
        notes.append("no peak is known: time is bound by bandwidth alone")
    elif peak[0] != facts.dtype:
        notes.append(f"weights are {facts.dtype}, the nearest peak is that of {peak[0]}")
    notes += [f"size of {level.name} is not published: each operand of an operator crosses once, activations stay"
              for level in ports[1:2] if level.capacity is None]  # fmt: skip
    if all(level.bandwidth is None for level in ports):
        notes.append("no bandwidth is known: time is bound by arithmetic alone")
    if home.chips > 1:
        notes.append("links between chips are not charged")
    hosted = sum(isinstance(op, Opaque) for op in facts.graph.ops)
    if hosted:
        notes.append(f"{hosted} operators run on the host: their bytes cross the outermost boundary")
    marked = [f"{name} is {f.mark}" + (f" ({f.note})" if f.note else "") for name, f in system.figures if f.mark]
    return (*notes, *marked)
