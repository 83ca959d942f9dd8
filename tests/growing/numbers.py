"""Quantised forms: integers in, integers out, scales beside them."""

from __future__ import annotations

import numpy as np

from .growth import FLOAT, Growth, Value

BYTES = ("uint8", "int8")


def _scale(g: Growth, *shape: int) -> Value:
    return g.constant(np.asarray(g.arrays.uniform(0.5, 1.5, shape)).astype(np.float32))


def _zero(g: Growth, dtype: str, *shape: int) -> Value:
    return g.constant(np.asarray(g.arrays.integers(0, 4, shape)).astype(dtype))


def _bytes(g: Growth, **wanted) -> Value | None:
    """A tensor of bytes: one that is there, or an exact float quantised."""
    x = g.pick(dtypes=BYTES, filled=True, **wanted)
    return x or _quantised(g, g.pick(exact=True, filled=True, **wanted))


def _quantised(g: Growth, x: Value | None) -> Value | None:
    if x is None:
        return None
    dtype = g.rng.choice(BYTES)
    if x.rank >= 2 and g.chance(0.4):
        axis = g.rng.randrange(x.rank)
        e = x.shape[axis]
        return g.op("QuantizeLinear", [x, _scale(g, e), _zero(g, dtype, e)], x.shape, dtype, True, axis=axis)
    return g.op("QuantizeLinear", [x, _scale(g), _zero(g, dtype)], x.shape, dtype, True)


def quantise(g: Growth) -> None:
    _quantised(g, g.pick(exact=True, filled=True))


def dequantise(g: Growth) -> None:
    x = _bytes(g)
    if not x:
        return
    if x.rank >= 2 and g.chance(0.5):
        axis = g.rng.randrange(x.rank)
        e = x.shape[axis]
        g.op("DequantizeLinear", [x, _scale(g, e), _zero(g, x.dtype, e)], x.shape, axis=axis)
    else:
        zero = [_zero(g, x.dtype)] if g.chance(0.7) else []
        g.op("DequantizeLinear", [x, _scale(g), *zero], x.shape)


def product(g: Growth) -> None:
    x = _bytes(g, least=2)
    if not x:
        return
    dtype, n = g.rng.choice(BYTES), g.rng.choice((1, 2, 4))
    w = g.weight(x.shape[-1], n, dtype=dtype)
    zeros = g.rng.choice(([], [_zero(g, x.dtype)], [_zero(g, x.dtype), _zero(g, dtype)]))
    y = g.op("MatMulInteger", [x, w, *zeros], (*x.shape[:-1], n), "int32", True)
    if g.chance(0.6):
        real = g.op("Cast", [y], y.shape, FLOAT, True, to=1)
        g.op("Mul", [real, _scale(g)], y.shape)


def scaled_product(g: Growth) -> None:
    x = _bytes(g, least=2)
    if x:
        n = g.rng.choice((1, 3))
        w = g.weight(x.shape[-1], n, dtype=x.dtype)
        inputs = [x, _scale(g), _zero(g, x.dtype), w, _scale(g), _zero(g, x.dtype), _scale(g), _zero(g, x.dtype)]
        g.op("QLinearMatMul", inputs, (*x.shape[:-1], n), x.dtype, True)


def convolution(g: Growth) -> None:
    x = _bytes(g, rank=4)
    if not x or min(x.shape[2:]) < 2:
        return
    b, c, h, w = x.shape
    filters, pad = g.rng.choice((1, 2)), g.rng.randint(0, 1)
    shape = (b, filters, h + 2 * pad - 1, w + 2 * pad - 1)
    weight = g.weight(filters, c, 2, 2, dtype=x.dtype)
    if g.chance(0.5):
        g.op("ConvInteger", [x, weight, _zero(g, x.dtype)], shape, "int32", True, pads=[pad] * 4)
        return
    inputs = [x, _scale(g), _zero(g, x.dtype), weight, _scale(g), _zero(g, x.dtype), _scale(g), _zero(g, x.dtype)]
    bias = [g.weight(filters, dtype="int32")] if g.chance(0.5) else []
    g.op("QLinearConv", [*inputs, *bias], shape, x.dtype, True, pads=[pad] * 4)


def dynamic(g: Growth) -> None:
    x = g.pick(exact=True, filled=True)
    if x:
        outputs = [(x.shape, "uint8"), ((), FLOAT), ((), "uint8")]
        g.ops("DynamicQuantizeLinear", [x], outputs)


STEPS = (quantise, dequantise, dequantise, product, scaled_product, convolution, dynamic)
