"""Searches by levels: the least rows of the row model where nothing is relaxed, and never more."""

import random
from collections.abc import Callable
from types import ModuleType

import pytest

from mapper.backends.cgla.bounds import Bounds
from mapper.backends.cgla.dominance import NO_ORDER, Dominance, dominance
from mapper.backends.cgla.levels import Extent, Levels, search_levels
from mapper.backends.cgla.memory import ColumnCount
from mapper.backends.cgla.parts import Parts
from mapper.backends.cgla.rules import Body
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.frontends import imax

from .bodies import copies, exes, layers, least_rows, restrict

ALL = Extent(width=100_000, steps=10_000_000)


def searched(body: Body, rows: int, extent: Extent = ALL, order: Dominance = NO_ORDER) -> Levels:
    return search_levels(Parts(body, Bounds(body), order), rows, extent)


def least_by_levels(body: Body, order: Dominance, most: int = 20) -> int:
    """Every smaller count is refuted, not given up."""
    for count in range(Bounds(body).path_rows, most):
        answer = searched(body, count, order=order)
        assert answer.status != "unknown"
        if answer.row_of is not None:
            row = answer.row_of
            assert all(row[source] + distance <= row[user] for source, user, distance in Bounds(body).arcs)
            return count
    return most


@pytest.mark.parametrize("drawn", [copies, layers])
@pytest.mark.parametrize("first", range(0, 24, 8))
def test_the_least_rows_are_those_of_the_row_model(
    drawn: Callable[[random.Random], Body], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal without stores; with them, what may be folded or stored from registers is wider."""
    for seed in range(first, first + 8):
        draw = random.Random(seed)
        body = drawn(draw)
        restrict(monkeypatch, draw)
        order = dominance(body, Bounds(body))
        free, ordered, wide = least_rows(body, NO_ORDER), least_by_levels(body, order), least_by_levels(body, NO_ORDER)
        assert ordered <= wide <= free
        assert wide == free or body.stored_regions
        assert ordered == wide or order.merged


def test_bodies_with_every_kind_of_node_are_not_refuted_where_rows_exist(
    benchmark_named: Callable[[str], ModuleType],
) -> None:
    planted = benchmark_named("planted_rows").planted
    for seed in range(12):
        rows = random.Random(seed).randint(2, 5)
        body = Body(imax.parse(planted(seed, rows)))
        order = dominance(body, Bounds(body))
        assert searched(body, rows, Extent(1000, 100_000), order).status != "refuted"


def test_a_plan_keeps_distances_and_slots() -> None:
    body = exes([(0, i) for i in range(1, 9)] + [(1, 9)], 10)
    answer = searched(body, 4)
    assert answer.row_of is not None
    assert all(answer.row_of[e.src] < answer.row_of[e.dst] for e in body.dfg.edges)
    used = [list(answer.row_of.values()).count(row) for row in range(4)]
    assert max(used) <= 4 and sum(used) == 10
    assert searched(body, 3).status == "refuted"


def test_a_level_that_is_too_wide_ends_the_search_or_makes_a_beam() -> None:
    body = exes([(0, i) for i in range(1, 9)], 9)
    assert searched(body, 3, Extent(width=2, steps=10_000)).status == "unknown"
    assert searched(body, 3, Extent(width=2, steps=10_000, beam=True)).status == "found"
    assert searched(body, 2, Extent(width=2, steps=10_000)).status == "refuted"  # by room alone: no level is wide


def test_steps_and_a_stop_from_outside_end_the_search() -> None:
    body = exes([(0, i) for i in range(1, 9)], 9)
    assert searched(body, 3, Extent(width=100, steps=1)).status == "unknown"
    assert searched(body, 3, Extent(width=100, steps=10_000, stopped=lambda: True)).status == "unknown"


def load(i: int, region: int, base: int | None) -> Node:
    return Node(i, "LDR", "load", memory=MemoryUse(region, descriptor=region, base=base))


def test_a_load_is_no_choice_unless_it_may_hold_more_above_than_it_gives() -> None:
    """Load 2 takes its address from one value; load 3 from two, so that moving it down may cost a register."""
    nodes = (
        Node(0, "ADD", self_update=True), Node(1, "ADD", self_update=True), load(2, 0, 0),
        Node(3, "LDR", "load", memory=MemoryUse(1, descriptor=1, base=0, offset=1)), Node(4, "ADD"),
    )  # fmt: skip
    edges = (Edge(0, 2), Edge(0, 3), Edge(1, 3), Edge(2, 4), Edge(3, 4, 0, 1))
    body = Body(Dfg("loads", nodes, edges, (Region(0), Region(1)), loop_levels=1))
    parts = Parts(body, Bounds(body), NO_ORDER)
    assert {i for part in parts.listed if part.is_free for i in parts.nodes(part.nodes)} == {2}


def test_loads_without_room_are_chosen_among(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five loads of five regions and their sum: four columns, so two rows of loads, though all are ready at once."""
    nodes = (Node(0, "ADD", self_update=True), *(load(i, i, 0) for i in range(1, 6)), Node(6, "ADD"))
    edges = (*(Edge(0, i) for i in range(1, 6)), *(Edge(i, 6, 0, i - 1) for i in range(1, 6)))
    body = Body(Dfg("five", nodes, edges, tuple(Region(i) for i in range(6)), loop_levels=1))
    assert least_by_levels(body, NO_ORDER) == least_rows(body, NO_ORDER) == 4


def test_columns_are_counted_by_class_need_and_region() -> None:
    """Loads 1, 2 share a unit, 3 takes a half for itself, 4 and 5 are one stored region's load and store."""
    nodes = (
        Node(0, "ADD", self_update=True), load(1, 0, 0), load(2, 0, 0), load(3, 1, 0), load(4, 2, 0),
        Node(5, "STR", "store", memory=MemoryUse(2, descriptor=2, base=0, data=0)),
    )  # fmt: skip
    edges = (*(Edge(0, i) for i in range(1, 6)),)
    regions = (Region(0, words=10), Region(1, share=0.5), Region(2, words=10))
    count = ColumnCount(Body(Dfg("columns", nodes, edges, regions, loop_levels=1)))
    assert [count.of(nodes) for nodes in ((), (1,), (1, 2), (3,), (1, 2, 3), (4, 5), (1, 2, 3, 4, 5))] == [
        0, 1, 1, 2, 3, 1, 4,
    ]  # fmt: skip
    assert ColumnCount(count.body, ((1, 2, 3),)).of((1, 2, 3)) == 2
