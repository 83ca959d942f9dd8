"""Operators that move elements and keep their values."""

from __future__ import annotations

from math import prod

import numpy as np

from .growth import FLOAT, Growth, Value

ANY = (FLOAT, FLOAT, FLOAT, "int64", "int32", "bool", "uint8", "int8", "float64")


def _any(g: Growth, least: int = 0, filled: bool = False) -> Value | None:
    return g.pick(least=least, dtypes=ANY, filled=filled)


def _moved(g: Growth, op_type: str, x: Value, inputs: list, shape, **attributes) -> Value:
    return g.op(op_type, [x, *inputs], shape, x.dtype, x.exact, **attributes)


def transpose(g: Growth) -> None:
    x = _any(g)
    if x and (g.chance(0.2) or not x.rank):
        _moved(g, "Transpose", x, [], x.shape[::-1])
    elif x:
        order = g.rng.sample(range(x.rank), x.rank)
        _moved(g, "Transpose", x, [], [x.shape[i] for i in order], perm=order)


def _factors(g: Growth, total: int) -> list[int]:
    shape = []
    while total > 1 and len(shape) < 4:
        divisor = g.rng.choice([d for d in range(1, total + 1) if total % d == 0])
        shape.append(divisor)
        total //= divisor
    return [*shape, total] if total > 1 or not shape else shape


def reshape(g: Growth) -> None:
    x = _any(g, filled=True)
    if not x:
        return
    shape = _factors(g, x.elements)
    asked = list(shape)
    if g.chance(0.4):
        asked[g.rng.randrange(len(asked))] = -1
    if x.rank and shape[0] == x.shape[0] and g.chance(0.5):
        asked[0] = 0
    _moved(g, "Reshape", x, [g.ints(*asked)], shape)


def by_shape(g: Growth) -> None:
    """Reshape to a shape that the model computes: what exporters write for dynamic batches."""
    x = _any(g, least=2, filled=True)
    if x:
        shape = g.op("Shape", [x], (x.rank,), "int64", True)
        first = g.op("Gather", [shape, g.ints(0)], (1,), "int64", True, axis=0)
        asked = g.op("Concat", [first, g.ints(-1)], (2,), "int64", True, axis=0)
        _moved(g, "Reshape", x, [asked], (x.shape[0], prod(x.shape[1:])))


def flatten(g: Growth) -> None:
    x = _any(g)
    if x:
        axis = g.rng.randint(-x.rank, x.rank)
        at = axis % x.rank if axis < 0 else axis
        _moved(g, "Flatten", x, [], (prod(x.shape[:at]), prod(x.shape[at:])), axis=axis)


def squeeze(g: Growth) -> None:
    x = _any(g)
    if not x:
        return
    ones = [i for i, e in enumerate(x.shape) if e == 1]
    if ones and g.chance(0.5):
        chosen = g.rng.sample(ones, g.rng.randint(1, len(ones)))
        kept = [e for i, e in enumerate(x.shape) if i not in chosen]
        _moved(g, "Squeeze", x, [g.ints(*(c - x.rank if g.chance(0.3) else c for c in chosen))], kept)
    elif x.rank < 5:
        at = g.rng.randint(0, x.rank)
        _moved(g, "Unsqueeze", x, [g.ints(at)], (*x.shape[:at], 1, *x.shape[at:]))


def slice_(g: Growth) -> None:
    x = _any(g, least=1, filled=True)
    if not x:
        return
    axes, shape, rows = g.some_axes(x), list(x.shape), []
    for axis in axes:
        extent, step = shape[axis], g.rng.choice((1, 1, 1, 2, 3, -1, -2))
        start = g.rng.randrange(extent)
        end = g.rng.choice((2**31 - 1, extent, g.rng.randint(0, extent))) if step > 0 else -extent - 1
        if step > 0 and end <= start:
            end = extent
        shape[axis] = len(range(extent)[slice(start, end if step > 0 else None, step)])
        rows.append((start - extent if step > 0 and g.chance(0.3) else start, end, axis, step))
    starts, ends, at, steps = (g.ints(*column) for column in zip(*rows, strict=True))
    _moved(g, "Slice", x, [starts, ends, at, steps], shape)


def split(g: Growth) -> None:
    x = _any(g, least=1)
    if not x:
        return
    axis = g.axis(x)
    extent = x.shape[axis]
    if extent < 2:
        return
    at = g.rng.randrange(1, extent)
    sizes, extra = [at, extent - at], {}
    inputs: list = [x, g.ints(*sizes)]
    if extent % 2 == 0 and g.chance(0.4):
        sizes, inputs = [extent // 2] * 2, [x]
        extra = {"num_outputs": 2} if g.opset >= 18 else {}
    shapes = [[*x.shape] for _ in sizes]
    for shape, size in zip(shapes, sizes, strict=True):
        shape[axis] = size
    g.ops("Split", inputs, [(shape, x.dtype) for shape in shapes], x.exact, axis=axis, **extra)


def concat(g: Growth) -> None:
    x = _any(g, least=1)
    if not x:
        return
    axis = g.rng.randrange(x.rank)
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    fitting = [v for v in g.values if v.dtype == x.dtype and v.rank == x.rank]
    fitting = [v for v in fitting if v.shape[:axis] + v.shape[axis + 1 :] == rest]
    parts = [x, *(g.rng.choice(fitting) for _ in range(g.rng.randint(0, 3)))]
    if g.chance(0.2):
        parts.insert(0, g.weight(*x.shape[:axis], 2, *x.shape[axis + 1 :], dtype=x.dtype))
    shape = list(x.shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    if prod(shape) <= 600:
        exact = all(p.exact for p in parts)
        g.op("Concat", parts, shape, x.dtype, exact, axis=axis - x.rank if g.chance(0.3) else axis)


def expand(g: Growth) -> None:
    x = _any(g)
    if x and x.elements <= 100:
        shape = [e if e != 1 else g.rng.choice((1, 3)) for e in x.shape]
        asked = [1 if g.chance(0.3) and e == old else e for e, old in zip(shape, x.shape, strict=True)]
        if x.rank < 4 and g.chance(0.4):
            shape, asked = [2, *shape], [2, *asked]
        _moved(g, "Expand", x, [g.ints(*asked)], shape)


def tile(g: Growth) -> None:
    x = _any(g, least=1)
    if x and x.elements <= 100:
        repeats = [g.rng.choice((1, 1, 2, 3)) for _ in x.shape]
        shape = [e * r for e, r in zip(x.shape, repeats, strict=True)]
        if prod(shape) <= 600:
            _moved(g, "Tile", x, [g.ints(*repeats)], shape)


def pad(g: Growth) -> None:
    x = g.pick(least=1, dtypes=(FLOAT, FLOAT, "int64", "int32", "float64"), filled=True)
    if not x or x.elements > 150:
        return
    mode = g.rng.choice(("constant", "constant", "constant", "reflect", "edge", "wrap" if g.opset >= 19 else "edge"))
    low = -1 if mode == "constant" else 0
    most = [1 if mode in ("constant", "edge") else min(1, e - 1) for e in x.shape]
    before, after = ([g.rng.randint(min(low, m), m) for m in most] for _ in range(2))
    shape = [b + e + a for b, e, a in zip(before, x.shape, after, strict=True)]
    if min(shape) < 1:
        return
    extra: list = [g.constant(np.array(1, x.dtype))] if mode == "constant" and g.chance(0.5) else []
    if g.opset >= 18 and g.chance(0.3):
        axis = g.axis(x)
        shape = [s if i == axis % x.rank else e for i, (s, e) in enumerate(zip(shape, x.shape, strict=True))]
        pads = [before[axis], after[axis]]
        extra = [*(extra or [""]), g.ints(axis)]
    else:
        pads = [*before, *after]
    _moved(g, "Pad", x, [g.ints(*pads), *extra], shape, mode=mode)


def blocks(g: Growth) -> None:
    x = g.pick(rank=4, filled=True)
    if not x:
        return
    b, c, h, w = x.shape
    if c % 4 == 0 and g.chance(0.7):
        mode = g.rng.choice(("DCR", "CRD"))
        _moved(g, "DepthToSpace", x, [], (b, c // 4, 2 * h, 2 * w), blocksize=2, mode=mode)
    elif h % 2 == 0 and w % 2 == 0:
        _moved(g, "SpaceToDepth", x, [], (b, 4 * c, h // 2, w // 2), blocksize=2)


def triangle(g: Growth) -> None:
    x = g.pick(least=2, dtypes=(FLOAT, "int64", "bool"))
    if x and g.opset >= 14:
        extra = [g.constant(np.array(g.rng.randint(-2, 2), np.int64))] if g.chance(0.5) else []
        _moved(g, "Trilu", x, extra, x.shape, upper=g.rng.randint(0, 1))


def reverse(g: Growth) -> None:
    x = g.pick(least=2, dtypes=(FLOAT, "int64"), filled=True)
    if x:
        time = g.rng.randint(0, 1)
        lengths = g.ints(*(g.rng.randint(1, x.shape[time]) for _ in range(x.shape[1 - time])))
        _moved(g, "ReverseSequence", x, [lengths], x.shape, time_axis=time, batch_axis=1 - time)


STEPS = (transpose, transpose, reshape, reshape, by_shape, flatten, squeeze, squeeze, slice_, slice_, split, concat,
         concat, expand, tile, pad, pad, blocks, triangle, reverse)  # fmt: skip
