"""Loop bodies on the row array: the fewest rows, over every place of every node, from the benchmark's rules.

Registers are counted, not assigned: of the 16 of a row, homes of results and the constants read there are taken, values
that pass need one outside of units whose store takes its data from a register; where the counts hold, registers can be
given. The instances have no register-fed address of a store, no load pairs and no shares of local memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region

__all__ = ["fewest_rows", "instance"]

SLOTS = {"exe": ("exe",), "cex": ("cex",), "load": ("mop1", "mop0"), "store": ("mop0",)}
Seat = tuple[int, int, str]  # row, column, slot
Seats = dict[int, Seat]


def instance(seed: int) -> Dfg:
    """A random body of three or four nodes with loads, stores, conditions, constants and shared regions."""
    draw = random.Random(seed)
    nodes: list[Node] = []
    edges: list[Edge] = []
    regions = draw.randint(1, 3)
    values: list[int] = []
    count, conditions = draw.randint(3, 4), 0
    for number in range(count):
        kind = draw.choice(("exe", "exe", "load", "load", "store", "cex")) if values else draw.choice(("exe", "load"))
        if kind == "cex" and (conditions or number > count - 2):
            kind = "exe"
        node, feeds = _drawn(draw, number, kind, values, draw.randrange(regions))
        nodes.append(node)
        edges += [Edge(source, number, 0, operand) for operand, source in enumerate(dict.fromkeys(feeds))]
        if kind in ("exe", "load"):
            values.append(number)
        conditions += kind == "cex"
    nodes, edges = _conditioned(draw, nodes, edges)
    return Dfg(f"rows{seed}", tuple(nodes), tuple(edges), tuple(Region(i) for i in range(regions)),
               loop_levels=draw.choice((1, 1, 2)))  # fmt: skip


def _drawn(draw: random.Random, number: int, kind: str, values: list[int], region: int) -> tuple[Node, list[int]]:
    if kind == "load":
        base = draw.choice(values) if values and draw.random() < 0.3 else None
        use = MemoryUse(region, descriptor=region, base=base)
        return Node(number, "LDR", "load", memory=use), [] if base is None else [base]
    if kind == "store":
        data = draw.choice(values)
        return Node(number, "STR", "store", memory=MemoryUse(region, descriptor=region, data=data)), [data]
    host = tuple(draw.sample(range(3), draw.choice((0, 0, 0, 1, 2))))
    feeds = draw.sample(values, min(len(values), draw.randint(0, 2)))
    if kind == "cex":
        return Node(number, "CEX", "cex", host=host), feeds
    return Node(number, "ADD", "exe", host=host, self_update=not feeds), feeds


def _conditioned(draw: random.Random, nodes: list[Node], edges: list[Edge]) -> tuple[list[Node], list[Edge]]:
    """Every condition gets one later exe or store that it governs; one without is made an exe that counts."""
    for condition in [n for n in nodes if n.kind == "cex"]:
        later = [n for n in nodes if n.id > condition.id and n.kind in ("exe", "store")]
        if later:
            edges = [*edges, Edge(condition.id, draw.choice(later).id, 0, 9)]
        else:
            nodes = [Node(n.id, "ADD", "exe", host=n.host, self_update=True) if n is condition else n for n in nodes]
    return nodes, edges


def fewest_rows(body: Dfg, most: int) -> int | None:
    """The fewest rows up to `most`; None if there is no placement."""
    return next((rows for rows in range(1, most + 1) if any(True for _ in _placements(body, rows))), None)


def _placements(body: Dfg, rows: int) -> Iterator[Seats]:
    order = [node.id for node in body.nodes]

    def extended(seats: Seats) -> Iterator[Seats]:
        if len(seats) == len(order):
            if any(_legal(body, seats, folded) for folded in _foldings(body, seats)):
                yield seats
            return
        node = order[len(seats)]
        for seat in _candidates(body, rows, node, seats):
            yield from extended({**seats, node: seat})

    return extended({})


def _candidates(body: Dfg, rows: int, node: int, seats: Seats) -> Iterator[Seat]:
    """Free slots of the node's kind that are below its sources and share the unit of a condition."""
    sources = _sources(body, node)
    first = max((seats[s][0] + _rows_between(body, s, node) for s in sources), default=0)
    only = _row_of_region(body, node, seats)
    taken = set(seats.values()) | {(0, column, "exe") for column in range(body.loop_levels)}
    for row in range(first, rows):
        if only not in (None, row):
            continue
        for column in _columns(body, row, seats):
            if any(body[s].kind == "cex" and seats[s][:2] != (row, column) for s in sources):
                continue
            for slot in SLOTS[body[node].kind]:
                if (row, column, slot) not in taken:
                    yield row, column, slot


def _rows_between(body: Dfg, source: int, node: int) -> int:
    """Rows that a value passes at least: none from a condition, into a store, or into an exe that may be folded."""
    users = _users(body, node)
    folds = body[node].kind == "exe" and len(users) == 1 and body[next(iter(users))].kind == "store"
    return 0 if body[source].kind == "cex" or body[node].kind == "store" or folds else 1


def _columns(body: Dfg, row: int, seats: Seats) -> Iterator[int]:
    """Columns of a row to try: all in use, and one of each kind of the others.

    The rules tie columns of one row only, and know of each which one it is paired with; so two columns that are free,
    as their partners are, and alike in what the loop counters occupy, lead to the same placements.
    """
    used = {column for r, column, _ in seats.values() if r == row}
    shut = set(range(body.loop_levels)) if row == 0 else set()
    kinds = set()
    for column in range(4):
        partner = column ^ 1
        kind = (column if {column, partner} & used else None, column in shut, partner in shut)
        if kind not in kinds:
            kinds.add(kind)
            yield column


def _row_of_region(body: Dfg, node: int, seats: Seats) -> int | None:
    """The row in which a region that is stored to must stay, once one of its operations is placed."""
    use = body[node].memory
    if use is None:
        return None
    sharing = [n for n in body.nodes if n.memory is not None and n.memory.region == use.region]
    if all(n.kind != "store" for n in sharing):
        return None
    return next((seats[n.id][0] for n in sharing if n.id in seats), None)


def _sources(body: Dfg, node: int) -> list[int]:
    return [e.src for e in body.edges if e.dst == node]


def _users(body: Dfg, node: int) -> set[int]:
    return {e.dst for e in body.edges if e.src == node}


def _foldings(body: Dfg, seats: Seats) -> Iterator[frozenset[tuple[int, int]]]:
    """Every set of units that may be folded: a store of the own exe's result that nothing else uses."""
    may = []
    for store in (n for n in body.nodes if n.kind == "store"):
        exe = _data(body, store.id)
        own = body[exe].kind == "exe" and seats[exe][:2] == seats[store.id][:2]
        row, column, _ = seats[store.id]
        if own and _users(body, exe) == {store.id} and not (row == 0 and column < body.loop_levels):
            may.append((row, column))
    for count in range(len(may) + 1):
        for chosen in combinations(may, count):
            yield frozenset(chosen)


def _data(body: Dfg, store: int) -> int:
    use = body[store].memory
    assert use is not None and use.data is not None
    return use.data


def _legal(body: Dfg, seats: Seats, folded: frozenset[tuple[int, int]]) -> bool:
    return _memories_agree(body, seats) and _stores_beside(body, seats) and _registers_suffice(body, seats, folded)


def _stores_beside(body: Dfg, seats: Seats) -> bool:
    """A store in the row of the exe of its data is in its unit."""
    for store in (n.id for n in body.nodes if n.kind == "store"):
        exe = _data(body, store)
        if body[exe].kind == "exe" and seats[exe][0] == seats[store][0] and seats[exe][1] != seats[store][1]:
            return False
    return True


def _memories_agree(body: Dfg, seats: Seats) -> bool:
    """Both operations of a unit use one memory and base; a stored region lives in one row and one group."""
    uses = {n.id: n.memory for n in body.nodes if n.memory is not None}
    at = {seats[n]: n for n in uses}
    for (row, column, slot), node in at.items():
        other = at.get((row, column, "mop1")) if slot == "mop0" else None
        if other is not None:
            if uses[node].region != uses[other].region:
                return False
            bases = {uses[node].base, uses[other].base}
            if None not in bases and len(bases) > 1:
                return False
    for region in {uses[n].region for n in uses if body[n].kind == "store"}:
        places = {(seats[n][0], _group(seats, uses, seats[n])) for n in uses if uses[n].region == region}
        if len(places) > 1:
            return False
    return True


def _group(seats: Seats, uses: dict[int, MemoryUse], seat: Seat) -> str:
    """The part of its row's local memory that a column uses."""
    row, column, _ = seat
    columns = [{uses[n].descriptor for n in uses if seats[n][:2] == (row, c)} for c in range(4)]
    if all(columns) and len(set().union(*columns)) == 1:
        return "row"
    left = column // 2 * 2
    pair = columns[left], columns[left + 1]
    return f"pair {left}" if not all(pair) or pair[0] == pair[1] else f"column {column}"


def _registers_suffice(body: Dfg, seats: Seats, folded: frozenset[tuple[int, int]]) -> bool:
    """Every operand can wait in the row that its reader sees."""
    last: dict[int, int] = {}
    constants: dict[int, set[int]] = {}
    blocked: set[tuple[int, int]] = set()
    for node in body.nodes:
        row, column, slot = seats[node.id]
        seen = row if (row, column) in folded and slot != "mop1" else row - 1
        reads = [s for s in _sources(body, node.id) if body[s].kind != "cex"]
        if node.kind == "store":
            own = body[_data(body, node.id)].kind == "exe" and seats[_data(body, node.id)][:2] == (row, column)
            reads = [] if own else [_data(body, node.id)]
            blocked |= set() if own else {(row, column)}
        for value in reads:
            same_row_exe = body[value].kind == "exe" and seats[value][0] == row
            if seats[value][0] > seen or same_row_exe:
                return False
            last[value] = max(last.get(value, 0), seen)
        if node.host:
            constants.setdefault(seen % 64, set()).update(node.host)
    return all(_row_suffices(body, seats, row, last, constants.get(row, set()), blocked) for row in range(64))


def _row_suffices(
    body: Dfg, seats: Seats, row: int, last: dict[int, int], constants: set[int], blocked: set[tuple[int, int]]
) -> bool:
    homes = [n.id for n in body.nodes if seats[n.id][0] == row and (n.kind == "load" or n.id in last)]
    passing = sum(seats[value][0] < row <= end for value, end in last.items())
    shut = {column for r, column in blocked if r == row}
    taken_open = sum(seats[n][1] not in shut for n in homes)
    room_open = 4 * (4 - len(shut)) - taken_open
    room = 16 - len(homes)
    return passing <= room_open and passing + len(constants) <= room
