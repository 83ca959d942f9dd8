"""Stage 2b: the register routing of a plan whose columns are known.

Home registers are fixed by slots, so only passing values and host constants choose. They choose freely inside a
row, because any of the 16 registers of a row reads any of the row before; a unit whose store reads a register
blocks its transit paths, so constants fill that unit first and passing values take the rest. Rows are coupled in
one case: in a folded unit whose two memory operations take the same address part from registers, mop1 reads
BR[r - 1] and mop0 BR[r] at one index (rule 12), so the two values are *tied* to one (column, k) in successive rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mapper.placement import RegisterUse

from .columns import Layout
from .rows import RowPlan
from .rules import COLUMNS, ROWS, Body

Cell = tuple[int, int]  # column, k
HOME_K = {"mop1": 1, "mop0": 0, "exe": 2}
CELLS: tuple[Cell, ...] = tuple((c, k) for c in range(COLUMNS) for k in range(4))


@dataclass(frozen=True, slots=True)
class Stuck:
    """Registers of `row` cannot be assigned with the given columns."""

    row: int


@dataclass(frozen=True, slots=True)
class Tie:
    """In `row` a folded unit's mop0 reads `lower` where its mop1 reads `upper` in the row before."""

    row: int
    upper: int
    lower: int


def depth(plan: RowPlan) -> int:
    """Rows of the array; a first plan that is too long sees a longer one."""
    return max(ROWS, plan.rows)


def read_row(body: Body, plan: RowPlan, i: int) -> int:
    """Row whose registers node i reads, -1 for row 63 seen from row 0. A mop1 load never reads its own row."""
    exe = body.fold_of.get(i)
    return plan.row_of[i] - (0 if exe in plan.folded else 1)


def is_direct(body: Body, plan: RowPlan, store: int) -> bool:
    """The store takes its data from the exe of its own unit."""
    data = body.memory(store).data
    return data is not None and body.kind(data) == "exe" and plan.row_of[data] == plan.row_of[store]


def last_read(body: Body, plan: RowPlan, value: int) -> int:
    """Last row in whose registers the value is needed; -1 if none is."""
    rows = [
        read_row(body, plan, r.user)
        for r in body.reads_of[value]
        if not (r.distance == 0 and plan.row_of[r.user] == plan.row_of[value])
    ]
    return max(rows, default=-1)


def count_hops(body: Body, plan: RowPlan) -> int:
    """(value, row) pairs held in registers."""
    return sum(max(0, last_read(body, plan, v) - plan.row_of[v] + 1) for v in body.values)


def excess(body: Body, plan: RowPlan) -> dict[int, int]:
    """Row -> registers that it lacks, for the rows that lack any."""
    demand = _Demand.of(body, plan)
    held: dict[int, int] = defaultdict(int)
    for per_row in (demand.fresh, demand.passing, demand.hosts):
        for row, items in per_row.items():
            held[row] += len(items)
    for i in body.values:
        held[plan.row_of[i]] += body.kind(i) == "load" and last_read(body, plan, i) < plan.row_of[i]
    return {row: count - len(CELLS) for row, count in sorted(held.items()) if count > len(CELLS)}


def route(body: Body, plan: RowPlan, layouts: Mapping[int, Layout]) -> tuple[RegisterUse, ...] | Stuck:
    """Registers for every value and host constant, or the row where none are left."""
    demand = _Demand.of(body, plan)
    ties = _ties(body, plan, layouts)
    uses: list[RegisterUse] = []
    reserved: dict[int, dict[int, Cell]] = defaultdict(dict)
    before: dict[str, Cell] = {}
    for row in range(depth(plan)):
        found = _route_row(body, plan, layouts, demand, ties, reserved, row, before)
        if found is None:
            return Stuck(row)
        uses += [RegisterUse(value, row, c, k) for value, (c, k) in found.items()]
        before = found
    return tuple(sorted(uses))


@dataclass(frozen=True)
class _Demand:
    """Per row: values to hold (home or passing) and host constants to hold."""

    fresh: Mapping[int, tuple[int, ...]]
    passing: Mapping[int, tuple[int, ...]]
    hosts: Mapping[int, tuple[int, ...]]

    @staticmethod
    def of(body: Body, plan: RowPlan) -> _Demand:
        fresh: dict[int, list[int]] = defaultdict(list)
        passing: dict[int, list[int]] = defaultdict(list)
        for value in body.values:
            end = last_read(body, plan, value)
            for row in range(plan.row_of[value], end + 1):
                (fresh if row == plan.row_of[value] else passing)[row].append(value)
        hosts: dict[int, set[int]] = defaultdict(set)
        for i, constants in body.hosts.items():
            hosts[read_row(body, plan, i) % depth(plan)].update(constants)
        hosts[depth(plan) - 1].update(body.dfg.loop_host)
        return _Demand(
            {r: tuple(v) for r, v in fresh.items()},
            {r: tuple(v) for r, v in passing.items()},
            {r: tuple(sorted(h)) for r, h in hosts.items()},
        )


def _home(plan: RowPlan, layouts: Mapping[int, Layout], value: int) -> Cell:
    column, slot = layouts[plan.row_of[value]][value]
    return column, HOME_K[slot]


def _ties(body: Body, plan: RowPlan, layouts: Mapping[int, Layout]) -> dict[int, list[Tie]]:
    """Ties of folded units, by row."""
    found: dict[int, list[Tie]] = defaultdict(list)
    for exe in sorted(plan.folded):
        store, row = body.store_of[exe], plan.row_of[exe]
        column = layouts[row][store][0]
        load = next((i for i, place in layouts[row].items() if place == (column, "mop1")), None)
        if load is None:
            continue
        for upper, lower in (
            (body.memory(load).base, body.memory(store).base),
            (body.memory(load).offset, body.memory(store).offset),
        ):
            if upper is not None and lower is not None:
                found[row].append(Tie(row, upper, lower))
    return found


def _blocked_columns(body: Body, plan: RowPlan, layout: Layout) -> set[int]:
    return {column for i, (column, _) in layout.items() if body.kind(i) == "store" and not is_direct(body, plan, i)}


def _owned(body: Body, plan: RowPlan, layouts: Mapping[int, Layout], demand: _Demand, row: int) -> set[Cell]:
    """Home registers in use; a load owns its home even unread."""
    loads = [i for i in layouts.get(row, {}) if body.kind(i) == "load"]
    return {_home(plan, layouts, v) for v in (*demand.fresh.get(row, ()), *loads)}


def _route_row(
    body: Body,
    plan: RowPlan,
    layouts: Mapping[int, Layout],
    demand: _Demand,
    ties: Mapping[int, list[Tie]],
    reserved: dict[int, dict[int, Cell]],
    row: int,
    before: Mapping[str, Cell],
) -> dict[str, Cell] | None:
    blocked = _blocked_columns(body, plan, layouts.get(row, {}))
    free = [cell for cell in CELLS if cell not in _owned(body, plan, layouts, demand, row)]
    transit = [cell for cell in free if cell[0] not in blocked]
    cells = {str(v): _home(plan, layouts, v) for v in demand.fresh.get(row, ())}
    chosen: dict[int, Cell] = {}
    if not all(_take_cell(v, cell, transit, chosen) for v, cell in reserved[row].items() if str(v) not in cells):
        return None
    for tie in ties.get(row + 1, ()):
        below = _free_below(body, plan, layouts, demand, reserved, tie)
        at = cells.get(str(tie.upper)) or chosen.get(tie.upper)
        options = [at] if at else [cell for cell in transit if cell in below]
        if not options or options[0] not in below or not (at or _take_cell(tie.upper, options[0], transit, chosen)):
            return None
        reserved[tie.row][tie.lower] = options[0]
    passing = [v for v in demand.passing.get(row, ()) if v not in chosen]
    hosts = demand.hosts.get(row, ())
    for v in sorted(passing, key=lambda v: before.get(str(v)) not in transit):
        if not transit:
            return None
        kept = before.get(str(v))
        _take_cell(v, kept if kept in transit else transit[-1], transit, chosen)
    left = [cell for cell in free if cell[0] in blocked] + transit
    if len(hosts) > len(left):
        return None
    cells.update({str(v): cell for v, cell in chosen.items()})
    cells.update({f"h{host}": cell for host, cell in zip(hosts, left, strict=False)})
    return cells


def _take_cell(value: int, cell: Cell | None, free: list[Cell], chosen: dict[int, Cell]) -> bool:
    if cell not in free or cell is None:
        return False
    free.remove(cell)
    chosen[value] = cell
    return True


def _free_below(
    body: Body,
    plan: RowPlan,
    layouts: Mapping[int, Layout],
    demand: _Demand,
    reserved: Mapping[int, Mapping[int, Cell]],
    tie: Tie,
) -> Iterable[Cell]:
    """Registers of the tie's row that may hold its lower value."""
    if plan.row_of[tie.lower] == tie.row:
        return [_home(plan, layouts, tie.lower)]
    known = reserved[tie.row].get(tie.lower)
    if known is not None:
        return [known]
    blocked = _blocked_columns(body, plan, layouts[tie.row])
    taken = _owned(body, plan, layouts, demand, tie.row) | set(reserved[tie.row].values())
    return [cell for cell in CELLS if cell not in taken and cell[0] not in blocked]
