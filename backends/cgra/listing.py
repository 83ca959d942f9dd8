"""A schedule for any body, soon: list scheduling on a modulo table, with routes searched operand by operand.

The exact search answers best on bodies that it can close; on large ones it may end with nothing. This scheduler gives
it an answer to improve. At one II the operations are placed one by one, in one of several orders (see `orders`), each
near its operands and readers in time, and on the PE nearest to them, at which

* its slot is free, and nobody waits there for an output register that must not be overwritten;
* every operand can be read: directly, or through a chain of MOVEs found depth first, nearest PE first;
* what it gives to operations that already stand can reach them;
* values that wait on their own PE still fit its registers; a careful attempt counts those among them that nobody
  reads so far.

If some operation finds no place, the search jumps back: the operand or reader placed last gives up its place, and what
came after it is placed again. After a number of jumps the next way of placing is tried, then a larger II: it leaves
more free slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import isqrt

from mapper.dfg import Dfg
from mapper.machine import Fabric

from .formulation import Schedule
from .orders import Body, Order
from .problem import Operation, Problem, Read, direct_problem, routed_problem
from .table import Copy, Table

__all__ = ["listed"]

PLACES = 400  # (cycle, PE) pairs looked at for an operation, earliest cycles first
NEAR = 24  # PEs looked at for an operation
JUMPS = 12  # back to an operation that stands in the way, in one attempt
PATIENCE, OFTEN = 3, 9  # places of an operation given up before others move first, before those that feed it move
WORK = 3000  # operations and MOVEs tried in one attempt
MOST_WORK = 400_000  # about three seconds: then corners are not tried any more, and II grows by a fifth
HOPELESS = 0.75  # where less of the body than this was placed on the whole fabric, corners are not tried
LAST = 40  # IIs above twice the lowest at which it gives up
NEARLY, STRIDE = 0.85, 5  # where less of the body than this was placed, II grows by a fifth at once
SPREAD = 4.0  # links that a PE without a free slot counts as further away


@dataclass(frozen=True, slots=True)
class Way:
    """How to place: in which order, `careful` with registers, and how many links further a full PE counts as."""

    order: str
    careful: bool
    spread: float


WAYS = (
    Way("swing", True, SPREAD), Way("swing", True, 0.0), Way("swing", False, SPREAD), Way("by_height", True, SPREAD),
    Way("by_height", False, 0.0), Way("by_need", True, 0.0), Way("by_need", False, SPREAD),
)  # fmt: skip


def listed(dfg: Dfg, fabric: Fabric, low: int, high: int, moves: bool) -> tuple[Problem, Schedule] | None:
    """The first schedule found at an II of `low` … `high`, climbing; None if there is none."""
    body = Body(direct_problem(dfg, fabric))
    ii, work = low, 0
    while ii <= min(high, 2 * low + LAST):
        farthest = 0
        for turn, (area, way) in enumerate(product(_areas(fabric, body.problem, ii), WAYS)):
            if turn == len(WAYS) and (farthest < HOPELESS * len(dfg.nodes) or work > MOST_WORK):
                break
            table = Table(body.problem, ii, moves, area, way.careful)
            placing = _Placing(table, body, getattr(body, way.order), way.spread)
            if placing.run():
                return _finished(dfg, fabric, table)
            work += table.work
            farthest = max(farthest, placing.farthest)
        near = farthest >= NEARLY * len(dfg.nodes) and work < MOST_WORK
        ii += 1 if near else max(1, ii // STRIDE)
    return None


def _areas(fabric: Fabric, problem: Problem, ii: int) -> Iterator[frozenset[int]]:
    """The whole fabric, and on large ones corners in which the body fills a half to a quarter of the slots."""
    alive = frozenset(pe for pe in range(fabric.size) if divmod(pe, fabric.columns) not in fabric.dead)
    yield alive
    for slack in (2, 3, 4):
        side = max(3, isqrt(slack * len(problem.operations) // ii) + 1)
        if side < max(fabric.rows, fabric.columns) and fabric.size > side * side:
            corner = frozenset(pe for pe in alive if pe // fabric.columns < side and pe % fabric.columns < side)
            if all(corner.intersection(operation.pes) for operation in problem.operations):
                yield corner


@dataclass
class _Placing:
    """The operations into `table`, one by one, with jumps back to what stands in the way."""

    table: Table
    body: Body
    order: Order
    spread: float
    where: dict[int, int] = field(default_factory=dict)
    marks: list[int] = field(default_factory=list)
    banned: dict[int, set[tuple[int, int]]] = field(default_factory=dict)  # places given up, as (PE, cycle)
    farthest: int = 0  # most operations that stood at a time

    @cached_property
    def position(self) -> dict[int, int]:
        """Turn of each operation."""
        return {number: turn for turn, number in enumerate(self.order.sequence)}

    @cached_property
    def remote(self) -> dict[int, int]:
        """How far each PE is from all others: 0 in the middle of a mesh, at the borders of which links are missing."""
        sums = {pe: sum(self.body.far[pe][other] for other in self.table.inside) for pe in self.table.inside}
        return {pe: total - min(sums.values()) for pe, total in sums.items()}

    def run(self) -> bool:
        """Is every operation placed? No, where an operation has no place and the jumps or the work are used up."""
        jumps = JUMPS
        while len(self.marks) < len(self.order.sequence):
            number, mark = self.order.sequence[len(self.marks)], len(self.table.journal)
            copy = self._place(number)
            if copy is not None:
                self.where[number] = copy
                self.marks.append(mark)
                self.farthest = max(self.farthest, len(self.marks))
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
        ends = {end for read in self.body.reads_of[number] for end in (read.reader, read.sources[0])}
        return {end for end in ends if end in self.where and end != number}

    def _back_to(self, culprit: int) -> None:
        """Undo everything from its turn on; it shall not stand there again until an earlier operation moves."""
        turn, copy = self.position[culprit], self.table.copies[self.where[culprit]]
        self.table.undo(self.marks[turn])
        for number in self.order.sequence[turn : len(self.marks)]:
            del self.where[number]
            if number != culprit:
                self.banned.pop(number, None)
        del self.marks[turn:]
        self.banned.setdefault(culprit, set()).add((copy.pe, copy.cycle))

    def _place(self, number: int) -> int | None:
        """Soon after its operands, or shortly before its readers; on the nearest PE."""
        operation = self.body.problem.operations[number]
        near, banned = self._near(number), self.banned.get(number, ())
        cycles = self._cycles(number, max(1, PLACES // max(1, len(near))))
        for cycle, pe in ((cycle, pe) for cycle in cycles for pe in near if (pe, cycle) not in banned):
            copy = self._settle(number, Copy(number, pe, cycle, _latency(operation, pe)))
            if copy is not None:
                return copy
        return None

    def _cycles(self, number: int, most: int) -> range:
        """Cycles tried: all slots once from the end of the operands on, or back from where the readers are."""
        ii, tries = self.table.ii, min(self.table.ii, most)
        after = [at.cycle + at.latency - r.distance * ii for r, at in self._standing(number, operands=True)]
        before = [at.cycle + r.distance * ii for r, at in self._standing(number, operands=False)]
        if before and (not after or number in self.order.upward):
            last = min(before) - self.body.problem.operations[number].least_latency_cycles
            return range(last, last - tries, -1)
        first = max(after, default=0)
        return range(first, first + tries)

    def _standing(self, number: int, operands: bool) -> list[tuple[Read, Copy]]:
        """What it reads, or who reads it, of those that stand already."""
        found = []
        for read in self.body.reads_of[number]:
            own, other = (read.reader, read.sources[0]) if operands else (read.sources[0], read.reader)
            if own == number and other in self.where:
                found.append((read, self.table.copies[self.where[other]]))
        return found

    def _near(self, number: int) -> list[int]:
        """PEs that run the operation, those closest to operands and readers first, idle ones before busy ones."""
        table, far = self.table, self.body.far
        ends = [copy.pe for operands in (True, False) for _, copy in self._standing(number, operands)]
        pes = table.inside.intersection(self.body.problem.operations[number].pes)

        def distance(pe: int) -> tuple[float, int, int, int]:
            load = table.load(pe)
            return sum(far[end][pe] for end in ends) + self.spread * load / table.ii, load, self.remote[pe], pe

        return sorted(pes, key=distance)[:NEAR]

    def _settle(self, number: int, copy: Copy) -> int | None:
        """Execute there, with every operand and every reader that already stands; None without a trace."""
        mark = len(self.table.journal)
        found = self.table.execute(copy, self.body.problem.operations[number].memory)
        if found is None:
            return None
        for read in self.body.reads_of[number]:
            if not self._connect(read, number, copy):
                self.table.undo(mark)
                return None
        waits = [r for r in self.body.reads_of[number] if r.reader not in self.where and r.reader != number]
        self.table.expect(found, len(waits))
        return found

    def _connect(self, read: Read, number: int, copy: Copy) -> bool:
        """A read of the operation's, or of its value, whose other end stands: can the value get there?"""
        source, reader, ii = read.sources[0], read.reader, self.table.ii
        if reader == number and (source in self.where or source == number):
            at = copy
        elif source == number and reader in self.where:
            at = self.table.copies[self.where[reader]]
        else:
            return True
        taken = self.table.route(source, at.pe, at.cycle + read.distance * ii, self.body.far)
        if taken is None:
            return False
        self.table.note((source, reader, read.distance), taken)
        if reader == number and source in self.where:
            self.table.expect(self.where[source], self.table.unread[self.where[source]] - 1)
        return True


def _latency(operation: Operation, pe: int) -> int:
    return operation.latency_cycles[operation.pes.index(pe)]


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
    first = min(at[i].cycle for i in size)
    return problem, Schedule(
        table.ii, tuple(at[i].cycle - first for i in size), tuple(at[i].pe for i in size), tuple(source)
    )


def _source_of(table: Table, number: int) -> int:
    source = table.copies[number].source
    assert source is not None
    return source
