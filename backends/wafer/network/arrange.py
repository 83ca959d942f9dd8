"""Faster plans with shorter wires: annealing over columns of shelves of stacks (`packing`), started from the snake.

At a given target time every stage has its shape curve, so a plan is legal iff its shelves fit their columns. Moves:
exchange two stages; move a stage into the stack of another one, beside that stack, or into a shelf of its own, mostly
where a partner in the network stands; exchange, move or turn whole shelves.

    minimise   sum over tensors and readers of bytes x Manhattan distance between the centres of the two rectangles
               + pressure x rows that the columns lack          (pressure rises until none lacks any)

The centres' distance is what an element travels on average from a core of one rectangle to a core of the other, at
least. Moves are counted and random numbers seeded, so equal input gives equal plans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from .packing import Columns, Packing, Shelf
from .table import FAR
from .wires import Wires

__all__ = ["rearranged"]

HOT, CALM, COOLING = 0.5, 20, 250  # first temperature in mean costs of a wire, less above so many stages; first : last
SOFT, HARD = 0.3, 3.0  # pressure of a row too many, in the same unit
STAGE_MOVES = 0.85  # share of moves that concern single stages; the others concern whole shelves


def rearranged(packing: Packing, wires: Wires, moves: int, seed: int) -> Packing | None:
    """The plan that fits with the shortest wires that the search meets; None if it meets none that fits."""
    plan = _Plan(packing)
    if not plan.sound:
        return None
    columns = _Search(plan, wires, Random(seed)).run(moves)
    return replace(packing, columns=columns) if columns else None


class _Plan:
    """Columns of shelves that may change, twice the centre of every stage, and (column, shelf) where it stands."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self.columns = [[packing.shelf(stacks) for stacks in column] for column in packing.columns]
        stages = len(packing.curves)
        self.x, self.y = np.zeros(stages, np.int64), np.zeros(stages, np.int64)
        self.place = [(0, 0)] * stages
        self.lacking = [0] * len(self.columns)
        self.sound = all([self.settle(number) for number in range(len(self.columns))])

    def settle(self, number: int) -> bool:
        """Places in a column anew; False if a shelf is too wide at any height."""
        column, wide = self.columns[number], self.packing.wide
        tall = [shelf.tall for shelf in column]
        if max(tall, default=0) >= FAR:
            return False
        rows, self.lacking[number] = self.packing.rows(number, tall)
        for position, (shelf, row) in enumerate(zip(column, rows, strict=True)):
            self.x[shelf.stages] = shelf.x + 2 * number * wide
            self.y[shelf.stages] = shelf.y + 2 * row
            for stage in shelf.stages.tolist():
                self.place[stage] = number, position
        return True

    def shelf(self, stage: int) -> Shelf:
        number, position = self.place[stage]
        return self.columns[number][position]

    def fill(self, place: tuple[int, int], stacks: Sequence[Sequence[int]]) -> None:
        """Fill a shelf anew; empty stacks vanish."""
        number, position = place
        self.columns[number][position] = self.packing.shelf(tuple(tuple(stack) for stack in stacks if stack))


class _Search:
    """Metropolis search with falling temperature and rising pressure."""

    def __init__(self, plan: _Plan, wires: Wires, random: Random) -> None:
        self.plan, self.wires, self.random = plan, wires, random
        self.partners = wires.partners(len(plan.x))
        self.scale = max(1.0, wires.cost(plan.x, plan.y) / max(1, wires.count))
        self.length = self._length()

    def _length(self) -> float:
        """Cost of the wires, in mean costs of a wire at the start."""
        return self.wires.cost(self.plan.x, self.plan.y) / self.scale

    def run(self, moves: int) -> Columns | None:
        """Columns of the best plan met."""
        best, kept = math.inf, None
        hot = HOT * min(1.0, CALM / len(self.plan.x))
        for move in range(moves + 1):
            if move:
                self._try(_between(hot, hot / COOLING, move / moves), _between(SOFT, HARD, move / moves))
            if self.length < best * (1 - 1e-9) and not sum(self.plan.lacking):
                best = self.length
                kept = tuple(tuple(shelf.stacks for shelf in column) for column in self.plan.columns)
        return kept

    def _try(self, temperature: float, pressure: float) -> None:
        """A random move; where that is unsound or refused, everything is as before."""
        plan = self.plan
        x, y, lacking, place = plan.x.copy(), plan.y.copy(), list(plan.lacking), list(plan.place)
        stage, kind = self._below(len(plan.x)), self.random.random()
        other = self._partner(stage) if kind < STAGE_MOVES else self._below(len(plan.x))
        touched = sorted({plan.place[stage][0], plan.place[other][0]})
        before = [list(plan.columns[number]) for number in touched]
        if self._moved(stage, other, kind) and all([plan.settle(number) for number in touched]):
            length = self._length()
            rise = length - self.length + pressure * (sum(plan.lacking) - sum(lacking))
            if rise <= 0 or self.random.random() < math.exp(-rise / temperature):
                self.length = length
                return
        for number, column in zip(touched, before, strict=True):
            plan.columns[number] = column
        plan.x, plan.y, plan.lacking, plan.place = x, y, lacking, place

    def _moved(self, stage: int, other: int, kind: float) -> bool:
        """Change the plan at random near two stages; False if that changes nothing."""
        if stage == other:
            return False
        plan = self.plan
        (n, a), (m, b) = plan.place[stage], plan.place[other]
        if kind < 0.25:
            self._exchange(stage, self._near(other))
        elif kind < STAGE_MOVES:
            self._move(stage, other, kind)
        elif kind < 0.9:
            plan.fill((n, a), plan.columns[n][a].stacks[::-1])
        elif kind < 0.95:
            plan.columns[n][a], plan.columns[m][b] = plan.columns[m][b], plan.columns[n][a]
        else:
            plan.columns[m].insert(b, plan.columns[n].pop(a))
        return True

    def _exchange(self, stage: int, other: int) -> None:
        swap = {stage: other, other: stage}
        for place in {self.plan.place[stage], self.plan.place[other]}:
            stacks = self.plan.columns[place[0]][place[1]].stacks
            self.plan.fill(place, [[swap.get(each, each) for each in stack] for stack in stacks])

    def _move(self, stage: int, other: int, kind: float) -> None:
        """Take a stage out and put it into the stack of another, beside that stack, or into a shelf of its own."""
        plan, after = self.plan, self._below(2)
        (n, a), (m, b) = plan.place[stage], plan.place[other]
        plan.fill((n, a), [[each for each in stack if each != stage] for stack in plan.columns[n][a].stacks])
        into = [list(stack) for stack in plan.columns[m][b].stacks]
        at = next(i for i, stack in enumerate(into) if other in stack)
        if kind < 0.45:
            into[at].insert(into[at].index(other) + after, stage)
            plan.fill((m, b), into)
        elif kind < 0.7:
            into.insert(at + after, [stage])
            plan.fill((m, b), into)
        else:
            plan.columns[m].insert(b + after, plan.packing.shelf(((stage,),)))
        plan.columns[n] = [shelf for shelf in plan.columns[n] if shelf.stacks]

    def _near(self, stage: int) -> int:
        """A stage of the same shelf."""
        stages = self.plan.shelf(stage).stages
        return int(stages[self._below(len(stages))])

    def _partner(self, stage: int) -> int:
        """A stage that shares a tensor with this one, mostly; else any."""
        mine = self.partners[stage]
        if mine and self.random.random() < 0.7:
            return mine[self._below(len(mine))]
        return self._below(len(self.plan.x))

    def _below(self, bound: int) -> int:
        return int(self.random.random() * bound)


def _between(first: float, last: float, share: float) -> float:
    """Geometrically from first to last."""
    return float(first * (last / first) ** share)
