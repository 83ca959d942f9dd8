"""The row array's checker finds each broken rule, by name, in a mapping that was legal before one change."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mapper.check_rows import check_rows, hops, lmm_share_ok, rows_used
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.placement import KernelMapping, Placed, RegisterUse
from mapper.simulate_rows import interpret_rows, simulate_rows

# counter 0 addresses two loads (1, 2) of region 0; 3 multiplies, 4 passes on, 5 stores 4's result to region 1;
# condition 6 guards the store.
BODY = Dfg(
    "body",
    (
        Node(0, "ADD", self_update=True, host=(1, 2)),
        Node(1, "LDR", "load", memory=MemoryUse(0, 0, base=0)),
        Node(2, "LDR", "load", memory=MemoryUse(0, 0, base=0)),
        Node(3, "FML", host=(3,)),
        Node(4, "ADD"),
        Node(5, "STR", "store", memory=MemoryUse(1, 1, base=0, data=4, predicate=6)),
        Node(6, "CEX", "cex"),
    ),
    (
        Edge(0, 1),
        Edge(0, 2),
        Edge(1, 3, 0, 0),
        Edge(2, 3, 0, 1),
        Edge(3, 4),
        Edge(0, 5),
        Edge(4, 5),
        Edge(6, 5),
        Edge(3, 6),
    ),
    (Region(0, 8192), Region(1, 8192)),
    loop_levels=1,
    loop_host=(9,),
)


def seat(node: int, row: int, column: int, slot: str = "exe") -> Placed:
    return Placed(node, 4 * row + column, row, slot)


def held(value: str, *places: tuple[int, int, int]) -> list[RegisterUse]:
    return [RegisterUse(value, *place) for place in places]


PLACED = (
    seat(0, 0, 1),
    seat(1, 1, 0, "mop1"),
    seat(2, 1, 0, "mop0"),
    seat(3, 2, 0),
    seat(4, 3, 2),
    seat(5, 3, 2, "mop0"),
    seat(6, 3, 2, "cex"),
)
REGISTERS = tuple(
    held("0", (0, 1, 2), (1, 3, 3), (2, 3, 3))
    + held("1", (1, 0, 1))
    + held("2", (1, 0, 0))
    + held("3", (2, 0, 2))
    + held("h1", (63, 0, 0))
    + held("h2", (63, 0, 1))
    + held("h9", (63, 0, 2))
    + held("h3", (1, 2, 2))
)
LEGAL = KernelMapping(BODY, 4, PLACED, registers=REGISTERS)


def moved(*seats: Placed) -> KernelMapping:
    new = {s.node: s for s in seats}
    return replace(LEGAL, placed=tuple(new.get(p.node, p) for p in PLACED))


def registers(without: str = "", *added: RegisterUse) -> KernelMapping:
    kept = tuple(use for use in REGISTERS if use.value != without)
    return replace(LEGAL, registers=kept + added)


def test_a_legal_mapping() -> None:
    assert check_rows(LEGAL) == ()
    assert (rows_used(LEGAL), hops(LEGAL)) == (4, 6)
    assert lmm_share_ok(LEGAL) is True
    assert simulate_rows(LEGAL).violations == ()
    assert simulate_rows(LEGAL, iterations=3).cycles == 4 * 3 + 8 * 4


BROKEN: list[tuple[str, str, KernelMapping]] = [
    ("rule 1", "node 4", replace(LEGAL, placed=tuple(p for p in PLACED if p.node != 4))),
    ("rule 1", "node 5", moved(seat(5, 3, 2, "mop1"))),
    ("rule 1", "node 4", moved(seat(4, 64, 2))),
    ("rule 1", "value 77", registers("", RegisterUse("77", 3, 0, 0))),
    ("rule 2", "mop0 of unit (1, 0)", moved(seat(1, 1, 0, "mop0"))),
    ("rule 3", "node 0", moved(seat(0, 0, 0))),
    ("rule 4", "edge 1->3", moved(seat(3, 1, 0))),
    ("rule 5", "operand h3 of node 3", registers("h3")),
    ("rule 5", "constant h9 of the loop counters", registers("h9")),
    ("rule 6", "value 3", registers("3", RegisterUse("3", 2, 0, 3))),
    ("rule 7", "value 0", registers("0", *held("0", (0, 1, 2), (2, 3, 3)))),
    ("rule 8", "BR[1][0][1]", registers("h3", *held("h3", (1, 0, 1)))),
    ("rule 10", "condition 6 of node 5", moved(seat(6, 3, 1, "cex"))),
    ("rule 11", "store 5", moved(seat(5, 3, 1, "mop0"), seat(6, 3, 1, "cex"))),
    ("rule 15", "folded unit (2, 0)", replace(LEGAL, folded=((2, 0),))),
]


@pytest.mark.parametrize(("rule", "subject", "mapping"), BROKEN, ids=[f"{r} {s}" for r, s, _ in BROKEN])
def test_one_change_breaks_the_named_rule(rule: str, subject: str, mapping: KernelMapping) -> None:
    found = [(v.rule, v.subject) for v in check_rows(mapping)]
    assert (rule, subject) in found


def test_a_store_from_a_register_blocks_its_unit() -> None:
    later = (seat(5, 4, 2, "mop0"), seat(6, 4, 2, "cex"))
    more = held("4", (3, 2, 2)) + held("0", (3, 3, 3)) + held("3", (3, 0, 3))
    legal = replace(moved(*later), registers=REGISTERS + tuple(more))
    assert check_rows(legal) == ()
    assert simulate_rows(legal).violations == ()
    blocked = replace(legal, registers=(*legal.registers, *held("0", (4, 2, 0))))
    assert [v.rule for v in check_rows(blocked)] == ["rule 9"]


def two_loads(**other: int) -> KernelMapping:
    """Two loads in one unit; `other` changes the second one's memory use."""
    first = MemoryUse(0, 0, base=0)
    body = Dfg(
        "two",
        (
            Node(0, "ADD", self_update=True),
            Node(1, "ADD", self_update=True),
            Node(2, "LDR", "load", memory=first),
            Node(3, "LDR", "load", memory=replace(first, **other)),
        ),
        (Edge(0, 2), Edge(other.get("base", 0), 3)),
        (Region(0, 64), Region(1, 64)),
        loop_levels=1,
    )
    placed = (seat(0, 0, 1), seat(1, 0, 2), seat(2, 1, 0, "mop1"), seat(3, 1, 0, "mop0"))
    uses = held("0", (0, 1, 2)) + (held("1", (0, 2, 2)) if other.get("base") == 1 else [])
    return KernelMapping(body, 4, placed, registers=tuple(uses))


def test_two_loads_of_a_unit() -> None:
    assert check_rows(two_loads()) == ()
    assert [v.rule for v in check_rows(two_loads(base=1))] == ["rule 12"]
    assert [v.rule for v in check_rows(two_loads(descriptor=1, region=1))] == ["rule 13"]


def some_loads(columns: tuple[int, ...], descriptors: tuple[int, ...], words: int = 64) -> KernelMapping:
    """One load per entry, in mop1 of row 0's `columns`."""
    count = len(columns)
    nodes = [Node(i, "LDR", "load", memory=MemoryUse(d, d)) for i, d in enumerate(descriptors)]
    body = Dfg("share", tuple(nodes), (), tuple(Region(d, words) for d in sorted(set(descriptors))))
    return KernelMapping(body, 4, tuple(seat(i, 0, columns[i], "mop1") for i in range(count)))


@pytest.mark.parametrize(
    ("columns", "descriptors", "words", "ok"),
    [
        ((0,), (0,), 16384, True),  # alone in the row: the whole memory
        ((0, 1), (0, 0), 16384, True),  # one merged pair, nothing beside it
        ((0, 2), (0, 1), 16384, False),  # a pair each: halves
        ((0, 2), (0, 1), 8192, True),
        ((0, 1), (0, 1), 8192, False),  # two regions in one pair: quarters
        ((0, 1), (0, 1), 4096, True),
        ((0, 1, 2, 3), (0, 0, 0, 0), 16384, True),  # the row is one group
        ((0, 1, 2), (0, 0, 0), 16384, False),  # three columns make two pairs
        ((0, 1), (0, 0), 16385, None),  # more than the memory holds and no share known
    ],
)
def test_share_of_local_memory(
    columns: tuple[int, ...], descriptors: tuple[int, ...], words: int, ok: bool | None
) -> None:
    mapping = some_loads(columns, descriptors, words)
    assert check_rows(mapping) == ()
    assert lmm_share_ok(mapping) is ok


def stored_region(column: int) -> KernelMapping:
    body = Dfg(
        "stored",
        (
            Node(0, "ADD", self_update=True),
            Node(1, "STR", "store", memory=MemoryUse(0, 0, data=0)),
            Node(2, "LDR", "load", memory=MemoryUse(0, 0)),
        ),
        (Edge(0, 1),),
        (Region(0, 64),),
        loop_levels=1,
    )
    return KernelMapping(body, 4, (seat(0, 0, 1), seat(1, 0, 1, "mop0"), seat(2, 0, column, "mop1")))


def test_a_stored_region_stays_in_one_memory() -> None:
    assert check_rows(stored_region(0)) == ()
    assert [v.rule for v in check_rows(stored_region(3))] == ["rule 14"]
    elsewhere = replace(stored_region(0), placed=(*stored_region(0).placed[:2], seat(2, 1, 1, "mop1")))
    assert [(v.rule, v.found) for v in check_rows(elsewhere)] == [("rule 14", "rows [0, 1]")]


def test_halves_of_an_unaligned_load() -> None:
    body = Dfg(
        "pair",
        (Node(0, "LDR", "load", memory=MemoryUse(0, 0)), Node(1, "LDR", "load", memory=MemoryUse(0, 0, pair=0))),
        (),
        (Region(0, 64),),
    )
    together = KernelMapping(body, 4, (seat(0, 0, 0, "mop1"), seat(1, 0, 0, "mop0")))
    assert check_rows(together) == ()
    swapped = replace(together, placed=(seat(0, 0, 0, "mop0"), seat(1, 0, 0, "mop1")))
    assert [v.rule for v in check_rows(swapped)] == ["rule 16"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: registers("0", *held("0", (0, 1, 2), (1, 3, 3))),  # the store's base never arrives
        lambda: registers("h3"),
        lambda: registers("1"),
    ],
)
def test_the_replay_finds_lost_values_by_itself(spoil: Callable[[], KernelMapping]) -> None:
    found = simulate_rows(spoil()).violations
    assert found and all(v.rule == "value" for v in found)


def test_the_reference_tells_iterations_apart() -> None:
    results = interpret_rows(BODY, 2)
    assert len(results) == 2 * len(BODY.nodes)
    assert results[0, 0] != results[0, 1] and results[4, 0] != results[4, 1]
    assert len(set(results.values())) == len(results)


def waits(value: str, row: int, column: int, index: int) -> KernelMapping:
    return registers("", RegisterUse(value, row, column, index))


PLACE = "row 0..63, PE 4 row + 0..3"
REGISTER = "a register of the array and a value of the body"
SAID: list[tuple[KernelMapping, list[str]]] = [
    (replace(LEGAL, placed=(*PLACED, seat(4, 5, 0))), ["rule 1: node 4: found 2 places, expected 1"]),
    (replace(LEGAL, placed=(*PLACED, seat(9, 5, 0))),
     ["rule 1: node 9: found a place, expected no such node in the body"]),
    (moved(Placed(4, -2, -1)), [f"rule 1: node 4: found row -1, PE -2, expected {PLACE}"]),
    (moved(seat(4, 64, 0)), [f"rule 1: node 4: found row 64, PE 256, expected {PLACE}"]),
    (moved(Placed(4, 16, 3)), [f"rule 1: node 4: found row 3, PE 16, expected {PLACE}"]),
    (moved(Placed(4, 11, 3)), [f"rule 1: node 4: found row 3, PE 11, expected {PLACE}"]),
    (moved(seat(6, 3, 2, "exe")), ["rule 1: node 6: found slot exe, expected a slot of a cex"]),
    (waits("3", 64, 0, 0), [f"rule 1: value 3: found BR[64][0][0], expected {REGISTER}"]),
    (waits("3", -1, 0, 0), [f"rule 1: value 3: found BR[-1][0][0], expected {REGISTER}"]),
    (waits("3", 5, 4, 0), [f"rule 1: value 3: found BR[5][4][0], expected {REGISTER}"]),
    (waits("3", 5, -1, 0), [f"rule 1: value 3: found BR[5][-1][0], expected {REGISTER}"]),
    (waits("3", 5, 0, 4), [f"rule 1: value 3: found BR[5][0][4], expected {REGISTER}"]),
    (waits("3", 5, 0, -1), [f"rule 1: value 3: found BR[5][0][-1], expected {REGISTER}"]),
    (waits("x", 5, 0, 0), [f"rule 1: value x: found BR[5][0][0], expected {REGISTER}"]),
    (waits("h", 5, 0, 0), [f"rule 1: value h: found BR[5][0][0], expected {REGISTER}"]),
    (waits("5", 5, 0, 0), [f"rule 1: value 5: found BR[5][0][0], expected {REGISTER}"]),  # a store has no result
    (waits("6", 5, 0, 0), [f"rule 1: value 6: found BR[5][0][0], expected {REGISTER}"]),
    (waits("h8", 63, 3, 3), []),
    (waits("h8", 0, 0, 0), []),
    (waits("3", 3, 0, 0), []),
    (moved(seat(1, 1, 0, "mop0")), ["rule 2: mop0 of unit (1, 0): found 2 operations, expected 1",
                                    "rule 6: value 1: found in [(0, 1)], expected at home in (0, 0)",
                                    "rule 8: BR[1][0][0]: found values ['1', '2'], expected one value"]),
    (moved(seat(0, 0, 0)), ["rule 3: node 0: found exe of unit (0, 0), expected the loop counter's alone",
                            "rule 6: value 0: found in [(1, 2)], expected at home in (0, 2)"]),
    (registers("3", *held("3", (1, 1, 1), (2, 0, 2))), ["rule 6: value 3: found in row 1, expected not before row 2"]),
    (registers("3", *held("3", (2, 0, 3))), ["rule 6: value 3: found in [(0, 3)], expected at home in (0, 2)"]),
    (registers("0", *held("0", (0, 1, 2), (2, 3, 3))),
     ["rule 7: value 0: found in row 2 but not in row 1, expected no gap"]),
    (waits("h3", 1, 0, 1), ["rule 8: BR[1][0][1]: found values ['1', 'h3'], expected one value"]),
    (moved(seat(6, 3, 1, "cex")),
     ["rule 10: condition 6 of node 5: found units (3, 1) and (3, 2), expected one unit"]),
    (moved(seat(5, 3, 1, "mop0"), seat(6, 3, 1, "cex")),
     ["rule 4: edge 4->5: found 0 rows, expected at least 1",
      "rule 5: operand 4 of node 5: found no register, expected one of row 2",
      "rule 11: store 5: found unit (3, 1), expected unit (3, 2) of its data"]),
    (replace(LEGAL, folded=((0, 0),)),
     ["rule 15: folded unit (0, 0): found {}, expected an exe and the one store of its result",
      "rule 15: folded unit (0, 0): found a loop counter, expected an ordinary exe"]),
    (replace(LEGAL, folded=((2, 0),)),
     [*(f"rule 5: operand {v} of node 3: found no register, expected one of row 2" for v in ("1", "2", "h3")),
      "rule 15: folded unit (2, 0): found {'exe': 3}, expected an exe and the one store of its result",
      "rule 15: folded exe 3: found its result in a register, expected no register"]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SAID)))
def test_all_that_is_broken_is_said_and_nothing_else(number: int) -> None:
    mapping, words = SAID[number]
    assert [str(violation) for violation in check_rows(mapping)] == words


def test_the_last_row_takes_operations_too() -> None:
    body = Dfg("alone", (Node(0, "ADD", self_update=True),), ())
    assert check_rows(KernelMapping(body, 4, (seat(0, 63, 3),))) == ()
    assert rows_used(KernelMapping(body, 4, (seat(0, 63, 3),))) == 64


def test_one_wide_load_a_row() -> None:
    nodes = tuple(Node(i, "LDDMQ", "load", memory=MemoryUse(i, i)) for i in range(3))
    body = Dfg("wide", nodes, (), tuple(Region(i, 64) for i in range(3)))
    seats = (seat(0, 0, 0, "mop1"), seat(1, 1, 0, "mop1"), seat(2, 1, 2, "mop1"))
    assert [str(v) for v in check_rows(KernelMapping(body, 4, seats))] == ["rule 16: row 1: found 2 LDDMQ, expected 1"]


def test_a_marker_needs_no_place() -> None:
    body = Dfg("marked", (Node(0, "ADD"), Node(1, "ADD", self_update=True)), ())
    assert check_rows(KernelMapping(body, 4, (seat(1, 0, 0),))) == ()
    missing = check_rows(KernelMapping(body, 4, (seat(0, 0, 0),)))
    assert [str(v) for v in missing] == ["rule 1: node 1: found 0 places, expected 1"]
    twice = check_rows(KernelMapping(body, 4, (seat(0, 0, 0), seat(0, 1, 0), seat(1, 2, 0))))
    assert [str(v) for v in twice] == ["rule 1: node 0: found 2 places, expected 1"]
