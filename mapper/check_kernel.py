"""Is this modulo-scheduled loop body legal on this grid? Written from the rules alone, without any backend's code.

The idea: list every operation (nodes and MOVEs) with its PE, cycle and latency, list every read with the cycles it
spans, and hold both against the rules.

* nodes: exactly the body's nodes, each on a live PE that runs its operation;
* moves: paths follow edges of the body, hop by hop, their distances add up, every MOVE is used;
* resource: a PE starts or executes one operation at a time (slots are cycles modulo II);
* time: a read spans latency … II cycles;
* space: the reader sits on the writer's PE or on one that reads it;
* output register: between a write and a read from another PE, the writer's PE executes nothing;
* registers: a value read on its own PE after something else executed there has one fixed register of that PE, and no
  other value is in it while it lives;
* memory ports: loads and stores per slot and group of PEs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from mapper.machine import Fabric
from mapper.placement import KernelMapping
from mapper.violation import Violation

__all__ = ["check_kernel", "memory_slots"]

_MEMORY_LABELS = ("load", "store", "lwd", "swd", "lwi", "swi")


@dataclass(frozen=True, slots=True)
class _Op:
    name: str
    pe: int
    cycle: int
    latency: int
    memory: bool = False


@dataclass(frozen=True, slots=True)
class _Hop:
    source: str
    reader: str
    distance: int


@dataclass(frozen=True)
class _Kernel:
    """The mapping flattened into named operations and hops."""

    mapping: KernelMapping
    fabric: Fabric

    @cached_property
    def ops(self) -> dict[str, _Op]:
        found: dict[str, _Op] = {}
        known = {node.id: node for node in self.mapping.dfg.nodes}
        for p in self.mapping.placed:
            node = known.get(p.node)
            inside = 0 <= p.pe < self.fabric.size
            latency = self.fabric.latency_cycles(p.pe, node.op) if node is not None and inside else 1
            memory = node is not None and (node.kind in ("load", "store") or node.op.lower() in _MEMORY_LABELS)
            found[str(p.node)] = _Op(str(p.node), p.pe, p.cycle, latency, memory)
        for m in self.mapping.moves:
            found[m.id] = _Op(m.id, m.pe, m.cycle, 1)
        return found

    @cached_property
    def hops(self) -> tuple[_Hop, ...]:
        paths = {(p.src, p.dst, p.distance): p for p in self.mapping.paths}
        hops = [_Hop(str(m.source), m.id, m.distance) for m in self.mapping.moves]
        for src, dst, distance in sorted({(e.src, e.dst, e.distance) for e in self.mapping.dfg.edges}):
            path = paths.get((src, dst, distance))
            last = path.via[-1] if path and path.via else str(src)
            hops.append(_Hop(last, str(dst), path.distances[-1] if path and path.distances else distance))
        return tuple(h for h in hops if h.source in self.ops and h.reader in self.ops)

    def span(self, hop: _Hop) -> int:
        return self.ops[hop.reader].cycle + hop.distance * self.mapping.ii - self.ops[hop.source].cycle

    def executing_between(self, op: _Op, span: int) -> Iterator[_Op]:
        """Other operations that execute on the PE of `op` in the cycles after its start and before `span`."""
        ii = self.mapping.ii
        for other in self.ops.values():
            if other.pe == op.pe and other.name != op.name:
                first = (other.cycle - op.cycle) % ii
                if first < span or first + other.latency > ii:
                    yield other


def check_kernel(mapping: KernelMapping, fabric: Fabric) -> tuple[Violation, ...]:
    """Every violated rule of `mapping` on `fabric`; empty when it is legal."""
    if mapping.ii < 1:
        return (Violation("ii", mapping.dfg.name, str(mapping.ii), "at least 1"),)
    kernel = _Kernel(mapping, fabric)
    form = (*_nodes(kernel), *_moves(kernel))
    if form:
        return form
    rules = (_resource, _time, _space, _output_register, _registers, _memory_ports)
    return tuple(violation for rule in rules for violation in rule(kernel))


def memory_slots(mapping: KernelMapping, fabric: Fabric) -> Iterator[tuple[int, int]]:
    """(PE, slot) of every load and store."""
    for op in _Kernel(mapping, fabric).ops.values():
        if op.memory:
            yield op.pe, op.cycle % mapping.ii


def _nodes(kernel: _Kernel) -> Iterator[Violation]:
    """Every node once, every operation at a cycle >= 0 on a live PE of the fabric that runs it."""
    mapping, fabric = kernel.mapping, kernel.fabric
    placed = Counter(p.node for p in mapping.placed)
    for node in mapping.dfg.nodes:
        if placed[node.id] != 1:
            yield Violation("nodes", f"node {node.id}", f"placed {placed[node.id]} times", "once")
    known = {node.id for node in mapping.dfg.nodes}
    for stranger in sorted(set(placed) - known):
        yield Violation("nodes", f"node {stranger}", "placed", "not a node of the body")
    alive = {pe for pe in range(fabric.size) if divmod(pe, fabric.columns) not in fabric.dead}
    for op in kernel.ops.values():
        if op.pe not in alive:
            yield Violation("nodes", op.name, f"PE {op.pe}", f"a live PE of 0..{fabric.size - 1}")
        if op.cycle < 0:
            yield Violation("nodes", op.name, f"cycle {op.cycle}", "cycle >= 0")
    for p in mapping.placed:
        if p.node in known and p.pe in alive and not fabric.pe_classes[p.pe].runs(mapping.dfg[p.node].op):
            expected = f"a PE that runs {mapping.dfg[p.node].op!r}"
            yield Violation("nodes", f"node {p.node}", f"PE {p.pe}", expected)


def _moves(kernel: _Kernel) -> Iterator[Violation]:
    """Paths follow edges, MOVE by MOVE; distances agree and add up; ids are unique and every MOVE is used."""
    mapping = kernel.mapping
    edges = {(e.src, e.dst, e.distance) for e in mapping.dfg.edges}
    moves = {m.id: m for m in mapping.moves}
    if len(moves) != len(mapping.moves):
        yield Violation("moves", mapping.dfg.name, "a MOVE id twice", "unique ids")
    used: set[str] = set()
    for path in mapping.paths:
        name = f"edge {path.src}->{path.dst} distance {path.distance}"
        if (path.src, path.dst, path.distance) not in edges:
            yield Violation("moves", name, "a path", "no such edge in the body")
        if len(path.distances) != len(path.via) + 1 or sum(path.distances) != path.distance or min(path.distances) < 0:
            expected = f"{len(path.via) + 1} distances >= 0 with sum {path.distance}"
            yield Violation("moves", name, f"distances {path.distances}", expected)
        before: int | str = path.src
        for via, distance in zip(path.via, path.distances, strict=False):
            move = moves.get(via)
            if move is None or move.source != before or move.distance != distance:
                yield Violation("moves", name, f"via {via}", f"a MOVE reading {before} at distance {distance}")
            used.add(via)
            before = via
    for idle in sorted(set(moves) - used):
        yield Violation("moves", idle, "used by no path", "used")
    if len({(p.src, p.dst, p.distance) for p in mapping.paths}) != len(mapping.paths):
        yield Violation("moves", mapping.dfg.name, "two paths for one edge", "at most one")


def _resource(kernel: _Kernel) -> Iterator[Violation]:
    """No two operations execute on one PE in one slot; none is longer than II."""
    ii, taken = kernel.mapping.ii, dict[tuple[int, int], str]()
    for op in kernel.ops.values():
        if op.latency > ii:
            yield Violation("resource", op.name, f"latency {op.latency}", f"at most II {ii}")
        for cycle in range(op.cycle, op.cycle + min(op.latency, ii)):
            other = taken.setdefault((op.pe, cycle % ii), op.name)
            if other != op.name:
                yield Violation("resource", f"PE {op.pe} slot {cycle % ii}", f"{other} and {op.name}", "one operation")


def _time(kernel: _Kernel) -> Iterator[Violation]:
    for hop in kernel.hops:
        least, span = kernel.ops[hop.source].latency, kernel.span(hop)
        if not least <= span <= kernel.mapping.ii:
            subject = f"read {hop.source}->{hop.reader} distance {hop.distance}"
            yield Violation("time", subject, f"{span} cycles", f"{least}..{kernel.mapping.ii} cycles")


def _space(kernel: _Kernel) -> Iterator[Violation]:
    for hop in kernel.hops:
        source, reader = kernel.ops[hop.source].pe, kernel.ops[hop.reader].pe
        if source != reader and reader not in kernel.fabric.neighbours[source]:
            expected = f"PE {source} or one that reads it"
            yield Violation("space", f"read {hop.source}->{hop.reader}", f"PE {reader}", expected)


def _output_register(kernel: _Kernel) -> Iterator[Violation]:
    for hop in kernel.hops:
        op = kernel.ops[hop.source]
        if op.pe != kernel.ops[hop.reader].pe:
            for other in kernel.executing_between(op, kernel.span(hop)):
                found = f"{other.name} executes on PE {op.pe}"
                yield Violation("output register", f"read {hop.source}->{hop.reader}", found, "nothing until the read")


def _needed_registers(kernel: _Kernel) -> dict[str, tuple[int, int]]:
    """Per value that must leave the output register: first slot and number of cycles of its life."""
    last: dict[str, int] = {}
    for hop in kernel.hops:
        if kernel.ops[hop.source].pe == kernel.ops[hop.reader].pe:
            last[hop.source] = max(last.get(hop.source, 0), kernel.span(hop))
    needed: dict[str, tuple[int, int]] = {}
    for name, span in last.items():
        op = kernel.ops[name]
        if any(True for _ in kernel.executing_between(op, span)):
            needed[name] = ((op.cycle + op.latency) % kernel.mapping.ii, span - op.latency + 1)
    return needed


def _registers(kernel: _Kernel) -> Iterator[Violation]:
    """Each needed value has one register of its PE; each register holds one value per slot."""
    fabric, ii = kernel.fabric, kernel.mapping.ii
    uses = {use.value: use for use in kernel.mapping.registers}
    holders: dict[tuple[int, int, int], list[str]] = defaultdict(list)
    for name, (first, cycles) in sorted(_needed_registers(kernel).items()):
        use, pe = uses.get(name), kernel.ops[name].pe
        if use is None:
            yield Violation("registers", f"value {name} on PE {pe}", "no register", "a fixed register")
            continue
        if (use.row, use.column) != divmod(pe, fabric.columns) or not 0 <= use.index < fabric.registers:
            expected = f"one of {fabric.registers} registers of PE {pe}"
            yield Violation("registers", f"value {name}", f"register {use.index} of {use.row, use.column}", expected)
        for cycle in range(first, first + cycles):
            holders[pe, use.index, cycle % ii].append(name)
    for (pe, index, slot), names in sorted(holders.items()):
        if len(names) > 1:
            yield Violation("registers", f"PE {pe} register {index} slot {slot}", _listed(names), "one value")


def _memory_ports(kernel: _Kernel) -> Iterator[Violation]:
    limit = kernel.fabric.memory_ports
    for group in kernel.fabric.port_groups:
        inside = [op for op in kernel.ops.values() if op.memory and op.pe in group]
        for slot, count in sorted(Counter(op.cycle % kernel.mapping.ii for op in inside).items()):
            if limit is not None and count > limit.count:
                subject = f"PEs {group[0]}..{group[-1]} slot {slot}"
                yield Violation("memory ports", subject, f"{count} loads and stores", f"at most {limit.count}")


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)
