"""Bank conflicts against counting by hand: which words a slot reaches, and how long its fullest bank takes."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.arrays import PlacedBody, StagePlan
from mapper.backends.cgra.network.banks import _waits, stalls, stalls_per_run
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.kernels.body import lower_main
from mapper.kernels.style import CGRA_STYLE
from mapper.mapping import WRITTEN, Buffer, TileLoop
from mapper.placement import KernelMapping, Placed
from mapper.scalar import Arg, Call


def test_waits_are_the_fullest_bank_less_one() -> None:
    """Four skewed banks: 0, 7 and 10 lie in bank 0, 4 in bank 1; equal words are served at once, what does nothing
    (-1) waits for nobody."""
    words = np.array([[0, 0, 0, -1], [7, 4, 0, 7], [10, 4, 0, 10]])
    assert _waits(words, 4) == pytest.approx((2 + 0 + 0 + 1) / 4)
    assert _waits(words, 16) == 0


def copied(pitch: int, slots: tuple[int, int]) -> tuple[Graph, StagePlan]:
    """y[i, j] = x[i, j] in a tile of 2 x pitch words, two rows at once; both loads in `slots` of a body of II 4."""
    i, j = loop("i"), loop("j")
    op = Op("copy", "Identity", (Loop("i", 2), Loop("j", pitch)), (Access("x", (i, j)),), Access("y", (i, j)), Arg(0))
    graph = Graph(
        "g", (Tensor("x", (2, pitch), "float32", "input"), Tensor("y", (2, pitch), "float32")), (op,), ("x",), ("y",)
    )
    loops = (TileLoop("j", 1, pitch), TileLoop("i", 1, 2, "unroll"))
    buffers = (Buffer(0, "spm", 0, 8 * pitch, 0), Buffer(WRITTEN, "spm", 0, 8 * pitch, 8 * pitch))
    return graph, StagePlan(op, loops, buffers, placed(graph, op, slots), None)


def placed(graph: Graph, op: Op, slots: tuple[int, int]) -> PlacedBody:
    dfg = lower_main(graph, op, CGRA_STYLE, {"i": 2}).dfg
    loads = [node.id for node in dfg.nodes if node.op == "load"]
    stores = [node.id for node in dfg.nodes if node.op == "store"]
    at = dict(zip(loads, slots, strict=True)) | dict(zip(stores, (2, 3), strict=True))
    cycles = tuple(Placed(node.id, 0, at.get(node.id, 0)) for node in dfg.nodes)
    return PlacedBody(KernelMapping(dfg, 4, cycles), 4, 4, "")


@pytest.mark.parametrize(("pitch", "slots", "waits"), [(16, (0, 0), 1.0), (18, (0, 0), 0.0), (16, (0, 1), 0.0)])
def test_rows_a_multiple_of_the_skew_apart_share_a_bank(pitch: int, slots: tuple[int, int], waits: float) -> None:
    graph, plan = copied(pitch, slots)
    assert stalls_per_run(graph, plan, lower_main(graph, plan.op, CGRA_STYLE, {"i": 2}), 4) == waits
    assert stalls(graph, plan, 4) == waits * pitch


def test_an_accumulator_is_stored_once_a_run() -> None:
    """A sum over four elements a row: the store of its first slot meets the load in one iteration of four."""
    i, k = loop("i"), loop("k")
    op = Op("sum", "ReduceSum", (Loop("i", 8), Loop("k", 4)), (Access("x", (i, k)),), Access("y", (i,)),
            Call("add", (Arg(0), Arg(0))), Combiner("sum", "float32"))  # fmt: skip
    graph = Graph("g", (Tensor("x", (8, 4), "float32", "input"), Tensor("y", (8,), "float32")), (op,), ("x",), ("y",))
    loops = (TileLoop("i", 1, 8), TileLoop("k", 1, 4))
    buffers = (Buffer(0, "spm", 0, 128, 0), Buffer(WRITTEN, "spm", 0, 32, 128), Buffer(WRITTEN, "reg", 1, 4, 0))
    dfg = lower_main(graph, op, CGRA_STYLE).dfg
    body = PlacedBody(KernelMapping(dfg, 2, tuple(Placed(node.id, 0, 0) for node in dfg.nodes)), 2, 2, "")
    waiting = stalls_per_run(graph, StagePlan(op, loops, buffers, body, None), lower_main(graph, op, CGRA_STYLE), 1)
    assert waiting == pytest.approx(1 / 4)
