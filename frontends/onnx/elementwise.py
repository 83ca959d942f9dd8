"""Operators that compute one value per output element: arithmetic with broadcasting, comparisons, activations, casts.

Activations follow the formulas of the ONNX operator pages; each is a scalar tree, so fusing them into the operator
that makes their input needs no further knowledge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mapper import dtypes
from mapper.scalar import Cast, Const, Scalar

from .context import Context
from .errors import ModelError
from .nests import broadcast, call, pointwise
from .node import Node, dtype_name
from .opaque import TEXT, send_to_host

__all__ = ["TABLE", "UNARY", "cast_to", "combined", "gelu", "swish"]

Unary = Callable[[Scalar, Node], Scalar]


def _plain(function: str) -> Unary:
    return lambda x, node: call(function, x)


def swish(x: Scalar, alpha: float = 1.0) -> Scalar:
    return call("mul", x, call("sigmoid", x if alpha == 1.0 else call("mul", x, alpha)))


def gelu(x: Scalar, approximate: bool = False) -> Scalar:
    if approximate:
        inner = call("add", x, call("mul", 0.044715, call("mul", x, call("mul", x, x))))
        gate = call("tanh", call("mul", math.sqrt(2 / math.pi), inner))
    else:
        gate = call("erf", call("mul", x, math.sqrt(0.5)))
    return call("mul", call("mul", x, 0.5), call("add", gate, 1.0))


def _hard_sigmoid(x: Scalar, alpha: float, beta: float) -> Scalar:
    return call("max", call("min", call("add", call("mul", x, alpha), beta), 1.0), 0.0)


def _elu(x: Scalar, alpha: float) -> Scalar:
    return call("where", call("less", x, 0.0), call("mul", alpha, call("sub", call("exp", x), 1.0)), x)


def _celu(x: Scalar, node: Node) -> Scalar:
    alpha = node.float("alpha", 1.0)
    negative = call("mul", alpha, call("sub", call("exp", call("div", x, alpha)), 1.0))
    return call("add", call("max", x, 0.0), call("min", negative, 0.0))


def _selu(x: Scalar, node: Node) -> Scalar:
    alpha, gamma = node.float("alpha", 1.67326319217681884765625), node.float("gamma", 1.05070102214813232421875)
    negative = call("sub", call("mul", call("exp", x), alpha), alpha)
    return call("mul", call("where", call("less_equal", x, 0.0), negative, x), gamma)


def _is_inf(x: Scalar, node: Node) -> Scalar:
    positive, negative = node.int("detect_positive", 1), node.int("detect_negative", 1)
    if positive and negative:
        return call("isinf", x)
    if not positive and not negative:
        return Const(False)
    return call("and", call("isinf", x), call("greater" if positive else "less", x, 0.0))


def _shrink(x: Scalar, node: Node) -> Scalar:
    bias, limit = node.float("bias", 0.0), node.float("lambd", 0.5)
    high = call("where", call("greater", x, limit), call("sub", x, bias), call("mul", x, 0))
    return call("where", call("less", x, -limit), call("add", x, bias), high)


UNARY: Mapping[str, Unary] = {
    **{name: _plain(function) for name, function in {
        "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan",
        "Atanh": "atanh", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Floor": "floor",
        "IsNaN": "isnan", "Log": "log", "Neg": "neg", "Not": "not", "BitwiseNot": "bit_not",
        "Reciprocal": "reciprocal", "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin",
        "Sinh": "sinh", "Softplus": "softplus", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
    }.items()},
    "Relu": lambda x, node: call("max", x, 0),
    "LeakyRelu": lambda x, n: call("where", call("less", x, 0.0), call("mul", x, n.float("alpha", 0.01)), x),
    "Elu": lambda x, n: _elu(x, n.float("alpha", 1.0)),
    "Celu": _celu,
    "Selu": _selu,
    "ThresholdedRelu": lambda x, n: call("where", call("greater", x, n.float("alpha", 1.0)), x, call("mul", x, 0.0)),
    "HardSigmoid": lambda x, n: _hard_sigmoid(x, n.float("alpha", 0.2), n.float("beta", 0.5)),
    "HardSwish": lambda x, n: call("mul", x, _hard_sigmoid(x, 1 / 6, 0.5)),
    "Softsign": lambda x, n: call("div", x, call("add", call("abs", x), 1.0)),
    "Mish": lambda x, n: call("mul", x, call("tanh", call("softplus", x))),
    "Gelu": lambda x, n: gelu(x, n.text("approximate", "none") == "tanh"),
    "Swish": lambda x, n: swish(x, n.float("alpha", 1.0)),
    "IsInf": _is_inf,
    "Shrink": _shrink,
    "Affine": lambda x, n: call("add", call("mul", x, n.float("alpha", 1.0)), n.float("beta", 0.0)),
    "ScaledTanh": lambda x, n: call("mul", call("tanh", call("mul", x, n.float("beta", 1.0))), n.float("alpha", 1.0)),
    "Binarizer": lambda x, n: call("where", call("greater", x, n.float("threshold", 0.0)), 1.0, 0.0),
}  # fmt: skip
_TO_BOOL = frozenset(["IsNaN", "IsInf", "Not"])


def unary(c: Context, node: Node) -> None:
    x = node.input(0)
    dtype = "bool" if node.op_type in _TO_BOOL else c.dtype(x)
    out = c.output(node, 0, c.shape(x), dtype)
    pointwise(c, node, [x], out, lambda v: UNARY[node.op_type](v, node))


BINARY: Mapping[str, str] = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "And": "and", "Or": "or", "Xor": "xor",
    "BitwiseAnd": "bit_and", "BitwiseOr": "bit_or", "BitwiseXor": "bit_xor", "Equal": "equal", "Less": "less",
    "LessOrEqual": "less_equal", "Greater": "greater", "GreaterOrEqual": "greater_equal",
}  # fmt: skip
_COMPARISONS = frozenset(["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"])


def binary(c: Context, node: Node) -> None:
    a, b = node.inputs
    if "string" in (c.dtype(a), c.dtype(b)):
        return send_to_host(c, node, TEXT)
    dtype = "bool" if node.op_type in _COMPARISONS else c.dtype(a)
    out = c.output(node, 0, _broadcast(c, node, a, b), dtype)
    pointwise(c, node, [a, b], out, lambda x, y: call(BINARY[node.op_type], x, y))
    return None


def _broadcast(c: Context, node: Node, *names: str) -> tuple[int, ...]:
    if node.has("axis") and node.version < 7 and node.int("broadcast"):
        raise ModelError(
            f"{node.op_type} of opset {node.version} broadcasts along an axis", node.name, "use opset 7 on"
        )
    return broadcast(c, *names)


def modulo(c: Context, node: Node) -> None:
    a, b = node.inputs
    function = "fmod" if node.int("fmod") else "mod"
    out = c.output(node, 0, broadcast(c, a, b), c.dtype(a))
    pointwise(c, node, [a, b], out, lambda x, y: call(function, x, y))


def bit_shift(c: Context, node: Node) -> None:
    a, b = node.inputs
    function = "shift_left" if node.text("direction") == "LEFT" else "shift_right"
    out = c.output(node, 0, broadcast(c, a, b), c.dtype(a))
    pointwise(c, node, [a, b], out, lambda x, y: call(function, x, y))


def combined(function: str, values: Sequence[Scalar]) -> Scalar:
    """A balanced tree of a binary function, so that depth grows with the logarithm."""
    level = list(values)
    while len(level) > 1:
        pairs = [call(function, *level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1 :]
    return level[0]


def variadic(c: Context, node: Node) -> None:
    function = {"Max": "max", "Min": "min", "Sum": "add", "Mean": "add"}[node.op_type]
    count = len(node.inputs)
    out = c.output(node, 0, broadcast(c, *node.inputs), c.dtype(node.inputs[0]))

    def body(*values: Scalar) -> Scalar:
        total = combined(function, values)
        return call("div", total, float(count)) if node.op_type == "Mean" and count > 1 else total

    pointwise(c, node, node.inputs, out, body)


def where(c: Context, node: Node) -> None:
    if c.dtype(node.input(1)) == "string":
        return send_to_host(c, node, TEXT)
    out = c.output(node, 0, broadcast(c, *node.inputs), c.dtype(node.input(1)))
    pointwise(c, node, node.inputs, out, lambda p, x, y: call("where", p, x, y))
    return None


def prelu(c: Context, node: Node) -> None:
    x, slope = node.inputs
    out = c.output(node, 0, broadcast(c, x, slope), c.dtype(x))
    pointwise(c, node, [x, slope], out, lambda v, s: call("where", call("less", v, 0), call("mul", v, s), v))


def clip(c: Context, node: Node) -> None:
    x = node.input(0)
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    low = node.float("min") if node.has("min") else None
    high = node.float("max") if node.has("max") else None
    bounds = [name for name in (node.input(1), node.input(2)) if name]

    def body(v: Scalar, *given: Scalar) -> Scalar:
        rest = list(given)
        bottom = rest.pop(0) if node.input(1) else low
        top = rest.pop(0) if node.input(2) else high
        v = v if bottom is None else call("max", v, bottom)
        return v if top is None else call("min", v, top)

    pointwise(c, node, [x, *bounds], out, body)


_LARGEST = {
    "float8e4m3fn": 448.0, "float8e4m3fnuz": 240.0, "float8e5m2": 57344.0, "float8e5m2fnuz": 57344.0,
    "float4e2m1": 6.0,
}  # fmt: skip


def cast_to(x: Scalar, source: str, target: str, saturate: bool = True) -> Scalar:
    """A cast as ONNX means it: to narrow floats it saturates unless told not to, to bool it asks for non-zero."""
    if target == "bool":
        return call("not", call("equal", x, 0))
    largest = _LARGEST.get(target)
    if largest is not None and (saturate or target == "float4e2m1") and dtypes.is_float(source):
        x = call("max", call("min", x, largest), -largest)
    return Cast(target, x)


def cast(c: Context, node: Node) -> None:
    x = node.input(0)
    target = c.dtype(node.input(1)) if node.op_type == "CastLike" else dtype_name(node.int("to"), node.name)
    source = c.dtype(x)
    if "string" in (source, target) or "float8e8m0" in (source, target):
        return send_to_host(c, node, TEXT if "string" in (source, target) else "float8e8m0 rounds in modes of its own")
    if source == target:
        return c.rename(node, x)
    out = c.output(node, 0, c.shape(x), target)
    pointwise(c, node, [x], out, lambda v: cast_to(v, source, target, bool(node.int("saturate", 1))))
    return None


def bit_cast(c: Context, node: Node) -> None:
    """BitCast: the same bits read as another type of the same width."""
    x, target = node.input(0), dtype_name(node.int("to"), node.name)
    source = c.dtype(x)
    if "string" in (source, target) or dtypes.BITS[source] != dtypes.BITS[target]:
        raise ModelError(f"BitCast of {source} to {target}", node.name, "both types must have the same number of bits")
    if source == target:
        return c.rename(node, x)
    return c.view(node, x, c.output(node, 0, c.shape(x), target))


def dropout(c: Context, node: Node) -> None:
    training = c.value(node.input(2)) if node.input(2) else None
    ratio = c.value(node.input(1)) if node.input(1) else None
    random = ratio is None or float(ratio.reshape(-1)[0]) > 0
    known_off = not node.input(2) or (training is not None and not bool(training.reshape(-1)[0]))
    if not known_off and (random or training is None):
        return send_to_host(c, node, "its mask is drawn at random")
    c.rename(node, node.input(0))
    if node.output(1):
        dtype = "bool" if node.version >= 10 else c.dtype(node.input(0))
        pointwise(c, node, [], c.output(node, 1, c.shape(node.input(0)), dtype), lambda: Const(True), label="mask")
    return None


def same(c: Context, node: Node) -> None:
    if node.input(0) in c.sequences:
        c.sequences[node.output(0)] = c.sequences[node.input(0)]
    else:
        c.rename(node, node.input(0))


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), variadic),
    "Mod": modulo, "BitShift": bit_shift, "Where": where, "PRelu": prelu, "Clip": clip, "Cast": cast,
    "CastLike": cast, "BitCast": bit_cast, "Dropout": dropout, "Identity": same,
}  # fmt: skip
