"""Closed-form traffic against hand counts on a tiled matmul."""

import pytest

from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import WRITTEN, Axis, Buffer, Rect, Stage, TileLoop
from mapper.scalar import Arg, Call
from mapper.traffic import links


def matmul(m: int, n: int, k: int) -> Graph:
    a, b, c = (
        Tensor("a", (m, k), "float32", "input"),
        Tensor("b", (k, n), "float32", "weight"),
        Tensor("c", (m, n), "float32"),
    )
    op = Op("mm", "MatMul", (Loop("m", m), Loop("n", n), Loop("k", k)), (Access("a", (loop("m"), loop("k"))),
            Access("b", (loop("k"), loop("n")))), Access("c", (loop("m"), loop("n"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    return Graph("g", (a, b, c), (op,), ("a",), ("c",))


def stage(loops: list[TileLoop], depth: int) -> Stage:
    buffers = tuple(Buffer(operand, "lmm", depth, 0) for operand in (0, 1, WRITTEN))
    return Stage("s", "mm", tuple(loops), buffers, Rect(0, 0, 1, 1))


def first_links(graph: Graph, program: Stage, *axes: Axis):
    found = links(graph, program, next(graph.nests), {a.name: a for a in axes}, lambda name: "dram")
    return {link.operand: link for link in found if "dram" in (link.source, link.target)}


INNER = [TileLoop("m", 1, 8), TileLoop("n", 1, 8), TileLoop("k", 1, 8)]


def test_two_level_refetch_follows_the_order_of_the_loops() -> None:
    graph = matmul(16, 24, 32)
    outer = [TileLoop("m", 8, 2), TileLoop("n", 8, 3), TileLoop("k", 8, 4)]
    found = first_links(graph, stage([*outer, *INNER], 3))
    assert found[0].sent == 16 * 32 * 3  # n, inside which k steps, refetches A
    assert found[1].sent == 32 * 24 * 2
    assert (found[WRITTEN].received, found[WRITTEN].partial_received) == (16 * 24, 0)


def test_partial_sums_leave_and_return_when_the_reduction_is_outside() -> None:
    graph = matmul(16, 24, 32)
    outer = [TileLoop("k", 8, 4), TileLoop("m", 8, 2), TileLoop("n", 8, 3)]
    found = first_links(graph, stage([*outer, *INNER], 3))
    assert found[0].sent == 16 * 32  # n is innermost and irrelevant: A stands still
    assert found[1].sent == 32 * 24 * 2
    assert (found[WRITTEN].received, found[WRITTEN].partial_received) == (4 * 16 * 24, 3 * 16 * 24)


def test_ragged_tiles_move_each_element_once() -> None:
    graph = matmul(10, 7, 9)
    loops = [TileLoop("m", 4, 3), TileLoop("n", 3, 3), TileLoop("m", 1, 4), TileLoop("n", 1, 3), TileLoop("k", 1, 9)]
    found = first_links(graph, stage(loops, 2))
    assert found[0].sent == 10 * 9  # k never steps outside the buffer, n is innermost
    assert found[1].sent == 9 * 7 * 3
    assert found[WRITTEN].received == 70


@pytest.mark.parametrize(("multicast", "sent"), [(True, 16 * 32), (False, 3 * 16 * 32)])
def test_spatial_copies_are_read_once_only_where_the_axis_multicasts(multicast: bool, sent: int) -> None:
    graph = matmul(16, 24, 32)
    loops = [TileLoop("n", 8, 3, "row"), TileLoop("m", 1, 16), TileLoop("n", 1, 8), TileLoop("k", 1, 32)]
    found = first_links(graph, stage(loops, 1), Axis("row", 4, multicast, hop=True))
    assert (found[0].sent, found[0].received) == (sent, 3 * 16 * 32)
    assert found[0].hops == 2 * 16 * 32  # handed on twice along three rows
    assert found[1].hops == (0 + 1 + 2) * 8 * 32  # row p is p links from the entry
    assert (found[1].sent, found[1].received) == (32 * 24, 32 * 24)


def test_spatial_reduction_combines_copies_on_the_way_out() -> None:
    graph = matmul(16, 24, 32)
    loops = [TileLoop("k", 8, 4, "row"), TileLoop("m", 1, 16), TileLoop("n", 1, 24), TileLoop("k", 1, 8)]
    found = first_links(graph, stage(loops, 1), Axis("row", 4, True, hop=True))
    result = found[WRITTEN]
    assert (result.sent, result.partial_sent) == (4 * 16 * 24, 3 * 16 * 24)
    assert (result.received, result.partial_received) == (16 * 24, 0)
    assert result.hops == 3 * 16 * 24
