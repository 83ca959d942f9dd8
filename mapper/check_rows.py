"""Is a kernel mapping on the 64 x 4 row array legal? An independent reading of the array's rules.

The judge of a mapping: it knows the loop body, where each operation sits and which value each row register holds, and
nothing of how they came about. Rules 1-16 decide legality, one function each; rule 17, the share of a row's local
memory that each region gets, is reported apart by :func:`lmm_share_ok`.

The machine in one paragraph. Row r has units (r, 0..3), each with slots exe, cex, mop1 (load) and mop0 (load or store),
and registers BR[r][c][k]. An operation in row r reads registers of row r - 1, in a *folded* unit exe, cex and mop0 read
those of row r; row 0 reads row 63, where only host constants can wait. A result enters its home register in its own row
and moves on one row at a time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from mapper.dfg import Dfg, MemoryUse
from mapper.placement import KernelMapping
from mapper.violation import Violation

__all__ = ["check_rows", "hops", "lmm_share_ok", "rows_used"]

DEPTH, WIDTH, INDICES = 64, 4, 4
LMM_BYTES, WORD_BYTES = 128 * 1024, 4
SLOTS_OF = {"exe": {"exe"}, "cex": {"cex"}, "load": {"mop0", "mop1"}, "store": {"mop0"}}
HOME_INDEX = {"mop0": 0, "mop1": 1, "exe": 2}

Unit = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a node sits."""

    row: int
    column: int
    slot: str

    @property
    def unit(self) -> Unit:
        return self.row, self.column


@dataclass(frozen=True)
class _Case:
    """The mapping as tables."""

    mapping: KernelMapping

    @property
    def dfg(self) -> Dfg:
        return self.mapping.dfg

    @cached_property
    def seats(self) -> Mapping[int, Seat]:
        return {p.node: Seat(p.cycle, p.pe - WIDTH * p.cycle, p.slot) for p in self.mapping.placed}

    @cached_property
    def units(self) -> Mapping[Unit, Mapping[str, int]]:
        units: dict[Unit, dict[str, int]] = defaultdict(dict)
        for node, seat in self.seats.items():
            units[seat.unit][seat.slot] = node
        return units

    @cached_property
    def where(self) -> Mapping[tuple[str, int], set[tuple[int, int]]]:
        """(value, row) -> registers (column, index) that hold it."""
        held: dict[tuple[str, int], set[tuple[int, int]]] = defaultdict(set)
        for use in self.mapping.registers:
            held[use.value, use.row].add((use.column, use.index))
        return dict(held)

    def held(self, value: str, row: int) -> set[tuple[int, int]]:
        return self.where.get((value, row), set())

    def memory(self, node: int) -> MemoryUse | None:
        return self.dfg[node].memory

    def sources(self, node: int) -> list[int]:
        return [edge.src for edge in self.dfg.predecessors[node] if edge.distance == 0]

    def is_folded(self, node: int) -> bool:
        seat = self.seats[node]
        return seat.unit in self.mapping.folded and seat.slot != "mop1"

    def takes_data_in_unit(self, store: int) -> bool:
        """The store is fed by the exe slot of its own unit."""
        use = self.memory(store)
        if use is None or use.data is None or use.data not in self.seats:
            return False
        return self.dfg[use.data].kind == "exe" and self.seats[use.data].unit == self.seats[store].unit

    def operands(self, node: int) -> list[str]:
        """What the node must find in registers."""
        item, use = self.dfg[node], self.memory(node)
        if use is None:
            values = [str(s) for s in self.sources(node) if self.dfg[s].kind != "cex"]
            return values + [f"h{h}" for h in item.host]
        address = [str(v) for v in (use.base, use.offset) if v is not None]
        by_register = item.kind == "store" and not self.takes_data_in_unit(node)
        return address + ([str(use.data)] if by_register else [])

    def reads_from(self, node: int) -> int:
        row = self.seats[node].row
        return row if self.is_folded(node) else (row - 1) % DEPTH

    def is_marker(self, node: int) -> bool:
        alone = not self.dfg.predecessors[node] and not self.dfg.successors[node]
        return self.dfg[node].kind == "exe" and alone and not self.dfg[node].self_update


def check_rows(mapping: KernelMapping) -> tuple[Violation, ...]:
    """Every broken rule among 1-16; empty means legal. Later rules are not judged on a misplaced mapping."""
    case = _Case(mapping)
    misplaced = tuple(_rule_1(case))
    if misplaced:
        return misplaced
    return tuple(violation for rule in RULES for violation in rule(case))


def rows_used(mapping: KernelMapping) -> int:
    """Rows from row 0, where the loop counters sit, to the last used row."""
    return max((p.cycle for p in mapping.placed), default=0) + 1


def hops(mapping: KernelMapping) -> int:
    """(node value, row) pairs in registers; host constants do not count."""
    return len({(use.value, use.row) for use in mapping.registers if not use.value.startswith("h")})


def _rule_1(case: _Case) -> Iterator[Violation]:
    """Every node but a marker is placed once, inside the array, in a slot of its kind; registers exist."""
    count = Counter(p.node for p in case.mapping.placed)
    known = {node.id for node in case.dfg.nodes}
    for node in sorted(known | set(count)):
        if node not in known:
            yield Violation("rule 1", f"node {node}", "a place", "no such node in the body")
        elif count[node] != 1 and not (case.is_marker(node) and count[node] == 0):
            yield Violation("rule 1", f"node {node}", f"{count[node]} places", "1")
    for p in case.mapping.placed:
        if not (0 <= p.cycle < DEPTH and 0 <= p.pe - WIDTH * p.cycle < WIDTH):
            yield Violation("rule 1", f"node {p.node}", f"row {p.cycle}, PE {p.pe}", "row 0..63, PE 4 row + 0..3")
        elif p.node in known and p.slot not in SLOTS_OF[case.dfg[p.node].kind]:
            yield Violation("rule 1", f"node {p.node}", f"slot {p.slot}", f"a slot of a {case.dfg[p.node].kind}")
    for use in case.mapping.registers:
        inside = 0 <= use.row < DEPTH and 0 <= use.column < WIDTH and 0 <= use.index < INDICES
        name = use.value[1:] if use.value.startswith("h") else use.value
        real = name.isdecimal() and (use.value.startswith("h") or _has_result(case, int(name), count))
        if not (inside and real):
            found = f"BR[{use.row}][{use.column}][{use.index}]"
            yield Violation("rule 1", f"value {use.value}", found, "a register of the array and a value of the body")


def _has_result(case: _Case, node: int, placed: Mapping[int, int]) -> bool:
    return node in placed and case.dfg[node].kind in ("exe", "load")


def _rule_2(case: _Case) -> Iterator[Violation]:
    """One operation per slot of a unit."""
    for (row, column, slot), n in Counter((s.row, s.column, s.slot) for s in case.seats.values()).items():
        if n > 1:
            yield Violation("rule 2", f"{slot} of unit ({row}, {column})", f"{n} operations", "1")


def _rule_3(case: _Case) -> Iterator[Violation]:
    """The loop counters own the exe slots of (0, 0) and, with two levels, (0, 1)."""
    for column in range(case.dfg.loop_levels):
        node = case.units.get((0, column), {}).get("exe")
        if node is not None:
            yield Violation("rule 3", f"node {node}", f"exe of unit (0, {column})", "the loop counter's alone")


def _rule_4(case: _Case) -> Iterator[Violation]:
    """A user sits at least one row below its source, or in the row itself in three cases."""
    for node, seat in case.seats.items():
        for source in case.sources(node):
            gap = seat.row - case.seats[source].row
            least = 0 if _may_be_in_one_row(case, source, node) else 1
            if gap < least:
                yield Violation("rule 4", f"edge {source}->{node}", f"{gap} rows", f"at least {least}")


def _may_be_in_one_row(case: _Case, source: int, user: int) -> bool:
    kind, use = case.dfg[source].kind, case.memory(user)
    if kind == "cex":
        return True
    if kind == "load":
        return case.is_folded(user)
    is_data = use is not None and use.data == source and source not in (use.base, use.offset)
    return is_data and case.takes_data_in_unit(user)


def _rule_5(case: _Case) -> Iterator[Violation]:
    """Every operand waits in a register of the row that the node reads."""
    for node in case.seats:
        row = case.reads_from(node)
        for value in case.operands(node):
            if not case.held(value, row):
                yield Violation("rule 5", f"operand {value} of node {node}", "no register", f"one of row {row}")
    for host in case.dfg.loop_host:
        if not case.held(f"h{host}", DEPTH - 1):
            yield Violation("rule 5", f"constant h{host} of the loop counters", "no register", "one of row 63")


def _home(seat: Seat) -> tuple[int, int]:
    return seat.column, HOME_INDEX[seat.slot]


def _rules_6_7(case: _Case) -> Iterator[Violation]:
    """A result is at home in its own row, or nowhere; in a later row only if it was in the row before."""
    for (value, row), cells in sorted(case.where.items()):
        if value.startswith("h"):
            continue
        seat = case.seats[int(value)]
        if row < seat.row:
            yield Violation("rule 6", f"value {value}", f"in row {row}", f"not before row {seat.row}")
        elif row == seat.row and cells != {_home(seat)}:
            yield Violation("rule 6", f"value {value}", f"in {sorted(cells)}", f"at home in {_home(seat)}")
        elif row > seat.row and not case.held(value, row - 1):
            yield Violation("rule 7", f"value {value}", f"in row {row} but not in row {row - 1}", "no gap")


def _rule_8(case: _Case) -> Iterator[Violation]:
    """One value per register; a load owns its home even if nobody reads it."""
    owners: dict[tuple[int, int, int], set[str]] = defaultdict(set)
    for use in case.mapping.registers:
        owners[use.row, use.column, use.index].add(use.value)
    for node, seat in case.seats.items():
        if case.dfg[node].kind == "load":
            owners[(seat.row, *_home(seat))].add(str(node))
    for (row, column, index), values in sorted(owners.items()):
        if len(values) > 1:
            yield Violation("rule 8", f"BR[{row}][{column}][{index}]", f"values {sorted(values)}", "one value")


def _rule_9(case: _Case) -> Iterator[Violation]:
    """Nothing passes through a unit whose store takes its data from a register."""
    for node, seat in case.seats.items():
        if case.dfg[node].kind != "store" or case.takes_data_in_unit(node):
            continue
        for use in case.mapping.registers:
            foreign = not use.value.startswith("h") and case.seats[int(use.value)].row != use.row
            if foreign and (use.row, use.column) == seat.unit:
                yield Violation("rule 9", f"value {use.value}", f"passes unit {seat.unit}", "blocked by a store")


def _rule_10(case: _Case) -> Iterator[Violation]:
    """A condition and its users share a unit."""
    for node, seat in case.seats.items():
        for source in case.sources(node):
            if case.dfg[source].kind == "cex" and case.seats[source].unit != seat.unit:
                found = f"units {case.seats[source].unit} and {seat.unit}"
                yield Violation("rule 10", f"condition {source} of node {node}", found, "one unit")


def _rule_11(case: _Case) -> Iterator[Violation]:
    """A store in the row of the exe of its data is in the exe's unit."""
    for node, seat in case.seats.items():
        use = case.memory(node)
        if use is None or use.data is None or case.dfg[use.data].kind != "exe":
            continue
        other = case.seats[use.data]
        if other.row == seat.row and other.unit != seat.unit:
            yield Violation("rule 11", f"store {node}", f"unit {seat.unit}", f"unit {other.unit} of its data")


def _both_memory(case: _Case) -> Iterator[tuple[Unit, int, int]]:
    """Units whose two memory slots are taken: (unit, node in mop1, node in mop0)."""
    for unit, slots in sorted(case.units.items()):
        if "mop1" in slots and "mop0" in slots:
            yield unit, slots["mop1"], slots["mop0"]


def _rule_12(case: _Case) -> Iterator[Violation]:
    """Two register-fed bases, or offsets, of a unit come from one register index."""
    for unit, upper, lower in _both_memory(case):
        for part in ("base", "offset"):
            values = [getattr(case.memory(node), part) for node in (upper, lower)]
            if None in values:
                continue
            cells = [
                case.held(str(value), case.reads_from(node)) for node, value in zip((upper, lower), values, strict=True)
            ]
            if not cells[0] & cells[1]:
                yield Violation("rule 12", f"{part} selector of unit {unit}", f"{cells}", "one common register")


def _rule_13(case: _Case) -> Iterator[Violation]:
    """Two loads of a unit share the descriptor, a load and a store the region."""
    for unit, upper, lower in _both_memory(case):
        a, b = case.memory(upper), case.memory(lower)
        if a is None or b is None:
            continue
        same = a.descriptor == b.descriptor if case.dfg[lower].kind == "load" else a.region == b.region
        if not same:
            yield Violation("rule 13", f"unit {unit}", f"nodes {upper}, {lower} of different memory", "one memory")


def _descriptors(case: _Case, row: int) -> list[int | None]:
    """Per column the transfer descriptor of its memory operations, the mop0's first."""
    found: list[int | None] = []
    for column in range(WIDTH):
        slots = case.units.get((row, column), {})
        nodes = [slots[s] for s in ("mop0", "mop1") if s in slots]
        use = case.memory(nodes[0]) if nodes else None
        found.append(use.descriptor if use else None)
    return found


def _memory_groups(columns: list[int | None]) -> list[tuple[str, float]]:
    """Per column (group, share of the row's memory)."""
    if None not in columns and len(set(columns)) == 1:
        return [("row", 1.0)] * WIDTH
    result: list[tuple[str, float]] = []
    for left in (0, 2):
        mine, other = columns[left : left + 2], columns[2 - left : 4 - left]
        merged = mine[0] == mine[1] or None in mine
        alone = other == [None, None]
        for column in (left, left + 1):
            result.append((f"pair {left}", 1.0 if alone else 0.5) if merged else (f"column {column}", 0.25))
    return result


def _rule_14(case: _Case) -> Iterator[Violation]:
    """The operations of a stored region (with may_split its stores), or of one that an earlier run left in one row,
    share one row and one memory group."""
    users: dict[int, list[int]] = defaultdict(list)
    for node in case.seats:
        use = case.memory(node)
        if use is not None:
            users[use.region].append(node)
    splits = {region.id for region in case.dfg.regions if region.may_split}
    left = {region.id for region in case.dfg.regions if region.one_row}
    for region, nodes in sorted(users.items()):
        stores = [n for n in nodes if case.dfg[n].kind == "store"]
        bound = stores if region in splits else nodes if stores or region in left else []
        rows = sorted({case.seats[n].row for n in bound})
        if len(rows) > 1:
            yield Violation("rule 14", f"region {region}", f"rows {rows}", "one row")
        elif bound:
            groups = _memory_groups(_descriptors(case, rows[0]))
            names = sorted({groups[case.seats[n].column][0] for n in bound})
            if len(names) > 1:
                yield Violation("rule 14", f"region {region}", f"memory groups {names}", "one group")


def _rule_15(case: _Case) -> Iterator[Violation]:
    """A folded unit holds an exe and the store that is its only user; it reads no exe result of its own row."""
    for unit in case.mapping.folded:
        slots = case.units.get(unit, {})
        exe, store = slots.get("exe"), slots.get("mop0")
        if exe is None or store is None or not _is_only_user(case, exe, store):
            yield Violation(
                "rule 15", f"folded unit {unit}", f"{dict(slots)}", "an exe and the one store of its result"
            )
        if unit[0] == 0 and unit[1] < case.dfg.loop_levels:
            yield Violation("rule 15", f"folded unit {unit}", "a loop counter", "an ordinary exe")
        for node in slots.values():
            if not case.is_folded(node):
                continue
            for value in case.operands(node):
                fresh = not value.startswith("h") and case.dfg[int(value)].kind == "exe"
                if fresh and case.seats[int(value)].row == unit[0]:
                    yield Violation("rule 15", f"node {node}", f"reads exe {value} of its own row", "an older value")
        if exe is not None and any(value == str(exe) for value, _ in case.where):
            yield Violation("rule 15", f"folded exe {exe}", "its result in a register", "no register")


def _is_only_user(case: _Case, exe: int, store: int) -> bool:
    use = case.memory(store)
    users = {edge.dst for edge in case.dfg.successors[exe]}
    return (
        case.dfg[store].kind == "store"
        and use is not None
        and use.data == exe
        and exe not in (use.base, use.offset)
        and users == {store}
    )


def _rule_16(case: _Case) -> Iterator[Violation]:
    """The halves of an unaligned load share a unit, the named one in mop1; at most one LDDMQ per row."""
    for node, seat in case.seats.items():
        use = case.memory(node)
        if use is None or use.pair is None:
            continue
        other = case.seats[use.pair]
        if other.unit != seat.unit or (other.slot, seat.slot) != ("mop1", "mop0"):
            yield Violation("rule 16", f"load pair {use.pair}, {node}", f"{other}, {seat}", "mop1 and mop0 of a unit")
    quads = Counter(case.seats[n].row for n in case.seats if case.dfg[n].op == "LDDMQ")
    for row, count in sorted(quads.items()):
        if count > 1:
            yield Violation("rule 16", f"row {row}", f"{count} LDDMQ", "1")


RULES: tuple[Callable[[_Case], Iterator[Violation]], ...] = (
    _rule_2,
    _rule_3,
    _rule_4,
    _rule_5,
    _rules_6_7,
    _rule_8,
    _rule_9,
    _rule_10,
    _rule_11,
    _rule_12,
    _rule_13,
    _rule_14,
    _rule_15,
    _rule_16,
)


def lmm_share_ok(mapping: KernelMapping) -> bool | None:
    """Rule 17: every region has everywhere the share of a row's memory that it may need; None where not known."""
    case = _Case(mapping)
    regions = {region.id: region for region in case.dfg.regions}
    known = True
    for node, seat in case.seats.items():
        use = case.memory(node)
        if use is None:
            continue
        region = regions[use.region]
        enough = [region.share] if region.share is not None else []
        if region.words:
            bytes_needed = 2 * WORD_BYTES * region.words
            enough += [share for share in (0.25, 0.5, 1.0) if bytes_needed <= share * LMM_BYTES]
        if not enough:
            known = False
        elif _memory_groups(_descriptors(case, seat.row))[seat.column][1] < min(enough):
            return False
    return True if known else None
