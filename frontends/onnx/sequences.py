"""Sequences and optionals, resolved while reading: a sequence is a list of tensor names, positions must be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .context import Context
from .control import body_frame, results, stack
from .errors import ModelError
from .joining import concatenate
from .movement import slice_into
from .nests import axis_of
from .node import Node, Scope
from .walk import Walk

__all__ = ["SEQUENCES"]

MOST_PARTS = 16_384


def _items(c: Context, name: str, node: Node) -> tuple[str, ...]:
    if name not in c.sequences:
        raise ModelError(f"{name!r} is no sequence of known length", node.name)
    return c.sequences[name]


def _place(c: Context, node: Node, position: int, extent: int) -> int:
    place = c.ints(node, position, "position")[0]
    if not -extent <= place <= extent:
        raise ModelError(f"{node.op_type} at {place} of a sequence of {extent}", node.name)
    return place + extent if place < 0 else place


def empty(walk: Walk, node: Node) -> None:
    walk.context.sequences[node.outputs[0]] = ()


def construct(walk: Walk, node: Node) -> None:
    walk.context.sequences[node.outputs[0]] = node.inputs


def at(walk: Walk, node: Node) -> None:
    c = walk.context
    items = _items(c, node.input(0), node)
    c.rename(node, items[_place(c, node, 1, len(items))])


def insert(walk: Walk, node: Node) -> None:
    c = walk.context
    items = list(_items(c, node.input(0), node))
    items.insert(_place(c, node, 2, len(items)) if node.input(2) else len(items), node.input(1))
    c.sequences[node.outputs[0]] = tuple(items)


def erase(walk: Walk, node: Node) -> None:
    c = walk.context
    items = list(_items(c, node.input(0), node))
    del items[_place(c, node, 1, len(items)) if node.input(1) else -1]
    c.sequences[node.outputs[0]] = tuple(items)


def length(walk: Walk, node: Node) -> None:
    c = walk.context
    c.constant(node.outputs[0], np.asarray(len(_items(c, node.input(0), node)), np.int64), "int64")


def concat(walk: Walk, node: Node) -> None:
    c = walk.context
    items = _items(c, node.input(0), node)
    if node.int("new_axis"):
        stack(c, node, items, 0, node.int("axis"))
        return
    shapes = [c.shape(name) for name in items]
    axis = axis_of(node.int("axis"), len(shapes[0]), node.name)
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    concatenate(c, node, items, axis, c.output(node, 0, shape, c.dtype(items[0])))


def split(walk: Walk, node: Node) -> None:
    """Equal parts, given parts, or single slices (which lose the axis unless keepdims says otherwise)."""
    c, x = walk.context, node.input(0)
    shape = c.shape(x)
    axis = axis_of(node.int("axis"), len(shape), node.name)
    parts = _parts(c, node, shape[axis])
    keep = bool(node.input(1)) or bool(node.int("keepdims", 1))
    names, offset = [], 0
    for number, extent in enumerate(parts):
        target = [extent if i == axis else e for i, e in enumerate(shape)]
        part = c.temporary(node, f"part{number}", target, c.dtype(x))
        starts = [offset if i == axis else 0 for i in range(len(shape))]
        slice_into(c, node, x, part, starts, [1] * len(shape), f"part{number}")
        if not keep:
            flat = c.temporary(node, f"flat{number}", [e for i, e in enumerate(target) if i != axis], c.dtype(x))
            c.view(node, part, flat)
            part = flat
        names.append(part)
        offset += extent
    c.sequences[node.outputs[0]] = tuple(names)


def _parts(c: Context, node: Node, extent: int) -> Sequence[int]:
    if extent > MOST_PARTS:
        raise ModelError(f"{node.op_type} of {extent} elements", node.name, f"at most {MOST_PARTS} parts are taken")
    if not node.input(1):
        return [1] * extent
    given = c.need(node, 1, "split")
    if given.ndim:
        return [int(v) for v in given]
    each = max(int(given), 1)
    return [min(each, extent - i) for i in range(0, extent, each)]


def sequence_map(walk: Walk, node: Node) -> None:
    """The body once per element; further inputs are sequences of the same length or tensors for all."""
    c, body = walk.context, node.graph("body")
    count = len(_items(c, node.input(0), node))
    columns: list[list[str]] = [[] for _ in body.output]

    def finish(number: int) -> Callable[[Scope], None]:
        def done(scope: Scope) -> None:
            for column, name in zip(columns, results(c, scope, body, node), strict=True):
                column.append(name)
            if number == count - 1:
                for output, column in zip(node.outputs, columns, strict=True):
                    c.sequences[output] = tuple(column)

        return done

    def bound(number: int) -> dict[str, str]:
        values = (c.sequences[name][number] if name in c.sequences else name for name in node.inputs)
        return dict(zip((v.name for v in body.input), values, strict=True))

    if not count:
        for output in node.outputs:
            c.sequences[output] = ()
    walk.push(*(body_frame(c, node, body, str(i), bound(i), finish(i)) for i in range(count)))


def optional(walk: Walk, node: Node) -> None:
    """An optional that holds something is that thing."""
    c = walk.context
    if not node.inputs:
        c.sequences[node.outputs[0]] = ()
    elif node.input(0) in c.sequences:
        c.sequences[node.outputs[0]] = c.sequences[node.input(0)]
    else:
        c.rename(node, node.input(0))


def has_element(walk: Walk, node: Node) -> None:
    c, name = walk.context, node.input(0)
    present = bool(name) and c.sequences.get(name) != ()
    c.constant(node.outputs[0], np.asarray(present), "bool")


SEQUENCES: Mapping[str, Callable[[Walk, Node], None]] = {
    "SequenceEmpty": empty, "SequenceConstruct": construct, "SequenceAt": at, "SequenceInsert": insert,
    "SequenceErase": erase, "SequenceLength": length, "ConcatFromSequence": concat, "SplitToSequence": split,
    "SequenceMap": sequence_map, "Optional": optional, "OptionalHasElement": has_element,
    "OptionalGetElement": optional,
}  # fmt: skip
