"""If, Loop and Scan: their bodies are walked in place, as often as they run.

A branch whose condition is known is the only one walked; otherwise both are, and the results are chosen element by
element, which is what a fabric without control flow does. Loops need a trip count that is known while reading; each
turn is walked on its own, with its counter and condition as known values, so that shape arithmetic inside folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import GraphProto

from mapper.index import Index

from .context import Context
from .errors import ModelError
from .joining import stack_into
from .nests import axis_of, call, move, pointwise
from .node import Node, Scope
from .walk import MOST_NODES, Frame, Walk, ordered
from .weights import declare_weight

__all__ = ["CONTROL"]


def body_frame(
    c: Context, node: Node, graph: GraphProto, label: str, inputs: Mapping[str, str], finish: Callable[[Scope], None]
) -> Frame:
    """The frame that walks `graph` once, with `inputs` bound; `finish` gets the scope to look results up in."""
    scope = Scope(f"{node.name}/{label}/", node.scope.opsets, node.scope, node.scope.attributes, dict(inputs))

    def start() -> None:
        for tensor in graph.initializer:
            declare_weight(c, scope.define(tensor.name), tensor, model_level=False)

    return Frame(ordered(graph), scope, node.source, start, lambda: finish(scope))


def results(c: Context, scope: Scope, graph: GraphProto, node: Node) -> list[str]:
    """Model-wide names of a walked body's outputs."""
    found = []
    for value in graph.output:
        name = scope.find(value.name)
        if name is None:
            raise ModelError(f"the body of {node.op_type} never produces {value.name!r}", node.name)
        while name in c.alias:
            name = c.alias[name]
        found.append(name)
    return found


def _hand_over(c: Context, node: Node, name: str, position: int) -> None:
    if name in c.sequences:
        c.sequences[node.output(position)] = c.sequences[name]
    else:
        c.rename(node, name, position)


# If ----------------------------------------------------------------------------------------------------------------


def if_(walk: Walk, node: Node) -> None:
    c = walk.context
    condition = c.value(node.input(0))
    if condition is not None:
        branch = node.graph("then_branch" if bool(condition.reshape(-1)[0]) else "else_branch")

        def finish(scope: Scope) -> None:
            for position, name in enumerate(results(c, scope, branch, node)):
                _hand_over(c, node, name, position)

        walk.push(body_frame(c, node, branch, "branch", {}, finish))
        return
    _both_branches(walk, node)


def _both_branches(walk: Walk, node: Node) -> None:
    c, made = walk.context, list[list[str]]()
    then, other = node.graph("then_branch"), node.graph("else_branch")

    def finish(graph: GraphProto) -> Callable[[Scope], None]:
        def done(scope: Scope) -> None:
            made.append(results(c, scope, graph, node))
            if len(made) == 2:
                _choose(c, node, made)

        return done

    walk.push(
        body_frame(c, node, then, "then", {}, finish(then)), body_frame(c, node, other, "else", {}, finish(other))
    )


def _choose(c: Context, node: Node, made: Sequence[Sequence[str]]) -> None:
    for position, (a, b) in enumerate(zip(*made, strict=True)):
        if a in c.sequences or b in c.sequences or c.shape(a) != c.shape(b):
            message = "If chooses at run time between results of different shapes"
            raise ModelError(message, node.name, "bind the dimensions that its condition depends on (--dim)")
        if node.output(position):
            out = c.output(node, position, c.shape(a), c.dtype(a))
            pointwise(c, node, [node.input(0), a, b], out, lambda p, x, y: call("where", p, x, y))


# Loop --------------------------------------------------------------------------------------------------------------


def loop_(walk: Walk, node: Node) -> None:
    c, body = walk.context, node.graph("body")
    carried = len(node.inputs) - 2
    trips = _trips(c, node, len(body.node))
    scans: list[list[str]] = [[] for _ in body.output[1 + carried :]]

    def turn(number: int, going: bool, state: Sequence[str]) -> None:
        if not going or number == trips:
            _close(c, node, state, scans)
            return
        count = c.constant(c.fresh(f"{node.name}/{number}.iteration"), np.asarray(number, np.int64), "int64")
        condition = c.constant(c.fresh(f"{node.name}/{number}.condition"), np.asarray(True), "bool")
        bound = dict(zip((v.name for v in body.input), (count, condition, *state), strict=True))

        def finish(scope: Scope) -> None:
            again, *rest = results(c, scope, body, node)
            for column, name in zip(scans, rest[carried:], strict=True):
                column.append(name)
            turn(number + 1, _known_condition(c, node, again), rest[:carried])

        walk.push(body_frame(c, node, body, str(number), bound, finish))

    first = _known_condition(c, node, node.input(1)) if node.input(1) else True
    turn(0, first, node.inputs[2:])


def _trips(c: Context, node: Node, size: int) -> int | None:
    if not node.input(0):
        return None
    trips = c.ints(node, 0, "trip count")[0]
    if trips * size > MOST_NODES:
        raise ModelError(
            f"Loop makes {trips} turns of {size} nodes", node.name, f"at most {MOST_NODES} nodes are taken"
        )
    return max(trips, 0)


def _known_condition(c: Context, node: Node, name: str) -> bool:
    value = c.value(name)
    if value is None:
        raise ModelError(
            f"{node.op_type} ends by a condition known at run time only", node.name, "give it a trip count"
        )
    return bool(value.reshape(-1)[0])


def _close(c: Context, node: Node, state: Sequence[str], scans: Sequence[Sequence[str]]) -> None:
    for position, name in enumerate(state):
        if node.output(position):
            _hand_over(c, node, name, position)
    for position, parts in enumerate(scans, len(state)):
        if node.output(position):
            stack(c, node, parts, position, 0)


def stack(c: Context, node: Node, parts: Sequence[str], position: int, axis: int, reverse: bool = False) -> None:
    """An output whose slice i along a new `axis` is part i (or, in reverse, the last but i)."""
    if not parts:
        raise ModelError(f"{node.op_type} makes no turn, so the shape of what it collects is unknown", node.name)
    inner = c.shape(parts[0])
    if any(c.shape(p) != inner for p in parts):
        raise ModelError(f"{node.op_type} collects slices of different shapes", node.name)
    axis = axis_of(axis, len(inner) + 1, node.name)
    shape = (*inner[:axis], len(parts), *inner[axis:])
    out = c.output(node, position, shape, c.dtype(parts[0]))
    stack_into(c, node, parts, axis, out, f"stack{position}", reverse)


# Scan --------------------------------------------------------------------------------------------------------------


def scan(walk: Walk, node: Node) -> None:
    c, body = walk.context, node.graph("body")
    if node.version < 9:
        raise ModelError(f"Scan of opset {node.version} is batched", node.name, "convert the model to opset 9 or later")
    scanned = node.int("num_scan_inputs")
    carried = len(node.inputs) - scanned
    sources = node.inputs[carried:]
    axes = _scan_axes(c, node, "scan_input_axes", sources)
    steps = {c.shape(name)[axis] for name, axis in zip(sources, axes, strict=True)}
    if len(steps) != 1:
        raise ModelError(f"Scan's inputs have lengths {sorted(steps)}", node.name)
    length = steps.pop()
    if length * len(body.node) > MOST_NODES:
        raise ModelError(f"Scan makes {length} turns of {len(body.node)} nodes", node.name)
    backwards = node.ints("scan_input_directions") or (0,) * scanned
    columns: list[list[str]] = [[] for _ in body.output[carried:]]

    def turn(t: int, state: Sequence[str]) -> None:
        if t == length:
            _close_scan(c, node, state, columns)
            return
        slices = [
            _slice(c, node, name, axis, length - 1 - t if back else t, t)
            for name, axis, back in zip(sources, axes, backwards, strict=True)
        ]
        bound = dict(zip((v.name for v in body.input), (*state, *slices), strict=True))

        def finish(scope: Scope) -> None:
            found = results(c, scope, body, node)
            for column, name in zip(columns, found[carried:], strict=True):
                column.append(name)
            turn(t + 1, found[:carried])

        walk.push(body_frame(c, node, body, str(t), bound, finish))

    turn(0, node.inputs[:carried])


def _scan_axes(c: Context, node: Node, attribute: str, names: Sequence[str]) -> tuple[int, ...]:
    axes = node.ints(attribute) or (0,) * len(names)
    return tuple(axis_of(a, len(c.shape(n)), node.name) for a, n in zip(axes, names, strict=True))


def _slice(c: Context, node: Node, name: str, axis: int, place: int, turn: int) -> str:
    shape = c.shape(name)
    out = c.temporary(node, f"{turn}.slice", (*shape[:axis], *shape[axis + 1 :]), c.dtype(name))
    return move(c, node, name, out, lambda at: (*at[:axis], Index(const=place), *at[axis:]), f"slice{turn}")


def _close_scan(c: Context, node: Node, state: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    for position, name in enumerate(state):
        if node.output(position):
            _hand_over(c, node, name, position)
    axes = node.ints("scan_output_axes") or (0,) * len(columns)
    backwards = node.ints("scan_output_directions") or (0,) * len(columns)
    for i, parts in enumerate(columns):
        if node.output(len(state) + i):
            stack(c, node, parts, len(state) + i, axes[i], bool(backwards[i]))


CONTROL: Mapping[str, Callable[[Walk, Node], None]] = {"If": if_, "Loop": loop_, "Scan": scan}
