"""Bodies of the nests of random models, in both styles, against the interpreter."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from mapper import dtypes
from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.host import run_opaque
from mapper.frontends.onnx.reference import random_feeds
from mapper.interpret import run
from mapper.ir import Graph, Op
from mapper.passes import optimise
from mapper.scalar import Cast, parts
from mapper.simulate import compare_values

sys.path.insert(0, str(Path(__file__).parent))
from lowering import STYLES, run_op

MOST_POINTS = 4000


def rounds_inside(op: Op) -> bool:
    """Whether a small float stands inside a fused chain: bodies round it before a store only (docs/limits.md)."""
    inside = [part for tree in (op.body, op.tail) if tree is not None for part in parts(tree)]
    return any(
        isinstance(part, Cast) and dtypes.is_float(part.dtype) and dtypes.BITS[part.dtype] < 32 for part in inside
    )


def copies_of(op: Op, rng: random.Random) -> dict[str, int]:
    """Two copies of a loop that they divide, or none."""
    even = [loop.name for loop in op.loops if loop.extent % 2 == 0 and not loop.ordered]
    return {rng.choice(even): 2} if even and rng.random() < 0.6 else {}


def differing(graph: Graph, seed: int) -> list[str]:
    rng, values = random.Random(seed), run(graph, random_feeds(graph, seed), run_opaque)
    found = []
    for op in graph.nests:
        if op.points > MOST_POINTS or any(loop.ordered for loop in op.loops) or rounds_inside(op):
            continue
        copies, style = copies_of(op, rng), rng.choice(sorted(STYLES))
        name = op.write.tensor
        made = run_op(graph, op, {read: values[read] for read in op.inputs}, STYLES[style], copies)
        found += [f"{op.name} {style} {copies}: {v}" for v in compare_values({name: made}, {name: values[name]})]
    return found


@pytest.mark.parametrize("number", range(45))
def test_bodies_of_random_nests_compute_them(benchmark_named, number: int) -> None:
    (case,) = benchmark_named("fuzz").grown_cases(number, 1)
    assert differing(optimise(load_model(case.model, case.dims)), number) == []
