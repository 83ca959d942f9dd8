"""What the play must get right, by hand: extremes across tiles, guarded writes, chains of MOVEs, 16 bits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from mapper.dfg import Dfg, Edge, Node
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.machine import Energy, Fabric, Links, Machine, Memory
from mapper.mapping import WRITTEN, Buffer, Mapping, Rect, Stage, TileLoop
from mapper.placement import KernelMapping, Move, Path, Placed
from mapper.proof.crossings import body_crossings
from mapper.scalar import Arg
from mapper.simulate import Limits, compare_values, simulate

MACHINE = Machine("toy", "toy", Fabric("mesh", 4, 4), (Memory("dram", None), Memory("lmm", 4096)),
                  Links(4.0, 1.0), Energy("none", ()), 1e9)  # fmt: skip
ROW, COLUMN = loop("i"), loop("k")
ROWS = np.array([[3, 9, 9, 1, 9, 0], [-2, -5, -2, -7, -2, -7]], np.int32)


def played(op: Op, tensors: tuple[Tensor, ...], loops: tuple[TileLoop, ...], values: np.ndarray, limits: Limits):
    buffers = (Buffer(0, "lmm", 1, 64, 0), Buffer(WRITTEN, "lmm", 1, 64, 64))
    graph = Graph("g", tensors, (op,), ("x",), ("y",))
    stage = Stage("s", op.name, loops, buffers, Rect(0, 0, 1, 1))
    return simulate(Mapping("toy", MACHINE, graph, (), (stage,)), {"x": values}, limits=limits)


@pytest.mark.parametrize("limits", [Limits(), Limits(literal_points=10**6)])
@pytest.mark.parametrize(
    ("kind", "positions"),
    [("argmax", [1, 0]), ("argmax_last", [4, 4]), ("argmin", [5, 3]), ("argmin_last", [5, 5])],
)
@pytest.mark.parametrize("tile", [1, 2, 4, 6])
def test_the_position_of_an_extreme_is_that_of_the_whole_row(
    kind: str, positions: list[int], tile: int, limits: Limits
) -> None:
    """Equal extremes stand in different tiles: the first one (or the last) of the whole row wins."""
    op = Op("arg", "ArgMax", (Loop("i", 2), Loop("k", 6)), (Access("x", (ROW, COLUMN)),), Access("y", (ROW,)), Arg(0),
            Combiner(kind, "int64", over="k"))  # fmt: skip
    tensors = (Tensor("x", (2, 6), "int32", "input"), Tensor("y", (2,), "int64"))
    cut = (TileLoop("k", tile, -(-6 // tile)), TileLoop("i", 1, 2), TileLoop("k", 1, tile))
    result = played(op, tensors, cut, ROWS, limits)
    assert result.values["y"].tolist() == positions and result.violations == ()


def test_a_write_whose_guard_is_negative_is_dropped() -> None:
    """Points 4 to 7 would overwrite the first four elements; their guard 3 - i is negative."""
    op = Op("kept", "Identity", (Loop("i", 8),), (Access("x", (ROW,)),), Access("y", (ROW % 4,), (3 - ROW,)), Arg(0))
    tensors = (Tensor("x", (8,), "int32", "input"), Tensor("y", (4,), "int32"))
    loops = (TileLoop("i", 2, 4), TileLoop("i", 1, 2))
    result = played(op, tensors, loops, np.arange(8, dtype=np.int32) + 10, Limits())
    assert result.values["y"].tolist() == [10, 11, 12, 13]


def test_a_chain_of_moves_is_read_at_its_end() -> None:
    """0 -> m0 -> m1 -> m2 along a row, the reader beside m2: four crossings, and none from m2 on its own PE."""
    body = Dfg("b", (Node(0, "add"), Node(1, "add")), (Edge(0, 1),))
    moves = (Move("m0", 1, 1, 0), Move("m1", 2, 2, "m0"), Move("m2", 3, 3, "m1"))
    path = (Path(0, 1, 0, ("m0", "m1", "m2"), (0, 0, 0, 0)),)
    far = KernelMapping(body, 4, (Placed(0, 0, 0), Placed(1, 7, 4)), moves, path)
    here = KernelMapping(body, 4, (Placed(0, 0, 0), Placed(1, 3, 4)), moves, path)
    assert body_crossings(far, False) == 4 and body_crossings(here, False) == 3


def test_16_bit_floats_are_compared_in_steps_of_their_own() -> None:
    ones = np.ones(3, ml_dtypes.bfloat16)
    step = np.array([1, 1 + 2**-7, 1], ml_dtypes.bfloat16)
    assert compare_values({"t": step}, {"t": ones}) == ()
    assert len(compare_values({"t": (ones * 1.25).astype(ones.dtype)}, {"t": ones})) == 1
