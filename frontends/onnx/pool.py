"""Pooling: maxima, averages and p-norms over sliding windows and over whole planes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from mapper import dtypes
from mapper.index import Index, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Cast, Const, Counter, Scalar, ml_info

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, call, computed, loops_over, names_of, reduce
from .node import Node
from .opaque import send_to_host
from .windows import Window, kernel_loops, spatial, window_of

__all__ = ["TABLE"]


def lowest(dtype: str) -> float | int:
    """What a maximum ignores."""
    return ml_info(dtype)[0] if dtypes.is_integer(dtype) else -math.inf


def _pool(
    c: Context,
    node: Node,
    window: Window,
    kind: str,
    fill: float | int,
    body: Callable[[Scalar], Scalar],
    tail: Callable[[Scalar], Scalar] | None,
) -> None:
    x, rank = node.input(0), window.rank
    image = c.shape(x)
    out = c.output(node, 0, (*image[:2], *window.outputs), c.dtype(x))
    reads = Reads(c)
    value = reads(x, (loop("b"), loop("c"), *window.positions()), window.guards(), fill)
    loops = (
        Loop("b", image[0]), Loop("c", image[1]),
        *(Loop(n, e) for n, e in zip(spatial(rank), window.outputs, strict=True)),
        *(Loop(n, e) for n, e in zip(kernel_loops(rank), window.kernel, strict=True)),
    )  # fmt: skip
    write = Access(out, (loop("b"), loop("c"), *(loop(n) for n in spatial(rank))))
    keep = c.dtype(x) if kind == "max" else accumulator(c.dtype(x))
    finish = tail(Acc()) if tail is not None else None
    c.nest(node, loops, reads, write, body(computed(value, c.dtype(x))), Combiner(kind, keep), finish)  # type: ignore[arg-type]


def _window(c: Context, node: Node) -> Window:
    image, kernel = c.shape(node.input(0)), node.ints("kernel_shape")
    if kernel is None or len(image) < 3:
        raise ModelError(f"{node.op_type} needs a kernel_shape and an input of rank 3 or more", node.name)
    return window_of(node, image[2:], kernel)


def max_pool(c: Context, node: Node) -> None:
    if node.output(1):
        return send_to_host(c, node, "it asks where the largest elements are")
    _pool(c, node, _window(c, node), "max", lowest(c.dtype(node.input(0))), lambda x: x, None)
    return None


def average_pool(c: Context, node: Node) -> None:
    window = _window(c, node)
    count = _taps(window, padding=bool(node.int("count_include_pad")))
    _pool(c, node, window, "sum", 0, lambda x: x, lambda acc: call("div", acc, count))


def _taps(window: Window, padding: bool) -> Scalar:
    """How many elements a window averages: all taps, or those inside the image (or the padded image)."""
    if not window.guards():
        return Const(float(math.prod(window.kernel)))
    factors = [_taps_on_axis(window, axis, padding) for axis in range(window.rank)]
    total = factors[0]
    for factor in factors[1:]:
        total = call("mul", total, factor)
    return Cast("float32", total)


def _taps_on_axis(window: Window, axis: int, padding: bool) -> Scalar:
    """Taps f with 0 <= o s + f d - p < extent: ceil((extent - start) / d) - max(0, ceil(-start / d)), clipped to F."""
    stride, dilation, taps = window.strides[axis], window.dilations[axis], window.kernel[axis]
    before = window.begins[axis]
    extent = window.inputs[axis] + (before + window.ends[axis] if padding else 0)
    start = call("sub", call("mul", Counter(spatial(window.rank)[axis]), stride), 0 if padding else before)
    last = call("min", _ceil_div(call("sub", extent, start), dilation), taps)
    first = call("max", _ceil_div(call("neg", start), dilation), 0)
    return call("sub", last, first)


def _ceil_div(x: Scalar, divisor: int) -> Scalar:
    return x if divisor == 1 else call("ceil", call("div", Cast("float64", x), float(divisor)))


def lp_pool(c: Context, node: Node) -> None:
    power = float(node.int("p", 2))
    _pool(
        c, node, _window(c, node), "sum", 0,
        lambda x: call("pow", call("abs", x), power), lambda acc: call("pow", acc, 1.0 / power),
    )  # fmt: skip


def global_pool(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    axes = range(2, len(shape))
    out = c.output(node, 0, (*shape[:2], *([1] * len(axes))), c.dtype(x))
    if node.op_type == "GlobalMaxPool":
        reduce(c, node, x, out, axes, "max", dtype=c.dtype(x))
    elif node.op_type == "GlobalLpPool":
        power = float(node.int("p", 2))
        reduce(
            c, node, x, out, axes, "sum",
            lambda v: call("pow", call("abs", v), power), lambda acc: call("pow", acc, 1.0 / power),
        )  # fmt: skip
    else:
        count = float(math.prod(shape[a] for a in axes))
        reduce(c, node, x, out, axes, "sum", tail=lambda acc: call("div", acc, count))


def local_response(c: Context, node: Node) -> None:
    """LRN: x / (bias + alpha / size * sum of x^2 over `size` channels around)^beta."""
    x, size = node.input(0), node.int("size", 1)
    shape, names = c.shape(x), names_of(len(c.shape(x)))
    out = c.output(node, 0, shape, c.dtype(x))
    before = (size - 1) // 2
    near = loop(names[1]) + loop("f") - before
    guards: tuple[Index, ...] = (near, shape[1] - 1 - near) if size > 1 else ()
    reads = Reads(c)
    index = tuple(loop(n) for n in names)
    value = computed(reads(x, (index[0], near, *index[2:]), guards), c.dtype(x))
    alpha, beta, bias = node.float("alpha", 1e-4), node.float("beta", 0.75), node.float("bias", 1.0)
    own = computed(reads(x, index), c.dtype(x))
    scale = call("pow", call("add", call("mul", Acc(), alpha / size), bias), beta)
    combiner = Combiner("sum", accumulator(c.dtype(x)))
    loops = (*loops_over(shape), Loop("f", size))
    c.nest(node, loops, reads, Access(out, index), call("mul", value, value), combiner, call("div", own, scale))


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "MaxPool": max_pool, "AveragePool": average_pool, "LpPool": lp_pool, "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool, "GlobalLpPool": global_pool, "LRN": local_response,
}  # fmt: skip
