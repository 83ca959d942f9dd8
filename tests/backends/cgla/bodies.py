"""Small random bodies in which registers, columns and likeness decide the rows."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from mapper.backends.cgla import levels, memory, parts, rows
from mapper.backends.cgla.bounds import Bounds
from mapper.backends.cgla.dominance import Dominance
from mapper.backends.cgla.rows import RowModel
from mapper.backends.cgla.rules import Body
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.solver import Limits

LIMITS = Limits(effort=10.0, workers=1)


def exes(edges: list[tuple[int, int]], count: int) -> Body:
    """Operations without memory; node 0 counts."""
    nodes = tuple(Node(i, "ADD", self_update=i == 0) for i in range(count))
    return Body(Dfg("exes", nodes, tuple(Edge(a, b) for a, b in edges), loop_levels=1))


def restrict(monkeypatch: pytest.MonkeyPatch, draw: random.Random) -> None:
    """Few registers and columns, so that they decide the rows of small bodies."""
    columns = draw.choice((2, 3, 4))
    allow(monkeypatch, registers=draw.randint(3, 5), columns=columns)


def allow(monkeypatch: pytest.MonkeyPatch, *, registers: int, columns: int) -> None:
    for module in (rows, levels):
        monkeypatch.setattr(module, "REGISTERS", registers)
    for module in (rows, memory, levels, parts):
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
