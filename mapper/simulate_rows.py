"""Plays a kernel mapping on the row array cycle by cycle and compares every result with the loop body's own.

Operations are uninterpreted: the result of a node is a hash of its operation, its number, its host constants and its
inputs by role, so an operand that comes from a wrong register, or from another iteration, is a wrong result. A
self-update also takes its own result of the iteration before. Loads return a hash of region and address; the order of a
store and a load of one region is not modelled, as in the array's rules.

The clock: an iteration enters every 4 cycles and a row takes 8, so iteration k is in row r at cycle 4 k + 8 r, and
rows work on several iterations at once. Registers are double-buffered: row r + 1 reads what row r wrote for iteration k
when that iteration arrives, while row r is already two iterations ahead; an image per row and iteration says the
same. Values move only as the mapping says: a register takes the home result of its unit, or
what a register of the row before held for the same iteration.

Nothing here knows how mappings are made or checked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from mapper.dfg import Dfg
from mapper.placement import KernelMapping
from mapper.violation import Violation

__all__ = ["CYCLES_PER_ITERATION", "CYCLES_PER_ROW", "RowSimulation", "interpret_rows", "simulate_rows"]

CYCLES_PER_ITERATION = 4
CYCLES_PER_ROW = 8
COLUMNS = 4
LAST_ROW = 63
HOME = {"mop0": 0, "mop1": 1, "exe": 2}
SHOWN = 20

Cell = tuple[int, int]  # column, index
Results = dict[tuple[int, int], int]  # (node, iteration) -> value
ABSENT = -1


@dataclass(frozen=True, slots=True)
class RowSimulation:
    """What happened: cycles run, registers read and written, and every wrong result."""

    iterations: int
    cycles: int
    register_reads: int
    register_writes: int
    violations: tuple[Violation, ...]


def _hash(*parts: object) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def _host_value(host: int) -> int:
    return _hash("host", host)


def interpret_rows(dfg: Dfg, iterations: int) -> Results:
    """The result of every (node, iteration), from the loop body alone."""
    results: Results = {}
    for k in range(iterations):
        for i in dfg.order:
            inputs = {e.src: results[e.src, k] for e in dfg.predecessors[i] if e.distance == 0}
            results[i, k] = _result(dfg, i, inputs, [_host_value(h) for h in dfg[i].host], _before(dfg, i, k, results))
    return results


def _before(dfg: Dfg, i: int, k: int, results: Results) -> int:
    """A self-update's own result of the iteration before."""
    return results.get((i, k - 1), _hash("initial", i)) if dfg[i].self_update else 0


def _result(dfg: Dfg, i: int, inputs: Mapping[int, int], hosts: Sequence[int], before: int) -> int:
    node, use = dfg[i], dfg[i].memory
    if use is None:
        operands = [inputs[e.src] for e in dfg.predecessors[i] if e.distance == 0]
        return _hash(node.kind, node.op, node.stages, i, operands, list(hosts), before)
    address = [None if v is None else inputs[v] for v in (use.base, use.offset, use.predicate)]
    data = None if use.data is None else inputs[use.data]
    rest = sorted((src, v) for src, v in inputs.items() if src not in (use.base, use.offset, use.predicate, use.data))
    return _hash(node.kind, node.op, use.region, i, address, data, rest)


class _Array:
    """The array in motion. `image[row, k]` is what row `row`'s registers hold for iteration k."""

    def __init__(self, mapping: KernelMapping, iterations: int) -> None:
        self.mapping, self.dfg, self.iterations = mapping, mapping.dfg, iterations
        self.seat = {p.node: (p.cycle, p.pe % COLUMNS, p.slot) for p in mapping.placed}
        self.rows: dict[int, list[int]] = defaultdict(list)
        for p in sorted(mapping.placed, key=lambda p: (p.cycle, p.pe, p.slot)):
            self.rows[p.cycle].append(p.node)
        self.writes: dict[int, list[tuple[str, Cell]]] = defaultdict(list)
        for use in mapping.registers:
            self.writes[use.row].append((use.value, (use.column, use.index)))
        self.results: Results = {}
        self.image: dict[tuple[int, int], dict[Cell, int]] = {}
        self.label: dict[int, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
        for use in mapping.registers:
            self.label[use.row][use.value].append((use.column, use.index))
        self.reads = self.written = 0

    def run(self) -> None:
        """Row r starts iteration k at cycle 4 k + 8 r."""
        last = max(self.rows, default=0)
        self._load_constants()
        events: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row in range(last + 1):
            for k in range(self.iterations):
                events[CYCLES_PER_ITERATION * k + CYCLES_PER_ROW * row].append((row, k))
        for cycle in sorted(events):
            for row, k in events[cycle]:
                self._step(row, k)

    def _load_constants(self) -> None:
        """Host constants are written before the launch and stay."""
        self.constants: dict[int, dict[Cell, int]] = defaultdict(dict)
        for row, written in self.writes.items():
            for value, cell in written:
                if value.startswith("h"):
                    self.constants[row][cell] = _host_value(int(value[1:]))

    def _step(self, row: int, k: int) -> None:
        """Loads first, then what passes through, then folded units and the rest; results go to their homes."""
        above = self.image.get((row - 1, k), {}) if row else dict(self.constants[LAST_ROW])
        here = dict(self.constants[row])
        nodes = self.rows[row]
        for i in self._in_order(row, nodes):
            if self._is_folded(i):
                continue
            self._execute(i, k, above, row - 1 if row else LAST_ROW)
        self._fill(row, k, above, here)
        for i in self._in_order(row, nodes):
            if self._is_folded(i):
                self._execute(i, k, here, row)
        self.image[row, k] = here

    def _in_order(self, row: int, nodes: Sequence[int]) -> list[int]:
        """Slots in the order of a unit's stages: conditions, loads, exes, then stores."""
        rank = {"cex": 0, "load": 1, "exe": 2, "store": 3}
        return sorted(nodes, key=lambda i: rank[self.dfg[i].kind])

    def _is_folded(self, i: int) -> bool:
        row, column, slot = self.seat[i]
        return slot != "mop1" and (row, column) in self.mapping.folded

    def _execute(self, i: int, k: int, registers: Mapping[Cell, int], row: int) -> None:
        inputs = {e.src: self._operand(i, e.src, k, registers, row) for e in self.dfg.predecessors[i] if not e.distance}
        hosts = [self._read(f"h{h}", registers, row) for h in self.dfg[i].host]
        self.results[i, k] = _result(self.dfg, i, inputs, hosts, _before(self.dfg, i, k, self.results))

    def _operand(self, i: int, source: int, k: int, registers: Mapping[Cell, int], row: int) -> int:
        """By wire inside the unit (condition, data from the exe), else from a register."""
        same_unit = self.seat[source][:2] == self.seat[i][:2]
        use = self.dfg[i].memory
        wired = self.dfg[source].kind == "cex" or (
            self.dfg[source].kind == "exe"
            and use is not None
            and use.data == source
            and source not in (use.base, use.offset)
        )
        if same_unit and wired:
            return self.results.get((source, k), ABSENT)
        return self._read(str(source), registers, row)

    def _read(self, value: str, registers: Mapping[Cell, int], row: int) -> int:
        self.reads += 1
        cells = self.label[row].get(value, [])
        return registers.get(cells[0], ABSENT) if cells else ABSENT

    def _fill(self, row: int, k: int, above: Mapping[Cell, int], here: dict[Cell, int]) -> None:
        """Registers of the row: home results of its units, and values that pass from the row before."""
        for value, cell in self.writes[row]:
            if value.startswith("h"):
                continue
            self.written += 1
            node = int(value)
            placed_row, column, slot = self.seat[node]
            at_home = placed_row == row and cell == (column, HOME[slot])
            if at_home and not (self._is_folded(node)):
                here[cell] = self.results.get((node, k), ABSENT)
            else:
                held = self.label[row - 1].get(value, [])
                here[cell] = above.get(held[0], ABSENT) if held else ABSENT


def simulate_rows(mapping: KernelMapping, iterations: int = 4) -> RowSimulation:
    """Run `iterations` iterations and compare with :func:`interpret_rows`."""
    array = _Array(mapping, iterations)
    array.run()
    expected = interpret_rows(mapping.dfg, iterations)
    wrong = [
        Violation("value", f"node {i} in iteration {k}", f"{array.results.get((i, k), ABSENT):x}", f"{value:x}")
        for (i, k), value in sorted(expected.items())
        if i in array.seat and array.results.get((i, k)) != value
    ]
    last = max(array.rows, default=0)
    cycles = CYCLES_PER_ITERATION * iterations + CYCLES_PER_ROW * (last + 1)
    return RowSimulation(iterations, cycles, array.reads, array.written, tuple(wrong[:SHOWN]))
