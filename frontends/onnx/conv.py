"""Convolutions of any spatial rank, with groups as a loop of their own; transposed ones scatter.

y[b, g K + k, o] = bias[g K + k] + sum over c, f of x[b, g C + c, o s + f d - p] * w[g K + k, c, f]
transposed: y[b, g K + k, i s + f d - p] += x[b, g C + c, i] * w[g C + c, k, f]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mapper.index import Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Cast, Scalar

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, call, computed, pointwise
from .node import Node
from .windows import Window, kernel_loops, spatial, window_of

__all__ = ["TABLE", "Grouped", "conv_nest", "grouped"]

Finish = Callable[[Reads, Index], Callable[[Scalar], Scalar]]


class Grouped:
    """Channels split in groups: loops and channel indices, without the group loop where there is one group."""

    def __init__(self, c: Context, node: Node, x: str, w: str, transposed: bool = False) -> None:
        image, kernel = c.shape(x), c.shape(w)
        self.groups = node.int("group", 1)
        if len(image) < 3 or len(kernel) != len(image):
            raise ModelError(f"{node.op_type} of ranks {len(image)} and {len(kernel)}", node.name)
        first, second = (kernel[1], kernel[0]) if transposed else (kernel[0], kernel[1])
        self.outputs = first if transposed else first // max(self.groups, 1)
        self.inputs = second // max(self.groups, 1) if transposed else second
        whole = kernel[0] if transposed else self.outputs * self.groups
        channels = kernel[0] if transposed else self.inputs * self.groups
        if self.groups < 1 or whole != kernel[0] or channels != image[1] or (transposed and second % self.groups):
            message = f"{node.op_type} of {self.groups} groups: {image[1]} channels and a kernel {list(kernel)}"
            raise ModelError(message, node.name, "channels and groups do not agree")
        given = node.ints("kernel_shape")
        self.kernel = kernel[2:]
        if given is not None and given != self.kernel:
            raise ModelError(f"kernel_shape {list(given)} differs from the weight's {list(self.kernel)}", node.name)
        many = self.groups > 1
        self.head = (Loop("b", image[0]), *([Loop("g", self.groups)] if many else []))
        group = loop("g") if many else Index()
        self.k = group * self.outputs + loop("k")
        self.c = group * self.inputs + loop("c")
        self.k_loop, self.c_loop = Loop("k", self.outputs), Loop("c", self.inputs)


def grouped(c: Context, node: Node, x: str, w: str) -> tuple[Grouped, Window]:
    channels = Grouped(c, node, x, w)
    return channels, window_of(node, c.shape(x)[2:], channels.kernel)


def conv_nest(
    c: Context,
    node: Node,
    x: str,
    w: str,
    out: str,
    channels: Grouped,
    window: Window,
    *,
    wide: Callable[[Reads, Scalar, Scalar, Index], tuple[Scalar, Scalar]] | None = None,
    finish: Finish | None = None,
    kind: str | None = None,
    fill: float | int = 0,
) -> None:
    """The convolution into `out`; `wide` may widen or centre the operands, `finish` makes the tail."""
    rank = window.rank
    outer = [loop(n) for n in spatial(rank)]
    taps = [loop(n) for n in kernel_loops(rank)]
    loops = (
        *channels.head, channels.k_loop,
        *(Loop(n, e) for n, e in zip(spatial(rank), window.outputs, strict=True)), channels.c_loop,
        *(Loop(n, e) for n, e in zip(kernel_loops(rank), window.kernel, strict=True)),
    )  # fmt: skip
    reads = Reads(c)
    left = reads(x, (loop("b"), channels.c, *window.positions()), window.guards(), fill)
    right = reads(w, (channels.k, loop("c"), *taps))
    left, right = wide(reads, left, right, channels.k) if wide else (left, right)
    product = call("mul", computed(left, c.dtype(x)), computed(right, c.dtype(w)))
    tail = finish(reads, channels.k)(Acc()) if finish is not None else None
    write = Access(out, (loop("b"), channels.k, *outer))
    combiner = Combiner("sum", kind or accumulator(c.dtype(x)))
    c.nest(node, loops, reads, write, product, combiner, tail, counted=True)


def bias_of(c: Context, node: Node, bias: str, extent: int) -> Finish | None:
    """The tail that adds a bias per output channel."""
    if not bias:
        return None
    if c.shape(bias) != (extent,):
        raise ModelError(f"the bias {list(c.shape(bias))} is not one value for each of {extent} channels", node.name)
    return lambda reads, k: lambda acc: call("add", acc, computed(reads(bias, (k,)), c.dtype(bias)))


def conv(c: Context, node: Node) -> None:
    x, w, bias = node.input(0), node.input(1), node.input(2)
    channels, window = grouped(c, node, x, w)
    extent = channels.groups * channels.outputs
    out = c.output(node, 0, (c.shape(x)[0], extent, *window.outputs), c.dtype(x))
    conv_nest(c, node, x, w, out, channels, window, finish=bias_of(c, node, bias, extent))


def conv_integer(c: Context, node: Node) -> None:
    x, w, zero_x, zero_w = (node.input(i) for i in range(4))
    channels, window = grouped(c, node, x, w)
    out = c.output(node, 0, (c.shape(x)[0], channels.groups * channels.outputs, *window.outputs), "int32")
    conv_nest(
        c, node, x, w, out, channels, window,
        wide=centring(c, zero_x, zero_w), kind="int32", fill=padding_value(c, node, zero_x, window),
    )  # fmt: skip


def centring(c: Context, zero_x: str, zero_w: str) -> Callable[[Reads, Scalar, Scalar, Index], tuple[Scalar, Scalar]]:
    """Operands widened to int32 and freed of their zero points (the weight's may be one per output channel)."""

    def wide(reads: Reads, x: Scalar, w: Scalar, k: Index) -> tuple[Scalar, Scalar]:
        x, w = Cast("int32", x), Cast("int32", w)
        if zero_x:
            x = call("sub", x, Cast("int32", reads(zero_x, tuple(Index() for _ in c.shape(zero_x)))))
        if zero_w:
            at = tuple(k if e > 1 else Index() for e in c.shape(zero_w))
            w = call("sub", w, Cast("int32", reads(zero_w, at)))
        return x, w

    return wide


def padding_value(c: Context, node: Node, zero: str, window: Window) -> int:
    """Padding stands for real zero, that is, for the zero point. Raises ModelError if only run time knows it."""
    if not zero or not window.guards():
        return 0
    value = c.value(zero)
    if value is None:
        raise ModelError(f"{node.op_type} pads with a zero point known at run time only", node.name)
    return int(value.reshape(-1)[0])


def conv_transpose(c: Context, node: Node) -> None:
    x, w, bias = node.input(0), node.input(1), node.input(2)
    channels = Grouped(c, node, x, w, transposed=True)
    image, rank = c.shape(x), len(c.shape(x)) - 2
    strides, dilations = (node.ints(n) or (1,) * rank for n in ("strides", "dilations"))
    begins, shape = _transposed_extents(node, image[2:], channels.kernel, strides, dilations)
    extent = channels.groups * channels.outputs
    out = c.output(node, 0, (image[0], extent, *shape), c.dtype(x))
    target = c.temporary(node, "sum", c.shape(out), c.dtype(x)) if bias else out
    _scatter(c, node, x, w, target, channels, (strides, dilations, begins, shape))
    if bias:
        if c.shape(bias) != (extent,):
            raise ModelError(f"the bias {list(c.shape(bias))} is not one value per channel", node.name)
        spread_bias = c.temporary(node, "bias", (1, extent, *([1] * rank)), c.dtype(bias))
        c.view(node, bias, spread_bias)
        pointwise(c, node, [target, spread_bias], out, lambda a, b: call("add", a, b), label="bias")


Extents = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _scatter(c: Context, node: Node, x: str, w: str, out: str, channels: Grouped, extents: Extents) -> None:
    strides, dilations, begins, shape = extents
    image, rank = c.shape(x), len(shape)
    inner, at, guards = _landing(strides, dilations, begins, shape)
    loops = (
        *channels.head, channels.k_loop, *(Loop(n, e) for n, e in zip(inner, image[2:], strict=True)),
        channels.c_loop, *(Loop(n, e) for n, e in zip(kernel_loops(rank), channels.kernel, strict=True)),
    )  # fmt: skip
    reads = Reads(c)
    left = computed(reads(x, (loop("b"), channels.c, *(loop(n) for n in inner))), c.dtype(x))
    right = computed(reads(w, (channels.c, loop("k"), *(loop(n) for n in kernel_loops(rank)))), c.dtype(w))
    write = Access(out, (loop("b"), channels.k, *at), guards)
    c.nest(node, loops, reads, write, call("mul", left, right), Combiner("sum", accumulator(c.dtype(x))), counted=True)


def _landing(
    strides: Sequence[int], dilations: Sequence[int], begins: Sequence[int], shape: Sequence[int]
) -> tuple[list[str], list[Index], tuple[Index, ...]]:
    """Where taps land in an image of `shape`: loops i over places, i s + f d - p, and guards that keep it inside."""
    rank = len(shape)
    inner = [f"i{n[1:]}" for n in spatial(rank)]
    steps = zip(inner, kernel_loops(rank), strides, dilations, begins, strict=True)
    at = [loop(i) * s + loop(f) * d - p for i, f, s, d, p in steps]
    return inner, at, tuple(g for a, e in zip(at, shape, strict=True) for g in (a, e - 1 - a))


def _transposed_extents(
    node: Node, image: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before, and output extents: O = s (I - 1) + extra + d (F - 1) + 1 - p - q."""
    rank = len(image)
    extra = node.ints("output_padding") or (0,) * rank
    wanted = node.ints("output_shape")
    mode = node.text("auto_pad", "NOTSET") or "NOTSET"
    if any(len(v) != rank or min(v) < 1 for v in (strides, dilations)) or len(extra) != rank:
        raise ModelError("ConvTranspose has an impossible window", node.name)
    full = [
        s * (i - 1) + e + d * (f - 1) + 1
        for s, i, e, d, f in zip(strides, image, extra, dilations, kernel, strict=True)
    ]
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(i * s for i, s in zip(image, strides, strict=True))
    if wanted is not None:
        total = [max(f - o, 0) for f, o in zip(full, wanted[-rank:], strict=True)]
        # SAME_UPPER puts the odd element after, everything else before
        begins = tuple(t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total)
        return begins, wanted[-rank:]
    pads = (0,) * (2 * rank) if mode == "VALID" else node.ints("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank:
        raise ModelError("ConvTranspose has an impossible window", node.name)
    return pads[:rank], tuple(f - pads[i] - pads[rank + i] for i, f in enumerate(full))


def columns_to_image(c: Context, node: Node) -> None:
    """Col2Im: y[b, k, i s + f d - p] += x[b, k F + f, i], with f and i counted in row-major order."""
    x, shape = node.input(0), c.ints(node, 1, "image shape")
    block, columns, rank = c.ints(node, 2, "block shape"), c.shape(node.input(0)), len(shape)
    strides, dilations = (node.ints(n) or (1,) * rank for n in ("strides", "dilations"))
    pads = node.ints("pads") or (0,) * (2 * rank)
    sizes = {len(block), len(strides), len(dilations), len(pads) // 2}
    if len(columns) != 3 or sizes != {rank} or min((*shape, *block, *strides, *dilations), default=0) < 1:
        raise ModelError("Col2Im has an impossible window", node.name)
    reach = [d * (f - 1) + 1 for d, f in zip(dilations, block, strict=True)]
    room = [e + pads[i] + pads[rank + i] - reach[i] for i, e in enumerate(shape)]
    places = tuple(r // s + 1 for r, s in zip(room, strides, strict=True))
    taps = math.prod(block)
    if min(room) < 0 or columns[1] % taps or math.prod(places) != columns[2]:
        hint = f"{list(block)} windows at {list(places)} places of [batch, channels x {taps}, {math.prod(places)}]"
        raise ModelError(f"Col2Im of columns {list(columns)} into an image {list(shape)}", node.name, hint)
    out = c.output(node, 0, (columns[0], columns[1] // taps, *shape), c.dtype(x))
    inner, at, guards = _landing(strides, dilations, pads[:rank], shape)
    outer = kernel_loops(rank)
    reads = Reads(c)
    index = (loop("b"), loop("k") * taps + _row_major(outer, block), _row_major(inner, places))
    value = computed(reads(x, index), c.dtype(x))
    extents = (*zip(("b", "k"), c.shape(out)[:2], strict=True), *zip(inner, places, strict=True))
    loops = [Loop(n, e) for n, e in (*extents, *zip(outer, block, strict=True))]
    write = Access(out, (loop("b"), loop("k"), *at), guards)
    c.nest(node, loops, reads, write, value, Combiner("sum", accumulator(c.dtype(x))))


def _row_major(names: Sequence[str], extents: Sequence[int]) -> Index:
    """The position of an element among all, the last index running fastest."""
    position = constant(0)
    for name, extent in zip(names, extents, strict=True):
        position = position * extent + loop(name)
    return position


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Conv": conv, "ConvInteger": conv_integer, "ConvTranspose": conv_transpose,
    "Col2Im": columns_to_image,
}  # fmt: skip
