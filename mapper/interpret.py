"""Executes a graph on numpy values, straight from the definition of its operators.

Every read of a nest becomes an array that broadcasts over the nest's loops (a strided window where the access is
affine, gathered elements otherwise); the body is evaluated on these arrays, the combiner folds the reducing axes, the
tail finishes, and the result is written through the write access. Sums of products go through einsum. Nests whose
domain is large are cut along their longest output loop, so memory stays bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.index import Gathered, Index, interval
from mapper.ir import Access, Graph, Op, Opaque, Tensor, View
from mapper.scalar import Arg, Call, Cast, Scalar, cast, evaluate

__all__ = ["Host", "evaluate_op", "read_values", "run", "viewed"]

Array = np.ndarray[Any, Any]
Host = Callable[[Opaque, Sequence[Array]], Sequence[Array]]
CHUNK_POINTS = 1 << 23


def run(graph: Graph, feeds: Mapping[str, Array], host: Host | None = None) -> dict[str, Array]:
    """Values of every tensor of `graph`. `feeds` holds inputs and weights; `host` executes opaque operators.

    Raises KeyError for a missing feed and ValueError for an opaque operator without `host`.
    """
    values: dict[str, Array] = {}
    prepared = {name for op in graph.prepare for name in op.outputs}
    for tensor in graph.tensors:
        if tensor.name in prepared:
            continue
        if tensor.name in feeds:
            values[tensor.name] = np.asarray(feeds[tensor.name])
        elif tensor.data is not None:
            values[tensor.name] = tensor.array()
        elif tensor.role != "activation":
            raise KeyError(f"no values for {tensor.role} {tensor.name!r}")
    for op in (*graph.prepare, *graph.ops):
        values.update(_run_one(graph, op, values, host))
    return values


def _run_one(graph: Graph, op: Any, values: Mapping[str, Array], host: Host | None) -> dict[str, Array]:
    if isinstance(op, View):
        return {op.output: viewed(values[op.input], graph.tensor(op.output))}
    if isinstance(op, Opaque):
        if host is None:
            raise ValueError(f"operator {op.name!r} ({op.op_type}) is opaque and no host was given to run it")
        return dict(zip(op.outputs, host(op, [values[name] for name in op.inputs]), strict=True))
    target = graph.tensor(op.write.tensor)
    return {target.name: evaluate_op(op, values, target.shape, target.dtype)}


def viewed(values: Array, tensor: Tensor) -> Array:
    """The same bits as `tensor`, a view of them."""
    return values.reshape(tensor.shape).view(dtypes.numpy_type(tensor.dtype))


def evaluate_op(op: Op, values: Mapping[str, Array], shape: tuple[int, ...], dtype: str) -> Array:
    """The output tensor of one nest, of `shape` and `dtype`."""
    out = np.full(shape, _blank(op, dtype)).astype(dtypes.numpy_type(dtype))
    if op.points == 0 and op.combiner is None:
        return out
    ordered = [loop.name for loop in op.loops if loop.ordered]
    arrays = dict(values)
    arrays[op.write.tensor] = out
    for fixed in _ordered_steps(op, ordered):
        for window in _chunks(op, fixed):
            _evaluate_window(op, arrays, out, dtype, window)
    return out


def _blank(op: Op, dtype: str) -> float:
    """What elements hold before anything is written: the combiner's identity where writes collide."""
    if op.combiner is None or not dtypes.is_float(dtype) or _plain_order(op.write, tuple(op.output_loops)) is not None:
        return 0.0
    return op.combiner.identity


def _ordered_steps(op: Op, ordered: list[str]) -> list[dict[str, tuple[int, int]]]:
    full = {loop.name: (0, loop.extent) for loop in op.loops}
    if not ordered:
        return [full]
    steps = np.ndindex(*(op.extents[name] for name in ordered))
    return [{**full, **{n: (i, i + 1) for n, i in zip(ordered, step, strict=True)}} for step in steps]


def _chunks(op: Op, window: dict[str, tuple[int, int]]) -> list[dict[str, tuple[int, int]]]:
    """Cut a window along its first long output loop so that a piece has at most CHUNK_POINTS points."""
    points = math.prod(high - low for low, high in window.values())
    if points <= CHUNK_POINTS or (_product_of_reads(op) is not None and points <= 64 * CHUNK_POINTS):
        return [window]
    candidates = [loop.name for loop in op.loops if loop.name in op.output_loops and _extent(window, loop.name) > 1]
    if not candidates:
        return [window]
    name = max(candidates, key=lambda n: _extent(window, n))
    low, high = window[name]
    step = max(1, (high - low) * CHUNK_POINTS // points)
    pieces = [{**window, name: (at, min(at + step, high))} for at in range(low, high, step)]
    return [piece for cut in pieces for piece in (_chunks(op, cut) if step == 1 else [cut])]


def _extent(window: Mapping[str, tuple[int, int]], name: str) -> int:
    return window[name][1] - window[name][0]


def _evaluate_window(
    op: Op, arrays: Mapping[str, Array], out: Array, dtype: str, window: Mapping[str, tuple[int, int]]
) -> None:
    axes = tuple(loop.name for loop in op.loops)
    counters = _counters(axes, window)
    reads: list[Array] = []
    for read in op.reads:
        reads.append(read_values(read, arrays[read.tensor], axes, window, reads))
    acc = _combined(op, reads, counters, axes, window)
    keep = tuple(i for i, name in enumerate(axes) if name in op.output_loops)
    result = acc
    if op.tail is not None:
        tail_reads = [_dropped(r, keep, len(axes)) if i in op.tail_reads else r for i, r in enumerate(reads)]
        tail_counters = {n: _dropped(c, keep, len(axes)) for n, c in counters.items() if n in op.output_loops}
        result = evaluate(op.tail, tail_reads, acc, tail_counters)
    kept = tuple(axes[i] for i in keep)
    sizes = tuple(_extent(window, n) for n in kept)
    _store(op, np.broadcast_to(np.asarray(cast(result, dtype)), sizes), out, kept, window, reads)


def _counters(axes: tuple[str, ...], window: Mapping[str, tuple[int, int]]) -> dict[str, Array]:
    """Loop counters as arrays that broadcast over the axes."""
    grids = {}
    for position, name in enumerate(axes):
        shape = [1] * len(axes)
        shape[position] = -1
        grids[name] = np.arange(*window[name], dtype=np.int64).reshape(shape)
    return grids


def _dropped(array: Array, keep: tuple[int, ...], rank: int) -> Array:
    """The array without reducing axes (taking their first element: tail reads do not depend on them)."""
    array = np.asarray(array)
    if array.ndim != rank:
        return array
    return array[tuple(slice(None) if i in keep else 0 for i in range(rank))]


def read_values(
    access: Access, array: Array, axes: tuple[str, ...], window: Mapping[str, tuple[int, int]], earlier: Sequence[Array]
) -> Array:
    """The values that `access` delivers over the window, one axis per loop (1 where it does not depend on it)."""
    strided = _strided(access, array, axes, window)
    if strided is not None:
        return strided
    grids = _counters(axes, window)

    def gathered(atom: Gathered) -> Array:
        positions = np.asarray(earlier[atom.read]).astype(np.int64)
        return np.where(positions < 0, positions + atom.extent, positions)

    index = [np.asarray(i.at(grids, gathered)) for i in access.index]
    inside: Any = True
    for guard in access.guards:
        inside = inside & (guard.at(grids, gathered) >= 0)
    clipped = tuple(np.clip(i, 0, extent - 1) for i, extent in zip(index, array.shape, strict=True))
    if array.size == 0:
        shape = np.broadcast_shapes(np.shape(inside), *(i.shape for i in index))
        found: Array = np.full(shape, access.fill).astype(array.dtype)
        return found
    found = array[clipped] if clipped else np.asarray(array)
    if access.guards:
        found = np.where(inside, found, np.asarray(access.fill).astype(array.dtype))
    return found if found.ndim == len(axes) else found.reshape((1,) * (len(axes) - found.ndim) + found.shape)


def _strided(
    access: Access, array: Array, axes: tuple[str, ...], window: Mapping[str, tuple[int, int]]
) -> Array | None:
    """The access as a strided window over the (padded) array; None when it is not affine or guarded otherwise."""
    if not all(i.is_affine for i in access.index) or not _guards_are_bounds(access, array.shape):
        return None
    ranges = {n: (low, high - 1) for n, (low, high) in window.items()}
    if any(high < low for low, high in ranges.values()):
        return None
    spans = [interval(i, ranges) for i in access.index]
    cut, pads, origin = [], [], []
    for (low, high), extent in zip(spans, array.shape, strict=True):
        first, last = min(max(low, 0), extent), max(min(high, extent - 1), -1)
        cut.append(slice(first, max(last + 1, first)))
        before = first - low if last >= first else 0
        pads.append((before, (high - low + 1) - before - max(last + 1 - first, 0)))
        origin.append(low)
    base = array[tuple(cut)]
    if any(b or a for b, a in pads):
        base = np.pad(base, pads, constant_values=np.asarray(access.fill).astype(array.dtype))
    strides = [0] * len(axes)
    start = [i.const - o for i, o in zip(access.index, origin, strict=True)]
    for dimension, index in enumerate(access.index):
        for atom, coefficient in index.terms:
            assert isinstance(atom, str)
            strides[axes.index(atom)] += coefficient * base.strides[dimension]
            start[dimension] += coefficient * window[atom][0]
    shape = [_extent(window, n) if n in access.loops else 1 for n in axes]
    head = base[tuple(slice(s, None) for s in start)] if base.ndim else base
    if base.dtype.str == "<f1":  # numpy cannot name 8-bit floats of this layout in its array interface
        raw = np.lib.stride_tricks.as_strided(head.view(np.uint8), shape, strides, writeable=False)
        return raw.view(base.dtype)
    view: Array = np.lib.stride_tricks.as_strided(head, shape, strides, writeable=False)
    return view


def _guards_are_bounds(access: Access, shape: tuple[int, ...]) -> bool:
    """True if the guards only say that the indices lie inside the tensor."""
    bounds = {b for i, extent in zip(access.index, shape, strict=True) for b in (i, extent - 1 - i)}
    return all(guard in bounds for guard in access.guards)


def _product_of_reads(op: Op) -> tuple[list[int], str | None] | None:
    """Reads multiplied by a sum-of-products body (and the type they are cast to), else None."""
    if op.combiner is None or op.combiner.kind != "sum":
        return None
    factors: list[int] = []

    def collect(body: Scalar) -> bool:
        if isinstance(body, Cast):
            return body.dtype == op.combiner.accumulator and collect(body.value)  # type: ignore[union-attr]
        if isinstance(body, Call) and body.function == "mul":
            return all(collect(a) for a in body.args)
        if isinstance(body, Arg):
            factors.append(body.read)
            return True
        return False

    return (factors, op.combiner.accumulator) if collect(op.body) and len(factors) >= 2 else None


def _combined(
    op: Op,
    reads: Sequence[Array],
    counters: Mapping[str, Array],
    axes: tuple[str, ...],
    window: Mapping[str, tuple[int, int]],
) -> Any:
    """The body's values with reducing axes folded; axes of the result are the output loops."""
    reduce_axes = tuple(i for i, name in enumerate(axes) if name not in op.output_loops)
    product = _product_of_reads(op)
    if product is not None:
        return _contracted(op, [reads[i] for i in product[0]], axes, window)
    value = np.asarray(evaluate(op.body, reads, None, counters))
    full = tuple(_extent(window, n) for n in axes)
    if op.combiner is None:
        value = np.broadcast_to(value, full)
        return value.reshape([full[i] for i in range(len(axes)) if i not in reduce_axes])
    value = np.broadcast_to(value, full)
    return _fold(op, value, axes, reduce_axes)


def _contracted(
    op: Op, factors: Sequence[Array], axes: tuple[str, ...], window: Mapping[str, tuple[int, int]]
) -> Array:
    accumulator = dtypes.numpy_type(op.combiner.accumulator)  # type: ignore[union-attr]
    operands: list[Any] = []
    used: set[int] = set()
    for factor in factors:
        keep = [i for i in range(len(axes)) if factor.shape[i] != 1]
        used.update(keep)
        operands += [np.squeeze(factor, tuple(i for i in range(len(axes)) if i not in keep)).astype(accumulator), keep]
    out = [i for i, name in enumerate(axes) if name in op.output_loops]
    scale = math.prod(_extent(window, n) for i, n in enumerate(axes) if i not in used and n not in op.output_loops)
    result = np.einsum(*operands, [i for i in out if i in used], optimize=True)
    shape = [result.shape[[j for j in out if j in used].index(i)] if i in used else 1 for i in out]
    full = [_extent(window, axes[i]) for i in out]
    spread: Array = np.broadcast_to((result * accumulator.type(scale)).reshape(shape), full)
    return spread


def _fold(op: Op, value: Array, axes: tuple[str, ...], reduce_axes: tuple[int, ...]) -> Any:
    combiner = op.combiner
    assert combiner is not None
    if combiner.kind.startswith("arg"):
        axis = axes.index(combiner.over or "")
        pick = np.argmax if combiner.kind.startswith("argmax") else np.argmin
        if combiner.kind.endswith("_last"):
            return value.shape[axis] - 1 - pick(np.flip(value, axis), axis=axis)
        return pick(value, axis=axis)
    value = value.astype(dtypes.numpy_type(combiner.accumulator))
    if not reduce_axes:
        return value
    fold = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
            "and": np.logical_and, "or": np.logical_or}[combiner.kind]  # fmt: skip
    if value.size == 0 and combiner.kind in ("max", "min"):
        return fold.reduce(value, axis=reduce_axes, initial=combiner.identity)
    return fold.reduce(value, axis=reduce_axes)


_SCATTER = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def _store(
    op: Op,
    result: Array,
    out: Array,
    kept: tuple[str, ...],
    window: Mapping[str, tuple[int, int]],
    reads: Sequence[Array],
) -> None:
    """Write `result` (one axis per output loop) through the write access; colliding writes are combined."""
    order = _plain_order(op.write, kept)
    if order is not None:
        where = tuple(slice(*window[kept[i]]) if i is not None else slice(0, 1) for i in order)
        positions = [i for i in order if i is not None]
        moved = np.transpose(result, positions)
        out[where] = moved.reshape([s.stop - s.start for s in where])
        return
    grids = _counters(kept, window)
    keep = tuple(range(len(kept)))

    def gathered(atom: Gathered) -> Array:
        positions = np.asarray(reads[atom.read]).astype(np.int64)
        names = tuple(loop.name for loop in op.loops)
        positions = _dropped(positions, tuple(i for i, n in enumerate(names) if n in kept), len(names))
        return np.where(positions < 0, positions + atom.extent, positions)

    index = [np.broadcast_to(i.at(grids, gathered), result.shape) for i in op.write.index]
    inside = np.ones(result.shape, bool)
    for guard in op.write.guards:
        inside &= guard.at(grids, gathered) >= 0
    targets = tuple(i[inside] for i in index)
    if op.combiner is not None and op.combiner.kind in _SCATTER and keep:
        _SCATTER[op.combiner.kind].at(out, targets, result[inside])
    else:
        out[targets] = result[inside]


def _plain_order(write: Access, kept: tuple[str, ...]) -> list[int | None] | None:
    """Per dimension the position of the loop that indexes it alone (None for a constant 0); None if it is not so."""
    if write.guards:
        return None
    order: list[int | None] = []
    for index in write.index:
        if index == Index():
            order.append(None)
        elif index.const == 0 and len(index.terms) == 1 and index.terms[0][1] == 1 and index.terms[0][0] in kept:
            order.append(kept.index(str(index.terms[0][0])))
        else:
            return None
    named = [i for i in order if i is not None]
    return order if sorted(named) == list(range(len(kept))) else None
