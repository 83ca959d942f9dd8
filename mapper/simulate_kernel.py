"""Plays a mapped loop body cycle by cycle and compares every value with a reference interpretation of the body.

Operations are uninterpreted: the result of node v in iteration k is a hash of its operation, its number and its inputs,
each tagged with the edge it came over; so a value that took a wrong way, or came from a wrong iteration, is a wrong
value. Values of iterations before the first (initial values of recurrences) are given. The machine has one output
register and a register file per PE; an operation reads in its first cycle and writes at the end of its last. Prologue,
kernel and epilogue are what comes of starting iteration k at cycle k * II and running a given number of iterations.

Nothing here knows how mappings are made or checked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b

from mapper.dfg import Dfg, Edge
from mapper.machine import Fabric
from mapper.placement import KernelMapping
from mapper.violation import Violation

__all__ = ["KernelSimulation", "interpret_body", "simulate_kernel"]

Value = int
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class KernelSimulation:
    """What happened: cycles run, reads by place, MOVEs executed, and every wrong value."""

    iterations: int
    stages: int
    cycles: int
    output_reads: int
    register_reads: int
    moves: int
    violations: tuple[Violation, ...]


def _hash(*parts: object) -> Value:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def _result(dfg: Dfg, node: int, inputs: list[tuple[Edge, Value]]) -> Value:
    return _hash("result", dfg[node].op, node, [(e.src, e.distance, e.operand, value) for e, value in inputs])


def _initial(node: int, iteration: int) -> Value:
    return _hash("initial", node, iteration)


def interpret_body(dfg: Dfg, iterations: int) -> dict[tuple[int, int], Value]:
    """The value of every (node, iteration), node by node in dependence order."""
    values: dict[tuple[int, int], Value] = {}
    for iteration in range(iterations):
        for node in dfg.order:
            inputs = []
            for edge in dfg.predecessors[node]:
                source = edge.src, iteration - edge.distance
                inputs.append((edge, values[source] if source[1] >= 0 else _initial(*source)))
            values[node, iteration] = _result(dfg, node, inputs)
    return values


@dataclass(frozen=True, slots=True)
class _Read:
    """Take `value` (a node number or MOVE id as text) for `edge`, or for a MOVE (edge None)."""

    value: str
    edge: Edge | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """An operation of the kernel: a node, or a MOVE (node None)."""

    name: str
    node: int | None
    pe: int
    cycle: int
    latency: int
    reads: tuple[_Read, ...]


def _steps(mapping: KernelMapping, fabric: Fabric) -> tuple[_Step, ...]:
    paths = {(p.src, p.dst, p.distance): p for p in mapping.paths}
    steps = [_Step(m.id, None, m.pe, m.cycle, 1, (_Read(str(m.source)),)) for m in mapping.moves]
    for placed in mapping.placed:
        reads = []
        for edge in mapping.dfg.predecessors[placed.node]:
            path = paths.get((edge.src, edge.dst, edge.distance))
            reads.append(_Read(path.via[-1] if path and path.via else str(edge.src), edge))
        latency = fabric.latency_cycles(placed.pe, mapping.dfg[placed.node].op)
        steps.append(_Step(str(placed.node), placed.node, placed.pe, placed.cycle, latency, tuple(reads)))
    return tuple(sorted(steps, key=lambda step: step.cycle))


class _Array:
    """Output registers and register files, and the writes that are under way."""

    def __init__(self, mapping: KernelMapping, fabric: Fabric) -> None:
        self.output: dict[int, Value] = {}
        self.file: dict[tuple[int, int], Value] = {}
        self.register = {use.value: (use.row * fabric.columns + use.column, use.index) for use in mapping.registers}
        self.fabric = fabric
        self.due: dict[int, list[tuple[str, int, Value]]] = defaultdict(list)
        self.output_reads = self.register_reads = 0

    def settle(self, cycle: int) -> list[Violation]:
        """Writes that end before `cycle` become readable; two on one PE clash."""
        clashes, written = [], dict[int, str]()
        for name, pe, value in self.due.pop(cycle, ()):
            if pe in written:
                clashes.append(Violation("write", f"PE {pe} cycle {cycle}", f"{written[pe]} and {name}", "one write"))
            written[pe] = name
            self.output[pe] = value
            if name in self.register:
                self.file[self.register[name]] = value
        return clashes

    def read(self, name: str, source_pe: int, reader_pe: int) -> Value:
        """From the register of the value if it has one and the reader is at home; else from the output register."""
        place = self.register.get(name)
        if source_pe == reader_pe and place is not None and place[0] == reader_pe:
            self.register_reads += 1
            return self.file.get(place, 0)
        self.output_reads += 1
        reaches = source_pe == reader_pe or reader_pe in self.fabric.neighbours[source_pe]
        return self.output.get(source_pe, 0) if reaches else 0


def simulate_kernel(mapping: KernelMapping, fabric: Fabric, iterations: int | None = None) -> KernelSimulation:
    """Run `iterations` (default: three times the stages) and compare every node's value in every iteration."""
    steps, dfg, ii = _steps(mapping, fabric), mapping.dfg, mapping.ii
    stages = -(-mapping.length_cycles // ii)
    count = iterations if iterations is not None else max(3 * stages, 3)
    expected = interpret_body(dfg, count)
    before = max((edge.distance for edge in dfg.edges), default=0)
    starts: dict[int, list[tuple[_Step, int]]] = defaultdict(list)
    for step in steps:
        for iteration in range(-before, count):
            starts[step.cycle + iteration * ii].append((step, iteration))
    array, pe_of = _Array(mapping, fabric), {step.name: step.pe for step in steps}
    wrong: list[Violation] = []
    executed = 0
    first, last = min(starts, default=0), max(starts, default=-1)
    for cycle in range(first, last + 1):
        wrong += array.settle(cycle)
        for step, iteration in starts.get(cycle, ()):
            inputs = [array.read(read.value, pe_of[read.value], step.pe) for read in step.reads]
            value = _executed(dfg, step, iteration, inputs)
            executed += step.node is None
            array.due[cycle + step.latency].append((step.name, step.pe, value))
            if step.node is not None and iteration >= 0 and value != expected[step.node, iteration]:
                subject = f"node {step.node} iteration {iteration} cycle {cycle}"
                wrong.append(Violation("value", subject, f"{value:016x}", f"{expected[step.node, iteration]:016x}"))
    return KernelSimulation(
        count, stages, last + 1 - first, array.output_reads, array.register_reads, executed, tuple(wrong[:_SHOWN])
    )


def _executed(dfg: Dfg, step: _Step, iteration: int, inputs: list[Value]) -> Value:
    """A MOVE copies; a node before the first iteration yields its initial value; otherwise the hash of its inputs."""
    if step.node is None:
        return inputs[0]
    if iteration < 0:
        return _initial(step.node, iteration)
    edges = [read.edge for read in step.reads if read.edge is not None]
    return _result(dfg, step.node, list(zip(edges, inputs, strict=True)))
