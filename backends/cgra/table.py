"""A modulo table that fills up: operations in their slots, values that wait, and MOVEs found operand by operand.

Everything that is put into the table is written into a journal, so that whatever turns out not to fit is undone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .problem import Problem
from .registers import Life, colouring

__all__ = ["Copy", "Table"]

TIMES = 5  # cycles tried for a MOVE on one PE
STEPS = 160  # MOVEs tried for one route
COLOURING = 100  # steps of a search for registers


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

    def expect(self, number: int, readers: int) -> None:
        """So many readers of copy `number` have no place yet."""
        self._set(self.unread, number, readers)

    def note(self, read: tuple[int, int, int], number: int) -> None:
        """The read (source, reader, distance) takes copy `number`."""
        self._set(self.reads, read, number)

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
