"""Quantised operators: integers with scales and zero points, per tensor, per axis or per block.

quantise:   q = saturate(round(x / scale) + zero)        dequantise:   x = (q - zero) * scale
a quantised product sums (a - a_zero)(b - b_zero) in int32 and requantises the sum in its tail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mapper import dtypes
from mapper.index import Index, constant
from mapper.ir import Access
from mapper.scalar import Cast, Scalar

from .context import Context, Reads
from .conv import centring, conv_nest, grouped, padding_value
from .elementwise import cast_to
from .errors import ModelError
from .nests import axis_of, broadcast, call, computed, identity, loops_over, spread
from .node import Node, dtype_name
from .opaque import send_to_host
from .products import integer_product, matmul_shape

__all__ = ["MICROSOFT", "TABLE"]


def _scale_index(c: Context, node: Node, scale: str, at: Sequence[Index], shape: Sequence[int]) -> tuple[Index, ...]:
    """Which scale belongs to element `at`: the only one, one per position on `axis`, or one per block there."""
    extents = c.shape(scale)
    if len(extents) <= 1 and (not extents or extents[0] == 1):
        return tuple(constant(0) for _ in extents)
    axis = axis_of(node.int("axis", 1), len(shape), node.name)
    if len(extents) == 1:
        if extents[0] != shape[axis]:
            raise ModelError(f"{extents[0]} scales for {shape[axis]} positions on axis {axis}", node.name)
        return (at[axis],)
    block = node.int("block_size") or -(-shape[axis] // max(extents[axis], 1))
    if len(extents) != len(shape) or extents[axis] * block < shape[axis]:
        raise ModelError(f"scales {list(extents)} do not cover {list(shape)} in blocks of {block}", node.name)
    return tuple(a // block if i == axis else a for i, a in enumerate(at))


def requantised(value: Scalar, zero: Scalar | None, target: str) -> Scalar:
    """round(value) + zero, saturated to the target's range; narrow floats just saturate."""
    if not dtypes.is_integer(target):
        return cast_to(value, "float32", target)
    rounded = call("round", value)
    return Cast(target, rounded if zero is None else call("add", rounded, Cast("float32", zero)), saturate=True)


def quantize(c: Context, node: Node) -> None:
    x, scale, zero = node.input(0), node.input(1), node.input(2)
    target = c.dtype(zero) if zero else "uint8"
    if node.int("output_dtype") and not zero:
        target = dtype_name(node.int("output_dtype"), node.name)
    if "float8e8m0" in (target, c.dtype(scale)):
        return send_to_host(c, node)
    shape = c.shape(x)
    out = c.output(node, 0, shape, target)
    reads, at = Reads(c), identity(len(shape))
    place = _scale_index(c, node, scale, at, shape)
    zero_place = _scale_index(c, node, zero, at, shape) if zero else ()
    value = call("div", computed(reads(x, at), c.dtype(x)), computed(reads(scale, place), c.dtype(scale)))
    offset = reads(zero, zero_place) if zero and dtypes.is_integer(target) else None
    c.nest(node, loops_over(shape), reads, Access(out, at), requantised(value, offset, target))
    return None


def dequantize(c: Context, node: Node) -> None:
    x, scale, zero = node.input(0), node.input(1), node.input(2)
    shape, target = c.shape(x), c.dtype(scale)
    if node.int("output_dtype"):
        target = dtype_name(node.int("output_dtype"), node.name)
    if "float8e8m0" in (c.dtype(x), c.dtype(scale)):
        return send_to_host(c, node)
    out = c.output(node, 0, shape, target)
    reads, at = Reads(c), identity(len(shape))
    place = _scale_index(c, node, scale, at, shape)
    integer = dtypes.is_integer(c.dtype(x))
    value: Scalar = Cast("int32" if integer else "float32", reads(x, at))
    if zero and integer:
        value = call("sub", value, Cast("int32", reads(zero, _scale_index(c, node, zero, at, shape))))
    factor = computed(reads(scale, place), c.dtype(scale))
    body = call("mul", Cast("float32", value) if integer else value, factor)
    c.nest(node, loops_over(shape), reads, Access(out, at), body)
    return None


def _factor(reads: Reads, c: Context, a: str, b: str, y: str, column: Index) -> Scalar:
    """a_scale * b_scale / y_scale; b's may be one per column (or output channel)."""
    first, second, third = (
        computed(reads(name, tuple(column if e > 1 else constant(0) for e in c.shape(name))), c.dtype(name))
        for name in (a, b, y)
    )
    return call("div", call("mul", first, second), third)


def qlinear_matmul(c: Context, node: Node) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs[:8]
    if any(
        max(c.shape(name), default=1) > 1 and len(c.shape(name)) != 1 for name in (a_scale, a_zero, b_scale, b_zero)
    ):
        return send_to_host(c, node)
    if max(c.shape(a_scale), default=1) > 1 or max(c.shape(y_scale), default=1) > 1:
        return send_to_host(c, node)
    target = c.dtype(y_zero)
    out = c.output(node, 0, matmul_shape(c, c.shape(a), c.shape(b), node.name), target)

    def finish(reads: Reads, index: tuple[Index, ...]) -> Callable[[Scalar], Scalar]:
        factor = _factor(reads, c, a_scale, b_scale, y_scale, index[-1])
        zero = reads(y_zero, tuple(constant(0) for _ in c.shape(y_zero)))
        return lambda acc: requantised(call("mul", Cast("float32", acc), factor), zero, target)

    integer_product(c, node, a, b, out, a_zero, b_zero, finish)
    return None


def qlinear_conv(c: Context, node: Node) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    bias, target = node.input(8), c.dtype(y_zero)
    channels, window = grouped(c, node, x, w)
    extent = channels.groups * channels.outputs
    out = c.output(node, 0, (c.shape(x)[0], extent, *window.outputs), target)

    def finish(reads: Reads, k: Index) -> Callable[[Scalar], Scalar]:
        factor = _factor(reads, c, x_scale, w_scale, y_scale, k)
        zero = reads(y_zero, tuple(constant(0) for _ in c.shape(y_zero)))
        extra = reads(bias, (k,)) if bias else None

        def tail(acc: Scalar) -> Scalar:
            total = acc if extra is None else call("add", acc, extra)
            return requantised(call("mul", Cast("float32", total), factor), zero, target)

        return tail

    conv_nest(
        c, node, x, w, out, channels, window, wide=centring(c, x_zero, w_zero), finish=finish, kind="int32",
        fill=padding_value(c, node, x_zero, window),
    )  # fmt: skip


def _elementwise(count: int, body: Callable[..., Scalar]) -> Callable[[Context, Node], None]:
    """QLinearAdd and its like: (x, scale, zero) times `count` and the output's scale and zero, in one nest."""

    def lower(c: Context, node: Node) -> None:
        names = [node.input(3 * i) for i in range(count)]
        scale, zero = node.input(3 * count), node.input(3 * count + 1)
        shape = broadcast(c, *names)
        out = c.output(node, 0, shape, c.dtype(names[0]))
        reads, at = Reads(c), identity(len(shape))

        def number(name: str) -> Scalar:
            return reads(name, tuple(constant(0) for _ in c.shape(name)))

        values = []
        for i, name in enumerate(names):
            value: Scalar = Cast("int32", reads(name, spread(c.shape(name), at, shape)))
            if node.input(3 * i + 2):
                value = call("sub", value, Cast("int32", number(node.input(3 * i + 2))))
            values.append(call("mul", Cast("float32", value), number(node.input(3 * i + 1))))
        result = call("div", body(node, *values), number(scale))
        final = requantised(result, number(zero) if zero else None, c.dtype(names[0]))
        c.nest(node, loops_over(shape), reads, Access(out, at), final)

    return lower


def _leaky(node: Node, x: Scalar) -> Scalar:
    return call("where", call("less", x, 0.0), call("mul", x, node.float("alpha", 0.01)), x)


MICROSOFT: Mapping[str, Callable[[Context, Node], None]] = {
    "QLinearAdd": _elementwise(2, lambda node, a, b: call("add", a, b)),
    "QLinearMul": _elementwise(2, lambda node, a, b: call("mul", a, b)),
    "QLinearSigmoid": _elementwise(1, lambda node, x: call("sigmoid", x)),
    "QLinearLeakyRelu": _elementwise(1, _leaky),
}  # fmt: skip
TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "QuantizeLinear": quantize, "DequantizeLinear": dequantize, "QLinearMatMul": qlinear_matmul,
    "QLinearConv": qlinear_conv,
}  # fmt: skip
