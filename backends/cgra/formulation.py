"""Modulo scheduling with placement as one Boolean model, exact for a given II.

Decisions per operation i: PE (one-hot), slot (one-hot) and start time (order literals "t(i) >= k" over its window).
A value waits in one of two places. In the *output register* of its PE, which then executes nothing until the read; or,
for a reader on the same PE, in the register file. Slots are enough to tell how long it waits: a span of 1 … II cycles
is fixed by the slots of its two ends. So the waiting is traced backwards, slot by slot, from the read to the write:

    through(u, v) and slot(v) = s            ->  busy(u, s - 1)
    busy(u, s) and slot(u) != s              ->  busy(u, s - 1)

and what a PE executes or holds is one at-most-one per (PE, slot), which is the resource rule and the output-register
rule together: arcs on a circle overlap if and only if one start lies in the other arc. Reads ask of places only that
the reader's PE is reachable from the source's, whatever the time (support clauses). Registers of the register file are
traced the same way and are counted, or coloured, only when asked for.

MOVEs are optional operations; a read with several possible sources picks one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mapper.solver import Expression, Model, Solution

from .problem import Problem
from .windows import Window

__all__ = ["Formulation", "Hop", "Registers", "Schedule", "build"]

Registers = Literal["ignored", "counted", "coloured"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One possible read: reader and source (indices), distance, and the literal that it happens (True: always)."""

    source: int
    reader: int
    distance: int
    chosen: Expression


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the model decided: start and PE per operation (None: an unused MOVE), and the source of each read."""

    ii: int
    start: tuple[int | None, ...]
    pe: tuple[int | None, ...]
    source: tuple[int | None, ...]


@dataclass(frozen=True)
class Formulation:
    """The model under construction and its literals; every `add_…` method is one constraint family."""

    problem: Problem
    ii: int
    windows: Sequence[Window]
    confined: Mapping[int, tuple[int, ...]]
    model: Model = field(default_factory=Model)
    active: dict[int, Expression] = field(default_factory=dict)
    at: dict[int, dict[int, Expression]] = field(default_factory=dict)
    slot: dict[int, dict[int, Expression]] = field(default_factory=dict)
    after: dict[int, dict[int, Expression]] = field(default_factory=dict)
    busy: dict[int, dict[int, Expression]] = field(default_factory=dict)
    kept: dict[int, dict[int, Expression]] = field(default_factory=dict)
    through: dict[Hop, Expression] = field(default_factory=dict)
    hops: list[Hop] = field(default_factory=list)
    picks: list[dict[int, Expression]] = field(default_factory=list)

    def clause(self, *literals: Expression) -> None:
        """At least one of `literals`, which may be Python truth values."""
        if not any(literal is True for literal in literals):
            self.model.add_bool_or([literal for literal in literals if literal is not False])

    def started(self, i: int, time: int) -> Expression:
        """Literal of t(i) >= time."""
        window = self.windows[i]
        return True if time <= window.low else False if time > window.high else self.after[i][time]

    # ---------------------------------------------------------------- decisions

    def decide_operation(self, i: int) -> None:
        """PE, slot and order literals of one operation; a MOVE that is not active has no PE and no slot."""
        operation, window, model = self.problem.operations[i], self.windows[i], self.model
        active = self.active[i] = model.flag() if operation.optional else True
        pes = self.confined.get(i, operation.pes)
        self.at[i] = self._one_hot(pes, active)
        slots = sorted({time % self.ii for time in range(window.low, min(window.high, window.low + self.ii - 1) + 1)})
        self.slot[i] = self._one_hot(slots, active)
        self.after[i] = {time: model.flag() for time in range(window.low + 1, window.high + 1)}
        self.add_time_order(i)

    def _one_hot(self, keys: Sequence[int], active: Expression) -> dict[int, Expression]:
        if active is True and len(keys) == 1:
            return {keys[0]: True}
        choice = {key: self.model.flag() for key in keys}
        self.model.add_exactly_one([*choice.values(), *(() if active is True else (negation(active),))])
        return choice

    def add_time_order(self, i: int) -> None:
        """t(i) >= k + 1 implies t(i) >= k; t(i) = k implies slot k mod II."""
        window, active = self.windows[i], self.active[i]
        for time in range(window.low, window.high + 1):
            here, later = self.started(i, time), self.started(i, time + 1)
            if later is not False and here is not True:
                self.model.add_implication(later, here)
            self.clause(negation(active), negation(here), later, self.slot[i][time % self.ii])

    def decide_hops(self) -> None:
        """One hop per possible source of each read; exactly one is chosen when the reader runs."""
        for read in self.problem.reads:
            reads = self.active[read.reader]
            if len(read.sources) == 1:
                pick: dict[int, Expression] = {read.sources[0]: reads}
            else:
                pick = self._one_hot(read.sources, reads)
            for source, chosen in pick.items():
                if chosen is not reads or self.problem.operations[source].optional:
                    self.clause(negation(chosen), self.active[source])
                self.hops.append(Hop(source, read.reader, read.distance, chosen))
            self.picks.append(pick)

    # -------------------------------------------------------------- constraints

    def add_span(self, hop: Hop) -> None:
        """latency(u) <= t(v) + d*II - t(u) <= II, as order implications in both directions."""
        window, shift = self.windows[hop.source], hop.distance * self.ii
        latency = self.problem.operations[hop.source].least_latency_cycles
        unless = negation(hop.chosen)
        for time in range(window.low, window.high + 1):
            written = self.started(hop.source, time)
            self.clause(unless, negation(written), self.started(hop.reader, time + latency - shift))
            overdue = self.started(hop.reader, time + self.ii - shift + 1)
            self.clause(unless, negation(overdue), self.started(hop.source, time + 1))
        first = self.started(hop.reader, window.low + self.ii - shift)
        self.clause(unless, self.started(hop.source, window.low), negation(first))

    def add_slow_places(self, i: int) -> None:
        """On a PE where operation i takes longer than at best, it occupies more slots and its readers wait longer."""
        operation = self.problem.operations[i]
        for latency in sorted(set(operation.latency_cycles)):
            places = [
                self.at[i][pe]
                for pe, cycles in zip(operation.pes, operation.latency_cycles, strict=True)
                if cycles == latency and pe in self.at[i]
            ]
            for place in places if latency > 1 else ():
                self._add_latency(i, latency, place)

    def _add_latency(self, i: int, latency: int, place: Expression) -> None:
        for slot, here in self.slot[i].items():
            for later in range(1, latency):
                self.clause(negation(place), negation(here), self.busy[i][(slot + later) % self.ii])
        if latency > self.problem.operations[i].least_latency_cycles:
            for hop in (h for h in self.hops if h.source == i):
                self._add_longer_span(hop, latency, place)

    def _add_longer_span(self, hop: Hop, latency: int, place: Expression) -> None:
        window, shift = self.windows[hop.source], hop.distance * self.ii
        for time in range(window.low, window.high + 1):
            reader = self.started(hop.reader, time + latency - shift)
            self.clause(negation(hop.chosen), negation(place), negation(self.started(hop.source, time)), reader)

    def add_support(self, hop: Hop) -> None:
        """u on p -> v on a PE that reads p; v on q -> u on a PE that q reads. Independent of time."""
        unless = negation(hop.chosen)
        writers, readers = self.at[hop.source], self.at[hop.reader]
        for pe, here in writers.items():
            reachable = (readers[q] for q in self.problem.readers_of[pe] if q in readers)
            self.clause(unless, negation(here), *reachable)
        for pe, here in readers.items():
            reachable = (writers[q] for q in self.problem.written_for[pe] if q in writers)
            self.clause(unless, negation(here), *reachable)

    def add_busy(self, i: int) -> None:
        """busy(u, s) in its own slot; elsewhere only as a continuation: busy(u, s) -> slot(u) = s or busy(u, s - 1)."""
        slots, model = self.slot[i], self.model
        waits = self.ii > 1 and any(h.source == i for h in self.hops)
        slow = max(self.problem.operations[i].latency_cycles) > 1
        if not waits and not slow:
            self.busy[i] = dict(slots)
            return
        busy = self.busy[i] = {slot: model.flag() for slot in range(self.ii)}
        for slot in range(self.ii):
            here = slots.get(slot, False)
            self.clause(negation(here), busy[slot])
            self.clause(negation(busy[slot]), here, busy[(slot - 1) % self.ii])
            self.clause(negation(busy[slot]), self.active[i])

    def add_wait(self, hop: Hop) -> None:
        """through(u, v) when u and v sit on different PEs; then u stays busy until the slot before v's."""
        writers, readers = self.at[hop.source], self.at[hop.reader]
        through = self.through[hop] = self.model.flag()
        for pe, here in writers.items():
            self.clause(negation(hop.chosen), negation(here), readers.get(pe, False), through)
        for slot, reads in self.slot[hop.reader].items():
            self.clause(negation(through), negation(reads), self.busy[hop.source].get((slot - 1) % self.ii, False))

    def add_exclusive(self) -> None:
        """At most one operation executes or holds on each (PE, slot)."""
        users: dict[tuple[int, int], list[Expression]] = {}
        for i, places in self.at.items():
            for pe, here in places.items():
                for slot, busy in self.busy[i].items():
                    users.setdefault((pe, slot), []).append(self.both(here, busy))
        for _, literals in sorted(users.items()):
            if len(literals) > 1:
                self.model.add_at_most_one(literals)

    def both(self, a: Expression, b: Expression) -> Expression:
        """A literal implied by a and b."""
        if a is True or b is True:
            return b if a is True else a
        together = self.model.flag()
        self.model.add_bool_or([~a, ~b, together])
        return together

    def add_capacity(self) -> None:
        """Redundant: no slot has more busy operations than the fabric has PEs."""
        alive = self.problem.fabric.size - len(self.problem.fabric.dead)
        for slot in range(self.ii):
            literals = [busy[slot] for busy in self.busy.values() if slot in busy]
            if len(literals) > alive:
                self.model.add(sum(literals) <= alive)

    def add_ports(self) -> None:
        """At most `count` loads and stores start per slot in each group of PEs that shares memory ports."""
        fabric = self.problem.fabric
        for group in fabric.port_groups:
            users: dict[int, list[Expression]] = {}
            for i, operation in enumerate(self.problem.operations):
                inside = [self.at[i][pe] for pe in group if pe in self.at[i]]
                for slot, here in self.slot[i].items() if operation.memory and inside else ():
                    user = self.model.flag()
                    for place in inside:
                        self.clause(negation(place), negation(here), user)
                    users.setdefault(slot, []).append(user)
            for _, literals in sorted(users.items()):
                assert fabric.memory_ports is not None
                self.model.add(sum(literals) <= fabric.memory_ports.count)

    # ---------------------------------------------------------------- registers

    def add_kept(self, i: int) -> None:
        """kept(u, s): u is in a register during slot s, traced back from reads that do not go through the output."""
        hops = [h for h in self.hops if h.source == i]
        kept = self.kept[i] = {slot: self.model.flag() for slot in range(self.ii)} if hops else {}
        for slot in kept:
            before = (slot - 1) % self.ii
            self.clause(negation(kept[slot]), self.slot[i].get(before, False), kept[before])
        for hop in hops:
            for slot, reads in self.slot[hop.reader].items():
                self.clause(negation(hop.chosen), self.through[hop], negation(reads), kept[slot])

    def forbid_registers(self) -> None:
        """Without a register file every value is read from the output register."""
        for hop, through in self.through.items():
            self.clause(negation(hop.chosen), through)

    def count_registers(self, limit: int) -> None:
        """At most `limit` values at a time in the registers of each PE."""
        users: dict[tuple[int, int], list[Expression]] = {}
        for i, kept in self.kept.items():
            for pe, here in self.at[i].items():
                for slot, live in kept.items():
                    users.setdefault((pe, slot), []).append(self.both(here, live))
        for _, literals in sorted(users.items()):
            if len(literals) > limit:
                self.model.add(sum(literals) <= limit)

    def colour_registers(self, limit: int) -> None:
        """Each value keeps one register index in all iterations; at most one value per (PE, register, slot)."""
        users: dict[tuple[int, int, int], list[Expression]] = {}
        for i, kept in self.kept.items():
            if not kept:
                continue
            index = [self.model.flag() for _ in range(limit)]
            self.model.add_exactly_one(index)
            for register, chosen in enumerate(index):
                for pe, here in self.at[i].items():
                    placed = self.both(here, chosen)
                    for slot, live in kept.items():
                        users.setdefault((pe, register, slot), []).append(self.both(placed, live))
        for _, literals in sorted(users.items()):
            if len(literals) > 1:
                self.model.add_at_most_one(literals)

    def add_registers(self, registers: Registers) -> None:
        """The register file as `registers` asks; a file of size 0 is always respected."""
        limit = self.problem.fabric.registers
        if limit == 0:
            self.forbid_registers()
        elif registers != "ignored":
            for i in self.at:
                self.add_kept(i)
            (self.count_registers if registers == "counted" else self.colour_registers)(limit)

    # -------------------------------------------------------------------- MOVEs

    def add_move_order(self) -> None:
        """MOVEs of one value are used in order, and start in order."""
        last: dict[int, int] = {}
        for i, operation in enumerate(self.problem.operations):
            if operation.value is None:
                continue
            before = last.get(operation.value)
            last[operation.value] = i
            if before is None:
                continue
            self.model.add_implication(self.active[i], self.active[before])
            for time in range(self.windows[before].low, self.windows[before].high + 1):
                self.clause(negation(self.active[i]), negation(self.started(before, time)), self.started(i, time))

    def moves(self) -> list[Expression]:
        return [active for i, active in self.active.items() if self.problem.operations[i].optional]

    def limit_moves(self, most: int) -> None:
        moves = self.moves()
        if len(moves) > most:
            self.model.add(sum(moves) <= most)

    # ------------------------------------------------------------------ reading

    def read(self, solution: Solution) -> Schedule:
        """The schedule of an incumbent."""

        def true(literal: Expression) -> bool:
            return literal if isinstance(literal, bool) else bool(solution.value(literal))

        start: list[int | None] = []
        pe: list[int | None] = []
        for i in range(len(self.problem.operations)):
            runs = true(self.active[i])
            start.append(self.windows[i].low + sum(map(true, self.after[i].values())) if runs else None)
            pe.append(next(p for p, here in self.at[i].items() if true(here)) if runs else None)
        picked = (next((s for s, chosen in pick.items() if true(chosen)), None) for pick in self.picks)
        return Schedule(self.ii, tuple(start), tuple(pe), tuple(picked))


def negation(literal: Expression) -> Expression:
    """The negation of a literal or truth value."""
    return (not literal) if isinstance(literal, bool) else ~literal


def build(
    problem: Problem,
    ii: int,
    windows: Sequence[Window],
    confined: Mapping[int, tuple[int, ...]],
    registers: Registers = "ignored",
    most_moves: int | None = None,
) -> Formulation:
    """The whole model of one problem at one II."""
    form = Formulation(problem, ii, windows, confined)
    for i in range(len(problem.operations)):
        form.decide_operation(i)
    form.decide_hops()
    for i in range(len(problem.operations)):
        form.add_busy(i)
        form.add_slow_places(i)
    for hop in form.hops:
        form.add_span(hop)
        form.add_support(hop)
        form.add_wait(hop)
    form.add_exclusive()
    form.add_capacity()
    form.add_ports()
    form.add_registers(registers)
    form.add_move_order()
    if most_moves is not None:
        form.limit_moves(most_moves)
    return form
