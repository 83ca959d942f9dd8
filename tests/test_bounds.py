"""Bounds: published values, never above the enumerated optimum, and what they must not claim."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper import bounds
from mapper.index import Gathered, Index, loop
from mapper.ir import Access, Graph, Loop, Op, Opaque, Tensor
from mapper.scalar import Arg

_spec = importlib.util.spec_from_file_location("nests", Path(__file__).parent / "tiling" / "nests.py")
assert _spec and _spec.loader
nests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nests)
DATA = Path(__file__).parents[1] / "benchmarks" / "data" / "cost"


def op_of(graph: Graph) -> Op:
    return next(graph.nests)


def test_published_bounds_of_matmuls_and_convolutions() -> None:
    for name in ("two_level_matmul", "two_level_conv"):
        for case in json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["cases"]:
            if case["op"] == "matmul":
                graph = nests.matmul(case["M"], case["N"], case["K"])
            else:
                assert (case["OY"], case["FY"]) == (case["OX"], case["FX"])
                graph = nests.conv(case["K"], case["C"], case["OY"], case["OX"], case["FY"], case["stride"])
            found = bounds.op_bound_bytes(graph, op_of(graph), case["S_words"])
            assert found.compulsory_bytes == case["bounds"]["compulsory_words"]
            assert found.bytes == case["bounds"]["provable_lb_words"]


def test_the_reference_line_is_above_a_reachable_mapping() -> None:
    line = 2 * 2048 * 2048 * 128 / 270_000**0.5 + 2048 * 2048
    graph = nests.matmul(2048, 2048, 128)
    found = bounds.attainable(graph, op_of(graph), 270_000)
    assert found is not None and found.bytes < line
    assert bounds.op_bound_bytes(graph, op_of(graph), 270_000).bytes <= found.bytes
    assert bounds.reference_line_matmul(2048, 2048, 128, 270_000) is None
    assert bounds.reference_line_matmul(128, 128, 128, 1024) == pytest.approx(147_456)
    assert bounds.reference_line_conv(100, 10, 1, 4) == pytest.approx(110)


def test_mixed_widths_in_bytes() -> None:
    graph = nests.matmul(64, 64, 64, "int8", "int32")
    found = bounds.segment_bytes(graph, op_of(graph), 256)
    assert found == 2 * 64**3 * 2 // 16 - 2 * 256 - 64 * 64 * 3  # sqrt(1 x 1 x 4 / 256) = 2 / 16


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 24), st.integers(6, 200),
       st.sampled_from(["int8", "int32"]))  # fmt: skip
def test_bound_is_at_most_the_least_tiling(m: int, n: int, k: int, room: int, wide: str) -> None:
    graph = nests.matmul(m, n, k, "int8", wide)
    found = bounds.attainable(graph, op_of(graph), room)
    assert found is not None and found.exact_in
    assert bounds.op_bound_bytes(graph, op_of(graph), room).bytes <= found.bytes


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(3, 7), st.integers(3, 7), st.integers(1, 3),
       st.integers(1, 3), st.integers(0, 1), st.integers(9, 90))  # fmt: skip
def test_bound_of_convolutions(k: int, c: int, y: int, x: int, f: int, stride: int, pad: int, room: int) -> None:
    graph = nests.conv(k, c, y, x, f, stride, min(pad, (f - 1) // 2))
    found = bounds.attainable(graph, op_of(graph), room)
    assert found is not None
    assert bounds.op_bound_bytes(graph, op_of(graph), room).bytes <= found.bytes


def test_padding_reads_nothing() -> None:
    padded = nests.conv(1, 1, 4, 4, 3, 1, 1)
    assert bounds.touched_elements(padded, op_of(padded), op_of(padded).reads[0]) == 16


def test_stride_beyond_the_kernel_skips_elements() -> None:
    graph = nests.conv(1, 1, 4, 4, 1, 2)
    assert bounds.touched_elements(graph, op_of(graph), op_of(graph).reads[0]) == 16


def test_a_guard_over_other_loops_is_enumerated() -> None:
    """A causal mask: column j is needed by row i >= j only; with two rows of six columns four are never needed."""
    tensors = (Tensor("k", (6,), "int8", "input"), Tensor("o", (2, 6), "int8"))
    read = Access("k", (loop("j"),), (loop("i") - loop("j"),))
    op = Op("mask", "Mask", (Loop("i", 2), Loop("j", 6)), (read,), Access("o", (loop("i"), loop("j"))), Arg(0))
    graph = Graph("g", tensors, (op,), ("k",), ("o",))
    assert bounds.touched_elements(graph, op, read) == 2


def test_a_gather_claims_one_row() -> None:
    index, table = Tensor("i", (5,), "int32", "input"), Tensor("t", (100, 8), "int8", "weight")
    row = Index(((Gathered(0, 100), 1),))
    reads = (Access("i", (loop("p"),)), Access("t", (row, loop("d"))))
    op = Op("gather", "Gather", (Loop("p", 5), Loop("d", 8)), reads, Access("o", (loop("p"), loop("d"))), Arg(1))
    tensors = (index, table, Tensor("o", (5, 8), "int8"))
    graph = Graph("g", tensors, (op,), ("i",), ("o",))
    assert bounds.op_bound_bytes(graph, op, 1000).bytes == 5 * 4 + 8 + 5 * 8


def chain() -> Graph:
    names = ("x", "w", "t", "v", "y")
    x, w, t, v, y = (Tensor(n, (8, 8), "int8", "weight" if n in "wv" else "input" if n == "x" else "activation")
                     for n in names)  # fmt: skip
    base = op_of(nests.matmul(8, 8, 8))

    def product(name: str, a: str, b: str, c: str) -> Op:
        reads = (Access(a, base.reads[0].index), Access(b, base.reads[1].index))
        return Op(name, "MatMul", base.loops, reads, Access(c, base.write.index), base.body, base.combiner)

    host = Opaque("topk", "TopK", ("y",), ("z",), "no nest")
    ops = (product("one", "x", "w", "t"), product("two", "t", "v", "y"), host)
    return Graph("g", (x, w, t, v, y, Tensor("z", (4,), "int8")), ops, ("x",), ("z",))


def test_a_graph_pays_for_what_crosses_whatever_is_fused() -> None:
    graph = chain()
    host = 64 + 4  # the opaque operator reads y and writes z outside
    assert bounds.graph_bound_bytes(graph, 100) == 3 * 64 + 64 + host
    assert bounds.graph_bound_bytes(graph, 100, inside=frozenset({"x"})) == 2 * 64 + 64 + host
    assert bounds.graph_bound_bytes(graph, 100, weights_stay=True) == 64 + (128 - 100) + 64 + host


def test_chains_pes_time_and_energy() -> None:
    assert bounds.chain_bound_bytes(10, (50, 60), (20,)) == 70
    assert bounds.chain_bound_bytes(100, (50, 60), (20,)) == 100
    graph = nests.matmul(64, 64, 64)
    assert bounds.pe_bound_bytes(graph, op_of(graph), 4, 64) == 2 * 64**3 // 8 // 4 - 2 * 64
    assert bounds.hop_bound_byte_hops([(10, 3), (5, 0)]) == 30
    assert bounds.bisection_bound_cycles(101, 10) == 11
    assert bounds.latency_bound_cycles(1000, 10, [(500, 10.0), (990, 9.0)]) == 110
    assert bounds.energy_bound_pj([(100, 2.0)], 10, 0.5) == 205
