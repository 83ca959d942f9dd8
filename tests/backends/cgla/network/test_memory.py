"""More local memory never moves more: random layers on a ladder of sizes, each size planned by itself."""

import random

import pytest

from mapper import machines
from mapper.arrays import Bodies, backing_bytes
from mapper.backends.cgla.network.rules import LaneRules
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import Infeasible
from mapper.planning import Planner
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


def moved_bytes(graph: Graph, op: Op, lanes: int, sizes_kib: tuple[int, ...]) -> list[int]:
    """LOAD + DRAIN of the plan for each size of local memory; bodies are placed once for all of them."""
    arrays = [LaneRules(machines.resolve(f"imax3:lanes={lanes},lmm={size}KiB")) for size in sizes_kib]
    bodies, moved = Bodies(arrays[0]), []
    for rules in arrays:
        plans = Planner(graph, Request(effort="fast"), rules, bodies).plans(op)
        assert not isinstance(plans, Infeasible)
        moved.append(sum(backing_bytes(graph, plans[0], rules.axes)))
    return moved


@pytest.mark.parametrize("seed", [2, 6, 9, 11])  # of the last two, tiles searched for each size alone do rise
def test_more_local_memory_never_moves_more(seed: int) -> None:
    draw = random.Random(seed)
    graph, op = draw.choice((product, convolution))(draw)
    lanes = draw.choice((1, 2, 8))
    moved = moved_bytes(graph, op, lanes, SIZES_KIB)
    assert moved == sorted(moved, reverse=True)


def test_sizes_between_powers_of_two_are_held_against_the_one_below() -> None:
    draw = random.Random(99)
    graph, op = product(draw)
    between, below = moved_bytes(graph, op, 2, (48, 32))
    assert between <= below


def test_the_ladder_ends_at_eight_kib() -> None:
    sizes, rules = [], LaneRules(machines.resolve("imax3:lmm=96KiB"))
    while (smaller := rules.smaller) is not None:
        rules = smaller
        sizes.append((rules.machine.memory("lmm").capacity_bytes or 0) >> 10)
    assert sizes == [64, 32, 16, 8]
