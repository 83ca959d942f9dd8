"""Which results may stay in local memory, and how they are cut: exact on small graphs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mapper.backends.cgla.network.chains import chains, cuts
from mapper.index import constant, loop
from mapper.ir import Access, AnyOp, Combiner, Graph, Loop, Op, Opaque, Tensor, View
from mapper.scalar import Acc, Arg, Call

F = "float32"
B, M, N, K = (loop(name) for name in "bmnk")


def product_() -> Op:
    """t[b, m, n] = sum over k of x[b, m, k] w[b, k, n], scaled."""
    loops = (Loop("b", 6), Loop("m", 20), Loop("n", 16), Loop("k", 8))
    reads = (Access("x", (B, M, K)), Access("w", (B, K, N)))
    return Op("product", "MatMul", loops, reads, Access("t", (B, M, N)), Call("mul", (Arg(0), Arg(1))),
              Combiner("sum", F), Call("neg", (Acc(),)), ("product",), 6 * 20 * 16 * 8)  # fmt: skip


def row_max() -> Op:
    """s[b, m] = max over n of t[b, m, n]."""
    loops = (Loop("b", 6), Loop("m", 20), Loop("n", 16))
    return Op("max", "Max", loops, (Access("t", (B, M, N)),), Access("s", (B, M)), Arg(0), Combiner("max", F))


def shifted() -> Op:
    """y = t - s, under other names of loops."""
    p, q, r = (loop(name) for name in "pqr")
    loops = (Loop("p", 6), Loop("q", 20), Loop("r", 16))
    reads = (Access("t", (p, q, r)), Access("s", (p, q)))
    return Op("shift", "Sub", loops, reads, Access("y", (p, q, r)), Call("sub", (Arg(0), Arg(1))))


SHAPES = {"x": (6, 20, 8), "w": (6, 8, 16), "t": (6, 20, 16), "s": (6, 20), "y": (6, 20, 16)}


def graph(*ops: AnyOp, outputs: tuple[str, ...] = ("y",), **shapes: tuple[int, ...]) -> Graph:
    """What no operator makes is an input."""
    made = {name for op in ops for name in op.outputs}
    every = SHAPES | shapes
    used = made | {name for op in ops for name in op.inputs}
    tensors = tuple(Tensor(name, shape, F, "activation" if name in made else "input")
                    for name, shape in every.items() if name in used)  # fmt: skip
    return Graph("g", tensors, ops, tuple(t.name for t in tensors if t.role == "input"), outputs)


PLAIN = graph(product_(), row_max(), shifted())


def found(given: Graph) -> list[tuple[str, int, int, tuple[int, ...]]]:
    return [(c.tensor, c.first, len(c.ops), c.free) for c in chains(given, list(given.nests))]


def test_a_result_may_stay_along_what_no_reader_reduces() -> None:
    """t is reduced over its last dimension; s is read by the next operator alone."""
    assert found(PLAIN) == [("t", 0, 3, (0, 1)), ("s", 1, 2, (0, 1))]


def test_loops_follow_from_dimensions() -> None:
    chain = next(chains(PLAIN, list(PLAIN.nests)))
    assert [chain.loop(at, 1) for at in range(3)] == ["m", "m", "q"]


@pytest.mark.parametrize(
    "reason",
    ["an output", "a view", "the host", "a later reader", "twice", "displaced", "a tail", "a product", "wider"],
)
def test_results_that_may_not_stay(reason: str) -> None:
    first, second, third = product_(), row_max(), shifted()
    ops: tuple[AnyOp, ...] = (first, second, third)
    outputs: tuple[str, ...] = ("y",)
    shapes: dict[str, tuple[int, ...]] = {}
    if reason == "an output":
        outputs = ("y", "t")
    elif reason == "a view":
        ops = (
            first,
            View("v", "Reshape", "t", "z", ()),
            second,
            replace(third, reads=(Access("z", third.reads[0].index), third.reads[1])),
        )
        shapes = {"z": (6, 20, 16)}
    elif reason == "the host":
        ops, shapes, outputs = (*ops, Opaque("o", "Odd", ("t",), ("z",), "no nest")), {"z": (1,)}, ("y", "z")
    elif reason == "a later reader":  # an operator stands between that does not read it
        between = replace(row_max(), name="other", reads=(Access("u", (B, M, N)),), write=Access("z", (B, M)))
        ops, shapes, outputs = (first, second, between, third), {"u": (6, 20, 16), "z": (6, 20)}, ("y", "z")
    elif reason == "twice":
        ops = (first, second, replace(third, reads=(third.reads[0], Access("t", (loop("p"), loop("q"), constant(0))))))
    elif reason == "displaced":
        ops = (
            first,
            second,
            replace(
                third, reads=(Access("t", (loop("p"), loop("q"), loop("r") - 1), (loop("r") - 1,)), third.reads[1])
            ),
        )
    elif reason == "a tail":  # s = max(u) + t[.., 0]
        reads = (Access("u", (B, M, N)), Access("t", (B, M, constant(0))))
        ops = (first, replace(second, reads=reads, tail=Call("add", (Acc(), Arg(1)))))
        shapes, outputs = {"u": (6, 20, 16)}, ("s",)
    elif reason == "a product":
        ops = (first, replace(second, macs=1), third)
    else:
        ops = (replace(first, combiner=Combiner("sum", "float64")), second, third)
    assert "t" not in [tensor for tensor, *_ in found(graph(*ops, outputs=outputs, **shapes))]


@pytest.mark.parametrize(("lanes", "replicas"), [(1, 1), (2, 9), (4, 7), (8, 3), (8, 64)])
def test_pieces_cover_the_result_on_the_places_there_are(lanes: int, replicas: int) -> None:
    chain = next(chains(PLAIN, list(PLAIN.nests)))
    shape = PLAIN.tensor("t").shape
    for cut in cuts(PLAIN, chain, lanes, replicas):
        for axis, places in (("lane", lanes), ("replica", replicas)):
            assert math.prod(number for _, _, number, on in cut.pieces if on == axis) <= places
        for dimension, extent in enumerate(shape):
            left = extent
            for size, number in ((size, number) for d, size, number, _ in cut.pieces if d == dimension):
                assert (number - 1) * size < left <= number * size
                left = size
            assert cut.size(dimension, extent) == left
        assert {d for d, _, _, _ in cut.pieces} <= set(chain.free)


def test_the_first_cut_is_the_busiest() -> None:
    """Eight lanes: four halves of 6 and 20 keep 8 busy, as 1 x 20 / 3 or 6 / 1 x 1 do not."""
    chain = next(chains(PLAIN, list(PLAIN.nests)))
    ranked = cuts(PLAIN, chain, 8, 5)
    assert [cut.busy[0] * cut.busy[1] for cut in ranked] == sorted(
        (c.busy[0] * c.busy[1] for c in ranked), reverse=True
    )
    assert ranked[0].busy == (8.0, 5.0)
    assert cuts(PLAIN, chain, 8, 1)[0].busy[0] == 8.0
