"""More local memory never needs more bytes or energy: random layers on a ladder of sizes, each planned by itself."""

import random

import pytest

from mapper import machines
from mapper.arrays import Bodies, backing_bytes
from mapper.backends.cgla.network.bounds import lane_bound_bytes
from mapper.backends.cgla.network.rules import LaneRules, along
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import Infeasible
from mapper.planning import Planner, weight
from mapper.request import Request
from mapper.scalar import Arg, Call

SIZES_KIB = (8, 16, 32, 64, 128, 256, 512)


def product(draw: random.Random) -> tuple[Graph, Op]:
    """A batch of matrix products of odd sizes."""
    extents = {"b": draw.choice((1, 1, 5)), "m": draw.randint(1, 700), "n": draw.randint(1, 700),
               "k": draw.randint(1, 500)}  # fmt: skip
    reads = (Access("x", (loop("b"), loop("m"), loop("k"))), Access("w", (loop("b"), loop("k"), loop("n"))))
    return nest(extents, reads, Access("y", (loop("b"), loop("m"), loop("n"))), draw)


def convolution(draw: random.Random) -> tuple[Graph, Op]:
    """A window of odd size and stride over an image without padding."""
    stride, window = draw.choice((1, 1, 2)), draw.choice((1, 3, 5))
    extents = {"o": draw.randint(1, 160), "h": draw.randint(2, 40), "w": draw.randint(2, 40),
               "c": draw.randint(1, 96), "i": window, "j": window}  # fmt: skip
    image = (loop("c"), stride * loop("h") + loop("i"), stride * loop("w") + loop("j"))
    reads = (Access("x", image), Access("w", (loop("o"), loop("c"), loop("i"), loop("j"))))
    return nest(extents, reads, Access("y", (loop("o"), loop("h"), loop("w"))), draw)


def nest(extents: dict[str, int], reads: tuple[Access, ...], write: Access, draw: random.Random) -> tuple[Graph, Op]:
    dtype = draw.choice(("float32", "float16"))
    reach = {name: extent - 1 for name, extent in extents.items()}
    tensors = tuple(
        Tensor(access.tensor, tuple(index.at(reach) + 1 for index in access.index), dtype, role)
        for access, role in ((reads[0], "input"), (reads[1], "weight"), (write, "activation"))
    )
    loops = tuple(Loop(name, extent) for name, extent in extents.items())
    op = Op("op", "Layer", loops, reads, write, Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"), macs=1)
    return Graph("g", tensors, (op,), ("x",), ("y",)), op


def needs(graph: Graph, op: Op, lanes: int, sizes_kib: tuple[int, ...]) -> list[tuple[float, ...]]:
    """LOAD + DRAIN, bytes with registers and pJ of the plan for each size; bodies are placed once for all of them."""
    arrays = [LaneRules(machines.resolve(f"imax3:lanes={lanes},lmm={size}KiB")) for size in sizes_kib]
    bodies, found = Bodies(arrays[0]), []
    for rules in arrays:
        plans = Planner(graph, Request(effort="fast"), rules, bodies).plans(op)
        assert not isinstance(plans, Infeasible)
        moved = sum(backing_bytes(graph, plans[0], rules.axes))
        _, launches, control_bytes = rules.phases(graph, plans[0])
        found.append((moved, moved + launches * control_bytes, weight(graph, rules, plans[0]).pj))
    return found


@pytest.mark.parametrize("seed", [2, 6, 9, 11])  # searched for each size alone, some of these rise
def test_more_local_memory_never_needs_more(seed: int) -> None:
    draw = random.Random(seed)
    graph, op = draw.choice((product, convolution))(draw)
    for column in zip(*needs(graph, op, draw.choice((1, 2, 8)), SIZES_KIB), strict=True):
        assert list(column) == sorted(column, reverse=True)


def test_sizes_between_powers_of_two_are_held_against_the_one_below() -> None:
    draw = random.Random(99)
    graph, op = product(draw)
    between, below = needs(graph, op, 2, (48, 32))
    assert all(now <= before for now, before in zip(between, below, strict=True))


def test_windows_do_not_lie_down_the_rows_where_that_copies_the_image() -> None:
    """A depthwise layer has no channels to sum: three rows that take a window position each would load 3 images."""
    extents = {"g": 16, "h": 16, "w": 16, "i": 3, "j": 3}
    image = Access("x", (loop("g"), loop("h") + loop("i"), loop("w") + loop("j")))
    reads = (image, Access("w", (loop("g"), loop("i"), loop("j"))))
    graph, op = nest(extents, reads, Access("y", (loop("g"), loop("h"), loop("w"))), random.Random(1))
    rules = LaneRules(machines.resolve("imax3:lanes=1"))
    (plan,) = Planner(graph, Request(), rules, Bodies(rules)).plans(op)
    bound = lane_bound_bytes(graph, op, 1, 64 * (512 << 10))
    assert sum(backing_bytes(graph, plan, rules.axes)) <= 1.25 * bound
    assert not {"i", "j"} & {loop.loop for loop in plan.loops if loop.axis == "row"}
    assert along("replica", plan.loops) > 8  # flat bodies, more of them


def test_the_ladder_ends_at_eight_kib() -> None:
    sizes, rules = [], LaneRules(machines.resolve("imax3:lmm=96KiB"))
    while (smaller := rules.smaller) is not None:
        rules = smaller
        sizes.append((rules.machine.memory("lmm").capacity_bytes or 0) >> 10)
    assert sizes == [64, 32, 16, 8]
