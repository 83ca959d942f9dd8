"""Like parts in order: which are found, and that demanding their order loses no row count."""

import random
from collections.abc import Callable

import pytest

from mapper.backends.cgla.bounds import Bounds
from mapper.backends.cgla.dominance import NO_ORDER, Dominance, dominance
from mapper.backends.cgla.rules import Body
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region

from .bodies import allow, copies, exes, layers, least_rows, restrict

RINGS = [
    [
        (0, 1),
        (0, 2),
        (0, 3),
        (2, 4),
        (1, 4),
        (2, 5),
        (3, 5),
        (2, 6),
        (1, 6),
        (3, 7),
        (1, 7),
        (3, 8),
        (2, 8),
        (5, 9),
        (7, 9),
        (5, 10),
        (4, 10),
        (6, 11),
        (8, 11),
        (7, 12),
        (8, 12),
        (6, 13),
        (4, 13),
    ],
    [
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (0, 5),
        (5, 6),
        (2, 6),
        (1, 7),
        (2, 7),
        (4, 8),
        (3, 8),
        (5, 9),
        (1, 9),
        (4, 10),
        (3, 10),
    ],
]


def found(body: Body) -> Dominance:
    return dominance(body, Bounds(body))


def test_chains_of_one_length_are_ordered_node_by_node() -> None:
    body = exes([(0, 1), (1, 2), (0, 3), (3, 4), (0, 5), (5, 6)], 7)
    assert found(body) == Dominance(order=((1, 3), (2, 4), (3, 5), (4, 6)))


def test_a_longer_chain_is_not_ordered_with_shorter_ones() -> None:
    body = exes([(0, 1), (1, 2), (0, 3), (3, 4), (0, 5), (5, 6), (6, 7)], 8)
    assert found(body).order == ((1, 3), (2, 4))


def test_what_feeds_a_chain_of_sums_is_ordered_along_it() -> None:
    """Terms 1, 2, 3 of the sums 4 -> 5 -> 6: sums stand below each other, so terms may be asked to as well."""
    body = exes([(0, 1), (0, 2), (0, 3), (1, 4), (4, 5), (2, 5), (5, 6), (3, 6)], 7)
    assert (2, 3) in found(body).order


def test_a_swap_inside_each_copy_is_found_beside_the_swap_of_copies() -> None:
    """Two sums of two equal operations each: all four are in order, and the sums."""
    body = exes([(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (2, 5), (3, 6), (4, 6)], 7)
    assert found(body).order == ((1, 2), (2, 3), (3, 4), (5, 6))


def test_copies_of_a_stage_are_found(public: Callable[[str], Dfg]) -> None:
    body = Body(public("inv_x1"))
    chains = {}
    for upper, lower in found(body).order:
        chains.setdefault(body.kind(upper), []).append((upper, lower))
    assert len(chains["cex"]) == 15  # sixteen equal stages in order
    assert not found(body).merged and not found(body).loose


def test_loads_that_share_units_in_one_copy_are_counted_with_those_of_the_other() -> None:
    body = twins_with_two_loads(shared=False)
    assert found(body).merged == ((1, 2, 4, 5),)
    assert found(twins_with_two_loads(shared=True)).merged == ()


def twins_with_two_loads(*, shared: bool) -> Body:
    """Two sums of two loads: each sum has a region of its own, or all four loads are of one."""
    nodes, edges = [Node(0, "ADD", self_update=True)], []
    for first in (1, 4):
        region = 0 if shared else first // 4
        use = MemoryUse(region, descriptor=region, base=0)
        nodes += [Node(first, "LDR", "load", memory=use), Node(first + 1, "LDR", "load", memory=use)]
        nodes.append(Node(first + 2, "ADD"))
        edges += [Edge(0, first), Edge(0, first + 1), Edge(first, first + 2), Edge(first + 1, first + 2)]
    return Body(Dfg("twins", tuple(nodes), tuple(edges), (Region(0), Region(1)), loop_levels=1))


def test_only_relations_that_a_plan_keeps_are_asked_of_its_windows() -> None:
    assert Dominance(((1, 2), (2, 3))).kept_by({1: 0, 2: 4, 3: 2}).order == ((1, 2),)


@pytest.mark.parametrize("seed", range(8))
def test_the_order_loses_no_row_count_on_copies(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    body = copies(draw)
    restrict(monkeypatch, draw)
    assert least_rows(body, found(body)) <= least_rows(body, NO_ORDER)


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_the_order_loses_no_row_count_on_look_alikes(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of operations that look alike and differ in what lies further away: without a condition of twin maps,
    some of these take more rows."""
    for seed in range(first, first + 10):
        draw = random.Random(seed)
        body = layers(draw)
        restrict(monkeypatch, draw)
        order = found(body)
        if order.order:
            free, ordered = least_rows(body, NO_ORDER), least_rows(body, order)
            assert ordered <= free
            assert ordered == free or order.merged or order.loose


def test_readers_of_ordered_sources_are_paired_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operation 3 reads the counter 0, operation 6 reads 2, below it. But 0 has other readers and 2 has none: 3
    in the upper row releases nothing, and 6 in the lower one holds 2 for longer. In order they take a row more."""
    body = exes([(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (0, 5), (1, 5), (4, 5), (2, 6)], 7)
    allow(monkeypatch, registers=3, columns=2)
    assert least_rows(body, NO_ORDER) == 4
    assert least_rows(body, Dominance(((3, 6),))) == 5
    assert least_rows(body, found(body)) == 4


@pytest.mark.parametrize("edges", RINGS)
def test_parts_that_would_overlap_are_no_twins(edges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings of sums: what is matched around them comes back to nodes that are matched already, with others."""
    body = exes(edges, 1 + max(user for _, user in edges))
    allow(monkeypatch, registers=4, columns=3)
    assert least_rows(body, found(body)) == least_rows(body, NO_ORDER)
