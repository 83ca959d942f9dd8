"""Bodies of the nests of random models, in both styles, against the interpreter."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.host import run_opaque
from mapper.frontends.onnx.reference import random_feeds
from mapper.interpret import run
from mapper.ir import Graph, Op
from mapper.passes import optimise
from mapper.scalar import Call, Cast, Scalar
from mapper.simulate import compare_values

sys.path.insert(0, str(Path(__file__).parent))
from lowering import STYLES, run_op

MOST_POINTS = 4000


def wide(tree: Scalar) -> Scalar:
    """The tree as a body computes it: casts to 16-bit floats keep the precision of a register (docs/kernels.md)."""
    if isinstance(tree, Cast):
        dtype = "float32" if tree.dtype in ("float16", "bfloat16") else tree.dtype
        return Cast(dtype, wide(tree.value), tree.saturate)
    return Call(tree.function, tuple(wide(a) for a in tree.args)) if isinstance(tree, Call) else tree


def as_run(graph: Graph, op: Op) -> Graph:
    """The operator with such trees, alone in its graph."""
    wider = replace(op, body=wide(op.body), tail=None if op.tail is None else wide(op.tail))
    names = {*op.inputs, *op.outputs}
    tensors = tuple(t for t in graph.tensors if t.name in names)
    return Graph("alone", tensors, (wider,), tuple(op.inputs), tuple(op.outputs))


def copies_of(op: Op, rng: random.Random) -> dict[str, int]:
    """Two copies of a loop that they divide, or none."""
    even = [loop.name for loop in op.loops if loop.extent % 2 == 0 and not loop.ordered]
    return {rng.choice(even): 2} if even and rng.random() < 0.6 else {}


def differing(graph: Graph, seed: int) -> list[str]:
    rng, values = random.Random(seed), run(graph, random_feeds(graph, seed), run_opaque)
    found = []
    for op in graph.nests:
        if op.points > MOST_POINTS or any(loop.ordered for loop in op.loops):
            continue
        copies, style = copies_of(op, rng), rng.choice(sorted(STYLES))
        name = op.write.tensor
        made = run_op(graph, op, {read: values[read] for read in op.inputs}, STYLES[style], copies)
        same = wide(op.body) == op.body and (op.tail is None or wide(op.tail) == op.tail)
        wanted = values if same else run(as_run(graph, op), {read: values[read] for read in op.inputs})
        found += [f"{op.name} {style} {copies}: {v}" for v in compare_values({name: made}, {name: wanted[name]})]
    return found


@pytest.mark.parametrize("number", range(45))
def test_bodies_of_random_nests_compute_them(benchmark_named, number: int) -> None:
    (case,) = benchmark_named("fuzz").grown_cases(number, 1)
    assert differing(optimise(load_model(case.model, case.dims)), number) == []
