"""A schedule for any body, soon: list scheduling on a modulo table, with routes searched operand by operand.

The exact search answers best on bodies that it can close; on large ones it may end with nothing. This scheduler gives
it an answer to improve. At one II operations are placed in the order of their height, or, so that fewer values wait at
a time, each soon after what it needs; each at the earliest cycle and on the PE nearest to its operands at which

* its slot is free, and nobody waits there for an output register that must not be overwritten;
* every operand can be read: directly, or through a chain of MOVEs found depth first, nearest PE first;
* what it gives to operations that already stand (values of earlier iterations) can reach them;
* values that wait on their own PE still fit its registers; a careful attempt counts those among them that nobody
  reads so far.

If some operation finds no place, the search jumps back: the operand or reader placed last gives up its place, and what
came after it is placed again. After a number of jumps a larger II is tried: it leaves more free slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import product
from math import ceil, isqrt
from typing import Any

from mapper.dfg import Dfg
from mapper.machine import Fabric

from .formulation import Schedule
from .problem import Operation, Problem, Read, direct_problem, routed_problem
from .registers import Life, colouring

__all__ = ["listed"]

PLACES = 400  # (cycle, PE) pairs looked at for an operation, earliest cycles first
NEAR = 24  # PEs looked at for an operation
TIMES = 5  # cycles tried for a MOVE on one PE
STEPS = 160  # MOVEs tried for one route
COLOURING = 100  # steps of a search for registers
JUMPS = 40  # back to an operation that stands in the way, in one attempt
PATIENCE, OFTEN = 3, 9  # places of an operation given up before others move first, before those that feed it move
WORK = 6000  # operations and MOVEs tried in one attempt
GROWTH = 1.12  # of II from one attempt to the next
LAST = 16  # IIs tried before giving up


@dataclass(frozen=True, slots=True)
class Copy:
    """Where a value was written: by its node, or by a MOVE of it (`source` names the copy that the MOVE read)."""

    value: int
    pe: int
    cycle: int
    latency: int
    source: int | None = None


@dataclass
class Table:
    """A partial schedule at one II: who executes where, what must stay unwritten, and what waits in registers."""

    problem: Problem
    ii: int
    moves: bool
    inside: frozenset[int]
    careful: bool
    copies: list[Copy] = field(default_factory=list)
    busy: dict[tuple[int, int], int] = field(default_factory=dict)
    held: dict[tuple[int, int], int] = field(default_factory=dict)
    waits: dict[int, int] = field(default_factory=dict)  # copy -> cycles until its last read on its own PE
    unread: dict[int, int] = field(default_factory=dict)  # copy of a node -> readers without a place
    ports: dict[tuple[int, int], int] = field(default_factory=dict)
    reads: dict[tuple[int, int, int], int] = field(default_factory=dict)  # (source, reader, distance) -> copy
    work: int = 0  # operations and MOVEs tried
    journal: list[Callable[[], object]] = field(default_factory=list)
    on_pe: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    of_value: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    @cached_property
    def group_of(self) -> dict[int, int]:
        """The group of memory ports of each PE."""
        return {pe: number for number, group in enumerate(self.problem.fabric.port_groups) for pe in group}

    def undo(self, mark: int) -> None:
        """Back to what was when the journal had `mark` entries."""
        while len(self.journal) > mark:
            self.journal.pop()()

    def _set(self, table: dict[Any, int], key: Any, value: int) -> None:
        before = table.get(key)
        table[key] = value
        self.journal.append(lambda: table.pop(key) if before is None else table.__setitem__(key, before))

    def load(self, pe: int) -> int:
        """Slots that are taken on a PE."""
        return sum(self.copies[number].latency for number in self.on_pe[pe])

    # ---------------------------------------------------------------- executing

    def execute(self, copy: Copy, memory: bool) -> int | None:
        """Put an operation into its slots; its number, None if they are taken or registers overflow."""
        self.work += 1
        slots = [(copy.pe, (copy.cycle + step) % self.ii) for step in range(copy.latency)]
        if copy.latency > self.ii or any(slot in self.busy or self.held.get(slot) for slot in slots):
            return None
        number, mark = len(self.copies), len(self.journal)
        self._append(copy)
        for slot in slots:
            self._set(self.busy, slot, number)
        self._keep_unread(copy)
        if (memory and not self._take_port(copy)) or not self._registers_fit(copy.pe):
            self.undo(mark)
            return None
        return number

    def _append(self, copy: Copy) -> None:
        for numbers in (self.on_pe[copy.pe], self.of_value[copy.value]):
            numbers.append(len(self.copies))
            self.journal.append(numbers.pop)
        self.copies.append(copy)
        self.journal.append(self.copies.pop)

    def _keep_unread(self, copy: Copy) -> None:
        """What is still to be read must outlast an operation that writes the output register after it."""
        for number in self.on_pe[copy.pe] if self.careful else ():
            span = min(copy.cycle - self.copies[number].cycle, self.ii)
            if self.unread.get(number) and span > self.waits.get(number, 0):
                self._set(self.waits, number, span)

    def _take_port(self, copy: Copy) -> bool:
        ports = self.problem.fabric.memory_ports
        if ports is None:
            return True
        key = (self.group_of[copy.pe], copy.cycle % self.ii)
        self._set(self.ports, key, self.ports.get(key, 0) + 1)
        return self.ports[key] <= ports.count

    # ---------------------------------------------------------------- reading

    def read(self, number: int, pe: int, cycle: int) -> bool:
        """Let PE `pe` read copy `number` at `cycle` (counted in the iteration of the value), if that can be."""
        copy = self.copies[number]
        span = cycle - copy.cycle
        if not copy.latency <= span <= self.ii:
            return False
        if pe == copy.pe:
            return self._wait(number, span)
        if pe not in self.problem.fabric.neighbours[copy.pe]:
            return False
        slots = [(copy.pe, (copy.cycle + step) % self.ii) for step in range(copy.latency, span)]
        if any(slot in self.busy for slot in slots):
            return False
        for slot in slots:
            self._set(self.held, slot, self.held.get(slot, 0) + 1)
        return True

    def _wait(self, number: int, span: int) -> bool:
        mark = len(self.journal)
        self._set(self.waits, number, max(span, self.waits.get(number, 0)))
        if self._registers_fit(self.copies[number].pe):
            return True
        self.undo(mark)
        return False

    def _registers_fit(self, pe: int) -> bool:
        """Values that outlive the output register are arcs on the circle of slots; the registers must colour them."""
        arcs = [self._life(number) for number in self.on_pe[pe] if number in self.waits]
        needed = [arc for arc in arcs if arc is not None]
        registers = self.problem.fabric.registers
        return len(needed) <= registers or colouring(needed, self.ii, registers, COLOURING) is not None

    def _life(self, number: int) -> Life | None:
        copy, span = self.copies[number], self.waits[number]
        between = range(copy.latency, span)
        if not any(self.busy.get((copy.pe, (copy.cycle + step) % self.ii), number) != number for step in between):
            return None
        return Life(number, copy.pe, (copy.cycle + copy.latency) % self.ii, span - copy.latency + 1)

    # ---------------------------------------------------------------- routing

    def route(self, value: int, pe: int, cycle: int, far: Sequence[Sequence[int]]) -> int | None:
        """The copy of `value` that PE `pe` reads at `cycle`, with MOVEs placed for it; None without a trace."""
        known = sorted(self.of_value[value], key=lambda n: (far[self.copies[n].pe][pe], -self.copies[n].cycle))
        for number in known:
            if self.read(number, pe, cycle):
                return number
        if not self.moves:
            return None
        steps = [STEPS]
        for number in known:
            copy = self.copies[number]
            most = far[copy.pe][pe] + 1 + (cycle - copy.cycle) // self.ii
            found = self._moved(number, pe, cycle, far, most, steps)
            if found is not None:
                return found
        return None

    def _moved(
        self, number: int, pe: int, cycle: int, far: Sequence[Sequence[int]], left: int, steps: list[int]
    ) -> int | None:
        """Copy the value on, at most `left` times, until PE `pe` can read it: each copy lives up to II cycles."""
        copy = self.copies[number]
        reach = [p for p in (copy.pe, *self.problem.fabric.neighbours[copy.pe]) if p in self.inside]
        for there in sorted(reach, key=lambda other: (far[other][pe], other)):
            if far[there][pe] > left:
                continue
            for when in self._cycles(copy, there, cycle, far[there][pe]):
                if cycle - when > left * self.ii:
                    continue
                if steps[0] <= 0:
                    return None
                steps[0] -= 1
                mark = len(self.journal)
                moved = self.execute(Copy(copy.value, there, when, 1, number), False)
                if moved is not None and self.read(number, there, when):
                    if self.read(moved, pe, cycle):
                        return moved
                    further = self._moved(moved, pe, cycle, far, left - 1, steps) if left > 1 else None
                    if further is not None:
                        return further
                self.undo(mark)
        return None

    def _cycles(self, copy: Copy, there: int, cycle: int, distance: int) -> Iterator[int]:
        """Cycles at which a MOVE may run: on the value's own PE late, so that it stays in its register; on others
        early and late."""
        first, last = copy.cycle + copy.latency, min(copy.cycle + self.ii, cycle - max(distance, 1))
        free = [when for when in range(first, last + 1) if (there, when % self.ii) not in self.busy]
        late = free[-TIMES:][::-1]
        yield from late if there == copy.pe else dict.fromkeys([*free[:TIMES], *late])


@dataclass(frozen=True)
class _Order:
    """What the placement of a body needs to know about it."""

    problem: Problem

    @cached_property
    def reads_of(self) -> list[list[Read]]:
        """What each operation reads and who reads it."""
        found: list[list[Read]] = [[] for _ in self.problem.operations]
        for read in self.problem.reads:
            for number in {read.reader, read.sources[0]}:
                found[number].append(read)
        return found

    @cached_property
    def height(self) -> list[int]:
        """Longest way from each operation to the end of the iteration, in cycles."""
        found = [0] * len(self.problem.operations)
        for number in reversed(self.topological):
            after = [found[r.reader] for r in self.reads_of[number] if r.sources[0] == number and r.distance == 0]
            found[number] = self.problem.operations[number].least_latency_cycles + max(after, default=0)
        return found

    @cached_property
    def by_height(self) -> list[int]:
        """Rank of each operation, longest way to the end first."""
        return _ranks(sorted(self.topological, key=lambda n: (-self.height[n], n)))

    @cached_property
    def by_need(self) -> list[int]:
        """Rank in a walk that finishes what one operation needs before it turns to the next."""
        needs: dict[int, list[int]] = {n: [] for n in self.topological}
        for read in self.problem.reads:
            if read.distance == 0:
                needs[read.reader].append(read.sources[0])
        found: dict[int, None] = {}
        for end in sorted(self.topological, key=lambda n: (self.height[n], -n)):
            stack = [end]
            while stack:
                missing = sorted((s for s in needs[stack[-1]] if s not in found), key=lambda n: (-self.height[n], n))
                if missing:
                    stack.append(missing[0])
                else:
                    found.setdefault(stack.pop())
        return _ranks(list(found))

    @cached_property
    def topological(self) -> list[int]:
        index = {node.id: number for number, node in enumerate(self.problem.dfg.nodes)}
        return [index[node] for node in self.problem.dfg.order]

    @cached_property
    def far(self) -> list[list[int]]:
        """Links from PE to PE."""
        fabric = self.problem.fabric
        return [_distances(fabric, pe) for pe in range(fabric.size)]


def _ranks(order: Sequence[int]) -> list[int]:
    found = [0] * len(order)
    for position, number in enumerate(order):
        found[number] = position
    return found


def _distances(fabric: Fabric, start: int) -> list[int]:
    found = [fabric.size] * fabric.size
    found[start], front = 0, [start]
    while front:
        front = [n for pe in front for n in fabric.neighbours[pe] if _closer(found, n, found[pe] + 1)]
    return found


def _closer(found: list[int], pe: int, distance: int) -> bool:
    if distance >= found[pe]:
        return False
    found[pe] = distance
    return True


def listed(dfg: Dfg, fabric: Fabric, low: int, high: int, moves: bool) -> tuple[Problem, Schedule] | None:
    """The first schedule found at an II of `low` … `high`, climbing; None if there is none."""
    direct = direct_problem(dfg, fabric)
    order = _Order(direct)
    for ii in _climbing(low, high):
        for area in _areas(fabric, direct, ii):
            for rank, careful in product((order.by_height, order.by_need), (True, False)):
                table = Table(direct, ii, moves, area, careful)
                if _Placing(table, order, _sequence(order, rank)).run():
                    return _finished(dfg, fabric, table)
    return None


def _climbing(low: int, high: int) -> Iterator[int]:
    """IIs from `low` to `high` in growing steps."""
    ii = low
    for _ in range(LAST):
        if ii <= high:
            yield ii
        ii = max(ii + 1, ceil(ii * GROWTH))


def _areas(fabric: Fabric, problem: Problem, ii: int) -> Iterator[frozenset[int]]:
    """The whole fabric, and on large ones corners in which the body fills half and a quarter of the slots."""
    alive = frozenset(pe for pe in range(fabric.size) if divmod(pe, fabric.columns) not in fabric.dead)
    yield alive
    for slack in (2, 4):
        side = max(3, isqrt(slack * len(problem.operations) // ii) + 1)
        if side < max(fabric.rows, fabric.columns) and fabric.size > side * side:
            corner = frozenset(pe for pe in alive if pe // fabric.columns < side and pe % fabric.columns < side)
            if all(corner.intersection(operation.pes) for operation in problem.operations):
                yield corner


def _sequence(order: _Order, rank: Sequence[int]) -> list[int]:
    """Every operation in its turn, of those whose operands have had theirs the one of least rank."""
    waiting = {n: sum(r.reader == n and r.distance == 0 for r in order.reads_of[n]) for n in order.topological}
    ready = [(rank[n], n) for n, count in waiting.items() if not count]
    heapify(ready)
    found: list[int] = []
    while ready:
        number = heappop(ready)[1]
        found.append(number)
        for read in order.reads_of[number]:
            if read.sources[0] == number and read.distance == 0:
                waiting[read.reader] -= 1
                if not waiting[read.reader]:
                    heappush(ready, (rank[read.reader], read.reader))
    return found


@dataclass
class _Placing:
    """The operations of `sequence` into `table`, one by one, with jumps back to what stands in the way."""

    table: Table
    order: _Order
    sequence: Sequence[int]
    where: dict[int, int] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)
    banned: dict[int, set[tuple[int, int]]] = field(default_factory=dict)  # places given up, as (PE, cycle)

    @cached_property
    def position(self) -> dict[int, int]:
        """Turn of each operation."""
        return {number: turn for turn, number in enumerate(self.sequence)}

    def run(self) -> bool:
        """Is every operation placed? No, where an operation has no place and the jumps or the work are used up."""
        jumps = JUMPS
        while len(self.marks) < len(self.sequence):
            number, mark = self.sequence[len(self.marks)], len(self.table.journal)
            copy = self._place(number)
            if copy is not None:
                self.where[number] = copy
                self.marks.append(mark)
                continue
            culprit = self._culprit(number)
            jumps -= 1
            if culprit is None or jumps < 0 or self.table.work > WORK:
                return False
            self._back_to(culprit)
        return True

    def _culprit(self, number: int) -> int | None:
        """The partner that is to move: seldom moved so far, placed last; partners of partners when all moved often."""
        near = self._partners(number)
        if all(len(self.banned.get(n, ())) >= OFTEN for n in near):
            near = {far for n in near for far in self._partners(n)}
        return min(near, key=lambda n: (len(self.banned.get(n, ())) // PATIENCE, -self.position[n]), default=None)

    def _partners(self, number: int) -> set[int]:
        ends = {end for read in self.order.reads_of[number] for end in (read.reader, read.sources[0])}
        return {end for end in ends if end in self.where and end != number}

    def _back_to(self, culprit: int) -> None:
        """Undo everything from its turn on; it shall not stand there again until an earlier operation moves."""
        turn, copy = self.position[culprit], self.table.copies[self.where[culprit]]
        self.table.undo(self.marks[turn])
        for number in self.sequence[turn : len(self.marks)]:
            del self.where[number]
            if number != culprit:
                self.banned.pop(number, None)
        del self.marks[turn:]
        self.banned.setdefault(culprit, set()).add((copy.pe, copy.cycle))

    def _place(self, number: int) -> int | None:
        """The earliest cycle, nearest PE first."""
        table, order, where = self.table, self.order, self.where
        takes = [r for r in order.reads_of[number] if r.reader == number and r.sources[0] in where]
        gives = [r for r in order.reads_of[number] if r.sources[0] == number and r.reader in where]
        copies = [(table.copies[where[r.sources[0]]], r.distance) for r in takes]
        ends = [copy.pe for copy, _ in copies] + [table.copies[where[r.reader]].pe for r in gives]
        first = max([0, *(copy.cycle + copy.latency - distance * table.ii for copy, distance in copies)])
        near, banned = _near(table, order, number, ends), self.banned.get(number, ())
        cycles = range(first, first + min(table.ii, max(1, PLACES // len(near))))
        for cycle, pe in ((cycle, pe) for cycle in cycles for pe in near if (pe, cycle) not in banned):
            start = Copy(number, pe, cycle, _latency(order.problem.operations[number], pe))
            copy = _settle(table, order, number, start, where)
            if copy is not None:
                return copy
        return None


def _near(table: Table, order: _Order, number: int, ends: Sequence[int]) -> list[int]:
    """PEs that run the operation, those closest to where its values come from and go to first, idle ones before."""
    pes = table.inside.intersection(order.problem.operations[number].pes)
    return sorted(pes, key=lambda pe: (sum(order.far[end][pe] for end in ends), table.load(pe), pe))[:NEAR]


def _latency(operation: Operation, pe: int) -> int:
    return operation.latency_cycles[operation.pes.index(pe)]


def _settle(table: Table, order: _Order, number: int, copy: Copy, where: dict[int, int]) -> int | None:
    """Execute there, with every operand and every reader that already stands; None without a trace."""
    mark = len(table.journal)
    found = table.execute(copy, order.problem.operations[number].memory)
    if found is None:
        return None
    for read in order.reads_of[number]:
        source, reader = read.sources[0], read.reader
        if reader == number and (source in where or source == number):
            taken = table.route(source, copy.pe, copy.cycle + read.distance * table.ii, order.far)
        elif source == number and reader in where:
            other = table.copies[where[reader]]
            taken = table.route(number, other.pe, other.cycle + read.distance * table.ii, order.far)
        else:
            continue
        if taken is None:
            table.undo(mark)
            return None
        table._set(table.reads, (source, reader, read.distance), taken)
        if reader == number and source in where:
            table._set(table.unread, where[source], table.unread[where[source]] - 1)
    readers = sum(r.reader not in where and r.reader != number for r in order.reads_of[number])
    table._set(table.unread, found, readers)
    return found


def _finished(dfg: Dfg, fabric: Fabric, table: Table) -> tuple[Problem, Schedule]:
    """The table as a schedule of the routed problem with just the MOVEs that were made."""
    nodes = len(dfg.nodes)
    made: dict[int, list[int]] = {}
    for number, copy in enumerate(table.copies):
        if copy.source is not None:
            made.setdefault(copy.value, []).append(number)
    problem = routed_problem(dfg, fabric, {dfg.nodes[value].id: len(own) for value, own in made.items()})
    index = {number: copy.value for number, copy in enumerate(table.copies) if copy.source is None}
    flat = [number for value in range(nodes) for number in made.get(value, ())]
    index |= {number: nodes + at for at, number in enumerate(flat)}
    at = {position: table.copies[number] for number, position in index.items()}
    source = []
    for read in problem.reads:
        if read.edge is None:
            source.append(index[_source_of(table, flat[read.reader - nodes])])
        else:
            source.append(index[table.reads[read.sources[0], read.reader, read.distance]])
    size = range(len(problem.operations))
    return problem, Schedule(table.ii, tuple(at[i].cycle for i in size), tuple(at[i].pe for i in size), tuple(source))


def _source_of(table: Table, number: int) -> int:
    source = table.copies[number].source
    assert source is not None
    return source
