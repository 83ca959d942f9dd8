"""A placed loop body as the instruction file of neura (coredac/neura) and VectorCGRA (tancheng/VectorCGRA).

`instructions.yaml` lists, per core and per slot of the II, the operations that it executes: opcode, sources and
destinations, the first cycle (`time_step`) and how many turns pass before that (`invalid_iterations`). A source is a
port (what the neighbour in that direction sent a cycle before), a register of the core (`$3`) or an immediate (`#7`).
Rows count upwards: NORTH is the next row. The array is a mesh or a king-mesh; of a torus only a mapping without
wrap-around links can be written.

Our PEs keep a value in the output register until it is read. There it is sent once, and a consumer that needs it
later takes it from the port into a register of its own (a DATA_MOV beside its operation, as neura's own compiler
writes it). So registers are allocated anew: per core, values are arcs on the circle of the II, coloured with at most
32 registers. Only operations with an opcode in neura's dialect are written; a phi is a PHI_START with its first
value. Addresses are words of the flat memory of `memory.py`. When to stop is the host's business: it launches a
number of iterations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import yaml

from mapper.backends.cgra.registers import Life, colouring
from mapper.dfg import Node
from mapper.export import NotExportable
from mapper.kernels.primitives import PRIMITIVES
from mapper.machine import Fabric
from mapper.placement import KernelMapping

from .memory import Layout, biased

__all__ = ["neura_program"]

REGISTERS = 32
OPCODES = {
    "iadd": "ADD", "isub": "SUB", "imul": "MUL", "and": "AND", "or": "OR", "shl": "SHL",
    "add": "FADD", "sub": "FSUB", "mul": "FMUL", "max": "FMAX", "min": "FMIN", "neg": "FNEG",
    "icmp_eq": "ICMP_EQ", "icmp_gt": "ICMP_SGT", "icmp_ge": "ICMP_SGE", "icmp_lt": "ICMP_SLT", "icmp_le": "ICMP_SLE",
    "select": "SEL", "mov": "DATA_MOV", "phi": "PHI_START",
}  # fmt: skip
VERTICAL = {1: "NORTH", -1: "SOUTH", 0: ""}
HORIZONTAL = {1: "EAST", -1: "WEST", 0: ""}
REACH = {"mesh": 1, "torus": 1, "king": 2}  # steps in row and column together

Name = int | str
Entry = dict[str, object]


def neura_program(mapping: KernelMapping, fabric: Fabric, layout: Layout) -> str:
    """The text of `instructions.yaml`. Raises :class:`NotExportable`."""
    if fabric.topology not in REACH:
        raise NotExportable(f"a {fabric.topology} fabric", mapping.dfg.name, "the format has meshes and king-meshes")
    _refuse(mapping, fabric)
    writer = _Writer(mapping, fabric, biased(mapping.dfg, layout.base), layout.standing)
    return yaml.safe_dump(writer.document(), sort_keys=False, width=120)


def _refuse(mapping: KernelMapping, fabric: Fabric) -> None:
    """Raise NotExportable for what the dialect lacks."""
    for placed in mapping.placed:
        node = mapping.dfg[placed.node]
        if node.memory is None and node.op not in OPCODES:
            raise NotExportable(f"operation {node.op!r}", f"node {node.id}", "neura has no opcode for it")
        if node.op == "phi" and any(e.distance != 1 for e in mapping.dfg.predecessors[node.id]):
            raise NotExportable("a phi of another distance than 1", f"node {node.id}", "the format has none")
        if fabric.latency_cycles(placed.pe, node.op) != 1:
            raise NotExportable("a latency above one cycle", f"node {node.id}", "not written so far")


@dataclass(frozen=True, slots=True)
class _Use:
    """Value `source` is needed at `reader` (a node or MOVE) `span` cycles after it is computed."""

    source: Name
    reader: Name
    span: int


@dataclass(frozen=True)
class _Writer:
    """Writes one mapping; operations are named as in it: nodes by number, MOVEs by id."""

    mapping: KernelMapping
    fabric: Fabric
    constants: Mapping[int, int]
    standing: Mapping[int, int]

    @cached_property
    def start(self) -> dict[Name, int]:
        return {p.node: p.cycle for p in self.mapping.placed} | {m.id: m.cycle for m in self.mapping.moves}

    @cached_property
    def pe(self) -> dict[Name, int]:
        return {p.node: p.pe for p in self.mapping.placed} | {m.id: m.pe for m in self.mapping.moves}

    @cached_property
    def via(self) -> dict[tuple[int, int, int], tuple[Name, int]]:
        """What each edge is read from, its source or the last MOVE on its way, and the distance of that hop."""
        found: dict[tuple[int, int, int], tuple[Name, int]] = {
            (e.src, e.dst, e.distance): (e.src, e.distance) for e in self.mapping.dfg.edges
        }
        return found | {
            (p.src, p.dst, p.distance): (p.via[-1], p.distances[-1]) for p in self.mapping.paths if p.via
        }  # fmt: skip

    @cached_property
    def uses(self) -> tuple[_Use, ...]:
        hops: list[tuple[Name, Name, int]] = [(m.id, m.source, m.distance) for m in self.mapping.moves]
        hops += [(dst, source, distance) for (_, dst, _), (source, distance) in self.via.items()]
        return tuple(_Use(source, reader, self._span(reader, source, d)) for reader, source, d in hops)

    def _span(self, reader: Name, source: Name, distance: int) -> int:
        return self.start[reader] + distance * self.mapping.ii - self.start[source]

    @cached_property
    def kept(self) -> dict[tuple[Name, int], int]:
        """How many cycles after it is computed a value is last read from a register of each PE."""
        found: dict[tuple[Name, int], int] = {}
        for use in self.uses:
            at = self.pe[use.reader]
            if at == self.pe[use.source] or use.span > 1:
                found[use.source, at] = max(found.get((use.source, at), 0), use.span)
        return found

    @cached_property
    def register(self) -> dict[tuple[Name, int], int]:
        """The register of every value kept on a PE."""
        found: dict[tuple[Name, int], int] = {}
        keys = list(self.kept)
        for pe in sorted({at for _, at in keys}):
            arcs = [self._life(index, *key) for index, key in enumerate(keys) if key[1] == pe]
            colours = colouring(arcs, self.mapping.ii, REGISTERS)
            if colours is None:
                raise NotExportable(f"more than {REGISTERS} registers", f"PE {pe}", "the core has no more")
            found |= {keys[index]: colour for index, colour in colours.items()}
        return found

    def _life(self, index: int, source: Name, at: int) -> Life:
        """From the cycle after it is written, which a consumer does a cycle after the producer, to its last read."""
        late = 1 + int(at != self.pe[source])
        return Life(index, at, (self.start[source] + late) % self.mapping.ii, self.kept[source, at] + 1 - late)

    # ------------------------------------------------------------------ the document

    def document(self) -> Entry:
        cores = [core for pe in range(self.fabric.size) if (core := self._core(pe)) is not None]
        shape = {"columns": self.fabric.columns, "rows": self.fabric.rows}
        return {"array_config": {**shape, "compiled_ii": self.mapping.ii, "cores": cores}}

    def _core(self, pe: int) -> Entry | None:
        slots: dict[int, list[Entry]] = {}
        for cycle, entry in (*self._executed(pe), *self._taken(pe)):
            ii = self.mapping.ii
            timed = {"opcode": entry["opcode"], "time_step": cycle, "invalid_iterations": cycle // ii, **entry}
            slots.setdefault(cycle % ii, []).append(timed)
        if not slots:
            return None
        row, column = divmod(pe, self.fabric.columns)
        instructions = [{"index_per_ii": slot, "operations": slots[slot]} for slot in sorted(slots)]
        entries = [{"entry_id": "entry0", "instructions": instructions}]
        return {"column": column, "row": row, "core_id": str(pe), "entries": entries}

    def _executed(self, pe: int) -> Iterator[tuple[int, Entry]]:
        """The operations and MOVEs of a PE."""
        for placed in self.mapping.placed:
            if placed.pe == pe:
                node = self.mapping.dfg[placed.node]
                opcode = OPCODES[node.op] if node.memory is None else node.kind.upper()
                yield placed.cycle, _entry(opcode, self._sources(node), self._destinations(node.id))
        for move in self.mapping.moves:
            if move.pe == pe:
                found = [self._read(move.id, move.source, move.distance)]
                yield move.cycle, _entry("DATA_MOV", found, self._destinations(move.id))

    def _taken(self, pe: int) -> Iterator[tuple[int, Entry]]:
        """The values that a PE takes from a port into a register."""
        for source, at in self.kept:
            if at == pe != self.pe[source]:
                sent = [_direction(self.fabric, pe, self.pe[source])]
                yield self.start[source] + 1, _entry("DATA_MOV", sent, [f"${self.register[source, at]}"])

    def _destinations(self, name: Name) -> list[str]:
        here = self.pe[name]
        others = sorted({self.pe[use.reader] for use in self.uses if use.source == name} - {here})
        own = [f"${self.register[name, here]}"] if (name, here) in self.register else []
        return [*own, *(_direction(self.fabric, here, other) for other in others)]

    def _sources(self, node: Node) -> list[str]:
        fed = {e.operand: self._read(node.id, *self.via[e.src, e.dst, e.distance])
               for e in self.mapping.dfg.predecessors[node.id]}  # fmt: skip
        if node.op == "phi":
            return [self._constant(node), fed[0]]
        if node.memory is not None:
            return self._access(node, fed)
        host = dict(self.mapping.dfg.host_values)
        rest = iter([*(_immediate(host[number]) for number in node.host), self._constant(node)])
        return [fed[i] if i in fed else next(rest) for i in range(len(PRIMITIVES[node.op].operands))]

    def _constant(self, node: Node) -> str:
        """A float as it is, an integer with the base of its region."""
        return _immediate(node.constant if isinstance(node.constant, float) else self.constants[node.id])

    def _access(self, node: Node, fed: Mapping[int, str]) -> list[str]:
        """A load's address, or what a store writes and its address."""
        use = node.memory
        assert use is not None
        by_source = {e.src: fed[e.operand] for e in self.mapping.dfg.predecessors[node.id]}
        address = f"#{self.standing[node.id]}" if use.offset is None else by_source[use.offset]
        if node.kind == "load":
            return [address]
        return [self._constant(node) if use.data is None else by_source[use.data], address]

    def _read(self, reader: Name, source: Name, distance: int) -> str:
        """A port if the value comes from a neighbour just then, else a register."""
        here, there = self.pe[reader], self.pe[source]
        if here != there and self._span(reader, source, distance) == 1:
            return _direction(self.fabric, here, there)
        return f"${self.register[source, here]}"


def _immediate(value: float | int) -> str:
    """Floats as the shortest decimals that give their float32 back, integers as they are."""
    return f"#{np.float32(value)}" if isinstance(value, float) else f"#{value}"


def _entry(opcode: str, sources: list[str], destinations: list[str]) -> Entry:
    entry: Entry = {"opcode": opcode}
    for key, operands in (("src_operands", sources), ("dst_operands", destinations)):
        if operands:
            entry[key] = [{"operand": operand, "color": "RED"} for operand in operands]
    return entry


def _direction(fabric: Fabric, here: int, there: int) -> str:
    """In which direction neighbour `there` lies."""
    (row, column), (other_row, other_column) = divmod(here, fabric.columns), divmod(there, fabric.columns)
    up, right = other_row - row, other_column - column
    if abs(up) > 1 or abs(right) > 1 or abs(up) + abs(right) > REACH[fabric.topology]:
        raise NotExportable("a wrap-around link", f"PE {here} to PE {there}", "the array is a mesh: map it on one")
    return VERTICAL[up] + HORIZONTAL[right]
