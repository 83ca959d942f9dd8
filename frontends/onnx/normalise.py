"""Normalisations: batch, instance, group, layer, RMS and mean-variance.

Statistics are reductions in the accumulator's type; the rest is one elementwise nest. Batch normalisation of a trained
model is x * s + t per channel, with s = scale / sqrt(var + eps) and t = bias - mean * s computed once from weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mapper.index import Index, loop
from mapper.ir import Access, Combiner
from mapper.scalar import Acc, Scalar

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, axis_of, call, computed, loops_over, names_of, pointwise, reduce
from .node import Node
from .reductions import reduced_shape

__all__ = ["TABLE", "layer_normalise", "rms_normalise"]


def per_channel(
    c: Context, node: Node, x: str, others: Sequence[str], out: str, body: Callable[..., Scalar], label: str = ""
) -> str:
    """`out = body(x, *others)` where the others hold one value per channel (dimension 1)."""
    names = names_of(len(c.shape(x)))
    index = tuple(loop(n) for n in names)
    reads = Reads(c)
    channel: tuple[Index, ...] = (loop(names[1]),)
    args = [computed(reads(x, index), c.dtype(x))]
    args += [computed(reads(name, channel), c.dtype(name)) for name in others]
    c.nest(node, loops_over(c.shape(x)), reads, Access(out, index), body(*args), label=label)
    return out


def batch_norm(c: Context, node: Node) -> None:
    x, scale, bias, mean, variance = node.inputs[:5]
    if node.int("training_mode") or (node.version < 14 and len([o for o in node.outputs if o]) > 1):
        return _training(c, node)
    if len(c.shape(x)) < 2:
        raise ModelError("BatchNormalization of an input without channels", node.name)
    channels = c.shape(x)[1]
    for name in (scale, bias, mean, variance):
        if c.shape(name) != (channels,):
            raise ModelError(f"{name!r} is not one value for each of {channels} channels", node.name)
    factor, offset = _factors(c, node, scale, bias, mean, variance)
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    per_channel(c, node, x, [factor, offset], out, lambda v, s, t: call("add", call("mul", v, s), t))
    return None


def _factors(c: Context, node: Node, scale: str, bias: str, mean: str, variance: str) -> tuple[str, str]:
    """s = scale / sqrt(variance + eps), t = bias - mean * s."""
    epsilon, shape, dtype = node.float("epsilon", 1e-5), c.shape(scale), accumulator(c.dtype(scale))
    factor = c.temporary(node, "factor", shape, dtype)
    pointwise(
        c, node, [scale, variance], factor,
        lambda s, v: call("div", s, call("sqrt", call("add", v, epsilon))), label="factor",
    )  # fmt: skip
    offset = c.temporary(node, "offset", shape, dtype)
    subtract = lambda b, m, s: call("sub", b, call("mul", m, s))  # noqa: E731
    pointwise(c, node, [bias, mean, factor], offset, subtract, label="offset")
    return factor, offset


def _training(c: Context, node: Node) -> None:
    """Statistics of the batch itself, and the running ones moved towards them by `momentum`."""
    x, scale, bias, mean, variance = node.inputs[:5]
    if node.version < 14:
        raise ModelError("BatchNormalization in training form before opset 14", node.name, "export it for inference")
    shape = c.shape(x)
    axes = tuple(i for i in range(len(shape)) if i != 1)
    batch_mean, batch_variance = _statistics(c, node, x, axes, flat=True)
    factor, offset = _factors(c, node, scale, bias, batch_mean, batch_variance)
    out = c.output(node, 0, shape, c.dtype(x))
    per_channel(c, node, x, [factor, offset], out, lambda v, s, t: call("add", call("mul", v, s), t))
    momentum = node.float("momentum", 0.9)
    for position, (old, new) in enumerate(((mean, batch_mean), (variance, batch_variance)), 1):
        if node.output(position):
            target = c.output(node, position, c.shape(old), c.dtype(old))
            mix = lambda a, b: call("add", call("mul", a, momentum), call("mul", b, 1.0 - momentum))  # noqa: E731
            pointwise(c, node, [old, new], target, mix, label="running")


def _statistics(c: Context, node: Node, x: str, axes: Sequence[int], flat: bool = False) -> tuple[str, str]:
    """Mean and variance over `axes` (two passes: the mean first)."""
    shape, names = c.shape(x), names_of(len(c.shape(x)))
    count = float(math.prod(shape[a] for a in axes))
    small = reduced_shape(shape, axes, not flat)
    dtype = accumulator(c.dtype(x))
    mean = c.temporary(node, "mean", small, dtype)
    reduce(c, node, x, mean, axes, "sum", tail=lambda acc: call("div", acc, count), label="mean", keep=not flat)
    variance = c.temporary(node, "variance", small, dtype)
    reads = Reads(c)
    kept = tuple(Index() if i in axes else loop(n) for i, n in enumerate(names))
    at = tuple(k for i, k in enumerate(kept) if i not in axes) if flat else kept
    value = computed(reads(x, tuple(loop(n) for n in names)), c.dtype(x))
    apart = call("sub", value, reads(mean, at))
    c.nest(
        node, loops_over(shape), reads, Access(variance, at), call("mul", apart, apart), Combiner("sum", dtype),
        call("div", Acc(), count), label="variance",
    )  # fmt: skip
    return mean, variance


def instance_norm(c: Context, node: Node) -> None:
    x, scale, bias = node.inputs[:3]
    axes = tuple(range(2, len(c.shape(x))))
    mean, variance = _statistics(c, node, x, axes)
    _scaled(c, node, x, mean, variance, scale, bias, c.output(node, 0, c.shape(x), c.dtype(x)))


def _scaled(c: Context, node: Node, x: str, mean: str, variance: str, scale: str, bias: str, out: str) -> None:
    """(x - mean) / sqrt(variance + eps) * scale + bias with scale and bias per channel."""
    names, shape = names_of(len(c.shape(x))), c.shape(x)
    index = tuple(loop(n) for n in names)
    small = tuple(loop(n) if e == s else Index() for n, e, s in zip(names, c.shape(mean), shape, strict=True))
    reads = Reads(c)
    value = computed(reads(x, index), c.dtype(x))
    deviation = call("sqrt", call("add", reads(variance, small), node.float("epsilon", 1e-5)))
    normal = call("div", call("sub", value, reads(mean, small)), deviation)
    s, t = (computed(reads(name, (loop(names[1]),)), c.dtype(name)) for name in (scale, bias))
    body = call("add", call("mul", normal, s), t)
    c.nest(node, loops_over(shape), reads, Access(out, index), body)


def group_norm(c: Context, node: Node) -> None:
    """Channels in groups: the input seen as [b, g, channels / g * plane] for the statistics."""
    x, scale, bias = node.inputs[:3]
    shape, groups = c.shape(x), node.int("num_groups", 1)
    if len(shape) < 2 or groups < 1 or shape[1] % groups:
        raise ModelError(f"{groups} groups do not divide the channels of {list(shape)}", node.name)
    folded = c.temporary(node, "grouped", (shape[0], groups, math.prod(shape[1:]) // groups), c.dtype(x))
    c.view(node, x, folded)
    mean, variance = _statistics(c, node, folded, (2,))
    names = names_of(len(shape))
    index = tuple(loop(n) for n in names)
    reads = Reads(c)
    at = (index[0], index[1] // (shape[1] // groups), Index())
    value = computed(reads(x, index), c.dtype(x))
    normal = call("sub", value, reads(mean, at))
    normal = call("div", normal, call("sqrt", call("add", reads(variance, at), node.float("epsilon", 1e-5))))
    # before opset 21 there was one scale per group
    channel = index[1] if c.shape(scale) == (shape[1],) else index[1] // (shape[1] // groups)
    s, t = (computed(reads(name, (channel,)), c.dtype(name)) for name in (scale, bias))
    out = c.output(node, 0, shape, c.dtype(x))
    c.nest(node, loops_over(shape), reads, Access(out, index), call("add", call("mul", normal, s), t))


def layer_normalise(
    c: Context,
    node: Node,
    x: str,
    scale: str,
    bias: str,
    out: str,
    axes: Sequence[int],
    mean_out: str = "",
    inv_out: str = "",
) -> None:
    """(x - mean) / sqrt(var + eps) * scale + bias over the trailing `axes`; the statistics where they are wanted."""
    epsilon = node.float("epsilon", 1e-5)
    mean, variance = _statistics(c, node, x, axes)
    inverse = inv_out or c.temporary(node, "inverse", c.shape(variance), c.dtype(variance))
    root = lambda v: call("reciprocal", call("sqrt", call("add", v, epsilon)))  # noqa: E731
    pointwise(c, node, [variance], inverse, root, label="inverse")
    if mean_out:
        pointwise(c, node, [mean], mean_out, lambda m: m, label="statistics")

    def body(v: Scalar, m: Scalar, i: Scalar, *rest: Scalar) -> Scalar:
        value = call("mul", call("sub", v, m), i)
        for function, operand in zip((("mul",) if scale else ()) + (("add",) if bias else ()), rest, strict=True):
            value = call(function, value, operand)
        return value

    pointwise(c, node, [x, mean, inverse, *(n for n in (scale, bias) if n)], out, body, label="normalise")


def rms_normalise(c: Context, node: Node, x: str, scale: str, out: str, axes: Sequence[int], inv_out: str = "") -> None:
    """x / sqrt(mean(x^2) + eps) * scale over the trailing `axes`."""
    epsilon = node.float("epsilon", 1e-5)
    shape = c.shape(x)
    count = float(math.prod(shape[a] for a in axes))
    inverse = inv_out or c.temporary(node, "inverse", reduced_shape(shape, axes, True), accumulator(c.dtype(x)))
    finish = lambda acc: call("reciprocal", call("sqrt", call("add", call("div", acc, count), epsilon)))  # noqa: E731
    reduce(c, node, x, inverse, axes, "sum", lambda v: call("mul", v, v), finish, label="inverse")
    operands = [x, inverse, *([scale] if scale else [])]
    product = lambda v, i, *s: call("mul", call("mul", v, i), s[0]) if s else call("mul", v, i)  # noqa: E731
    pointwise(c, node, operands, out, product, label="normalise")


def layer_norm(c: Context, node: Node) -> None:
    x = node.input(0)
    rank = len(c.shape(x))
    axes = tuple(range(axis_of(node.int("axis", -1), rank, node.name), rank))
    small = reduced_shape(c.shape(x), axes, True)
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    mean = c.output(node, 1, small, "float32") if node.output(1) else ""
    inverse = c.output(node, 2, small, "float32") if node.output(2) else ""
    layer_normalise(c, node, x, node.input(1), node.input(2), out, axes, mean, inverse)


def rms_norm(c: Context, node: Node) -> None:
    x = node.input(0)
    rank = len(c.shape(x))
    axes = tuple(range(axis_of(node.int("axis", -1), rank, node.name), rank))
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    inverse = c.output(node, 1, reduced_shape(c.shape(x), axes, True), "float32") if node.output(1) else ""
    rms_normalise(c, node, x, node.input(1), out, axes, inverse)


def mean_variance(c: Context, node: Node) -> None:
    x = node.input(0)
    rank = len(c.shape(x))
    axes = tuple(axis_of(a, rank, node.name) for a in node.ints("axes") or (0, 2, 3))
    mean, variance = _statistics(c, node, x, axes)
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    normal = lambda v, m, s: call("div", call("sub", v, m), call("add", call("sqrt", s), 1e-9))  # noqa: E731
    pointwise(c, node, [x, mean, variance], out, normal)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "BatchNormalization": batch_norm, "InstanceNormalization": instance_norm, "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm, "RMSNormalization": rms_norm, "SimplifiedLayerNormalization": rms_norm,
    "MeanVarianceNormalization": mean_variance,
}  # fmt: skip
