"""Row after row from the last one upwards, over all sets of operations that can be placed so far.

Of the rows below a row only three things matter to it: which nodes are placed, how many registers of the row they
leave, and how many rows remain. So all plans of a fixed number of rows can be searched level by level: a level holds
the sets of placed nodes that the rows from r to the last can have, each once, with the most registers left. Where rows
leave few slots free there are few such sets, whatever the size of the body, and an empty level refutes the row count.
Where there are too many, only the best of a level are kept, which is a beam search: it may find a plan, and refutes
nothing.

What is asked is wider than the row model (:mod:`.rows`), so that a refutation holds for every legal placement:

* Slots: 4 exe and 4 cex a row, memory columns as :class:`.memory.ColumnCount` has them.
* Registers of row r: values that are placed in r or above and read below, values read in r itself where folding is
  forced, homes of loads, and constants that row r + 1 surely reads there: at most 16. Stores may read registers
  without a price; what may be folded, or not, does what costs less (:mod:`.parts`).
* Room above: of the exe nodes whose head is h or more, no more are left than the rows from h on have slots.

Two arguments thin out the sets without losing a row count. Like parts keep their order (:mod:`.dominance`). And a load
whose users are all placed goes into the first row with room for it: moved down to there, it frees a register of each
row it passes and holds at most one address there instead. So loads are no choice unless memory columns run short, and
then loads of one class and address are interchangeable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .parts import Mask, Part, Parts
from .rules import COLUMNS, REGISTERS

EXE_WORTH = 1.5  # values alive that one more placed exe node outweighs
PARTS_PER_STEP, ROWS_PER_STEP, STEPS_PER_LOADED = 8, 4, 2  # what looking for parts, passing rows over, and loads cost
OVERFLOW = 8  # a level is narrowed as soon as it is so many times too wide
UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a search may go: `width` sets a level; a level that is wider is cut (`beam`) or ends the search; `steps`
    in all, a step being about one row in the making, which a beam shares out among the levels that are left;
    `stopped` says that an end is asked for from outside."""

    width: int
    steps: int
    beam: bool = False
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Levels:
    """What became of a search: `row_of` if a plan of the wider problem was found; `steps` is what it cost."""

    status: Literal["found", "refuted", "unknown"]
    row_of: Mapping[int, int] | None
    steps: int


def search_levels(parts: Parts, rows: int, extent: Extent) -> Levels:
    """Is there a plan of `rows` rows?"""
    return _Search(parts, rows, extent).run()


class _State(NamedTuple):
    """Rows so far: what the row above must hold, how many of its registers are left for more, and the state before."""

    live: Mask
    left: int
    before: Mask


class _Row(NamedTuple):
    """A row in the making: its nodes, what it uses, and what the row above must then hold."""

    nodes: Mask
    live: Mask
    hosts: Mask
    own_row: Mask = 0
    conditions: int = 0
    memory: Mask = 0


_EMPTY = _Row(0, 0, 0)


@dataclass
class _Search:
    parts: Parts
    rows: int
    extent: Extent
    steps: int = 0
    pause: int = 0  # steps after which a beam leaves the rest of a level
    is_cut: bool = False  # a level was too wide, so that an empty one refutes nothing
    _columns: dict[Mask, int] = field(default_factory=dict)

    def run(self) -> Levels:
        levels: list[dict[Mask, _State]] = [{0: _State(0, REGISTERS, 0)}]
        for row in reversed(range(self.rows)):
            self.pause = self.steps + (self.extent.steps - self.steps) // (row + 1)
            levels.append(self._narrowed(self._next(levels[-1], row)))
            if self._is_over():
                return Levels("unknown", None, self.steps)
            if not levels[-1]:
                return Levels("unknown" if self.is_cut else "refuted", None, self.steps)
        return Levels("found", self._row_of(levels), self.steps)

    def _is_over(self) -> bool:
        given_up = self.is_cut and not self.extent.beam
        return given_up or self.steps > self.extent.steps or self.extent.stopped()

    def _next(self, level: Mapping[Mask, _State], row: int) -> dict[Mask, _State]:
        """All sets that `row` can lead to; of one set, the state with the most registers left."""
        found: dict[Mask, _State] = {}
        least = 0 if row else self.parts.everything
        for placed, state in level.items():
            if len(found) > OVERFLOW * self.extent.width:
                found = self._narrowed(found)
            if self.extent.beam and self.steps > self.pause:
                self.is_cut = True
                break
            if self._is_over():
                break
            needed = self._needed(placed, row)
            if needed is None:
                continue
            for made in self._rows(placed, state, row, needed):
                left = REGISTERS - made.live.bit_count() - made.hosts.bit_count() if row else 0
                key = placed | made.nodes
                known = found.get(key)
                if left >= 0 and not least & ~key and (known is None or known.left < left):
                    found[key] = _State(made.live, left, placed)
        return found

    def _narrowed(self, level: dict[Mask, _State]) -> dict[Mask, _State]:
        """The best of a level that is too wide, best first: many exe nodes placed, few values alive."""
        if len(level) <= self.extent.width and not self.extent.beam:
            return level
        self.is_cut |= len(level) > self.extent.width
        exes = self.parts.heads[0][2]

        def cost(placed: Mask) -> tuple[float, Mask]:
            return level[placed].live.bit_count() - EXE_WORTH * (placed & exes).bit_count(), placed

        return {placed: level[placed] for placed in sorted(level, key=cost)[: self.extent.width]}

    def _needed(self, placed: Mask, row: int) -> int | None:
        """Exe nodes that this row must take, so that the rest fits above; None if it cannot."""
        needed = 0
        for head, nodes, exes in self.parts.heads:
            if head > row and nodes & ~placed:
                return None
            needed = max(needed, (exes & ~placed).bit_count() - self.parts.free_slots(head, row - 1))
        return needed if needed <= self.parts.free_slots(row, row) else None

    def _rows(self, placed: Mask, state: _State, row: int, needed: int) -> Iterator[_Row]:
        """Every choice of nodes for `row`: the parts that have a choice, then as many free loads as fit beside them."""
        open_parts = [p for p in self.parts.listed if not p.nodes & placed and not p.below & ~placed]
        self.steps += len(self.parts.listed) // PARTS_PER_STEP
        loads, parts = [p for p in open_parts if p.is_free], [p for p in open_parts if not p.is_free]
        bare = _EMPTY._replace(live=state.live)
        every = self._with(bare, loads)  # more loads never leave more values alive
        for made in self._chosen(placed, state, row, needed, parts, every.live):
            if self._taken(made.memory | every.memory) <= COLUMNS:
                yield _Row(made.nodes | every.nodes, made.live, made.hosts) if loads else made
            else:
                yield from self._some_loads(self._with(bare, [p for p in parts if p.nodes & made.nodes]), loads)

    def _chosen(
        self, placed: Mask, state: _State, row: int, needed: int, parts: Sequence[Part], live: Mask
    ) -> Iterator[_Row]:
        """Sets of `parts` with the `needed` exe nodes or more, kept apart by how many they have; `live` are values
        that they find alive, after loads."""
        slots = self.parts.free_slots(row, row)
        made: list[list[_Row]] = [[_EMPTY._replace(live=live)], *([] for _ in range(slots))]
        exes, others = sum(p.exes for p in parts), sum(p.nodes.bit_count() - p.exes for p in parts)
        for part in parts:
            exes, others = exes - part.exes, others - part.nodes.bit_count() + part.exes
            lacking = part.level & ~placed
            for count in range(slots, part.exes - 1, -1):
                ending = REGISTERS + slots - count + others if row else UNLIMITED  # values that may be alive as yet
                before = made[count - part.exes]
                more = [
                    _Row(m.nodes | part.nodes, live, hosts, m.own_row | part.own_row,
                         m.conditions + part.conditions, m.memory | part.memory)
                    for m in before
                    if not lacking & ~m.nodes
                    and (live := (m.live | part.reads) & ~(m.nodes | part.nodes)).bit_count()
                    + (hosts := m.hosts | part.hosts).bit_count()
                    <= ending
                ]  # fmt: skip
                if part.own_row or part.conditions or part.memory:
                    more = [m for m in more if self._fits(m, state)]
                self.steps += len(before) // ROWS_PER_STEP + len(more)
                made[count] += more
            for short in range(min(needed - exes, slots + 1)):
                made[short] = []
        for rows in made[max(0, needed) :]:
            yield from rows

    def _fits(self, row: _Row, state: _State) -> bool:
        """What the row itself must hold has registers, and its conditions and memory operations have units."""
        held = (row.own_row & ~state.live).bit_count()
        return held <= state.left and row.conditions <= COLUMNS and self._taken(row.memory) <= COLUMNS

    @staticmethod
    def _wider(row: _Row, part: Part) -> _Row:
        """The row with one more part."""
        nodes = row.nodes | part.nodes
        return _Row(
            nodes,
            (row.live | part.reads) & ~nodes,
            row.hosts | part.hosts,
            row.own_row | part.own_row,
            row.conditions + part.conditions,
            row.memory | part.memory,
        )

    def _taken(self, memory: Mask) -> int:
        """Memory columns, remembered."""
        found = self._columns.get(memory)
        if found is None:
            found = self._columns[memory] = self.parts.columns.of(self.parts.nodes(memory))
        return found

    def _some_loads(self, row: _Row, loads: Sequence[Part]) -> Iterator[_Row]:
        """Every choice of free loads to which none can be added; loads of one class that read the same are
        interchangeable."""
        alike: dict[tuple[int, Mask], list[Part]] = defaultdict(list)
        for part in loads:
            alike[part.columns_class, part.reads].append(part)
        made: list[tuple[_Row, tuple[Part, ...]]] = [(row, ())]  # and the next load of each class that was left
        for parts in alike.values():
            made = [
                (wider, (*left, *parts[n : n + 1]))
                for m, left in made
                for n in range(len(parts) + 1)
                if self._taken((wider := self._with(m, parts[:n])).memory) <= COLUMNS
            ]
            self.steps += STEPS_PER_LOADED * (1 + len(made))
        for m, left in made:
            if all(self._taken(m.memory | part.memory) > COLUMNS for part in left):
                yield m

    def _with(self, row: _Row, parts: Sequence[Part]) -> _Row:
        for part in parts:
            row = self._wider(row, part)
        return row

    def _row_of(self, levels: Sequence[Mapping[Mask, _State]]) -> dict[int, int]:
        """Rows of a plan, from the one state of the last level back."""
        found: dict[int, int] = {}
        placed = next(iter(levels[-1]))
        for row, level in enumerate(reversed(levels[1:])):
            before = level[placed].before
            found |= dict.fromkeys(self.parts.nodes(placed & ~before), row)
            placed = before
        return found
