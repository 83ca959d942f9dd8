"""Random valid models: our graph, before and after the passes, gives the reference's outputs.

A model grows by operators drawn with a seed, each on tensors that fit it, so none is ever rejected. Values stay of
order one (bounded activations, averaged sums), so rounding cannot hide a mistake.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import helper

from .making import assert_equals_reference, model

SEEDS = range(40)


class Growth:
    """A model under construction: tensors by name with shapes, nodes, weights."""

    def __init__(self, seed: int) -> None:
        self.rng, self.arrays = random.Random(seed), np.random.default_rng(seed)
        self.nodes, self.weights = [], {}
        self.inputs = {
            f"x{i}": tuple(self.rng.choice((1, 2, 3, 4, 6)) for _ in range(self.rng.randint(2, 4))) for i in range(2)
        }
        self.shapes = dict(self.inputs)

    def op(self, op_type, inputs, shape, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        self.shapes[name] = tuple(shape)
        return name

    def weight(self, *shape) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = self.arrays.standard_normal(shape).astype(np.float32)
        return name

    def ints(self, *values) -> str:
        name = f"i{len(self.weights)}"
        self.weights[name] = np.array(values, np.int64)
        return name

    def pick(self, rank: int | None = None) -> str | None:
        """One of the newest tensors (of a rank)."""
        fitting = [n for n, s in self.shapes.items() if rank is None or len(s) == rank]
        return self.rng.choice(fitting[-4:]) if fitting else None


def unary(g: Growth) -> None:
    x = g.pick()
    g.op(g.rng.choice(["Tanh", "Sigmoid", "Relu", "Neg", "Erf", "Softsign", "Identity", "Abs"]), [x], g.shapes[x])


def binary(g: Growth) -> None:
    x = g.pick()
    shape = g.shapes[x]
    same = [n for n, s in g.shapes.items() if s == shape]
    other = g.rng.choice(same) if g.rng.random() < 0.6 else g.weight(*(e if g.rng.random() < 0.5 else 1 for e in shape))
    g.op(g.rng.choice(["Add", "Sub", "Mul", "Max", "Min"]), g.rng.sample([x, other], 2), shape)


def matmul(g: Growth) -> None:
    x = g.pick()
    shape, n = g.shapes[x], g.rng.choice((1, 3, 5))
    g.op("Tanh", [g.op("MatMul", [x, g.weight(shape[-1], n)], (*shape[:-1], n))], (*shape[:-1], n))


def scores(g: Growth) -> None:
    """x times its own transpose: a matrix product of two activations."""
    x = g.pick()
    shape = g.shapes[x]
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    turned = g.op("Transpose", [x], (*shape[:-2], shape[-1], shape[-2]), perm=order)
    g.op("Softmax", [g.op("MatMul", [x, turned], (*shape[:-1], shape[-2]))], (*shape[:-1], shape[-2]), axis=-1)


def transpose(g: Growth) -> None:
    x = g.pick()
    order = g.rng.sample(range(len(g.shapes[x])), len(g.shapes[x]))
    g.op("Transpose", [x], [g.shapes[x][i] for i in order], perm=order)


def reshape(g: Growth) -> None:
    x = g.pick()
    shape = list(g.shapes[x])
    flat = [shape[0], int(np.prod(shape[1:]))] if g.rng.random() < 0.5 else [int(np.prod(shape[:-1])), shape[-1]]
    g.op("Reshape", [x, g.ints(*flat)], flat)


def slice_(g: Growth) -> None:
    x = g.pick()
    shape = list(g.shapes[x])
    axis = g.rng.randrange(len(shape))
    if shape[axis] < 2:
        return
    step = g.rng.choice((1, 2, -1))
    chosen = range(*slice(None, None, step).indices(shape[axis]))
    ends = (-100,) if step < 0 else (shape[axis],)
    starts = (shape[axis] - 1,) if step < 0 else (g.rng.randrange(2),)
    shape[axis] = len(range(starts[0], shape[axis], step)) if step > 0 else len(chosen)
    g.op("Slice", [x, g.ints(*starts), g.ints(*ends), g.ints(axis), g.ints(step)], shape)


def concat(g: Growth) -> None:
    x = g.pick()
    shape = list(g.shapes[x])
    axis = g.rng.randrange(len(shape))
    fitting = [
        n
        for n, s in g.shapes.items()
        if len(s) == len(shape) and s[:axis] + s[axis + 1 :] == tuple(shape[:axis] + shape[axis + 1 :])
    ]
    parts = [x, *(g.rng.choice(fitting) for _ in range(g.rng.randint(1, 2)))]
    shape[axis] = sum(g.shapes[p][axis] for p in parts)
    g.op("Concat", parts, shape, axis=axis)


def reduce(g: Growth) -> None:
    x = g.pick()
    shape, axis, keep = list(g.shapes[x]), g.rng.randrange(len(g.shapes[x])), g.rng.randint(0, 1)
    if len(shape) < 3 and not keep:
        return
    left = [1 if i == axis else e for i, e in enumerate(shape) if keep or i != axis]
    g.op(g.rng.choice(["ReduceMean", "ReduceMax", "ReduceMin"]), [x, g.ints(axis)], left, keepdims=keep)


def norm(g: Growth) -> None:
    x = g.pick()
    size = g.shapes[x][-1]
    g.op("LayerNormalization", [x, g.weight(size), g.weight(size)], g.shapes[x], epsilon=0.1)


def image(g: Growth) -> None:
    """Convolution, batch normalisation and an activation on a tensor of rank 4."""
    x = g.pick(4)
    if x is None:
        return
    b, c, h, w = g.shapes[x]
    k, pad = g.rng.choice((2, 3)), g.rng.randint(0, 1)
    if min(h, w) + 2 * pad < 2:
        return
    shape = (b, k, h + 2 * pad - 1, w + 2 * pad - 1)
    y = g.op("Conv", [x, g.weight(k, c, 2, 2), g.weight(k)], shape, pads=[pad] * 4)
    statistics = [g.weight(k) for _ in range(3)]
    variance = g.weight(k)
    g.weights[variance] = np.abs(g.weights[variance]) + 0.5
    y = g.op("BatchNormalization", [y, *statistics, variance], shape)
    g.op(g.rng.choice(["Relu", "Tanh", "Sigmoid"]), [y], shape)


def expand(g: Growth) -> None:
    x = g.pick()
    shape = [e if e > 1 else g.rng.choice((1, 3)) for e in g.shapes[x]]
    g.op("Expand", [x, g.ints(*shape)], shape)


def pad(g: Growth) -> None:
    x = g.pick()
    shape = g.shapes[x]
    before, after = ([g.rng.randint(0, 1) for _ in shape] for _ in range(2))
    g.op("Pad", [x, g.ints(*before, *after)], [b + e + a for b, e, a in zip(before, shape, after, strict=True)])


def gather(g: Growth) -> None:
    x = g.pick()
    shape, axis = list(g.shapes[x]), g.rng.randrange(len(g.shapes[x]))
    picks = [g.rng.randrange(-shape[axis], shape[axis]) for _ in range(g.rng.randint(1, 4))]
    shape[axis] = len(picks)
    g.op("Gather", [x, g.ints(*picks)], shape, axis=axis)


STEPS = (unary, unary, binary, binary, matmul, scores, transpose, transpose, reshape, slice_, concat, reduce, norm,
         image, expand, pad, gather)  # fmt: skip


def grown(seed: int):
    g = Growth(seed)
    for _ in range(g.rng.randint(3, 14)):
        g.rng.choice(STEPS)(g)
    if not g.nodes:
        unary(g)
    last = f"t{len(g.nodes) - 1}"
    outputs = sorted({last, g.rng.choice([n.output[0] for n in g.nodes])})
    return model(g.nodes, g.inputs, outputs, g.weights)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model_equals_its_reference(seed) -> None:
    assert_equals_reference(grown(seed))
