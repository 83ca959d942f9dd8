"""Optimiser steps of ai.onnx.preview.training: new parameters and states from gradients, element by element.

Inputs are the rate R, the step count T, and then groups of n tensors each: parameters X, gradients G, states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mapper.scalar import Cast, Scalar

from .context import Context
from .errors import ModelError
from .nests import call, pointwise
from .node import Node

__all__ = ["TABLE"]

Step = Callable[[Node, Scalar, Scalar, Sequence[Scalar]], Sequence[Scalar]]
"""(node, R, T, values of X, G and states) -> the new X and states."""


def _optimiser(states: int, step: Step) -> Callable[[Context, Node], None]:
    """A lowering: outputs come in groups as well, new parameters first."""

    def lower(c: Context, node: Node) -> None:
        groups, names = states + 2, node.inputs[2:]
        count = len(names) // groups
        if len(names) != count * groups or not count or len(node.outputs) != count * (states + 1):
            hint = f"{groups} tensors and {states + 1} outputs for each parameter, after R and T"
            raise ModelError(f"{node.op_type} has {len(names)} tensors", node.name, hint)
        for each in range(count):
            _step(c, node, [names[group * count + each] for group in range(groups)], each, count, step)

    return lower


def _step(c: Context, node: Node, own: Sequence[str], each: int, count: int, step: Step) -> None:
    """One parameter: a nest for it, and one for each of its states."""
    shape, dtype = c.shape(own[0]), c.dtype(own[0])
    if any(c.shape(name) != shape for name in own):
        raise ModelError(f"{node.op_type} of {own[0]!r}: gradient and states have its shape", node.name)
    for group in range(len(own) - 1):

        def body(rate: Scalar, time: Scalar, *values: Scalar, group: int = group) -> Scalar:
            return step(node, rate, time, values)[group]

        out = c.output(node, group * count + each, shape, dtype)
        pointwise(c, node, [*node.inputs[:2], *own], out, body, label=f"{'parameter' if not group else 'state'}{each}")


def _regular(node: Node, x: Scalar, gradient: Scalar) -> Scalar:
    return call("add", call("mul", node.float("norm_coefficient", 0.0), x), gradient)


def _adagrad(node: Node, rate: Scalar, time: Scalar, values: Sequence[Scalar]) -> Sequence[Scalar]:
    x, gradient, sum_ = values
    slower = call("div", rate, call("add", 1.0, call("mul", time, node.float("decay_factor", 0.0))))
    regular = _regular(node, x, gradient)
    new = call("add", sum_, call("mul", regular, regular))
    root = call("add", call("sqrt", new), node.float("epsilon", 0.0))
    return call("sub", x, call("div", call("mul", slower, regular), root)), new


def _momentum(node: Node, rate: Scalar, time: Scalar, values: Sequence[Scalar]) -> Sequence[Scalar]:
    x, gradient, velocity = values
    alpha = node.float("alpha", 0.0)
    beta = call("where", call("greater", time, 0), node.float("beta", 0.0), 1.0)
    regular = _regular(node, x, gradient)
    new = call("add", call("mul", alpha, velocity), call("mul", beta, regular))
    nesterov = node.text("mode", "standard") == "nesterov"
    way = call("add", regular, call("mul", alpha, new)) if nesterov else new
    return call("sub", x, call("mul", rate, way)), new


def _adam(node: Node, rate: Scalar, time: Scalar, values: Sequence[Scalar]) -> Sequence[Scalar]:
    x, gradient, first, second = values
    alpha, beta = node.float("alpha", 0.9), node.float("beta", 0.999)
    regular = _regular(node, x, gradient)
    mean = call("add", call("mul", alpha, first), call("mul", 1 - alpha, regular))
    square = call("add", call("mul", beta, second), call("mul", 1 - beta, call("mul", regular, regular)))
    root = call("add", call("sqrt", square), node.float("epsilon", 0.0))
    turns = Cast("float32", time)
    unbiased = call(
        "div", call("sqrt", call("sub", 1.0, call("pow", beta, turns))), call("sub", 1.0, call("pow", alpha, turns))
    )
    factor = call("where", call("greater", time, 0), call("mul", rate, unbiased), rate)
    new = call("sub", x, call("div", call("mul", factor, mean), root))
    return call("mul", new, 1 - node.float("norm_coefficient_post", 0.0)), mean, square


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Adagrad": _optimiser(1, _adagrad), "Momentum": _optimiser(1, _momentum), "Adam": _optimiser(2, _adam),
}  # fmt: skip
