"""Like parts in order: which are found, and that demanding their order loses no row count."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from mapper.backends.cgla import memory, rows
from mapper.backends.cgla.bounds import Bounds
from mapper.backends.cgla.dominance import NO_ORDER, Dominance, dominance
from mapper.backends.cgla.rows import RowModel
from mapper.backends.cgla.rules import Body
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.solver import Limits

LIMITS = Limits(effort=10.0, workers=1)


def exes(edges: list[tuple[int, int]], count: int) -> Body:
    """Operations without memory; node 0 counts."""
    nodes = tuple(Node(i, "ADD", self_update=i == 0) for i in range(count))
    return Body(Dfg("exes", nodes, tuple(Edge(a, b) for a, b in edges), loop_levels=1))


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


def restrict(monkeypatch: pytest.MonkeyPatch, draw: random.Random) -> None:
    """Few registers and columns, so that they decide the rows of small bodies."""
    columns = draw.choice((2, 3, 4))
    monkeypatch.setattr(rows, "REGISTERS", draw.randint(3, 5))
    for module in (rows, memory):
        monkeypatch.setattr(module, "COLUMNS", columns)


def least_rows(body: Body, order: Dominance, most: int = 20) -> int:
    bounds = Bounds(body)
    for count in range(bounds.path_rows, most):
        model = RowModel(body, count, {i: bounds.span(i, count) for i in body.ids}, dominance=order)
        if model.solve(LIMITS)[1] is not None:
            return count
    return most


def copies(draw: random.Random) -> Body:
    """Two or three copies, the last not always whole, of a part of two to five operations and loads, then sums in a
    chain or a tree, or stores."""
    size = draw.randint(2, 5)
    part = [(draw.random() < 0.4, draw.sample(range(j), min(j, draw.randint(0, 2)))) for j in range(size)]
    own_regions, end = draw.random() < 0.5, draw.choice(("chain", "tree", "store"))
    nodes, edges, last = [Node(0, "ADD", self_update=True), Node(1, "ADD")], [Edge(0, 1)], []

    def add(kind: str, sources: list[int], use: MemoryUse | None = None) -> int:
        host = () if kind != "exe" or draw.random() < 0.7 else (draw.choice((7, 100 + len(nodes))),)
        edges.extend(Edge(s, len(nodes), 0, n) for n, s in enumerate(sources))
        nodes.append(Node(len(nodes), "ADD", kind, host=host, memory=use))
        return len(nodes) - 1

    count = draw.randint(2, 3)
    for copy in range(count):
        here: list[int] = []
        for is_load, inside in part:
            sources = [here[s] for s in inside] or [draw.choice((0, 1)) if copy == count - 1 else 1]
            region = copy if own_regions else 0
            use = MemoryUse(region, descriptor=region, base=sources[0])
            here.append(add("load", sources[:1], use) if is_load else add("exe", sources))
        last.append(add("exe", [i for i in here if all(e.src != i for e in edges)]))
    for number, result in enumerate(last):
        if end == "store":
            add("store", [result], MemoryUse(9 + number, descriptor=9 + number, data=result))
    for upper, lower in pairwise(last):
        edges.extend([Edge(upper, lower, 0, 9)] if end == "chain" else [])
    if end == "tree":
        add("exe", last)
    regions = tuple(Region(i, words=draw.choice((None, 500, 9000))) for i in (0, 1, 2, 9, 10, 11))
    return Body(Dfg("copies", tuple(nodes), tuple(edges), regions, loop_levels=1))


def layers(draw: random.Random) -> Body:
    """Three or four layers of operations and loads of two regions, each fed by one to three nodes above."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    above: list[list[int]] = []
    for level in range(draw.randint(3, 4)):
        here = []
        for i in range(len(nodes), len(nodes) + draw.randint(2, 4)):
            is_load = level > 0 and draw.random() < 0.25
            sources = draw.sample(above[-1], min(len(above[-1]), 1 if is_load else draw.randint(1, 2))) if above else []
            if level > 1 and not is_load and draw.random() < 0.3:
                sources.append(draw.choice(above[-2]))
            region = draw.choice((0, 1))
            use = MemoryUse(region, descriptor=region, base=sources[0]) if is_load else None
            nodes.append(Node(i, "LDR" if is_load else "ADD", "load" if is_load else "exe",
                              self_update=not sources, memory=use))  # fmt: skip
            edges += [Edge(s, i, 0, n) for n, s in enumerate(sources)]
            here.append(i)
        above.append(here)
    return Body(Dfg("layers", tuple(nodes), tuple(edges), (Region(0), Region(1)), loop_levels=draw.choice((1, 2))))
