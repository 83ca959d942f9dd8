"""Elementwise operators, on floats, integers and truth values."""

from __future__ import annotations

import numpy as np

from .growth import FLOAT, Growth, Value, element_type

SMOOTH = ("Tanh", "Sigmoid", "Softsign", "Erf", "Softplus", "Sin", "Cos", "Atan", "Elu", "Selu", "Celu", "LeakyRelu",
          "HardSigmoid", "Asinh")  # fmt: skip
KEEPS = ("Relu", "Neg", "Abs", "Identity")
JUMPS = ("Floor", "Ceil", "Round", "Sign")
WHOLE = ("int64", "int32")
NUMBERS = (FLOAT, "float64", "int64", "int32")


def smooth(g: Growth) -> None:
    x = g.pick(dtypes=(FLOAT,))
    if x:
        late = ("HardSwish",) if g.opset >= 14 else ()
        late += ("Mish",) if g.opset >= 18 else ()
        late += ("Gelu",) if g.opset >= 20 else ()
        g.op(g.rng.choice((*SMOOTH, *late)), [x], x.shape)


def bounded(g: Growth) -> None:
    """Functions with a domain: their argument is brought into it first."""
    x = g.pick(dtypes=(FLOAT,))
    if not x:
        return
    kind = g.rng.choice(("Exp", "Log", "Sqrt", "Reciprocal", "Pow", "Div", "Atanh"))
    if kind in ("Exp", "Atanh"):
        half = g.op("Mul", [g.op("Tanh", [x], x.shape), g.constant(np.float32(0.5))], x.shape)
        g.op(kind, [half], x.shape)
        return
    positive = g.op("Add", [g.op("Abs", [x], x.shape), g.constant(np.array([0.5], np.float32))], x.shape or (1,))
    if kind == "Pow":
        g.op(kind, [positive, g.constant(np.float32(g.rng.choice((0.5, 2, 3, -1))))], positive.shape)
    elif kind == "Div":
        g.op(kind, [g.constant(np.array(2, np.float32)) if g.chance(0.3) else x, positive], positive.shape)
    else:
        g.op(kind, [positive], positive.shape)


def keeps(g: Growth) -> None:
    x = g.pick(dtypes=NUMBERS)
    if x:
        kinds = KEEPS if x.dtype in (FLOAT, "float64") or g.opset >= 14 else ("Neg", "Abs", "Identity")
        g.op(g.rng.choice(kinds), [x], x.shape, x.dtype, x.exact)


def jumps(g: Growth) -> None:
    x = g.pick(exact=True)
    if x:
        g.op(g.rng.choice(JUMPS), [x], x.shape, exact=True)


def _partner(g: Growth, x: Value) -> Value:
    """A tensor that broadcasts against `x` to its shape: itself, a sibling, a weight, of the same or a lower rank."""
    same = [v for v in g.values if v.shape == x.shape and v.dtype == x.dtype]
    if g.chance(0.5):
        return g.rng.choice(same)
    shape = [e if g.chance(0.6) else 1 for e in x.shape]
    return g.weight(*shape[g.rng.randint(0, len(shape)) if g.chance(0.4) else 0 :], dtype=x.dtype)


def binary(g: Growth) -> None:
    x = g.pick(dtypes=NUMBERS)
    if x:
        y = _partner(g, x)
        kind = g.rng.choice(("Add", "Sub", "Mul", "Max", "Min"))
        exact = x.exact and y.exact and (x.dtype in WHOLE or kind in ("Max", "Min"))
        g.op(kind, g.rng.sample([x, y], 2), x.shape, x.dtype, exact)


def outer(g: Growth) -> None:
    """Both sides broadcast."""
    x = g.pick(least=2, dtypes=NUMBERS)
    if x and x.elements <= 100:
        up = g.op("Unsqueeze", [x, g.ints(0)], (1, *x.shape), x.dtype, x.exact)
        other = g.op("Unsqueeze", [x, g.ints(1)], (x.shape[0], 1, *x.shape[1:]), x.dtype, x.exact)
        kind, shape = g.rng.choice(("Add", "Sub", "Mul")), (x.shape[0], *x.shape)
        if max(x.shape) <= 7 and np.prod(shape) <= 600:
            g.op(kind, [up, other], shape, x.dtype, x.exact and x.dtype in WHOLE)


def variadic(g: Growth) -> None:
    x = g.pick()
    if x:
        parts = [x, *(_partner(g, x) for _ in range(g.rng.randint(0, 3)))]
        g.op(g.rng.choice(("Sum", "Mean", "Max", "Min")), parts, x.shape)


def integers(g: Growth) -> None:
    x = g.pick(dtypes=WHOLE, exact=True)
    if not x:
        return
    ones = g.constant(np.ones((), x.dtype))
    kind = g.rng.choice(("Mod", "Div", "Bitwise"))
    if kind == "Bitwise" and g.opset >= 18:
        g.op(g.rng.choice(("BitwiseAnd", "BitwiseOr", "BitwiseXor")), [x, _partner(g, x)], x.shape, x.dtype, True)
        return
    positive = g.op("Abs", [x], x.shape, x.dtype, True)
    if kind == "Bitwise":
        return
    divisor = g.op("Add", [positive, ones], x.shape, x.dtype, True)
    g.op(kind, [positive, divisor], x.shape, x.dtype, True)


def compare(g: Growth) -> None:
    x = g.pick(exact=True, dtypes=NUMBERS)
    if x:
        y = _partner(g, x)
        kind = g.rng.choice(("Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual"))
        if y.exact:
            g.op(kind, [x, y], x.shape, "bool", True)


def logic(g: Growth) -> None:
    x = g.pick(dtypes=("bool",))
    if x and g.chance(0.3):
        g.op("Not", [x], x.shape, "bool", True)
    elif x:
        g.op(g.rng.choice(("And", "Or", "Xor")), [x, _partner(g, x)], x.shape, "bool", True)


def where(g: Growth) -> None:
    condition = g.pick(dtypes=("bool",))
    if not condition:
        return compare(g)
    same = [v for v in g.values if v.shape == condition.shape and v.dtype == FLOAT]
    x = g.rng.choice(same) if same else g.weight(*condition.shape)
    y = _partner(g, x) if same else g.weight()
    g.op("Where", [condition, x, y], condition.shape, exact=x.exact and y.exact)


def cast(g: Growth) -> None:
    x = g.pick(exact=True, dtypes=(*NUMBERS, "bool", "uint8", "int8"))
    if not x:
        return
    to = g.rng.choice((FLOAT, FLOAT, "int32", "int64", "float64", "bool"))
    if to == "bool" or x.dtype == "float64":
        to = g.rng.choice((to, FLOAT))
    if x.dtype != to:
        g.op("Cast", [x], x.shape, to, True, to=element_type(to))


def half(g: Growth) -> None:
    """Through 16 bits and back: one rounding on either side."""
    x = g.pick(exact=True)
    if x:
        small = g.op("Cast", [x], x.shape, "float16", True, to=element_type("float16"))
        g.op("Cast", [small], x.shape, FLOAT, True, to=element_type(FLOAT))


def clip(g: Growth) -> None:
    x = g.pick(dtypes=(FLOAT, "int32", "int64"))
    if x:
        low, high = g.constant(np.array(-1, x.dtype)), g.constant(np.array(1, x.dtype))
        ends = g.rng.choice(([low, high], [low], ["", high]))
        g.op("Clip", [x, *ends], x.shape, x.dtype)


def prelu(g: Growth) -> None:
    x = g.pick(least=2)
    if x:
        g.op("PRelu", [x, g.weight(*(1 if g.chance(0.5) else e for e in x.shape[1:]))], x.shape)


def special(g: Growth) -> None:
    x = g.pick(exact=True)
    if x:
        kind = g.rng.choice(("IsNaN", "IsInf", "Shrink", "ThresholdedRelu"))
        g.op(kind, [x], x.shape, "bool" if kind[:2] == "Is" else FLOAT, kind[:2] == "Is")


STEPS = (smooth, smooth, bounded, keeps, jumps, binary, binary, outer, variadic, integers, compare, logic, where, cast,
         half, clip, prelu, special)  # fmt: skip
