"""Which trials the search makes of one II: shapes of the problem, lengths of the schedule, and in which order.

A trial is heavy-tailed: with one length or seed it may take a hundred times as long as with another. So a problem is
tried with several lengths (slack beyond the shortest schedule: none, a quarter of the II, the II), each for a while.

* *direct*: without MOVEs;
* *lean*: MOVEs where the fewest-MOVEs bound puts them, and one for every value with three readers or more;
* *every*: one MOVE more than that bound for every value;
* *near*: the incumbent's problem, every operation on its PE or beside it;
* *all*: schedules of every length, with as many MOVEs as there is room for: a refutation that holds for good.

Which of them comes first was chosen by sampling lengths and seeds on the larger public kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mapper.dfg import Dfg
from mapper.machine import Fabric

from .bounds import conflict, fewest_moves, slots_left
from .formulation import Schedule
from .problem import Problem, direct_problem, routed_problem

__all__ = ["LARGE", "Find", "Places", "Recipes", "Rung", "Variant"]

Variant = Literal["direct", "routed"]
Places = Mapping[int, tuple[int, ...]]
LARGE = 80  # operations of a body from which on trials are spaced out
LARGEST_EXHAUSTIVE = 400  # operations, optional MOVEs included, of a model that may refute for good


@dataclass(frozen=True, slots=True)
class Find:
    """A schedule and the problem that it solves."""

    problem: Problem
    schedule: Schedule

    @property
    def ii(self) -> int:
        return self.schedule.ii

    @property
    def moves(self) -> int:
        """MOVEs that some read reaches, directly or through other MOVEs."""
        sources = {r.reader: s for r, s in zip(self.problem.reads, self.schedule.source, strict=True)}
        used: set[int] = set()
        for read, source in zip(self.problem.reads, self.schedule.source, strict=True):
            while read.edge is not None and source is not None and self.problem.operations[source].optional:
                used.add(source)
                source = sources[source]
        return len(used)


@dataclass(frozen=True, slots=True)
class Rung:
    """A trial by name. `decides`: its refutation refutes the II; `share` of the effort; `near`: a confined place for
    every operation; `after`: it waits until that trial is refuted."""

    name: str
    make: Callable[[], Problem]
    slack: int | None
    share: float = 1.0
    decides: bool = False
    near: bool = False
    corner: bool = False
    after: str = ""


@dataclass(frozen=True)
class Recipes:
    """The trials of one body on one fabric in one variant."""

    dfg: Dfg
    fabric: Fabric
    variant: Variant
    direct: Problem = field(init=False)
    _moves: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "direct", direct_problem(self.dfg, self.fabric))

    @property
    def size(self) -> int:
        return len(self.direct.operations)

    @property
    def dense(self) -> bool:
        """Are there more than two operations per register of the fabric?"""
        return self.size > 2 * self.fabric.registers * self.fabric.size

    def room(self, ii: int) -> int:
        """Slots for MOVEs."""
        return slots_left(self.direct, ii) if self.variant == "routed" else 0

    def moves_bound(self, ii: int) -> tuple[int, tuple[int, ...]]:
        """The fewest MOVEs at this II and where: nothing to compute when spans close without."""
        if ii not in self._moves:
            closes = not conflict(self.direct, ii)
            none = (0, (0,) * self.size)
            self._moves[ii] = none if closes else fewest_moves(self.direct, ii)
        return self._moves[ii]

    def refuted(self, ii: int) -> str:
        """Which bound refutes the II without a search; "" if none does."""
        if self.variant == "direct":
            return "lifetime" if conflict(self.direct, ii) else ""
        return "moves" if self.moves_bound(ii)[0] > slots_left(self.direct, ii) else ""

    # -------------------------------------------------------------------- trials

    def quick(self, ii: int) -> Iterator[Rung]:
        """Trials that find, cheapest first."""
        if self.variant == "routed":
            yield from self._lean_trials(ii, (0, ii) if self.size < LARGE // 2 else (0, _part(ii, 4)))
        elif self._roomy(ii):
            yield Rung("corner-0", lambda: self.direct, 0, 4.0, corner=True)
            yield Rung("corner-ii", lambda: self.direct, ii, 4.0, corner=True)
        else:
            yield from self._direct_trials(ii, (0, self._length(ii)))

    def thorough(self, ii: int) -> Iterator[Rung]:
        """Trials that find what the quick ones cannot."""
        if self.variant == "direct":
            yield from self._direct_trials(ii, (_part(ii, 4), _part(ii, 2), ii))
        elif self.room(ii):
            yield from self._lean_trials(ii, (_part(ii, 2),))
            for slack in (0, _part(ii, 4), ii):
                yield Rung(f"every-{slack}", lambda: self._every(ii), slack)

    def _direct_trials(self, ii: int, slacks: Sequence[int]) -> Iterator[Rung]:
        for slack in slacks:
            yield Rung(f"direct-{slack}", lambda: self.direct, slack)

    def _lean_trials(self, ii: int, slacks: Sequence[int]) -> Iterator[Rung]:
        for slack in slacks if self.room(ii) else ():
            yield Rung(f"lean-{slack}", lambda: self._lean(ii), slack, corner=self._roomy(ii))

    def lifted(self, ii: int, extra: int) -> Iterator[Rung]:
        """MOVEs on every value, `extra` more than the bound puts there, where a few were refuted."""
        if self.room(ii):
            corner = self._roomy(ii)
            yield Rung(f"lifted-{extra}", lambda: self._every(ii, extra), ii, 2.0, corner=corner, after=f"lean-{ii}")

    def near(self, ii: int, find: Find) -> Iterator[Rung]:
        """Trials near the incumbent, cheapest first; its MOVEs stay available."""
        if find.moves or not conflict(self.direct, ii):
            for slack in (ii,) if self.size < LARGE // 2 else (_part(ii, 4), ii):
                yield Rung(f"near-{find.ii}-{slack}", lambda: find.problem, slack, near=True)
        if self.room(ii) and not find.moves:
            yield Rung(f"near-moves-{find.ii}", lambda: self._every(ii), _part(ii, 4), near=True)

    def deciding(self, ii: int) -> Iterator[Rung]:
        """The trial that refutes for good, where it is small enough to have a chance."""
        if self.variant == "direct":
            yield Rung("direct-all", lambda: self.direct, None, 1.0, True, after=f"direct-{ii}")
        elif not self.room(ii):
            yield Rung("direct-all", lambda: self.direct, None, 1.0, True)
        elif self._exhaustive_size(ii) <= LARGEST_EXHAUSTIVE:
            yield Rung("every-all", lambda: self._exhaustive(ii), None, 1.0, True)

    def within(self, rung: Rung, problem: Problem, ii: int, find: Find | None) -> Places | None:
        """The PEs that a trial near the incumbent, or in a corner, leaves to each operation."""
        if rung.near:
            assert find is not None
            return {
                i: tuple(p for p in problem.readers_of[pe] if p in problem.operations[i].pes)
                for i, pe in enumerate(find.schedule.pe)
                if pe is not None
            }
        if rung.corner:
            side, columns = self._corner_side(ii), self.fabric.columns
            inside = {
                i: tuple(p for p in o.pes if max(divmod(p, columns)) < side) for i, o in enumerate(problem.operations)
            }
            return {i: pes for i, pes in inside.items() if pes}
        return None

    def _length(self, ii: int) -> int:
        """The first slack to try: of a small body all that helps, of larger ones less, for windows grow with it."""
        return ii if self.size < LARGE // 2 else _part(ii, 2) if self.size < LARGE else _part(ii, 4)

    def _corner_side(self, ii: int) -> int:
        """Side of a square of PEs with half as many slots again as the body has operations."""
        return max(4, math.isqrt(math.ceil(1.5 * self.size / ii)) + 2)

    def _roomy(self, ii: int) -> bool:
        """Is the fabric much larger than the body?"""
        return self._corner_side(ii) < max(self.fabric.rows, self.fabric.columns)

    # ------------------------------------------------------------------ problems

    def _lean(self, ii: int) -> Problem:
        readers = [len(self.dfg.successors[node.id]) for node in self.dfg.nodes]
        needed = self.moves_bound(ii)[1]
        return self._routed([m or int(r >= 3) for m, r in zip(needed, readers, strict=True)])

    def leaner(self, find: Find) -> Problem | None:
        """The lean problem at the same II, if it allows fewer MOVEs than the one solved."""
        lean = self._lean(find.ii) if self.room(find.ii) else None
        return lean if lean is not None and len(lean.operations) < len(find.problem.operations) else None

    def _every(self, ii: int, extra: int = 1) -> Problem:
        return self._routed([m + extra for m in self.moves_bound(ii)[1]])

    def _exhaustive(self, ii: int) -> Problem:
        return self._routed([self.room(ii)] * self.size)

    def _exhaustive_size(self, ii: int) -> int:
        users = sum(bool(self.dfg.successors[node.id]) for node in self.dfg.nodes)
        return self.size + users * self.room(ii)

    def _routed(self, depth: list[int]) -> Problem:
        users = self.dfg.successors
        wanted = {node.id: d if users[node.id] else 0 for node, d in zip(self.dfg.nodes, depth, strict=True)}
        return routed_problem(self.dfg, self.fabric, wanted)


def _part(ii: int, parts: int) -> int:
    """A part of the II, but not much less than other parts of a small one."""
    return max(min(ii, 4), ii // parts)
