"""Launches by hand counts: which loops a launch covers, what it writes, and the least that lanes move."""

from dataclasses import replace
from itertools import product
from math import ceil, prod

import pytest

from mapper import machines
from mapper.arrays import Bodies, backing_bytes, body_runs
from mapper.backends.cgla.network.bounds import lane_bound_bytes
from mapper.backends.cgla.network.launches import Control, launches, ordered
from mapper.backends.cgla.network.rules import LaneRules
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import WRITTEN, Buffer, Infeasible, TileLoop
from mapper.planning import plan_stage
from mapper.request import Request
from mapper.scalar import Acc, Arg, Call
from mapper.tiling.program import Program

MACHINE = machines.resolve("imax3")


def matmul(m: int, n: int, k: int) -> tuple[Graph, Op]:
    tensors = (Tensor("a", (m, k), "float32", "input"), Tensor("b", (k, n), "float32", "weight"),
               Tensor("c", (m, n), "float32"))  # fmt: skip
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    op = Op("mm", "MatMul", (Loop("m", m), Loop("n", n), Loop("k", k)), reads, Access("c", (loop("m"), loop("n"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    graph = Graph("g", tensors, (op,), ("a",), ("c",))
    return graph, op


@pytest.mark.parametrize(("loops", "expected"), [
    ([("m", 1, 8), ("n", 1, 6), ("k", 1, 4)], 8),
    ([("k", 1, 4), ("m", 1, 8), ("n", 1, 6)], 4),
    ([("m", 3, 3), ("k", 1, 4), ("n", 1, 6), ("m", 1, 3)], 3 * 4),
    ([("m", 3, 3), ("n", 1, 6), ("k", 1, 4), ("m", 1, 3)], 3 * 6),
    ([("n", 1, 6), ("k", 1, 4)], 1),
])  # fmt: skip
def test_a_launch_covers_the_two_innermost_counting_loops(loops, expected: int) -> None:
    _, op = matmul(8, 6, 4)
    assert launches(op, tuple(TileLoop(*each) for each in loops)) == expected


def test_loops_side_by_side_need_no_launch_of_their_own() -> None:
    _, op = matmul(8, 6, 4)
    side = TileLoop("m", 2, 4, "lane")
    assert launches(op, (side, TileLoop("m", 1, 2), TileLoop("n", 1, 6), TileLoop("k", 1, 4))) == 2


def program(m: int, n: int, k: int) -> Program:
    loops = tuple(TileLoop(name, 1, trips) for name, trips in (("m", m), ("n", n), ("k", k)) if trips > 1)
    return Program(loops, tuple(Buffer(at, "lmm", 0, 64) for at in (0, 1, WRITTEN)))


def test_costly_launches_put_the_longest_loops_into_hardware() -> None:
    graph, op = matmul(64, 48, 4)
    found = ordered(graph, op, program(64, 48, 4), MACHINE, Control(0, 10**6))
    assert [each.loop for each in found.loops] == ["k", "m", "n"] or [each.loop for each in found.loops] == [
        "k",
        "n",
        "m",
    ]
    assert not [b for b in found.buffers if b.memory == "reg"]


def test_cheap_launches_accumulate_in_registers() -> None:
    graph, op = matmul(64, 48, 4)
    found = ordered(graph, op, program(64, 48, 4), MACHINE, Control(0, 0))
    assert found.loops[-1].loop == "k"
    (kept,) = [b for b in found.buffers if b.memory == "reg"]
    assert (kept.operand, kept.depth, kept.bytes) == (WRITTEN, 2, 4)


def test_bytes_of_an_average_launch_are_rounded_up() -> None:
    assert Control(100, 8).per_launch(3) == ceil((100 + 24) / 3)


def least_by_enumeration(m: int, n: int, k: int, lanes: int) -> int:
    """Every way of giving lanes equal rectangles of outputs: bytes of their rows, columns and outputs."""
    best = None
    for rows, columns in product(range(1, m + 1), range(1, n + 1)):
        if m % rows == 0 and n % columns == 0 and (m // rows) * (n // columns) == lanes:
            words = lanes * (rows * k + k * columns) + m * n
            best = words if best is None else min(best, words)
    assert best is not None
    return 4 * best


@pytest.mark.parametrize(
    ("m", "n", "k", "lanes"), [(8, 8, 16, 4), (16, 4, 8, 4), (32, 2, 8, 8), (12, 6, 5, 6), (8, 8, 3, 1)]
)
def test_no_division_of_the_outputs_moves_less_than_the_bound(m: int, n: int, k: int, lanes: int) -> None:
    graph, op = matmul(m, n, k)
    bound = lane_bound_bytes(graph, op, lanes, 1 << 30)
    assert bound <= least_by_enumeration(m, n, k, lanes)
    assert bound >= 4 * (m * k + k * n + m * n) * (1 - 1e-9)


def test_the_bound_is_met_by_square_parts() -> None:
    graph, op = matmul(8, 8, 16)
    assert lane_bound_bytes(graph, op, 4, 1 << 30) == least_by_enumeration(8, 8, 16, 4)


def test_residents_are_not_read_and_not_written() -> None:
    graph, op = matmul(16, 16, 16)
    free = lane_bound_bytes(graph, op, 4, 1 << 30)
    assert lane_bound_bytes(graph, op, 4, 1 << 30, frozenset({op.write.tensor})) == free - 4 * 16 * 16
    alone = lane_bound_bytes(graph, op, 4, 1 << 30, frozenset({op.reads[0].tensor}))
    assert alone == 2 * 4 * 16 * 16  # the other operand once: rows that need all of it may lie in all lanes


def test_points_per_launch_multiply_to_the_whole() -> None:
    _, op = matmul(8, 6, 4)
    loops = [TileLoop(name, 1, extent) for name, extent in op.extents.items()]
    assert launches(op, loops) * prod(each.trips for each in loops[-2:]) == op.points


def test_the_bound_looks_at_every_pair_of_operands() -> None:
    """A large operand that is added at the end hides neither of the factors."""
    graph, op = matmul(8, 8, 4)
    added = Access("r", op.write.index)
    wide = replace(op, reads=(*op.reads, added), tail=Call("add", (Acc(), Arg(2))))
    more = replace(graph, tensors=(*graph.tensors, Tensor("r", (8, 8), "float32", "input")), ops=(wide,))
    assert lane_bound_bytes(more, wide, 4, 1 << 30) == lane_bound_bytes(graph, op, 4, 1 << 30) + 4 * 8 * 8


def batched(b: int, m: int, n: int, k: int) -> tuple[Graph, Op]:
    """b independent products."""
    names = ("b", "m", "n", "k")
    at = {name: loop(name) for name in names}
    shapes = {"a": (b, m, k), "w": (b, k, n), "y": (b, m, n)}
    a, w, y = (
        Access(name, tuple(at[d] for d in dims)) for name, dims in zip("awy", ("bmk", "bkn", "bmn"), strict=True)
    )
    loops = tuple(Loop(name, extent) for name, extent in zip(names, (b, m, n, k), strict=True))
    op = Op(
        "y", "MatMul", loops, (a, w), y, Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"), macs=b * m * n * k
    )
    roles = {"a": "input", "w": "input", "y": "activation"}
    tensors = tuple(Tensor(name, shape, "float32", roles[name]) for name, shape in shapes.items())
    return Graph("g", tensors, (op,), ("a", "w"), ("y",)), op


def test_lanes_stay_idle_rather_than_copy_operands() -> None:
    """Eight lanes on six products: full lanes would read most operands twice and more."""
    graph, op = batched(6, 32, 32, 64)
    rules = LaneRules(machines.resolve("imax3:lanes=8"))
    plans = plan_stage(graph, op, Request(), rules, Bodies(rules))
    assert not isinstance(plans, Infeasible)
    (plan,) = plans
    lanes = prod(each.trips for each in plan.loops if each.axis == "lane")
    assert lanes == 6
    assert sum(backing_bytes(graph, plan, rules.axes)) <= 1.5 * lane_bound_bytes(graph, op, lanes, 1 << 30)


def test_replicas_with_a_tall_tail_finish_in_turn() -> None:
    """Tails of 64 rows in sum at once; the others start the fabric again, and each start fills the rows."""
    graph, op = matmul(96, 64, 64)
    tall = replace(op, tail=Call("tanh", (Call("sigmoid", (Acc(),)),)))
    graph = replace(graph, ops=(tall,))
    rules = LaneRules(MACHINE)
    plans = plan_stage(graph, tall, Request(), rules, Bodies(rules))
    assert not isinstance(plans, Infeasible)
    (plan,) = plans
    assert plan.tail is not None
    replicas = prod(each.trips for each in plan.loops if each.axis == "replica")
    at_once = 64 // (plan.tail.length + 1)
    assert replicas > at_once >= 1 and replicas * (plan.body.length + 1) <= 64
    groups = ceil(replicas / at_once)
    phases, count, _ = rules.phases(graph, plan)
    outputs = [each for each in plan.loops if each.loop != "k"]
    main, tail = launches(tall, plan.loops), launches(tall, outputs) * groups
    assert count == main + tail
    (execution,) = [phase.cycles for phase in phases if phase.name == "EXEC"]
    runs, tail_runs = body_runs(plan)
    assert execution == 4 * (runs + tail_runs * groups) + 8 * rules.rect(plan).height * count
    assert rules.rect(plan).height == max(replicas * (plan.body.length + 1), plan.tail.length + 1)
