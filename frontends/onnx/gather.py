"""Reads through indices: Gather, GatherElements, GatherND, OneHot, ReverseSequence.

Indices known beforehand that advance evenly become an affine access; all others are reads themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access
from mapper.scalar import Arg, Counter

from .context import Context, Reads
from .errors import ModelError
from .nests import axis_of, call, identity, loops_over, move, names_of
from .node import Array, Node
from .opaque import send_to_host

__all__ = ["TABLE", "evenly", "gather_into"]


def gather(c: Context, node: Node) -> None:
    table, indices = node.inputs
    if c.dtype(table) == "string":
        return send_to_host(c, node)
    shape, picks = c.shape(table), c.shape(indices)
    axis = axis_of(node.int("axis", 0), len(shape), node.name)
    out = c.output(node, 0, (*shape[:axis], *picks, *shape[axis + 1 :]), c.dtype(table))
    gather_into(c, node, table, indices, axis, out)
    return None


def gather_into(c: Context, node: Node, table: str, indices: str, axis: int, out: str, label: str = "") -> str:
    """out[before, i, after] = table[before, indices[i], after]."""
    shape, rank = c.shape(table), len(c.shape(indices))
    known = c.known.get(indices)
    if known is not None and known.size:
        _check_range(known, shape[axis], node)
        line = evenly(known, shape[axis])
        if line is not None:
            return move(c, node, table, out, lambda at: [*at[:axis], line(at[axis:]), *at[axis + rank :]], label)
    at = identity(len(c.shape(out)))
    reads = Reads(c)
    number = reads.position(indices, at[axis : axis + rank])
    picked = Index(((Gathered(number, shape[axis]), 1),))
    body = reads(table, (*at[:axis], picked, *at[axis + rank :]))
    c.nest(node, loops_over(c.shape(out)), reads, Access(out, at), body, label=label)
    return out


def _check_range(known: Array, extent: int, node: Node) -> None:
    low, high = int(known.min()), int(known.max())
    if low < -extent or high >= extent:
        raise ModelError(f"{node.op_type} reads element {low if low < -extent else high} of {extent}", node.name)


def evenly(known: Array, extent: int) -> Callable[[Sequence[Index]], Index] | None:
    """Known indices as an affine function of their own coordinates, negatives counted from the end; else None."""
    flat = np.where(known < 0, known.astype(np.int64) + extent, known.astype(np.int64))
    first = int(flat.reshape(-1)[0])
    origin = (0,) * flat.ndim
    unit = [(*origin[:d], 1, *origin[d + 1 :]) for d in range(flat.ndim)]
    steps = [int(flat[u]) - first if flat.shape[d] > 1 else 0 for d, u in enumerate(unit)]
    grids: Sequence[Array] = np.indices(flat.shape, sparse=True)
    line = first + sum(s * g for s, g in zip(steps, grids, strict=True))
    if not np.array_equal(flat, np.broadcast_to(line, flat.shape)):
        return None
    return lambda at: sum((a * s for a, s in zip(at, steps, strict=False)), constant(first))


def gather_elements(c: Context, node: Node) -> None:
    table, indices = node.inputs
    shape, picks = c.shape(table), c.shape(indices)
    axis = axis_of(node.int("axis", 0), len(shape), node.name)
    if len(shape) != len(picks) or any(p > e for i, (p, e) in enumerate(zip(picks, shape, strict=True)) if i != axis):
        raise ModelError(f"GatherElements of {list(shape)} by indices {list(picks)}", node.name)
    out = c.output(node, 0, picks, c.dtype(table))
    at = identity(len(shape))
    reads = Reads(c)
    number = reads.position(indices, at)
    picked = Index(((Gathered(number, shape[axis]), 1),))
    body = reads(table, [picked if i == axis else a for i, a in enumerate(at)])
    c.nest(node, loops_over(picks), reads, Access(out, at), body)


def gather_nd(c: Context, node: Node) -> None:
    """out[batch, i, rest] = data[batch, indices[batch, i], rest]: the last axis of `indices` addresses several axes."""
    data, indices = node.inputs
    if c.dtype(data) == "string":
        return send_to_host(c, node)
    shape, picks, batch = c.shape(data), c.shape(indices), node.int("batch_dims", 0)
    if not picks or batch >= len(picks) or batch + picks[-1] > len(shape) or shape[:batch] != picks[:batch]:
        raise ModelError(f"GatherND of {list(shape)} by indices {list(picks)} with {batch} batch axes", node.name)
    out = c.output(node, 0, (*picks[:-1], *shape[batch + picks[-1] :]), c.dtype(data))
    reads, at = Reads(c), identity(len(c.shape(out)))
    own = at[: len(picks) - 1]
    places = [coordinate(c, node, reads, indices, own, j, shape[batch + j]) for j in range(picks[-1])]
    body = reads(data, (*at[:batch], *places, *at[len(own) :]))
    c.nest(node, loops_over(c.shape(out)), reads, Access(out, at), body)
    return None


def coordinate(
    c: Context, node: Node, reads: Reads, indices: str, at: Sequence[Index], column: int, extent: int
) -> Index:
    """Column `column` of index row `at`: affine where it is known and even, else a read of its own."""
    known = c.known.get(indices)
    if known is not None and known.size:
        _check_range(known[..., column], extent, node)
        line = evenly(known[..., column], extent)
        if line is not None:
            return line(at)
    return Index(((Gathered(reads.position(indices, (*at, constant(column))), extent), 1),))


def one_hot(c: Context, node: Node) -> None:
    """`on` where the index equals the coordinate along `axis`, `off` elsewhere; negative indices wrap once."""
    indices, values = node.input(0), node.input(2)
    depth = int(c.need(node, 1, "depth").reshape(-1)[0])
    picks = c.shape(indices)
    axis = axis_of(node.int("axis", -1), len(picks) + 1, node.name)
    shape = (*picks[:axis], depth, *picks[axis:])
    out = c.output(node, 0, shape, c.dtype(values))
    at = identity(len(shape))
    reads = Reads(c)
    pick = reads(indices, (*at[:axis], *at[axis + 1 :]))
    wrapped = call("where", call("less", pick, 0), call("add", pick, depth), pick)
    on, off = reads(values, (constant(1),)), reads(values, (constant(0),))
    body = call("where", call("equal", wrapped, Counter(names_of(len(shape))[axis])), on, off)
    c.nest(node, loops_over(shape), reads, Access(out, at), body)


def reverse_sequence(c: Context, node: Node) -> None:
    """The first `length[b]` elements along time in reverse, the others as they are."""
    x, lengths = node.inputs
    shape, names = c.shape(x), names_of(len(c.shape(x)))
    time, batch = node.int("time_axis", 0), node.int("batch_axis", 1)
    out = c.output(node, 0, shape, c.dtype(x))
    at = identity(len(shape))
    reads = Reads(c)
    number = reads.position(lengths, (loop(names[batch]),))
    place = Index(((Gathered(number, shape[time] + 1), 1),)) - 1 - loop(names[time])
    turned = reads(x, [place if i == time else a for i, a in enumerate(at)], (place, shape[time] - 1 - place))
    plain = reads(x, at)
    body = call("where", call("less", Counter(names[time]), Arg(number)), turned, plain)
    c.nest(node, loops_over(shape), reads, Access(out, at), body)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd, "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
}  # fmt: skip
