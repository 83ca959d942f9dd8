"""Columns and slots of one row: which of its four units each operation takes.

The row's operations form *atoms*, sets that must share a unit: the halves of an unaligned load, a condition
with its users, a store with the exe of its data. Atoms with memory operations are laid out first, by depth-first
search over columns under rules 2, 3, 12, 13; a complete layout is accepted if the memory groups satisfy rule 14
and, where the share is enforced, rule 17. Exe and condition atoms fill what is left. The answer is exact: None
means that no layout exists. (In a folded unit the two address selectors may read different values at one
register index; that index is chosen later, by the register stage.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .rules import COLUMNS, HALF, QUARTER, WHOLE, Body

Place = tuple[int, str]  # column, slot
Layout = Mapping[int, Place]


@dataclass(frozen=True, slots=True)
class Atom:
    """Operations of one row that must share a unit; `column` is the one they are pinned to, if any."""

    nodes: tuple[int, ...]
    memory: tuple[int, ...]
    exe: int | None
    cex: int | None
    column: int | None


@dataclass(slots=True)
class Unit:
    """What a column holds so far."""

    exe: int | None = None
    cex: int | None = None
    memory: list[int] = field(default_factory=list)


def arrange(
    body: Body, nodes: Sequence[int], folded: frozenset[int], row: int, pins: Mapping[int, int] | None = None
) -> Layout | None:
    """A legal (column, slot) for each of the row's `nodes`, or None. `pins`: node -> column."""
    return next(layouts(body, nodes, folded, row, pins), None)


def layouts(
    body: Body, nodes: Sequence[int], folded: frozenset[int], row: int, pins: Mapping[int, int] | None = None
) -> Iterator[Layout]:
    """All legal layouts up to exchanging equal atoms, in a fixed order."""
    atoms = _atoms(body, nodes, pins or {})
    if atoms is None:
        return
    with_memory = sorted((a for a in atoms if a.memory), key=lambda a: _rank(body, a))
    others = sorted((a for a in atoms if not a.memory), key=lambda a: (a.column is None, a.cex is None, a.nodes))
    taken = body.dfg.loop_levels if row == 0 else 0
    units = [Unit(exe=-1) if c < taken else Unit() for c in range(COLUMNS)]
    yield from _lay(body, with_memory, others, units, folded)


def _rank(body: Body, atom: Atom) -> tuple[object, ...]:
    """Pinned first, then stores, then the rest by descriptor and address, so that equal loads are neighbours."""
    first = body.memory(atom.memory[0])
    stores = any(body.kind(i) == "store" for i in atom.memory)
    address = (first.descriptor, -1 if first.base is None else first.base, -1 if first.offset is None else first.offset)
    return atom.column is None, not stores, len(atom.memory) != 2, address, atom.nodes


def _atoms(body: Body, nodes: Sequence[int], pins: Mapping[int, int]) -> list[Atom] | None:
    here = set(nodes)
    parent = {i: i for i in nodes}

    def find(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i in nodes:
        partner = body.partner.get(i)
        bound = [partner] if partner is not None else []
        bound += [s for s in body.sources[i] if body.kind(s) == "cex"]
        if body.kind(i) == "store":
            data = body.memory(i).data
            bound += [data] if data is not None and body.kind(data) == "exe" else []
        for other in bound:
            if other in here:
                parent[find(i)] = find(other)
    found: dict[int, list[int]] = {}
    for i in nodes:
        found.setdefault(find(i), []).append(i)
    atoms = [_atom(body, tuple(sorted(members)), pins) for members in found.values()]
    return None if any(a is None for a in atoms) else [a for a in atoms if a is not None]


def _atom(body: Body, nodes: tuple[int, ...], pins: Mapping[int, int]) -> Atom | None:
    """The atom of `nodes`, or None if no unit can hold them together."""
    by_kind = {k: [i for i in nodes if body.kind(i) == k] for k in ("exe", "cex", "load", "store")}
    columns = {pins[i] for i in nodes if i in pins}
    memory = by_kind["store"] + by_kind["load"]
    crowded = max(len(by_kind["exe"]), len(by_kind["cex"]), len(by_kind["store"]), len(memory) - 1, len(columns))
    if crowded > 1:
        return None
    exe, cex = (by_kind[k][0] if by_kind[k] else None for k in ("exe", "cex"))
    return Atom(nodes, tuple(memory), exe, cex, next(iter(columns), None))


def _lay(
    body: Body, atoms: list[Atom], others: list[Atom], units: list[Unit], folded: frozenset[int]
) -> Iterator[Layout]:
    """Depth-first over the memory atoms, then the remaining ones."""
    if not atoms:
        if _groups_are_legal(body, units):
            yield from _fill(body, others, units)
        return
    atom, rest = atoms[0], atoms[1:]
    for column in _candidates(body, atom, units, folded):
        _put(units[column], atom)
        yield from _lay(body, rest, others, units, folded)
        _take(units[column], atom)


def _candidates(body: Body, atom: Atom, units: list[Unit], folded: frozenset[int]) -> list[int]:
    """Columns that can take the atom, one per class of columns that are still interchangeable."""
    found, seen = [], set()
    for column, unit in enumerate(units):
        if atom.column not in (None, column) or not _fits(body, atom, unit, folded):
            continue
        pair = units[column ^ 1]
        empty_pair = not unit.memory and not pair.memory and unit.exe is None and pair.exe is None
        mark = "empty pair" if empty_pair and unit.cex is None and pair.cex is None else column
        if atom.column is not None or mark not in seen:
            found.append(column)
        seen.add(mark)
    # Filling a unit that already holds a matching operation keeps other columns, and so other regions, free.
    return sorted(found, key=lambda c: (not units[c].memory, c))


def _fits(body: Body, atom: Atom, unit: Unit, folded: frozenset[int]) -> bool:
    if (atom.exe is not None and unit.exe is not None) or (atom.cex is not None and unit.cex is not None):
        return False
    if len(unit.memory) + len(atom.memory) > 2:
        return False
    if unit.memory and unit.memory[0] in body.partner:
        return False
    is_folded = any(e in folded for e in (atom.exe, unit.exe) if e is not None)
    return all(body.may_share_unit(a, b, folded=is_folded) for a in atom.memory for b in unit.memory)


def _put(unit: Unit, atom: Atom) -> None:
    unit.exe = atom.exe if atom.exe is not None else unit.exe
    unit.cex = atom.cex if atom.cex is not None else unit.cex
    unit.memory.extend(atom.memory)


def _take(unit: Unit, atom: Atom) -> None:
    unit.exe = None if atom.exe is not None else unit.exe
    unit.cex = None if atom.cex is not None else unit.cex
    del unit.memory[len(unit.memory) - len(atom.memory) :]


def _fill(body: Body, others: list[Atom], units: list[Unit]) -> Iterator[Layout]:
    """Places atoms without memory operations; the first layout found stands for all (they differ by names only)."""
    if not others:
        yield _layout(body, units)
        return
    atom, rest = others[0], others[1:]
    for column in _exe_columns(atom, units):
        _put(units[column], atom)
        found = next(_fill(body, rest, units), None)
        _take(units[column], atom)
        if found is not None:
            yield found
            return


def _exe_columns(atom: Atom, units: list[Unit]) -> list[int]:
    free = [
        c
        for c, unit in enumerate(units)
        if atom.column in (None, c)
        and (atom.exe is None or unit.exe is None)
        and (atom.cex is None or unit.cex is None)
    ]
    # An exe keeps away from a unit whose store reads a register: nothing passes there, so its home is the better use.
    return sorted(free, key=lambda c: (len(units[c].memory), c))


def _layout(body: Body, units: list[Unit]) -> Layout:
    placed: dict[int, Place] = {}
    for column, unit in enumerate(units):
        if unit.exe is not None and unit.exe >= 0:
            placed[unit.exe] = column, "exe"
        if unit.cex is not None:
            placed[unit.cex] = column, "cex"
        placed.update({i: (column, slot) for i, slot in _memory_slots(body, unit.memory)})
    return placed


def _memory_slots(body: Body, memory: list[int]) -> list[tuple[int, str]]:
    """mop0 takes a store, the half of a pair that names the other, or the second of two loads."""
    bound = [i for i in memory if body.kind(i) == "store" or body.memory(i).pair is not None]
    order = [i for i in memory if i not in bound] + bound
    return list(zip(order, ("mop1", "mop0"), strict=False)) if order != bound else [(i, "mop0") for i in bound]


# ---- local memory groups (rules 14, 17)


def groups_and_shares(descriptors: Sequence[int | None]) -> list[tuple[object, int]]:
    """Per column (memory group, quarters of the row's memory) for the columns' transfer descriptors."""
    merged = [None in descriptors[p : p + 2] or descriptors[p] == descriptors[p + 1] for p in (0, 2)]
    used = [any(d is not None for d in descriptors[p : p + 2]) for p in (0, 2)]
    found: list[tuple[object, int]] = []
    for column in range(COLUMNS):
        pair = column // 2
        if not merged[pair]:
            found.append((column, QUARTER))
        elif not used[1 - pair]:
            found.append((("pair", pair), WHOLE))
        elif None not in descriptors and len(set(descriptors)) == 1:
            found.append(("row", WHOLE))
        else:
            found.append((("pair", pair), HALF))
    return found


def descriptor(body: Body, memory: Sequence[int]) -> int | None:
    """Transfer descriptor of a unit: its mop0's, which is a store's where there is one."""
    if not memory:
        return None
    stores = [i for i in memory if body.kind(i) == "store"]
    return body.memory((stores or list(memory))[0]).descriptor


def _groups_are_legal(body: Body, units: list[Unit]) -> bool:
    spread = groups_and_shares([descriptor(body, unit.memory) for unit in units])
    group_of_region: dict[int, object] = {}
    for unit, (group, share) in zip(units, spread, strict=True):
        for i in unit.memory:
            region = body.memory(i).region
            if share < body.need(i):
                return False
            if i in body.bound_operations and group_of_region.setdefault(region, group) != group:
                return False
    return True
