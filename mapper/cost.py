"""What a mapping moves, what that costs, and how long it takes: sums over the mapping, from the mapping alone.

Bytes per memory are reads and writes at that memory's own ports; bytes over links are bytes x hops. Energy multiplies
both with the machine's technology column. Time sums the phases of each stage: phases on one resource follow each other,
phases on different resources of an overlapping stage run at once; a pipeline advances at the pace of its slowest stage.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mapper import dtypes
from mapper.ir import Graph, Op, Opaque
from mapper.machine import Machine
from mapper.mapping import WRITTEN, Mapping, Stage
from mapper.placement import KernelMapping
from mapper.scalar import Call, parts
from mapper.traffic import Link, links

__all__ = ["Cost", "LevelBytes", "OpCost", "cost"]


@dataclass(frozen=True, slots=True)
class LevelBytes:
    """Bytes read from and written to one memory, and their energy."""

    read_bytes: int = 0
    write_bytes: int = 0
    energy_pj: float = 0.0

    @property
    def bytes(self) -> int:
        return self.read_bytes + self.write_bytes


@dataclass(frozen=True, slots=True)
class OpCost:
    """One operator's share. `levels` maps memory names to bytes; `hop_bytes` are bytes x links crossed."""

    name: str
    op_type: str
    stage: str
    macs: int
    cycles: int
    levels: tuple[tuple[str, LevelBytes], ...]
    hop_bytes: int
    movement_pj: float
    compute_pj: float

    def level(self, name: str) -> LevelBytes:
        return dict(self.levels).get(name, LevelBytes())


@dataclass(frozen=True, slots=True)
class Cost:
    """Totals and the operators they are made of. `cycles` is the latency of one inference."""

    ops: tuple[OpCost, ...]
    levels: tuple[tuple[str, LevelBytes], ...]
    hop_bytes: int
    movement_pj: float
    compute_pj: float
    cycles: int
    seconds: float
    interval_cycles: int

    def level(self, name: str) -> LevelBytes:
        return dict(self.levels).get(name, LevelBytes())

    @property
    def energy_pj(self) -> float:
        return self.movement_pj + self.compute_pj


class _Tally:
    """Bytes per memory and over links while one operator is summed up."""

    def __init__(self) -> None:
        self.read: dict[str, int] = defaultdict(int)
        self.write: dict[str, int] = defaultdict(int)
        self.hop_bytes = 0

    def levels(self, machine: Machine) -> tuple[tuple[str, LevelBytes], ...]:
        found = []
        for memory in machine.memories:
            read, write = self.read[memory.name], self.write[memory.name]
            energy = read * memory.read_pj_per_byte + write * memory.write_pj_per_byte
            found.append((memory.name, LevelBytes(read, write, energy)))
        return tuple(found)


def cost(mapping: Mapping) -> Cost:
    """The cost of `mapping`. Host operators are charged their bytes at the outermost memory."""
    graph, ops = mapping.graph, {op.name: op for op in mapping.graph.ops}
    routed = _routed_hops(mapping)
    found = []
    for stage in mapping.stages:
        op = ops[stage.op]
        assert isinstance(op, Op)
        found.append(_stage_cost(mapping, stage, op, routed.get(stage.name, 0)))
    for call in mapping.host:
        found.append(_host_cost(mapping, graph, ops[call.op]))  # type: ignore[arg-type]
    return _total(mapping, found)


def _stage_cost(mapping: Mapping, stage: Stage, op: Op, routed_hop_bytes: int) -> OpCost:
    tally = _Tally()
    axes = {axis.name: axis for axis in mapping.axes}
    for link in links(mapping.graph, stage, op, axes, lambda name: mapping.home(mapping.graph.root(name))):
        _charge(tally, mapping.graph, op, link)
    outermost = mapping.machine.memories[0].name
    tally.read[outermost] += stage.configuration_bytes * stage.launches
    for body, runs in ((stage.body, iterations(stage, op)), (stage.tail, outputs_per_copy(stage, op))):
        if body is not None:
            tally.hop_bytes += _body_hop_bytes(mapping.bodies[body], mapping.machine, runs)
    tally.hop_bytes += routed_hop_bytes
    levels = tally.levels(mapping.machine)
    movement = sum(level.energy_pj for _, level in levels) + tally.hop_bytes * mapping.machine.links.pj_per_byte_hop
    compute = compute_pj(op, mapping.machine, mapping.graph)
    cycles = stage_cycles(stage)
    return OpCost(op.name, op.op_type, stage.name, op.macs, cycles, levels, tally.hop_bytes, movement, compute)


def _charge(tally: _Tally, graph: Graph, op: Op, link: Link) -> None:
    """Add one link's bytes to the memories at its ends."""
    if link.operand != WRITTEN:
        dtype = graph.tensor(op.reads[link.operand].tensor).dtype
        _add(tally, link.source, link.target, dtypes.bytes_of(link.sent, dtype), dtypes.bytes_of(link.received, dtype))
        tally.hop_bytes += dtypes.bytes_of(link.hops, dtype)
        return
    final = graph.tensor(op.write.tensor).dtype
    wide = op.combiner.accumulator if op.combiner is not None else final
    _add(tally, link.source, link.target,
         dtypes.bytes_of(link.sent - link.partial_sent, final) + dtypes.bytes_of(link.partial_sent, wide),
         dtypes.bytes_of(link.received - link.partial_received, final)
         + dtypes.bytes_of(link.partial_received, wide))  # fmt: skip
    back = dtypes.bytes_of(link.partial_received, wide)
    _add(tally, link.target, link.source, back, back)
    tally.hop_bytes += dtypes.bytes_of(link.hops - link.partial_hops, final) + dtypes.bytes_of(link.partial_hops, wide)
    tally.hop_bytes += dtypes.bytes_of(link.returned_hops, wide)


def _add(tally: _Tally, source: str, target: str, sent: int, received: int) -> None:
    """The arithmetic units ("") have no ports of their own."""
    if source:
        tally.read[source] += sent
    if target:
        tally.write[target] += received


def iterations(stage: Stage, op: Op) -> int:
    """Times that the loop body runs, side-by-side copies counted once: temporal pieces of every loop."""
    return _temporal_pieces(stage, op, list(op.extents))


def outputs_per_copy(stage: Stage, op: Op) -> int:
    """Times that the tail runs: temporal pieces of the output loops."""
    return _temporal_pieces(stage, op, [name for name in op.extents if name in op.output_loops])


def _temporal_pieces(stage: Stage, op: Op, names: list[str]) -> int:
    cuts = {name: tuple((t.step, t.axis is None) for t in stage.loops if t.loop == name) for name in names}
    return math.prod(_pieces(op.extents[name], cuts[name]) for name in names)


@lru_cache(maxsize=1 << 14)
def _pieces(extent: int, cuts: tuple[tuple[int, bool], ...]) -> int:
    """Pieces of a loop after its cuts (step, temporal), side-by-side ones counted once."""
    pieces = [extent]
    for step, temporal in cuts:
        if temporal:
            pieces = [min(step, size - i * step) for size in pieces for i in range(-(-size // step))]
            if len(set(pieces)) == 1 and pieces[0] == 1:
                break
        else:
            pieces = [min(step, size) for size in pieces]
    return len(pieces)


def _body_hop_bytes(body: KernelMapping, machine: Machine, runs: int) -> int:
    return body_hops(body, machine) * int(machine.links.bytes_per_cycle) * runs


def body_hops(body: KernelMapping, machine: Machine) -> int:
    """Link crossings of one iteration: values read at a neighbour, or rows crossed in row registers."""
    if machine.fabric.topology == "line":
        return len({(use.value, use.row) for use in body.registers if not use.value.startswith("h")})
    place: dict[int | str, int] = {p.node: p.pe for p in body.placed} | {m.id: m.pe for m in body.moves}
    routed = {(path.src, path.dst, path.distance): path for path in body.paths}
    hops = sum(place[move.source] != move.pe for move in body.moves)
    for edge in body.dfg.edges:
        path = routed.get((edge.src, edge.dst, edge.distance))
        last: int | str = path.via[-1] if path and path.via else edge.src
        hops += place[last] != place[edge.dst]
    return hops


def _routed_hops(mapping: Mapping) -> dict[str, int]:
    """Bytes x links of the routed tensors, charged to the receiving stage."""
    total: dict[str, int] = defaultdict(int)
    for route in mapping.routes:
        total[route.target or route.source] += route.bytes * len(route.links)
    return total


def compute_pj(op: Op, machine: Machine, graph: Graph) -> float:
    """Arithmetic energy: multiply-accumulates at the MAC energy, every other scalar call at the operation energy."""
    dtype = graph.tensor(op.reads[0].tensor).dtype if op.reads else graph.tensor(op.write.tensor).dtype
    mac, simple = _energy_of(machine.energy.mac_pj, dtype), _energy_of(machine.energy.op_pj, dtype)
    calls = sum(isinstance(part, Call) for part in parts(op.body)) + (op.combiner is not None)
    tail = sum(isinstance(part, Call) for part in parts(op.tail)) if op.tail is not None else 0
    outputs = math.prod(op.extents[name] for name in op.output_loops)
    body = op.points * mac if op.macs else op.points * calls * simple
    return body + outputs * tail * simple


def _energy_of(table: Iterable[tuple[str, float]], dtype: str) -> float:
    """Energy for `dtype`, else for the narrowest listed type at least as wide, else for the widest listed."""
    by_type = dict(table)
    if dtype in by_type or not by_type:
        return by_type.get(dtype, 0.0)
    wide_enough = [n for n in by_type if dtypes.BITS[n] >= dtypes.BITS[dtype]]
    pool = wide_enough or list(by_type)
    return by_type[min(pool, key=lambda n: (abs(dtypes.BITS[n] - dtypes.BITS[dtype]), n))]


def stage_cycles(stage: Stage) -> int:
    """Cycles of one stage: per resource the sum of its phases; resources overlap if the stage says so."""
    per_resource: dict[str, int] = defaultdict(int)
    for phase in stage.phases:
        per_resource[phase.resource] += phase.cycles * phase.times
    if not per_resource:
        return 0
    return max(per_resource.values()) if stage.overlap else sum(per_resource.values())


def _host_cost(mapping: Mapping, graph: Graph, op: Opaque) -> OpCost:
    tally = _Tally()
    outermost = mapping.machine.memories[0].name
    tally.read[outermost] = sum(graph.tensor(name).bytes for name in op.inputs)
    tally.write[outermost] = sum(graph.tensor(name).bytes for name in op.outputs)
    levels = tally.levels(mapping.machine)
    return OpCost(op.name, op.op_type, "host", op.macs, 0, levels, 0, sum(v.energy_pj for _, v in levels), 0.0)


def _total(mapping: Mapping, ops: list[OpCost]) -> Cost:
    levels = []
    for memory in mapping.machine.memories:
        each = [op.level(memory.name) for op in ops]
        levels.append((memory.name, LevelBytes(sum(e.read_bytes for e in each), sum(e.write_bytes for e in each),
                                               sum(e.energy_pj for e in each))))  # fmt: skip
    interval = max((op.cycles for op in ops), default=0)
    latency = _latency_cycles(mapping, {op.stage: op.cycles for op in ops})
    return Cost(tuple(ops), tuple(levels), sum(op.hop_bytes for op in ops), sum(op.movement_pj for op in ops),
                sum(op.compute_pj for op in ops), latency, latency / mapping.machine.clock_hz, interval)  # fmt: skip


def _latency_cycles(mapping: Mapping, cycles: dict[str, int]) -> int:
    """A sequence takes the sum of its stages; a pipeline the longest chain of dependent stages."""
    if mapping.schedule == "sequence":
        return sum(cycles.values())
    ends: dict[str, int] = {}
    for stage in mapping.stages:  # stages come in topological order
        ends[stage.name] = max((ends[name] for name in stage.after), default=0) + cycles[stage.name]
    return max(ends.values(), default=0)
