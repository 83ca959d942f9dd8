"""Reductions over axes, arg-maxima, running sums, and the softmax family built from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mapper.index import constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Counter, Scalar

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, axis_of, call, computed, loops_over, names_of, pointwise, reduce, spread
from .node import Node
from .opaque import send_to_host

__all__ = ["TABLE", "mean_over", "softmax_over"]


@dataclass(frozen=True, slots=True)
class Reduction:
    """`tail(kind over axes of body(x))`; the tail also gets how many elements were folded."""

    kind: str
    body: Callable[[Scalar], Scalar] = lambda x: x
    tail: Callable[[Scalar, int], Scalar] | None = None


REDUCTIONS: Mapping[str, Reduction] = {
    "ReduceSum": Reduction("sum"),
    "ReduceMean": Reduction("sum", tail=lambda acc, n: call("div", acc, n)),
    "ReduceProd": Reduction("prod"),
    "ReduceMax": Reduction("max"),
    "ReduceMin": Reduction("min"),
    "ReduceL1": Reduction("sum", lambda x: call("abs", x)),
    "ReduceL2": Reduction("sum", lambda x: call("mul", x, x), lambda acc, n: call("sqrt", acc)),
    "ReduceSumSquare": Reduction("sum", lambda x: call("mul", x, x)),
    "ReduceLogSum": Reduction("sum", tail=lambda acc, n: call("log", acc)),
}


def axes_of(c: Context, node: Node, rank: int) -> tuple[int, ...] | None:
    """Axes from the attribute or the second input; all of them when none are given; None for "do nothing"."""
    axes = node.ints("axes")
    if axes is None and node.input(1):
        axes = c.ints(node, 1, "axes")
    if not axes:
        return None if node.int("noop_with_empty_axes") else tuple(range(rank))
    return tuple(sorted({axis_of(a, rank, node.name) for a in axes}))


def reduced_shape(shape: Sequence[int], axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    return tuple(1 if i in axes else e for i, e in enumerate(shape) if keep or i not in axes)


def reduction(c: Context, node: Node) -> None:
    x = node.input(0)
    shape, dtype = c.shape(x), c.dtype(x)
    axes = axes_of(c, node, len(shape))
    rule, keep = REDUCTIONS[node.op_type], bool(node.int("keepdims", 1))
    if axes is None:
        axes = ()
    out = c.output(node, 0, reduced_shape(shape, axes, keep), dtype)
    count = math.prod(shape[a] for a in axes)
    tail = rule.tail
    finish = (lambda acc: tail(acc, count)) if tail is not None else None
    if dtype == "bool":
        kind = {"max": "or", "min": "and"}.get(rule.kind, rule.kind)
        reduce(c, node, x, out, axes, kind, keep=keep, dtype="bool")
        return
    kind_type = dtype if rule.kind in ("max", "min") and not dtype.startswith("bfloat") else None
    reduce(c, node, x, out, axes, rule.kind, rule.body, finish, keep=keep, dtype=kind_type)


def log_sum_exp(c: Context, node: Node) -> None:
    """log(sum(exp(x - m))) + m, with the maximum m taken first so that nothing overflows."""
    x = node.input(0)
    shape, dtype = c.shape(x), c.dtype(x)
    axes = axes_of(c, node, len(shape)) or ()
    keep = bool(node.int("keepdims", 1))
    out = c.output(node, 0, reduced_shape(shape, axes, keep), dtype)
    highest = c.temporary(node, "max", reduced_shape(shape, axes, True), dtype)
    reduce(c, node, x, highest, axes, "max", label="max", dtype=dtype)
    shifted_sum(c, node, x, highest, out, axes, keep)


def shifted_sum(c: Context, node: Node, x: str, highest: str, out: str, axes: Sequence[int], keep: bool) -> None:
    """out = log(sum over axes of exp(x - highest)) + highest; an infinite maximum is not subtracted."""
    shape, names = c.shape(x), names_of(len(c.shape(x)))
    reads = Reads(c)
    at = tuple(loop(n) for n in names)
    kept = tuple(constant(0) if i in axes else loop(n) for i, n in enumerate(names))
    value = computed(reads(x, at), c.dtype(x))
    top = computed(reads(highest, kept), c.dtype(x))
    finite = call("where", call("isinf", top), 0.0, top)
    body = call("exp", call("sub", value, finite))
    tail = call("add", call("log", Acc()), finite)
    index = kept if keep else tuple(k for i, k in enumerate(kept) if i not in axes)
    combiner = Combiner("sum", accumulator(c.dtype(x)))
    c.nest(node, loops_over(shape), reads, Access(out, index), body, combiner, tail, label="sum")


def arg_reduction(c: Context, node: Node) -> None:
    x = node.input(0)
    shape, names = c.shape(x), names_of(len(c.shape(x)))
    axis = axis_of(node.int("axis", 0), len(shape), node.name)
    keep = bool(node.int("keepdims", 1))
    out = c.output(node, 0, reduced_shape(shape, (axis,), keep), "int64")
    kind = ("argmax" if node.op_type == "ArgMax" else "argmin") + ("_last" if node.int("select_last_index") else "")
    reads = Reads(c)
    value = computed(reads(x, tuple(loop(n) for n in names)), c.dtype(x))
    kept = [constant(0) if i == axis else loop(n) for i, n in enumerate(names)]
    index = tuple(kept) if keep else tuple(k for i, k in enumerate(kept) if i != axis)
    combiner = Combiner(kind, "int64", names[axis])  # type: ignore[arg-type]
    c.nest(node, loops_over(shape), reads, Access(out, index), value, combiner)


def cumulative(c: Context, node: Node) -> None:
    """y[t] = y[t - 1] + x[t] along an ordered loop; from the far end with reverse, one element late with exclusive."""
    x = node.input(0)
    shape, names = c.shape(x), list(names_of(len(c.shape(x))))
    axis = axis_of(c.ints(node, 1, "axis")[0], len(shape), node.name)
    out = c.output(node, 0, shape, c.dtype(x))
    function, neutral = ("add", 0) if node.op_type == "CumSum" else ("mul", 1)
    extent = shape[axis]
    step = loop(names[axis])
    reverse, exclusive = bool(node.int("reverse")), bool(node.int("exclusive"))
    at = extent - 1 - step if reverse else step
    before = at + 1 if reverse else at - 1
    source = before if exclusive else at

    def index(position: object) -> tuple[object, ...]:
        return tuple(position if i == axis else loop(n) for i, n in enumerate(names))

    def inside(position: object) -> tuple[object, ...]:
        return (position, extent - 1 - position)  # type: ignore[operator]

    reads = Reads(c)
    value = reads(x, index(source), inside(source) if exclusive else (), neutral)
    own = reads(out, index(before), inside(before), neutral)
    loops = tuple(Loop(n, e, ordered=i == axis) for i, (n, e) in enumerate(zip(names, shape, strict=True)))
    body = call(function, computed(value, c.dtype(x)), computed(own, c.dtype(x)))
    c.nest(node, loops, reads, Access(out, index(at)), body)  # type: ignore[arg-type]


# Softmax -----------------------------------------------------------------------------------------------------------


def softmax_over(c: Context, node: Node, x: str, out: str, axes: Sequence[int], log: bool = False) -> str:
    """exp(x - max) / sum(exp(x - max)) over `axes`; with `log`, x - max - log(sum)."""
    shape, dtype = c.shape(x), c.dtype(x)
    small = reduced_shape(shape, axes, True)
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    highest = c.temporary(node, "max", small, dtype)
    reduce(c, node, x, highest, axes, "max", label="max", dtype=dtype if dtype != "bfloat16" else None)
    total = c.temporary(node, "sum", small, wide)
    if log:
        difference = c.temporary(node, "shifted", shape, dtype)
        pointwise(c, node, [x, highest], difference, lambda v, m: call("sub", v, m), label="sub")
        reduce(c, node, difference, total, axes, "sum", lambda v: call("exp", v), lambda a: call("log", a), label="sum")
        return pointwise(c, node, [difference, total], out, lambda v, t: call("sub", v, t), label="normalise")
    exponential = c.temporary(node, "exp", shape, dtype)
    pointwise(c, node, [x, highest], exponential, lambda v, m: call("exp", call("sub", v, m)), label="exp")
    reduce(c, node, exponential, total, axes, "sum", label="sum")
    return pointwise(c, node, [exponential, total], out, lambda v, t: call("div", v, t), label="normalise")


def softmax_axes(c: Context, node: Node) -> tuple[int, ...]:
    """One axis from opset 13 on; before, the input is coerced to a matrix at `axis` and rows are normalised."""
    rank = len(c.shape(node.input(0)))
    if node.version >= 13:
        return (axis_of(node.int("axis", -1), rank, node.name),)
    return tuple(range(axis_of(node.int("axis", 1), rank, node.name) if rank > 1 else 0, rank))


def softmax(c: Context, node: Node) -> None:
    x = node.input(0)
    if not c.shape(x):
        raise ModelError(f"{node.op_type} of a scalar", node.name)
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    softmax_over(c, node, x, out, softmax_axes(c, node), log=node.op_type == "LogSoftmax")


def hardmax(c: Context, node: Node) -> None:
    """1 at the first maximum, 0 elsewhere."""
    x, axes = node.input(0), softmax_axes(c, node)
    shape = c.shape(x)
    if len([a for a in axes if shape[a] > 1]) > 1:
        return send_to_host(c, node)
    axis = next((a for a in axes if shape[a] > 1), axes[-1])
    names = names_of(len(shape))
    first = c.temporary(node, "first", reduced_shape(shape, (axis,), True), "int64")
    reads = Reads(c)
    value = computed(reads(x, tuple(loop(n) for n in names)), c.dtype(x))
    kept = tuple(constant(0) if i == axis else loop(n) for i, n in enumerate(names))
    combiner = Combiner("argmax", "int64", names[axis])
    c.nest(node, loops_over(shape), reads, Access(first, kept), value, combiner, label="argmax")
    out = c.output(node, 0, shape, c.dtype(x))
    reads = Reads(c)
    at = tuple(loop(n) for n in names)
    body = call("where", call("equal", reads(first, spread(c.shape(first), at, shape)), Counter(names[axis])), 1.0, 0.0)
    c.nest(node, loops_over(shape), reads, Access(out, at), body, label="one")
    return None


def mean_over(c: Context, node: Node, x: str, axes: Sequence[int], label: str, square: bool = False) -> str:
    """The mean (of squares) over `axes`, kept as extent 1, in the accumulator's type."""
    shape = c.shape(x)
    count = math.prod(shape[a] for a in axes)
    out = c.temporary(node, label, reduced_shape(shape, axes, True), accumulator(c.dtype(x)))
    body = (lambda v: call("mul", v, v)) if square else (lambda v: v)
    return reduce(c, node, x, out, axes, "sum", body, lambda acc: call("div", acc, float(count)), label=label)


def lp_normalisation(c: Context, node: Node) -> None:
    x, power = node.input(0), node.int("p", 2)
    shape = c.shape(x)
    axis = axis_of(node.int("axis", -1), len(shape), node.name)
    norm = c.temporary(node, "norm", reduced_shape(shape, (axis,), True), accumulator(c.dtype(x)))
    if power == 1:
        reduce(c, node, x, norm, (axis,), "sum", lambda v: call("abs", v), label="norm")
    else:
        square = lambda v: call("mul", v, v)  # noqa: E731
        reduce(c, node, x, norm, (axis,), "sum", square, lambda acc: call("sqrt", acc), label="norm")
    out = c.output(node, 0, shape, c.dtype(x))
    pointwise(
        c, node, [x, norm], out,
        lambda v, n: call("where", call("equal", n, 0.0), 0.0, call("div", v, n)), label="normalise",
    )  # fmt: skip


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    "ReduceLogSumExp": log_sum_exp, "ArgMax": arg_reduction, "ArgMin": arg_reduction, "CumSum": cumulative,
    "CumProd": cumulative, "Softmax": softmax, "LogSoftmax": softmax, "Hardmax": hardmax,
    "LpNormalization": lp_normalisation,
}  # fmt: skip
