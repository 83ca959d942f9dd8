"""The shape of bodies: what is loaded once, how accumulators close, what each style leaves to the host."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mapper.dfg import Dfg, DfgError, recurrence_mii
from mapper.frontends.onnx import load_model
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.kernels.body import lower_main, main_body, tail_body
from mapper.kernels.emit import Site
from mapper.kernels.pieces import pieces
from mapper.kernels.run import execute, from_words, to_words
from mapper.kernels.signature import signature
from mapper.kernels.style import CGLA_STYLE, CGRA_STYLE
from mapper.models import zoo
from mapper.scalar import Arg, Call, Const, Scalar, evaluate

sys.path.insert(0, str(Path(__file__).parent))
from lowering import STYLES, pointwise, run_pointwise
from nests import CASES, convolution, matmul, transposed_convolution

TINY = ["bert-tiny", "gpt2-tiny", "lfm2-tiny", "mobilenetv2-tiny", "unet-tiny", "whisper-tiny-mini"]


def kinds(dfg: Dfg) -> Counter[str]:
    return Counter(node.op for node in dfg.nodes)


def test_matmul_on_a_grid() -> None:
    graph, _ = matmul()
    body = main_body(graph, graph.ops[0], CGRA_STYLE)
    assert kinds(body) == {"load": 2, "phi": 3, "iadd": 2, "mul": 1, "add": 1, "store": 1}
    assert recurrence_mii(body) == 2  # phi and addition
    carried = {e.dst for e in body.edges if e.distance}
    assert {body[n].op for n in carried} == {"phi"}
    assert all(e.distance == 1 for n in carried for e in body.predecessors[n])


def test_copies_share_loads_and_combine_in_a_tree() -> None:
    graph, _ = matmul()
    body = main_body(graph, graph.ops[0], CGRA_STYLE, {"n": 3, "k": 2})
    # a[m, k] is loaded for 2 values of k, b[k, n] for 6; each accumulator takes one sum of two products.
    assert kinds(body)["load"] == 8 and kinds(body)["mul"] == 6 and kinds(body)["store"] == 3
    assert kinds(body)["add"] == 6
    overlapping = main_body(*op_of(convolution), CGRA_STYLE, {"y": 2, "f": 4})
    assert kinds(overlapping)["load"] == 4 + 6  # four taps, and windows of stride 2 share half of their elements


def op_of(build) -> tuple[Graph, Op]:
    graph, _ = build()
    return graph, graph.ops[0]


def test_matmul_on_a_line_is_loads_and_fused_products() -> None:
    graph, _ = matmul()
    body = main_body(graph, graph.ops[0], CGLA_STYLE, {"k": 4})
    assert [n.stages[0] for n in body.nodes if n.kind == "exe"] == ["mul", "fma", "fma", "fma", "add"]
    assert [n.self_update for n in body.nodes if n.kind == "exe"] == [False] * 4 + [True]
    assert (body.loop_levels, body.loop_host, body.host_values) == (2, (1, 2, 3), ((0, 0.0),))
    assert {r.tensor for r in body.regions} == {"a", "b", "y"}
    store = next(n for n in body.nodes if n.kind == "store")
    assert store.memory is not None and store.memory.offset is None and body[store.memory.data or 0].self_update


def test_the_tail_loads_what_was_combined() -> None:
    graph, _ = matmul()
    tail = tail_body(graph, graph.ops[0], CGLA_STYLE, {"k": 4})
    assert tail is not None
    assert kinds(tail) == {"load": 2, "add": 1, "max": 1, "store": 1}
    assert tail_body(*op_of(convolution), CGLA_STYLE) is None


def test_colliding_writes_are_loaded_and_stored_in_one_region() -> None:
    lowered = lower_main(*op_of(transposed_convolution), CGLA_STYLE)
    regions = {site.region for site in lowered.sites if site.access.tensor == "y"}
    assert len(regions) == 1
    store = next(n for n in lowered.dfg.nodes if n.kind == "store")
    assert store.memory is not None and lowered.dfg[store.memory.predicate or 0].kind == "cex"


def test_loops_of_one_iteration_collide_with_nothing() -> None:
    """A depthwise convolution writes channel g + k with a single k."""
    g, k, f = loop("g"), loop("k"), loop("f")
    reads = (Access("x", (g, f)), Access("w", (g + k, f)))
    op = Op("dw", "Conv", (Loop("g", 4), Loop("k", 1), Loop("f", 3)), reads, Access("y", (g + k,)),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    tensors = (Tensor("x", (4, 3), "float32", "input"), Tensor("w", (4, 3), "float32", "weight"))
    graph = Graph("g", (*tensors, Tensor("y", (4,), "float16")), (op,), ("x",), ("y",))
    assert kinds(main_body(graph, op, CGLA_STYLE))["load"] == 2
    assert tail_body(graph, op, CGLA_STYLE) is None


def test_logic_and_shift_with_immediates_join_the_arithmetic_before_them() -> None:
    masked = Call("bit_and", (Call("add", (Arg(0), Arg(1))), Const(255)))
    graph, op = pointwise(Call("shift_right", (masked, Const(3))), ("int32", "int32"), "int32", 4)
    body = main_body(graph, op, CGLA_STYLE)
    assert [n.stages for n in body.nodes if n.kind == "exe"] == [("iadd", "and 255", "sra 3")]


def test_gathered_rows_feed_the_offset() -> None:
    graph, values = CASES["gather"][0]()
    body = main_body(graph, graph.ops[0], CGLA_STYLE)
    fed = [n for n in body.nodes if n.kind == "load" and n.memory and n.memory.offset is not None]
    assert len(fed) == 1
    known = replace(graph.tensor("rows"), role="constant", data=np.array([0, 1, 3, 3]).tobytes())
    constant_rows = replace(graph, tensors=(known, *graph.tensors[1:]))
    assert len(main_body(constant_rows, graph.ops[0], CGLA_STYLE).nodes) < len(body.nodes)  # nothing wraps


def test_signatures_leave_out_names_and_tell_structures_apart() -> None:
    graph, _ = matmul()
    op = graph.ops[0]
    body = main_body(graph, op, CGLA_STYLE)
    assert signature(body) == signature(main_body(graph, replace(op, name="other"), CGLA_STYLE))
    assert signature(body) != signature(main_body(graph, op, CGLA_STYLE, {"k": 2}))
    bodies = [main_body(*pointwise(Call("mul", (Arg(0), Const(c))), ("float32",), "float32", 4), CGRA_STYLE)
              for c in (2.0, 3.0)]  # fmt: skip
    assert signature(bodies[0]) != signature(bodies[1])
    assert signature(bodies[0], values=False) == signature(bodies[1], values=False)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", TINY)
def test_every_operator_of_the_zoo_lowers(name: str, style: str) -> None:
    graph = load_model(zoo.build(name))
    for op in (*graph.prepare, *graph.ops):
        if isinstance(op, Op):
            body, tail = main_body(graph, op, STYLES[style]), tail_body(graph, op, STYLES[style])
            assert any(n.kind == "store" for n in body.nodes)
            assert tail is not None or op.tail is None
            assert len(body.nodes) <= 64


GELU = Call("mul", (Call("mul", (Arg(0), Const(0.5))),
                    Call("add", (Call("erf", (Call("mul", (Arg(0), Const(0.70710678))),)), Const(1.0)))))  # fmt: skip
LONG = Call("add", (GELU, Call("mul", (Call("sigmoid", (Arg(1),)), Call("tanh", (Call("add", (Arg(0), Arg(1))),))))))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("limit", [24, 40, 60])
def test_pieces_compute_what_the_whole_does(limit: int, style: str) -> None:
    x = np.random.default_rng(5).normal(size=(2, 64)).astype(np.float32)
    graph, op = pointwise(LONG, ("float32", "float32"), "float32", 64)
    lowered = lower_main(graph, op, STYLES[style])
    parts = pieces(lowered.dfg, limit)
    assert len(parts) > 1 and all(len(part.nodes) <= limit for part in parts)
    memory = {r.id: to_words(x[int(r.tensor[1:])], "float32")[None] for r in lowered.dfg.regions if r.tensor != "y"}
    for part in parts:
        loads = {n.id: memory[n.memory.region] for n in part.nodes if n.kind == "load"}
        for node, words in execute(part, loads, 1).items():
            memory[part[node].memory.region] = words
    found = from_words(memory[next(r.id for r in lowered.dfg.regions if r.tensor == "y")][0], "float32")
    np.testing.assert_array_equal(found, run_pointwise(LONG, (x[0], x[1]), ("float32",) * 2, "float32", STYLES[style]))


def test_a_body_that_fits_stays_whole_and_an_accumulator_never_parts() -> None:
    graph, _ = matmul()
    body = main_body(graph, graph.ops[0], CGRA_STYLE)
    assert pieces(body, 10) == (body,)
    with pytest.raises(DfgError, match="cannot part and need 10 nodes, not 3"):
        pieces(body, 3)


def random_body(rng: np.random.Generator, depth: int) -> Scalar:
    if depth == 0 or rng.random() < 0.1:
        return Arg(int(rng.integers(3))) if rng.random() < 0.8 else Const(float(np.round(rng.normal(), 2)))
    name = str(
        rng.choice(["add", "sub", "mul", "max", "min", "neg", "abs", "tanh", "sigmoid", "where", "sin", "floor"])
    )
    count = {"where": 3, "add": 2, "sub": 2, "mul": 2, "max": 2, "min": 2}.get(name, 1)
    args = [random_body(rng, depth - 1) for _ in range(count)]
    if name == "where":
        args[0] = Call("less", (args[0], args[1]))
    return Call(name, tuple(args))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(25))
def test_random_bodies(seed: int, style: str) -> None:
    rng = np.random.default_rng(seed)
    body = Call("add", (random_body(rng, 5), Arg(0)))
    x = tuple(rng.normal(size=200).astype(np.float32) for _ in range(3))
    expected = evaluate(body, [a.astype(np.float64) for a in x])
    found = run_pointwise(body, x, ("float32",) * 3, "float32", STYLES[style])
    # floor and comparisons jump: a rounding error before a jump is not an error of the lowering
    close = np.isclose(found, expected, rtol=1e-4, atol=1e-5)
    assert close.mean() > 0.97


def test_an_empty_reduction_loop_needs_no_accumulator() -> None:
    i, j = loop("i"), loop("j")
    op = Op("sum", "ReduceSum", (Loop("i", 4), Loop("j", 1)), (Access("x", (i, j)),), Access("y", (i,)), Arg(0))
    graph = Graph("g", (Tensor("x", (4, 1), "float32", "input"), Tensor("y", (4,), "float32")), (op,), ("x",), ("y",))
    lowered = lower_main(graph, op, CGLA_STYLE)
    assert [n.op for n in lowered.dfg.nodes] == ["load", "store"]
    assert lowered.sites[0] == Site(0, 0, "in", Access("x", (i, j)))
