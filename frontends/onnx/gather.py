"""Reads through indices: Gather, GatherElements, OneHot, ReverseSequence.

Indices known beforehand that advance evenly become an affine access; all others are reads themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access
from mapper.scalar import Arg, Counter

from .context import Context, Reads
from .errors import ModelError
from .nests import axis_of, call, identity, loops_over, move, names_of
from .node import Array, Node
from .opaque import send_to_host

__all__ = ["TABLE", "gather_into"]


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
        line = _line(known, shape[axis])
        if line is not None:
            first, step = line

            def index(at: tuple[Index, ...]) -> list[Index]:
                place = at[axis] * step + first if rank else constant(first)
                return [*at[:axis], place, *at[axis + rank :]]

            return move(c, node, table, out, index, label)
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


def _line(known: Array, extent: int) -> tuple[int, int] | None:
    """Start and step of evenly spaced indices (of rank 1 at most)."""
    if known.ndim > 1:
        return None
    flat = [int(v) + extent if v < 0 else int(v) for v in known.reshape(-1)]
    step = flat[1] - flat[0] if len(flat) > 1 else 0
    if flat != [flat[0] + i * step for i in range(len(flat))]:
        return None
    return flat[0], step


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
    "Gather": gather, "GatherElements": gather_elements, "OneHot": one_hot, "ReverseSequence": reverse_sequence,
}  # fmt: skip
