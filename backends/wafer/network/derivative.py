"""Derivatives of scalar bodies: d(body) / d(leaf), as another body over the same reads.

Chain rule over the tree. Functions that are constant between jumps (comparisons, rounding, signs) have derivative
zero; where the operands of `max` or `min` are equal, the second one takes it all, so that a Relu has slope 0 at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mapper.errors import Unsupported
from mapper.scalar import Acc, Arg, Call, Cast, Const, Counter, Scalar

__all__ = ["ONE", "ZERO", "derivative", "from_output", "product"]

ZERO, ONE = Const(0.0), Const(1.0)
_FLAT = frozenset(
    ["sign", "floor", "ceil", "round", "trunc", "equal", "less", "less_equal", "greater", "greater_equal"]
    + ["and", "or", "xor", "not", "isnan", "isinf"]
)


def product(a: Scalar, b: Scalar) -> Scalar:
    """a b, without factors one and zero."""
    if ZERO in (a, b):
        return ZERO
    if a == ONE:
        return b
    return a if b == ONE else Call("mul", (a, b))


def _sum(a: Scalar, b: Scalar) -> Scalar:
    if a == ZERO:
        return b
    return a if b == ZERO else Call("add", (a, b))


def _negative(a: Scalar) -> Scalar:
    return Call("neg", (a,))


def _squared(a: Scalar) -> Scalar:
    return Call("mul", (a, a))


def _quotient(a: Scalar, b: Scalar) -> Scalar:
    return Call("div", (a, b))


def _less_one(a: Scalar) -> Scalar:
    return Call("sub", (ONE, a))


def _power(a: Scalar, b: Scalar) -> Scalar:
    return product(b, Call("pow", (a, Call("sub", (b, ONE)))))


_UNARY: dict[str, Callable[[Scalar], Scalar]] = {
    "neg": lambda a: Const(-1.0),
    "abs": lambda a: Call("sign", (a,)),
    "reciprocal": lambda a: _negative(_quotient(ONE, _squared(a))),
    "square": lambda a: product(Const(2.0), a),
    "sqrt": lambda a: _quotient(Const(0.5), Call("sqrt", (a,))),
    "exp": lambda a: Call("exp", (a,)),
    "log": lambda a: _quotient(ONE, a),
    "log1p": lambda a: _quotient(ONE, _sum(ONE, a)),
    "erf": lambda a: product(Const(2 / math.sqrt(math.pi)), Call("exp", (_negative(_squared(a)),))),
    "sigmoid": lambda a: product(Call("sigmoid", (a,)), _less_one(Call("sigmoid", (a,)))),
    "tanh": lambda a: _less_one(_squared(Call("tanh", (a,)))),
    "softplus": lambda a: Call("sigmoid", (a,)),
    "sin": lambda a: Call("cos", (a,)),
    "cos": lambda a: _negative(Call("sin", (a,))),
}
_BINARY: dict[str, tuple[Callable[[Scalar, Scalar], Scalar], Callable[[Scalar, Scalar], Scalar]]] = {
    "add": (lambda a, b: ONE, lambda a, b: ONE),
    "sub": (lambda a, b: ONE, lambda a, b: Const(-1.0)),
    "mul": (lambda a, b: b, lambda a, b: a),
    "div": (lambda a, b: _quotient(ONE, b), lambda a, b: _negative(_quotient(a, _squared(b)))),
    "max": (lambda a, b: _where("greater", a, b), lambda a, b: _where("less_equal", a, b)),
    "min": (lambda a, b: _where("less", a, b), lambda a, b: _where("greater_equal", a, b)),
    "pow": (_power, lambda a, b: product(Call("pow", (a, b)), Call("log", (a,)))),
}


def _where(relation: str, a: Scalar, b: Scalar) -> Scalar:
    return Call("where", (Call(relation, (a, b)), ONE, ZERO))


def derivative(body: Scalar, leaf: Arg | Acc) -> Scalar:
    """d(body) / d(leaf), zero where it does not depend on it. Raises Unsupported with the function's name."""
    if body == leaf:
        return ONE
    if isinstance(body, (Arg, Acc, Const, Counter)):
        return ZERO
    if isinstance(body, Cast):
        return derivative(body.value, leaf)
    inner = [derivative(argument, leaf) for argument in body.args]
    if all(part == ZERO for part in inner) or body.function in _FLAT:
        return ZERO
    if body.function == "where":
        return Call("where", (body.args[0], inner[1], inner[2]))
    if body.function in _UNARY:
        return product(_UNARY[body.function](body.args[0]), inner[0])
    if body.function not in _BINARY:
        raise Unsupported(
            f"function {body.function!r} has no derivative here", "--set training=true", "train without it"
        )
    left, right = _BINARY[body.function]
    a, b = body.args
    total: Scalar = ZERO
    for rule, part in ((left, inner[0]), (right, inner[1])):
        if part != ZERO:
            total = _sum(total, product(rule(a, b), part))
    return total


def from_output(body: Scalar, output: Scalar) -> tuple[Scalar, Scalar] | None:
    """(slope, inner) where body = f(inner) and the slope of f follows from the output alone; None for other bodies.

    So what has to wait for the way back is the output, not everything that the body read.
    """
    if not isinstance(body, Call):
        return None
    if body.function == "max" and isinstance(body.args[1], Const) and body.args[1].value == 0:
        return _where("greater", output, ZERO), body.args[0]
    if body.function == "sigmoid":
        return product(output, _less_one(output)), body.args[0]
    if body.function == "tanh":
        return _less_one(_squared(output)), body.args[0]
    return (output, body.args[0]) if body.function == "exp" else None
