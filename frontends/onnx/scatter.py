"""Writes through indices: ScatterND, ScatterElements, Scatter, TensorScatter.

A fabric writes each element once, so a scatter is read from the side of its result: element d holds the update whose
index is d, or the data. Indices known beforehand that advance evenly invert to an affine read of the updates. Others
are compared with the coordinates of the result, which is what a fabric without indirect writes does:

    slot[d]   = the last n with indices[n] = d, plus one (0 where there is none)
    out[d, r] = updates[slot[d] - 1, r] where slot[d] > 0, else data[d, r]

and a reduction sums (multiplies, ...) the updates of the n that match. The comparisons are extent of d times extent of
n; where they are more than MOST_COMPARISONS, the operator goes to the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce as folded

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, CombinerKind, Loop
from mapper.scalar import Acc, Arg, Cast, Const, Counter, Scalar

from .context import Context, Reads
from .errors import ModelError
from .gather import evenly
from .nests import accumulator, axis_of, call, computed, identity, loops_over, names_of
from .node import Array, Node
from .opaque import send_to_host

__all__ = ["TABLE"]

MOST_COMPARISONS = 1 << 28
# reduction -> the combiner of the updates that match, the function that joins them with the data
_REDUCTIONS: Mapping[str, tuple[CombinerKind, str]] = {
    "add": ("sum", "add"), "mul": ("prod", "mul"), "max": ("max", "max"), "min": ("min", "min"),
}  # fmt: skip


def scatter_nd(c: Context, node: Node) -> None:
    data, indices, updates = node.inputs[:3]
    shape, picks = c.shape(data), c.shape(indices)
    if not picks or picks[-1] > len(shape) or c.shape(updates) != (*picks[:-1], *shape[picks[-1] :]):
        text = f"ScatterND of {list(c.shape(updates))} into {list(shape)} by indices {list(picks)}"
        raise ModelError(text, node.name, "updates have the shape of the indices' rows, then of a slice of the data")
    count, width = math.prod(picks[:-1]), picks[-1]
    if count == 0:
        return c.rename(node, data)
    known, reduction = c.known.get(indices), node.text("reduction", "none")
    inverse = None if known is None or reduction != "none" else _inverse(known, shape)
    if inverse is not None:
        return _placed(c, node, data, updates, inverse)
    if _unfit(c, data) or math.prod(shape[:width]) * count > MOST_COMPARISONS:
        return send_to_host(c, node)
    rows = c.temporary(node, "rows", (count, width), c.dtype(indices))
    c.view(node, indices, rows)
    flat = c.temporary(node, "updates", (count, *shape[width:]), c.dtype(updates))
    c.view(node, updates, flat)

    def match(reads: Reads, n: Index) -> Scalar:
        names = names_of(len(shape))
        return _all(_same(reads(rows, (n, constant(j))), names[j], shape[j]) for j in range(width))

    if reduction != "none":
        at = identity(len(shape))
        return _reduced(c, node, data, reduction, count, match, lambda reads, n: reads(flat, (n, *at[width:])))
    slot = _slots(c, node, data, width, count, match)
    return _chosen(c, node, data, slot, count, lambda reads, n, at: reads(flat, (n, *at[width:]), (n,)))


def scatter_elements(c: Context, node: Node) -> None:
    """out[.., indices[i, n, j], ..] = updates[i, n, j] along one axis."""
    data, indices, updates = node.inputs[:3]
    shape, picks = c.shape(data), c.shape(indices)
    axis = axis_of(node.int("axis", 0), len(shape), node.name)
    outside = any(p > e for i, (p, e) in enumerate(zip(picks, shape, strict=False)) if i != axis)
    if len(picks) != len(shape) or picks != c.shape(updates) or outside:
        raise ModelError(f"{node.op_type} into {list(shape)} by indices {list(picks)}", node.name)
    if math.prod(picks) == 0:
        return c.rename(node, data)
    if _unfit(c, data) or math.prod(shape) * picks[axis] > MOST_COMPARISONS:
        return send_to_host(c, node)
    names, at = names_of(len(shape)), identity(len(shape))
    short = [i for i, (p, e) in enumerate(zip(picks, shape, strict=True)) if i != axis and p < e]

    def place(n: Index) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
        return (*at[:axis], n, *at[axis + 1 :]), tuple(picks[i] - 1 - at[i] for i in short)

    def match(reads: Reads, n: Index) -> Scalar:
        return _same(reads(indices, *place(n), shape[axis]), names[axis], shape[axis])

    reduction = node.text("reduction", "none")
    if reduction != "none":
        return _reduced(c, node, data, reduction, picks[axis], match, lambda reads, n: reads(updates, *place(n)))
    slot = _slots(c, node, data, len(shape), picks[axis], match)
    return _chosen(c, node, data, slot, picks[axis], lambda reads, n, _: reads(updates, place(n)[0], (n, *place(n)[1])))


def tensor_scatter(c: Context, node: Node) -> None:
    """A cache with new entries from position `write_indices[batch]` on, wrapping around in circular mode."""
    past, update, start = node.input(0), node.input(1), node.input(2)
    shape, names = c.shape(past), names_of(len(c.shape(past)))
    axis = axis_of(node.int("axis", -2), len(shape), node.name)
    length, fresh = shape[axis], c.shape(update)[axis]
    reads, at = Reads(c), identity(len(shape))
    late = at[axis]
    if start:
        late = late - Index(((Gathered(reads.position(start, (loop(names[0]),)), length), 1),))
    late = late % length if node.text("mode", "linear") == "circular" else late
    out = c.output(node, 0, shape, c.dtype(past))
    new = reads(update, (*at[:axis], late, *at[axis + 1 :]), (late, fresh - 1 - late))
    turn: Scalar = Counter(names[axis])
    if start:
        turn = call("sub", turn, Cast("int32", Arg(0)))
    if node.text("mode", "linear") == "circular":
        turn = call("where", call("less", turn, 0), call("add", turn, length), turn)
    inside = _all([call("greater_equal", turn, 0), call("less", turn, fresh)])
    c.nest(node, loops_over(shape), reads, Access(out, at), call("where", inside, new, reads(past, at)))


# Parts -------------------------------------------------------------------------------------------------------------


def _unfit(c: Context, data: str) -> bool:
    return c.dtype(data) == "string" or c.dtype(data).startswith("complex")


def _same(index: Scalar, name: str, extent: int) -> Scalar:
    """Whether an index that may count from the end is the coordinate of loop `name`."""
    wrapped = call("where", call("less", index, 0), call("add", index, extent), index)
    return call("equal", wrapped, Counter(name))


def _all(conditions: Iterable[Scalar]) -> Scalar:
    return folded(lambda a, b: call("and", a, b), conditions)


def _slots(c: Context, node: Node, data: str, width: int, count: int, match: Callable[[Reads, Index], Scalar]) -> str:
    """int32 over the first `width` axes of the data: one more than the last n that matches, 0 where none does."""
    shape, names = c.shape(data)[:width], names_of(len(c.shape(data)))[:width]
    slot, reads = c.temporary(node, "slot", shape, "int32"), Reads(c)
    number = call("add", Counter("n_"), 1)
    body = call("where", match(reads, loop("n_")), number, 0)
    loops = (*loops_over(shape, names), Loop("n_", count))
    c.nest(
        node, loops, reads, Access(slot, tuple(loop(n) for n in names)), body, Combiner("max", "int32"), label="slot"
    )
    return slot


def _chosen(
    c: Context, node: Node, data: str, slot: str, count: int, update: Callable[[Reads, Index, Sequence[Index]], Scalar]
) -> None:
    """The update in each element's slot, or the data."""
    shape = c.shape(data)
    out = c.output(node, 0, shape, c.dtype(data))
    reads, at = Reads(c), identity(len(shape))
    number = reads.position(slot, at[: len(c.shape(slot))])
    place = Index(((Gathered(number, count + 1), 1),)) - 1
    new = update(reads, place, at)
    body = call("where", call("greater", Arg(number), 0), new, reads(data, at))
    c.nest(node, loops_over(shape), reads, Access(out, at), body)


def _reduced(
    c: Context, node: Node, data: str, reduction: str, count: int,
    match: Callable[[Reads, Index], Scalar], update: Callable[[Reads, Index], Scalar],
) -> None:  # fmt: skip
    """The data joined with every update that matches. Raises ModelError for a reduction that ONNX does not have."""
    if reduction not in _REDUCTIONS:
        raise ModelError(f"{node.op_type} by reduction {reduction!r}", node.name, f"one of {', '.join(_REDUCTIONS)}")
    kind, function = _REDUCTIONS[reduction]
    shape, dtype = c.shape(data), c.dtype(data)
    out = c.output(node, 0, shape, dtype)
    reads, at = Reads(c), identity(len(shape))
    old = computed(reads(data, at), dtype)
    neutral = {"add": Const(0), "mul": Const(1)}.get(reduction, old)
    body = call("where", match(reads, loop("n_")), computed(update(reads, loop("n_")), dtype), neutral)
    loops = (*loops_over(shape), Loop("n_", count))
    combiner = Combiner(kind, accumulator(dtype))
    c.nest(node, loops, reads, Access(out, at), body, combiner, call(function, Acc(), old))


# Indices known beforehand ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """One indexed axis of the data: the coordinates `first + step * i` for i along axis `source` of the updates
    (None for a single place), `count` of them."""

    first: int
    step: int
    count: int
    source: int | None


def _inverse(known: Array, shape: Sequence[int]) -> list[_Line] | None:
    """Known indices as one line per indexed axis, each along an axis of the updates of its own; else None."""
    lines = [_line(known[..., j], shape[j]) for j in range(known.shape[-1])]
    found = [line for line in lines if line is not None]
    sources = [line.source for line in found if line.source is not None]
    moving = [d for d, extent in enumerate(known.shape[:-1]) if extent > 1]
    return found if len(found) == len(lines) and sorted(sources) == moving else None


def _line(places: Array, extent: int) -> _Line | None:
    """Indices that move along at most one of their axes, evenly."""
    index = evenly(places, extent)
    if index is None:
        return None
    along = index(identity(places.ndim))
    if len(along.terms) > 1:
        return None
    if not along.terms:
        return _Line(along.const, 1, 1, None)
    source = identity(places.ndim).index(loop(str(along.terms[0][0])))
    return _Line(along.const, along.terms[0][1], places.shape[source], source)


def _placed(c: Context, node: Node, data: str, updates: str, lines: Sequence[_Line]) -> None:
    """out[d] = updates[(d - first) / step] where that is one of them, else data[d]."""
    shape, names = c.shape(data), names_of(len(c.shape(data)))
    out = c.output(node, 0, shape, c.dtype(data))
    reads, at, width = Reads(c), identity(len(shape)), len(lines)
    rank = len(c.shape(updates)) - (len(shape) - width)
    place, guards, inside = [constant(0)] * rank, [], []
    for axis, line in enumerate(lines):
        sign, step = (1, line.step) if line.step > 0 else (-1, -line.step)
        ahead = (at[axis] - line.first) * sign
        guards += [ahead, (line.count - 1) * step - ahead, *([(ahead % step) * -1] if step > 1 else [])]
        offset = call("mul", call("sub", Counter(names[axis]), line.first), sign)
        inside += [call("greater_equal", offset, 0), call("less_equal", offset, (line.count - 1) * step)]
        if step > 1:
            inside.append(call("equal", call("mod", offset, step), 0))
        if line.source is not None:
            place[line.source] = ahead // step
    new = reads(updates, (*place, *at[width:]), guards)
    c.nest(node, loops_over(shape), reads, Access(out, at), call("where", _all(inside), new, reads(data, at)))


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "ScatterND": scatter_nd, "ScatterElements": scatter_elements, "Scatter": scatter_elements,
    "TensorScatter": tensor_scatter,
}  # fmt: skip
