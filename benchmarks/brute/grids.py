"""Loop bodies on small grids: the least initiation interval without MOVEs, over every place and start of every node.

Rules, with latencies of one cycle: two nodes of one PE start in different slots (cycles modulo II); a read spans 1 to
II cycles, iterations counted in; the reader's PE is the writer's or a neighbour; between a write and a read from a
neighbour nothing else starts on the writer's PE; a value read on its own PE after something else started there waits
in one fixed register of the PE's file, alone while it lives.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, product

from mapper.dfg import Dfg, Edge, Node
from mapper.machine import Fabric

__all__ = ["instance", "least_ii"]

Place = tuple[int, int]  # PE, start


def instance(seed: int) -> tuple[Dfg, Fabric]:
    """A random body of three to five nodes and a fabric of two to four PEs."""
    draw = random.Random(seed)
    count = draw.choice((3, 3, 4, 4, 5))
    share = draw.uniform(0.2, 0.6)
    edges = {(a, b, 0) for a, b in combinations(range(count), 2) if draw.random() < share}
    for _ in range(draw.randint(0, 2)):
        first, second = sorted(draw.sample(range(count), 2))
        edges.add((second, first, draw.choice((1, 1, 2))))
    body = Dfg(f"grid{seed}", tuple(Node(i, "op") for i in range(count)), tuple(Edge(*e) for e in sorted(edges)))
    topology, rows, columns = draw.choice((("mesh", 1, 2), ("mesh", 1, 3), ("torus", 1, 3), ("mesh", 2, 2)))
    return body, Fabric(topology, rows, columns, registers=draw.choice((0, 1, 2)))  # type: ignore[arg-type]


def least_ii(body: Dfg, fabric: Fabric, most: int) -> int | None:
    """The least II up to `most`; None if there is none."""
    return next((ii for ii in range(1, most + 1) if any(True for _ in _schedules(body, fabric, ii))), None)


def _near(fabric: Fabric, a: int, b: int) -> bool:
    """Do the PEs share a link (or are they one)?"""
    gaps = []
    for at, other, extent in zip(divmod(a, fabric.columns), divmod(b, fabric.columns), _extents(fabric), strict=True):
        gap = abs(at - other)
        gaps.append(min(gap, extent - gap) if fabric.topology == "torus" else gap)
    return sum(gaps) <= 1


def _extents(fabric: Fabric) -> tuple[int, int]:
    return fabric.rows, fabric.columns


def _order(body: Dfg) -> list[int]:
    """Nodes such that each has a neighbour before it where its component has one."""
    order: list[int] = []
    left = [node.id for node in body.nodes]
    while left:
        joined = [n for n in left if any(n in (e.src, e.dst) and {e.src, e.dst} & set(order) for e in body.edges)]
        chosen = (joined or left)[0]
        order.append(chosen)
        left.remove(chosen)
    return order


def _schedules(body: Dfg, fabric: Fabric, ii: int) -> Iterator[dict[int, Place]]:
    order = _order(body)

    def extended(places: dict[int, Place]) -> Iterator[dict[int, Place]]:
        if len(places) == len(order):
            if _registers_suffice(body, fabric, ii, places):
                yield places
            return
        node = order[len(places)]
        for place in _candidates(body, fabric, ii, node, places):
            yield from extended({**places, node: place})

    return extended({})


def _candidates(body: Dfg, fabric: Fabric, ii: int, node: int, places: dict[int, Place]) -> Iterator[Place]:
    """Places of `node` that agree with each placed node one by one; a first node of a component starts below II."""
    low, high, free = -99, 99, True
    for edge in body.edges:
        if edge.dst == node and edge.src in places:
            start = places[edge.src][1] - edge.distance * ii
            low, high, free = max(low, start + 1), min(high, start + ii), False
        elif edge.src == node and edge.dst in places:
            start = places[edge.dst][1] + edge.distance * ii
            low, high, free = max(low, start - ii), min(high, start - 1), False
    if any(e.src == e.dst == node and not 1 <= e.distance * ii <= ii for e in body.edges):
        return
    others = [places[e.src if e.dst == node else e.dst][0] for e in body.edges
              if node in (e.src, e.dst) and e.src != e.dst and (e.src in places or e.dst in places)]  # fmt: skip
    taken = {(pe, start % ii) for pe, start in places.values()}
    for start in range(ii) if free else range(low, high + 1):
        for pe in range(fabric.rows * fabric.columns):
            if (pe, start % ii) not in taken and all(_near(fabric, pe, other) for other in others):
                yield pe, start


def _registers_suffice(body: Dfg, fabric: Fabric, ii: int, places: dict[int, Place]) -> bool:
    """Output registers hold until read; what waits longer on its own PE has a register to itself."""
    lives: dict[int, list[frozenset[int]]] = {}
    for node, (pe, start) in places.items():
        between = [(s - start) % ii for n, (p, s) in places.items() if p == pe and n != node]
        spans = {here: [places[e.dst][1] + e.distance * ii - start for e in body.edges
                        if e.src == node and (places[e.dst][0] == pe) is here] for here in (True, False)}  # fmt: skip
        if any(gap < span for span in spans[False] for gap in between):
            return False
        longest = max(spans[True], default=0)
        if any(gap < longest for gap in between):
            lives.setdefault(pe, []).append(frozenset((start + c) % ii for c in range(1, longest + 1)))
    return all(_colourable(values, fabric.registers) for values in lives.values())


def _colourable(lives: list[frozenset[int]], registers: int) -> bool:
    """Can values that live in these slots be given registers, no two alive in one at once?"""
    return any(
        all(c[a] != c[b] or not lives[a] & lives[b] for a, b in combinations(range(len(lives)), 2))
        for c in product(range(registers), repeat=len(lives))
    )
