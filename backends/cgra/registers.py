"""Fixed registers: values in a PE's register file as arcs on a circle of II slots, coloured exactly.

A value is kept in a register of its own PE from the cycle after it is written to its last read there, if something else
executes on that PE in between (else it simply stays in the output register). When every value keeps one register in all
iterations, registers are colours of circular arcs: two values may share one if and only if their arcs do not meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .formulation import Schedule
from .problem import Problem

__all__ = ["Life", "colouring", "lives", "most_alive"]


@dataclass(frozen=True, slots=True)
class Life:
    """Operation `index` keeps its value on `pe` in slots start … start + cycles - 1 (modulo II)."""

    index: int
    pe: int
    start: int
    cycles: int


def lives(problem: Problem, schedule: Schedule) -> tuple[Life, ...]:
    """The values that need a register, by operation."""
    ii, latest = schedule.ii, dict[int, int]()
    on_pe: dict[int, list[tuple[int, int]]] = {}
    for i, start in enumerate(schedule.start):
        if start is not None:
            on_pe.setdefault(schedule.pe[i] or 0, []).append((i, start))
    for read, source in zip(problem.reads, schedule.source, strict=True):
        if source is None or schedule.pe[source] != schedule.pe[read.reader]:
            continue
        span = (schedule.start[read.reader] or 0) + read.distance * ii - (schedule.start[source] or 0)
        latest[source] = max(latest.get(source, 0), span)
    found: list[Life] = []
    for i, span in sorted(latest.items()):
        start, pe = schedule.start[i] or 0, schedule.pe[i] or 0
        if any(j != i and 0 < (other - start) % ii < span for j, other in on_pe[pe]):
            operation = problem.operations[i]
            latency = operation.latency_cycles[operation.pes.index(pe)]
            found.append(Life(i, pe, (start + latency) % ii, span - latency + 1))
    return tuple(found)


def _meet(a: Life, b: Life, ii: int) -> bool:
    return (b.start - a.start) % ii < a.cycles or (a.start - b.start) % ii < b.cycles


def most_alive(arcs: Sequence[Life], ii: int) -> int:
    """The most arcs over one slot: a lower bound on colours."""
    return max((sum((arc.start - other.start) % ii < other.cycles for other in arcs) for arc in arcs), default=0)


def colouring(arcs: Sequence[Life], ii: int, limit: int, budget: int = 20_000) -> dict[int, int] | None:
    """A register 0 … limit - 1 per operation index, by backtracking; None if there is none (or the budget ends)."""
    if most_alive(arcs, ii) > limit:
        return None
    clash = [[j for j, b in enumerate(arcs) if j != i and _meet(a, b, ii)] for i, a in enumerate(arcs)]
    order = sorted(range(len(arcs)), key=lambda i: (-len(clash[i]), i))
    colour: dict[int, int] = {}
    steps = budget

    def fill(position: int) -> bool:
        nonlocal steps
        steps -= 1
        if position == len(order) or steps < 0:
            return position == len(order)
        arc = order[position]
        taken = {colour[j] for j in clash[arc] if j in colour}
        for register in range(min(limit, max(colour.values(), default=-1) + 2)):
            if register not in taken:
                colour[arc] = register
                if fill(position + 1):
                    return True
                del colour[arc]
        return False

    return {arcs[i].index: register for i, register in colour.items()} if fill(0) else None
