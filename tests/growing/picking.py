"""Operators that read or write at places that a tensor names, and those whose result depends on an order."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import numpy_helper

from .growth import FLOAT, Growth, Value

ANY = (FLOAT, FLOAT, "int64", "int32", "bool", "uint8", "float64")


def _indices(g: Growth, extent: int, *shape: int) -> Value:
    low = -extent if g.chance(0.5) else 0
    dtype = g.rng.choice((np.int64, np.int32))
    return g.constant(np.asarray(g.arrays.integers(low, extent, shape)).astype(dtype))


def gather(g: Growth) -> None:
    x = g.pick(least=1, dtypes=ANY, filled=True, most=200)
    if x:
        axis = g.rng.randrange(x.rank)
        shape = g.rng.choice(((), (1,), (3,), (2, 2)))
        picks = _indices(g, x.shape[axis], *shape)
        made = (*x.shape[:axis], *shape, *x.shape[axis + 1 :])
        g.op("Gather", [x, picks], made, x.dtype, x.exact, axis=axis - x.rank if g.chance(0.3) else axis)


def looked_up(g: Growth) -> None:
    """Rows of a table at places that the model computes."""
    x = g.pick(dtypes=("int64", "int32"), filled=True, most=60)
    if x:
        extent = g.rng.choice((3, 5))
        bound = g.constant(np.array(extent - 1, x.dtype))
        low = g.op("Min", [g.op("Abs", [x], x.shape, x.dtype, True), bound], x.shape, x.dtype, True)
        g.op("Gather", [g.weight(extent, 2), low], (*x.shape, 2), axis=0)


def elements(g: Growth) -> None:
    x = g.pick(least=1, dtypes=ANY, filled=True)
    if x:
        axis = g.rng.randrange(x.rank)
        shape = list(x.shape)
        shape[axis] = g.rng.randint(1, 4)
        g.op("GatherElements", [x, _indices(g, x.shape[axis], *shape)], shape, x.dtype, x.exact, axis=axis)


def points(g: Growth) -> None:
    x = g.pick(least=2, dtypes=ANY, filled=True)
    if x:
        count = g.rng.randint(1, 3)
        columns = [g.arrays.integers(-e, e, count) for e in x.shape[:2]]
        picks = g.constant(np.stack(columns, axis=1).astype(np.int64))
        g.op("GatherND", [x, picks], (count, *x.shape[2:]), x.dtype, x.exact)


def scatter(g: Growth) -> None:
    x = g.pick(least=1, filled=True, most=100)
    if not x:
        return
    axis = g.rng.randrange(x.rank)
    count = g.rng.randint(1, x.shape[axis])
    shape = [count if i == axis else e for i, e in enumerate(x.shape)]
    order = np.argsort(g.arrays.random(x.shape), axis=axis).take(range(count), axis=axis)
    extra = {"reduction": g.rng.choice(("none", "add"))} if g.opset >= 16 else {}
    g.op("ScatterElements", [x, g.constant(order.astype(np.int64)), g.weight(*shape)], x.shape, axis=axis, **extra)


def scatter_points(g: Growth) -> None:
    x = g.pick(least=2, filled=True, most=100)
    if x:
        rows = g.rng.sample(range(x.shape[0]), g.rng.randint(1, x.shape[0]))
        updates = g.weight(len(rows), *x.shape[1:])
        g.op("ScatterND", [x, g.constant(np.array(rows, np.int64)[:, None]), updates], x.shape)


def one_hot(g: Growth) -> None:
    x = g.pick(dtypes=("int64", "int32"), least=1, filled=True, most=60)
    if x:
        depth, ends = g.constant(np.array(4, np.int64)), g.constant(np.array([0.0, 1.0], np.float32))
        axis = g.rng.choice((-1, 0))
        shape = (*x.shape, 4) if axis else (4, *x.shape)
        g.op("OneHot", [x, depth, ends], shape, axis=axis)


def top(g: Growth) -> None:
    x = g.pick(least=1, exact=True, filled=True)
    if x and x in g.inputs:  # ties would leave the order open
        axis = g.rng.randrange(x.rank)
        k = g.rng.randint(1, x.shape[axis])
        shape = [k if i == axis else e for i, e in enumerate(x.shape)]
        g.ops("TopK", [x, g.ints(k)], [(shape, FLOAT), (shape, "int64")], True, axis=axis, largest=g.rng.randint(0, 1))


def filled(g: Growth) -> None:
    """A tensor out of a shape alone."""
    x = g.pick(least=1, most=200)
    if x and prod(x.shape):
        shape = g.op("Shape", [x], (x.rank,), "int64", True)
        value = np.array([g.rng.choice((0.0, 1.5))], np.float32)
        made = g.op("ConstantOfShape", [shape], x.shape, exact=True, value=numpy_helper.from_array(value))
        g.op("Add", [x, made], x.shape)


def ranged(g: Growth) -> None:
    """Positions: the extent of an axis counted out, as position embeddings have it."""
    x = g.pick(least=1, filled=True)
    if x:
        shape = g.op("Shape", [x], (x.rank,), "int64", True)
        last = g.op("Gather", [shape, g.constant(np.array(-1, np.int64))], (), "int64", True, axis=0)
        zero, one = (g.constant(np.array(v, np.int64)) for v in (0, 1))
        counted = g.op("Range", [zero, last, one], (x.shape[-1],), "int64", True)
        real = g.op("Cast", [counted], counted.shape, FLOAT, True, to=1)
        g.op("Mul", [x, real], x.shape)


STEPS = (gather, gather, looked_up, elements, points, scatter, scatter_points, one_hot, top, filled, ranged)
