"""Matrix products, reductions, normalisations, attention, recurrences."""

from __future__ import annotations

from math import prod

import numpy as np

from .growth import FLOAT, Growth, Value

REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
              "ReduceLogSumExp")  # fmt: skip


def matmul(g: Growth) -> None:
    x = g.pick(least=1)
    if not x:
        return
    k, n = x.shape[-1], g.rng.choice((1, 3, 5))
    if g.chance(0.15):
        g.op("MatMul", [x, g.weight(k)], x.shape[:-1])
    elif g.chance(0.15) and x.rank >= 2:
        g.op("MatMul", [g.weight(x.shape[-2]), x], (*x.shape[:-2], k))
    else:
        batch = [e if g.chance(0.5) else 1 for e in x.shape[:-2]] if g.chance(0.4) else []
        g.op("MatMul", [x, g.weight(*batch, k, n)], (*x.shape[:-1], n))


def batched(g: Growth) -> None:
    """A product whose batch both sides extend."""
    x = g.pick(rank=3)
    if x and x.shape[0] == 1 and x.elements <= 60:
        g.op("MatMul", [x, g.weight(2, 3, x.shape[2], 2)], (2, 3, x.shape[1], 2))


def scores(g: Growth) -> None:
    """x times its own transpose: a matrix product of two activations."""
    x = g.pick(least=2)
    if x and prod(x.shape[:-1]) * x.shape[-2] <= 300:
        order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
        turned = g.op("Transpose", [x], (*x.shape[:-2], x.shape[-1], x.shape[-2]), perm=order)
        shape = (*x.shape[:-1], x.shape[-2])
        made = g.op("MatMul", [x, turned], shape)
        if prod(shape):
            g.op("Softmax", [made], shape, axis=g.rng.choice((-1, 0)))


def gemm(g: Growth) -> None:
    x = g.pick(rank=2)
    if not x:
        return
    left, right, n = g.rng.randint(0, 1), g.rng.randint(0, 1), g.rng.choice((1, 2, 4))
    m, k = x.shape[::-1] if left else x.shape
    added = g.rng.choice(([], [g.weight(n)], [g.weight(m, 1)], [g.weight(1)], [g.weight(m, n)]))
    g.op("Gemm", [x, g.weight(n, k) if right else g.weight(k, n), *added], (m, n), transA=left, transB=right,
         alpha=g.rng.choice((1.0, 0.5)), beta=g.rng.choice((1.0, -1.5)))  # fmt: skip


def einsum(g: Growth) -> None:
    x = g.pick(rank=3)
    if not x:
        return
    b, i, k = x.shape
    kind = g.rng.randrange(4)
    if kind == 0:
        g.op("Einsum", [x, g.weight(k, 3)], (b, 3, i), equation="bik,kj->bji")
    elif kind == 1:
        g.op("Einsum", [x, x], (b, i), equation="bik,bik->bi")
    elif kind == 2:
        g.op("Einsum", [x], (k, b), equation="bik->kb")
    elif b * i * i <= 300:
        g.op("Einsum", [x, x], (b, i, i), equation="...ik,...jk->...ij")


def reduce(g: Growth) -> None:
    x = g.pick(dtypes=(FLOAT, FLOAT, FLOAT, "int64", "int32"), least=1, filled=True)
    if not x:
        return
    kind = g.rng.choice(REDUCTIONS if x.dtype == FLOAT else ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceSumSquare"))
    keep, axes = g.rng.randint(0, 1), g.some_axes(x)
    named: list[int] | None = None if g.chance(0.15) else [a - x.rank if g.chance(0.3) else a for a in axes]
    axes = list(range(x.rank)) if named is None else axes
    shape = [1 if i in axes else e for i, e in enumerate(x.shape) if keep or i not in axes]
    exact = x.exact and (x.dtype != FLOAT or kind in ("ReduceMax", "ReduceMin"))
    if named is None:
        g.op(kind, [x], shape, x.dtype, exact, keepdims=keep)
    elif g.opset >= 18 or (kind == "ReduceSum" and g.opset >= 13):
        g.op(kind, [x, g.ints(*named)], shape, x.dtype, exact, keepdims=keep)
    else:
        g.op(kind, [x], shape, x.dtype, exact, keepdims=keep, axes=named)


def extreme(g: Growth) -> None:
    x = g.pick(dtypes=(FLOAT, "int32", "int8"), least=1, exact=True, filled=True)
    if x:
        axis, keep = g.axis(x), g.rng.randint(0, 1)
        shape = [1 if i == axis % x.rank else e for i, e in enumerate(x.shape) if keep or i != axis % x.rank]
        g.op(g.rng.choice(("ArgMax", "ArgMin")), [x], shape, "int64", True, axis=axis, keepdims=keep,
             select_last_index=g.rng.randint(0, 1))  # fmt: skip


def cumulate(g: Growth) -> None:
    x = g.pick(dtypes=(FLOAT, "int64", "int32"), least=1, filled=True)
    if x:
        axis = g.constant(np.array(g.axis(x), np.int32))
        exclusive, backwards = g.rng.randint(0, 1), g.rng.randint(0, 1)
        g.op("CumSum", [x, axis], x.shape, x.dtype, x.dtype != FLOAT, exclusive=exclusive, reverse=backwards)


def softmax(g: Growth) -> None:
    x = g.pick(least=1, filled=True)
    if x:
        g.op(g.rng.choice(("Softmax", "Softmax", "LogSoftmax")), [x], x.shape, axis=g.axis(x))


def hardmax(g: Growth) -> None:
    x = g.pick(least=1, exact=True, filled=True)
    if x:
        g.op("Hardmax", [x], x.shape, exact=True, axis=g.axis(x))


def norm(g: Growth) -> None:
    x = g.pick(least=2, filled=True)
    if not x:
        return
    axis = g.rng.randrange(-x.rank, x.rank)
    inner = x.shape[axis % x.rank :]
    if g.opset >= 23 and g.chance(0.4):
        g.op("RMSNormalization", [x, g.weight(*inner)], x.shape, axis=axis, epsilon=0.1)
    elif g.opset >= 17:
        bias = [g.weight(*inner)] if g.chance(0.6) else []
        g.op("LayerNormalization", [x, g.weight(*inner), *bias], x.shape, axis=axis, epsilon=0.1)
    else:
        positive = g.op("Add", [g.op("Abs", [x], x.shape), g.constant(np.float32(0.2))], x.shape)
        g.op("LpNormalization", [positive], x.shape, axis=axis, p=g.rng.choice((1, 2)))


def channels(g: Growth) -> None:
    """Normalisations over the positions of a channel or of a group of them."""
    x = g.pick(least=3, filled=True)
    if not x:
        return
    c = x.shape[1]
    if g.opset >= 21 and g.chance(0.5):
        groups = g.rng.choice([d for d in range(1, c + 1) if c % d == 0])
        g.op("GroupNormalization", [x, g.weight(c), g.weight(c)], x.shape, num_groups=groups, epsilon=0.1)
    elif g.chance(0.3):
        padded = g.op("Mul", [x, g.weight(*x.shape)], x.shape)
        g.op("InstanceNormalization", [padded, g.weight(c), g.weight(c)], x.shape, epsilon=0.1)
    else:
        g.op("InstanceNormalization", [x, g.weight(c), g.weight(c)], x.shape, epsilon=0.1)


def _gates(g: Growth, kind: str) -> int:
    return {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]


def recurrent(g: Growth) -> None:
    x = g.pick(rank=3, filled=True)
    if not x or x.shape[0] > 4:
        return
    steps, batch, width = x.shape
    kind, hidden = g.rng.choice(("RNN", "GRU", "LSTM")), g.rng.choice((1, 2))
    direction = g.rng.choice(("forward", "reverse", "bidirectional"))
    ways, gates = 1 + (direction == "bidirectional"), _gates(g, kind)
    inputs: list[Value | str] = [x, g.weight(ways, gates * hidden, width), g.weight(ways, gates * hidden, hidden)]
    if g.chance(0.6):
        inputs.append(g.weight(ways, 2 * gates * hidden))
        if g.chance(0.5):
            inputs += ["", g.weight(ways, batch, hidden)]
    ends = [((ways, batch, hidden), FLOAT)] * (1 + (kind == "LSTM"))
    extra = {"linear_before_reset": g.rng.randint(0, 1)} if kind == "GRU" else {}
    outputs = [((steps, ways, batch, hidden), FLOAT), *ends]
    g.ops(kind, inputs, outputs, hidden_size=hidden, direction=direction, **extra)


def attention(g: Growth) -> None:
    x = g.pick(rank=4, filled=True)
    if x and g.opset >= 23 and x.shape[2] * x.shape[0] * x.shape[1] <= 40:
        mask = [g.weight(x.shape[2], x.shape[2])] if g.chance(0.4) else []
        g.op("Attention", [x, x, x, *mask], x.shape, is_causal=g.rng.randint(0, 1) if not mask else 0)


STEPS = (matmul, matmul, matmul, batched, scores, gemm, einsum, reduce, reduce, reduce, extreme, cumulate, softmax,
         hardmax, norm, norm, channels, recurrent, attention)  # fmt: skip
