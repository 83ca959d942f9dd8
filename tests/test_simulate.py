"""Play against hand counts, both ways of counting against each other, and values that go wrong where they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.machine import Energy, Fabric, Links, Machine, Memory
from mapper.mapping import WRITTEN, Axis, Buffer, Mapping, Rect, Stage, TileLoop
from mapper.proof.replay import pieces
from mapper.proof.slices import counts, groups
from mapper.proof.tally import MemoryCount
from mapper.scalar import Arg, Call
from mapper.simulate import Limits, compare_counts, compare_values, simulate

MACHINE = Machine("toy", "toy", Fabric("mesh", 4, 4), (Memory("dram", None), Memory("lmm", 4096)),
                  Links(4.0, 1.0), Energy("none", ()), 1e9)  # fmt: skip
MATMUL = Op("mm", "MatMul", (Loop("m", 6), Loop("n", 4), Loop("k", 8)),
            (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n")))),
            Access("c", (loop("m"), loop("n"))), Call("mul", (Arg(0), Arg(1))), Combiner("sum", "int32"))  # fmt: skip
GRAPH = Graph("g", (Tensor("a", (6, 8), "int8", "input"), Tensor("b", (8, 4), "int8", "weight"),
                    Tensor("c", (6, 4), "int8")), (MATMUL,), ("a",), ("c",))  # fmt: skip
FEEDS = {"a": np.arange(48, dtype=np.int8).reshape(6, 8) % 3, "b": np.arange(32, dtype=np.int8).reshape(8, 4) % 2}
LITERAL = Limits(literal_points=10**6)


def mapping(loops: tuple[TileLoop, ...], depth: int, *axes: Axis) -> Mapping:
    buffers = tuple(Buffer(operand, "lmm", depth, 256, 256 * at) for at, operand in enumerate((0, 1, WRITTEN)))
    return Mapping("toy", MACHINE, GRAPH, axes, (Stage("s", "mm", loops, buffers, Rect(0, 0, 1, 1)),))


@pytest.mark.parametrize("limits", [Limits(), LITERAL])
def test_partial_results_travel_wide_and_return(limits: Limits) -> None:
    """k outermost: 24 results leave twice, once as 32-bit partial results that come back."""
    loops = (TileLoop("k", 4, 2), TileLoop("m", 2, 3), TileLoop("m", 1, 2), TileLoop("n", 1, 4), TileLoop("k", 1, 4))
    played = simulate(mapping(loops, 2), FEEDS, limits=limits)
    # a once, b once (m moves none of it); results: 24 x 4 bytes out and back, 24 x 1 byte out
    dram = MemoryCount("dram", 48 + 32 + 96, 96 + 24)
    assert played.memories[0] == dram
    # 192 times the units read a and b and leave a result in the buffer; 168 of these are partial and read back
    assert played.memories[1].read_bytes == 192 + 192 + 168 * 4 + (24 * 4 + 24)
    assert played.memories[1].write_bytes == 48 + 32 + 96 + (168 * 4 + 24)
    assert np.array_equal(played.values["c"], (FEEDS["a"].astype(int) @ FEEDS["b"]).astype(np.int8))


@pytest.mark.parametrize("limits", [Limits(), LITERAL])
def test_read_backs_and_ragged_copies_cross_links(limits: Limits) -> None:
    """Rows take 4 and 2 values of m, k steps outside: partial results of the second row cross its link out and back."""
    loops = (TileLoop("m", 4, 2, "row"), TileLoop("k", 4, 2), TileLoop("m", 1, 4), TileLoop("n", 1, 4),
             TileLoop("k", 1, 4))  # fmt: skip
    played = simulate(mapping(loops, 2, Axis("row", 2, True, hop=True)), limits=limits)
    first = {link.operand: link for link in played.ops[0].links if "dram" in (link.source, link.target)}
    assert first[0].hops == 2 * 8  # two rows of a go one link further
    assert first[1].hops == 32  # b is handed on once
    result = first[WRITTEN]
    # the slice does not move with k: 24 results leave once
    assert (result.sent, result.partial_sent, result.hops, result.returned_hops) == (24, 0, 2 * 4, 0)
    swapped = (loops[1], loops[0], TileLoop("n", 2, 2), *loops[2:3], TileLoop("n", 1, 2), loops[4])
    played = simulate(mapping(swapped, 3, Axis("row", 2, True, hop=True)), limits=limits)
    result = next(link for link in played.ops[0].links if link.target == "dram")
    # now n steps inside k: results leave twice, 8 of them over the link, and come back over it
    assert (result.sent, result.partial_sent, result.hops, result.partial_hops, result.returned_hops) == (
        48,
        24,
        16,
        8,
        8,
    )


def test_a_wrong_program_leaves_unfinished_elements() -> None:
    loops = (TileLoop("m", 1, 5), TileLoop("n", 1, 4), TileLoop("k", 1, 8))
    played = simulate(mapping(loops, 0), FEEDS)
    assert [str(v) for v in played.violations] == [
        "outputs: tensor 'c': found 4 elements never finished, expected all of them"
    ]
    assert (played.values["c"][5] == -128).all()


def test_a_stage_that_runs_too_early_reads_what_is_not_there() -> None:
    relu = Op("relu", "Relu", (Loop("i", 6), Loop("j", 4)), (Access("c", (loop("i"), loop("j"))),),
              Access("d", (loop("i"), loop("j"))), Arg(0))  # fmt: skip
    graph = replace(GRAPH, tensors=(*GRAPH.tensors, Tensor("d", (6, 4), "int8")), ops=(MATMUL, relu), outputs=("d",))
    late = Stage("s0", "mm", (TileLoop("m", 1, 6), TileLoop("n", 1, 4), TileLoop("k", 1, 8)), (), Rect(0, 0, 1, 1))
    early = Stage("s1", "relu", (TileLoop("i", 1, 6), TileLoop("j", 1, 4)), (), Rect(0, 0, 1, 1))
    played = simulate(Mapping("toy", MACHINE, graph, (), (early, late)), FEEDS)
    assert [v.rule for v in played.violations] == ["presence", "outputs"]
    assert "an element of 'c' that was never filled in" in str(played.violations[0])


def test_counts_are_compared_exactly_and_in_words() -> None:
    from mapper.cost import cost

    loops = (TileLoop("m", 1, 6), TileLoop("n", 1, 4), TileLoop("k", 1, 8))
    program = mapping(loops, 0)
    charged = cost(program)
    assert compare_counts(simulate(program), charged) == ()
    assert [str(v) for v in compare_counts(simulate(program), replace(charged, hop_bytes=1))] == [
        "counts: total, links: found 1 byte hops charged, expected 0 byte hops as counted by play"
    ]
    (only,) = charged.ops
    level = replace(only.level("dram"), read_bytes=only.level("dram").read_bytes - 1)
    tampered = replace(charged, ops=(replace(only, levels=(("dram", level), *only.levels[1:])),))
    assert [v.subject for v in compare_counts(simulate(program), tampered)] == ["operator 'mm', memory 'dram'"]
    assert [v.found for v in compare_counts(simulate(program), replace(charged, ops=()))] == ["counted only"]


def test_values_are_compared_by_type() -> None:
    ones = np.ones(3, np.float32)
    assert compare_values({"t": ones * 1.00009}, {"t": ones}) == ()
    assert len(compare_values({"t": ones * 1.0002}, {"t": ones})) == 1
    assert len(compare_values({"t": ones * np.nan}, {"t": ones})) == 1
    assert compare_values({"t": ones * np.nan}, {"t": ones * np.nan}) == ()
    step = {"t": np.array([1, 2], np.int8)}, {"t": np.array([1, 3], np.int8)}
    assert [v.found for v in compare_values(*step)] == ["2 at (1,) (1 elements differ)"]
    assert compare_values(*step, quantised=frozenset("t")) == ()
    assert [v.expected for v in compare_values({"t": ones}, {"t": np.ones(2, np.float32)})] == ["shape (2,)"]


def test_pieces_are_cut_with_their_steps() -> None:
    stage = Stage("s", "mm", (TileLoop("k", 5, 2), TileLoop("k", 2, 3)), (), Rect(0, 0, 1, 1))
    found = pieces(stage, MATMUL, "k", 2, lambda position: True)
    assert found.start.tolist() == [0, 2, 4, 5, 7]
    assert found.size.tolist() == [2, 2, 1, 2, 1]
    assert (found.step[0].tolist(), found.step[1].tolist()) == ([0, 0, 0, 1, 1], [0, 1, 2, 0, 1])


@pytest.mark.parametrize("seed", range(20))
def test_slices_count_what_enumeration_finds(seed: int) -> None:
    """Random index expressions over shared loops, tiles at the border, floor divisions and modulos."""
    rng = np.random.default_rng(seed)
    x, y = loop("x") * int(rng.choice([-2, -1, 1, 3])), loop("y") * int(rng.integers(1, 4))
    first = x + y + int(rng.integers(-4, 5))
    second = [loop("x") % 3, loop("y") // 2, loop("x") - loop("y")][seed % 3]
    op = Op("o", "", (Loop("x", 9), Loop("y", 9)), (), Access("t", (first, second)), Arg(0))
    (group,) = groups(op, op.write, (10, 6))
    starts, sizes = rng.integers(0, 5, (30, 2)), rng.integers(1, 5, (30, 2))
    for start, size, found in zip(starts, sizes, counts(group, starts, sizes), strict=True):
        points = [(int(start[0]) + i, int(start[1]) + j) for i in range(size[0]) for j in range(size[1])]
        values = [dict(zip(group.loops, point, strict=True)) for point in points]
        inside = {(a, b) for v in values if 0 <= (a := first.at(v)) < 10 and 0 <= (b := second.at(v)) < 6}
        assert found == len(inside)
