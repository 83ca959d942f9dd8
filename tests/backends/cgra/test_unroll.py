"""Copies in a body: as many as the fabric's slots and ports feed, never more than a loop has iterations."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest

from mapper import machines
from mapper.arrays import Bodies, Room
from mapper.backends.cgra.bounds import binding, static_bounds
from mapper.backends.cgra.network.rules import GridRules
from mapper.backends.cgra.network.unroll import MOST_NODES, Sizes, Way, best_unrolling, candidates
from mapper.dfg import Dfg
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.kernels.body import main_body, tail_body
from mapper.kernels.style import CGLA_STYLE, CGRA_STYLE
from mapper.scalar import Arg, Call

OPENEDGE = machines.resolve("openedge4x4").fabric


def matmul(m: int, n: int, k: int, dtype: str = "float32") -> tuple[Graph, Op]:
    row, column, inner = loop("m"), loop("n"), loop("k")
    op = Op("product", "MatMul", (Loop("m", m), Loop("n", n), Loop("k", k)),
            (Access("a", (row, inner)), Access("b", (inner, column))), Access("c", (row, column)),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    shapes = {"a": (m, k), "b": (k, n), "c": (m, n)}
    tensors = tuple(
        Tensor(name, shape, dtype, "activation" if name == "c" else "input") for name, shape in shapes.items()
    )
    return Graph("g", tensors, (op,), ("a", "b"), ("c",)), op


def best_by_hand(graph: Graph, op: Op) -> float:
    """Least bound on cycles per iteration of all bodies within the size that the climb allows."""
    best = math.inf
    for factors in itertools.product(range(1, 9), repeat=3):
        copies = dict(zip("mnk", factors, strict=True))
        if math.prod(factors) <= 16 and all(copies[each.name] <= each.extent for each in op.loops):
            body = main_body(graph, op, CGRA_STYLE, copies)
            runs = math.prod(-(-each.extent // copies[each.name]) / each.extent for each in op.loops)
            if len(body.nodes) <= MOST_NODES:
                best = min(best, binding(static_bounds(body, OPENEDGE)).ii * runs)
    return best


@pytest.mark.parametrize("extents", [(8, 8, 8), (1, 64, 64), (3, 5, 7), (64, 2, 1)])
def test_the_climb_meets_the_best_of_all_bodies(extents: tuple[int, int, int]) -> None:
    graph, op = matmul(*extents)
    met = candidates(op, Way(None, Sizes(OPENEDGE)), 16, partial(main_body, graph, op, CGRA_STYLE))
    assert min(candidate.cycles for candidate in met) == pytest.approx(best_by_hand(graph, op))


def test_no_placed_body_no_copies() -> None:
    graph, op = matmul(8, 8, 8)
    asked: list[Dfg] = []
    ways = [Way(None, Sizes(OPENEDGE))]
    lower = partial(main_body, graph, op, CGRA_STYLE)
    assert best_unrolling(op, ways, 16, lower, lambda dfg, *_: asked.append(dfg)) == ()
    assert asked[0] == lower({})


@pytest.mark.parametrize("machine", ["openedge4x4", "grid8x8"])
def test_products_reach_most_of_what_slots_and_ports_allow(machine: str) -> None:
    """At least 70 % of min(resource, memory ports) of the chosen body, and two products a cycle."""
    graph, op = matmul(64, 64, 64)
    rules = GridRules(machines.resolve(machine), 0)
    bodies = Bodies(rules)
    loops = rules.copies(graph, op, Room(16), bodies.place)
    copies = {each.loop: each.trips for each in loops}
    body = bodies.place(main_body(graph, op, CGRA_STYLE, copies))
    assert body is not None
    accesses = sum(node.op in ("load", "store") for node in body.mapping.dfg.nodes)
    fabric, recurrence = rules.machine.fabric, 2  # phi and addition of an accumulator
    bound = max(math.ceil(len(body.mapping.dfg.nodes) / fabric.size), math.ceil(accesses / fabric.columns), recurrence)
    assert bound / body.length >= 0.7
    assert math.prod(copies.values()) / body.length >= 2


def test_rounding_waits_for_the_tail_on_a_grid() -> None:
    graph, op = matmul(4, 4, 64, "bfloat16")
    grid, line = main_body(graph, op, CGRA_STYLE), main_body(graph, op, CGLA_STYLE)
    assert tail_body(graph, op, CGRA_STYLE) is not None and tail_body(graph, op, CGLA_STYLE) is None
    same = tail_body(*matmul(4, 4, 64), CGRA_STYLE)
    assert same is None and len(grid.nodes) < 29 and len(line.nodes) > 0
