"""Functions that no PE has, written in its operations: seeds from the exponent, Newton steps, polynomials.

Floats are taken apart as integers, which costs nothing: a register is a word.

* Quotients: the word of 1/x is close to a constant minus the word of x; each Newton step squares the error.
* Roots: the word of 1/sqrt(x) is close to a constant minus half the word of x; three Newton steps.
* Exponentials: x = n ln 2 + f, |f| <= ln 2 / 2; n enters the exponent by a shift and an integer addition. Adding
  1.5 * 2^23 rounds to an integer and leaves it in the low bits of the word.
* Logarithms: x = m 2^e, sqrt(1/2) <= m < sqrt(2), and a polynomial in m - 1.
* Angles: reduction by multiples of pi / 2 in three parts, two short polynomials, the quadrant selects.

Polynomials are minimax fits on the reduced intervals, made for this file. `docs/kernels.md` has the largest errors,
which a test measures. Outside of its domain a function saturates as documented there; NaN is not guaranteed to survive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .builder import Builder, Literal, Operand

__all__ = ["FLOAT_FUNCTIONS", "floor", "reciprocal", "rounded", "truncated"]

_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.428606765330187e-06
_ROUND_MAGIC = 12582912.0  # 1.5 * 2^23
_EXPM1 = (0.00837226868, 0.0418760664, 0.166664853, 0.499993729)
_LOG = (0.0893034293, -0.143674418, 0.14880074, -0.165637147, 0.199649761, -0.250017981, 0.333338674)
_SIN = (-0.000195090609, 0.00833211849, -0.16666654)
_COS = (2.44292085e-05, -0.00138872889, 0.0416666453)
_ATAN = (0.00824919236, -0.0382173073, 0.0853016757, -0.135674699, 0.199028368, -0.333288412)
_ERFC_LOG = (-0.000109862448, 0.000569794939, 0.00101958956, -0.0197956997, 0.102937885, 0.636605533, 1.12837931)
_HALF_PI = (1.5703125, 4.837512969970703e-04, 7.549789948768648e-08)
_SIGN = -0x80000000
_EXACT_ABOVE = 8388608.0  # from 2^23 on every float32 is an integer


def _polynomial(b: Builder, x: Operand, coefficients: Sequence[float]) -> Operand:
    """Horner's scheme, highest power first."""
    value: Operand = Literal(coefficients[0])
    for coefficient in coefficients[1:]:
        value = b.op("fma", value, x, Literal(coefficient))
    return value


def _with_sign(b: Builder, magnitude: Operand, x: Operand) -> Operand:
    """A non-negative value with the sign of `x`."""
    return b.op("or", magnitude, b.op("and", x, Literal(_SIGN)))


def _clamp(b: Builder, x: Operand, low: float, high: float) -> Operand:
    return b.op("min", b.op("max", x, Literal(low)), Literal(high))


def reciprocal(b: Builder, x: Operand) -> Operand:
    """1 / x: y += y (1 - x y), three times."""
    if isinstance(x, Literal):
        return Literal(1.0 / x.value if x.value else math.copysign(math.inf, x.value))
    y = b.op("isub", Literal(0x7EF311C7), x)
    opposite = b.op("neg", x)
    for _ in range(3):
        y = b.op("fma", y, b.op("fma", opposite, y, Literal(1.0)), y)
    return y


def divide(b: Builder, x: Operand, y: Operand) -> Operand:
    return b.op("mul", x, reciprocal(b, y))


def reciprocal_root(b: Builder, x: Operand) -> Operand:
    """1 / sqrt(x): y *= 1.5 - x/2 y y, three times."""
    y = b.op("isub", Literal(0x5F3759DF), b.op("shr", x, Literal(1)))
    half = b.op("mul", x, Literal(-0.5))
    for _ in range(3):
        y = b.op("mul", y, b.op("fma", b.op("mul", half, y), y, Literal(1.5)))
    return y


def root(b: Builder, x: Operand) -> Operand:
    return b.op("mul", x, reciprocal_root(b, x))


def _reduced(b: Builder, x: Operand) -> tuple[Operand, Operand]:
    """(f, n << 23) with x = n ln 2 + f."""
    shifted = b.op("fma", x, Literal(1 / math.log(2)), Literal(_ROUND_MAGIC))
    n = b.op("sub", shifted, Literal(_ROUND_MAGIC))
    f = b.op("fma", n, Literal(-_LN2_HIGH), x)
    return b.op("fma", n, Literal(-_LN2_LOW), f), b.op("shl", shifted, Literal(23))


def exponential(b: Builder, x: Operand) -> Operand:
    """e^x = 2^n (1 + f + f f Q(f)), saturating at 2^-126 and near 2^128."""
    f, exponent = _reduced(b, _clamp(b, x, -87.33, 88.72))
    return b.op("iadd", _polynomial(b, f, (*_EXPM1, 1.0, 1.0)), exponent)


def exponential_minus_one(b: Builder, x: Operand) -> Operand:
    """e^x - 1 = 2^n (e^f - 1) + (2^n - 1), accurate near 0."""
    f, exponent = _reduced(b, _clamp(b, x, -87.33, 88.3))
    scale = b.op("iadd", exponent, Literal(127 << 23))
    small = b.op("fma", b.op("mul", _polynomial(b, f, _EXPM1), f), f, f)
    return b.op("fma", scale, small, b.op("sub", scale, Literal(1.0)))


def logarithm(b: Builder, x: Operand) -> Operand:
    """ln x = e ln 2 + ln(1 + f), f = m - 1."""
    e = b.op("sra", b.op("isub", x, Literal(0x3F3504F3)), Literal(23))
    f = b.op("sub", b.op("isub", x, b.op("shl", e, Literal(23))), Literal(1.0))
    tail = b.op("fma", _polynomial(b, f, _LOG), f, Literal(-0.5))
    n = b.op("i2f", e)
    low = b.op("fma", b.op("mul", tail, f), f, b.op("mul", n, Literal(_LN2_LOW)))
    return b.op("fma", n, Literal(_LN2_HIGH), b.op("add", f, low))


def logarithm_of_one_plus(b: Builder, x: Operand) -> Operand:
    """ln(1 + x) = ln u + (x - (u - 1)) / u with u = 1 + x rounded."""
    u = b.op("add", x, Literal(1.0))
    lost = b.op("sub", x, b.op("sub", u, Literal(1.0)))
    return b.op("fma", lost, reciprocal(b, u), logarithm(b, u))


def sigmoid(b: Builder, x: Operand) -> Operand:
    return reciprocal(b, b.op("add", exponential(b, b.op("neg", x)), Literal(1.0)))


def hyperbolic_tangent(b: Builder, x: Operand) -> Operand:
    """E / (E + 2) with E = e^(2x) - 1."""
    e = exponential_minus_one(b, b.op("mul", _clamp(b, x, -9.5, 9.5), Literal(2.0)))
    return divide(b, e, b.op("add", e, Literal(2.0)))


def softplus(b: Builder, x: Operand) -> Operand:
    """max(x, 0) + ln(1 + e^-|x|)."""
    small = exponential(b, b.op("or", x, Literal(_SIGN)))
    return b.op("add", b.op("max", x, Literal(0.0)), logarithm_of_one_plus(b, small))


def error_function(b: Builder, x: Operand) -> Operand:
    """erf |x| = 1 - e^-p(|x|), p a polynomial without constant term: accurate near 0."""
    magnitude = b.op("min", b.op("abs", x), Literal(4.0))
    p = b.op("mul", _polynomial(b, magnitude, _ERFC_LOG), b.op("neg", magnitude))
    return _with_sign(b, b.op("neg", exponential_minus_one(b, p)), x)


def _quadrant(b: Builder, x: Operand) -> tuple[Operand, Operand]:
    """(f, n) with x = n pi / 2 + f; n is an integer modulo 4 in the low bits."""
    shifted = b.op("fma", x, Literal(2 / math.pi), Literal(_ROUND_MAGIC))
    n = b.op("sub", shifted, Literal(_ROUND_MAGIC))
    f = x
    for part in _HALF_PI:
        f = b.op("fma", n, Literal(-part), f)
    return f, shifted


def _sine_cosine(b: Builder, x: Operand) -> tuple[Operand, Operand, Operand]:
    """(sin f, cos f, n) of the reduced angle."""
    f, n = _quadrant(b, x)
    z = b.op("mul", f, f)
    sine = b.op("fma", b.op("mul", _polynomial(b, z, _SIN), z), f, f)
    cosine = _polynomial(b, z, (*_COS, -0.5, 1.0))
    return sine, cosine, n


def sine(b: Builder, x: Operand) -> Operand:
    s, c, n = _sine_cosine(b, x)
    value = b.op("select", b.op("and", n, Literal(1)), c, s)
    return b.op("xor", value, b.op("shl", b.op("and", n, Literal(2)), Literal(30)))


def cosine(b: Builder, x: Operand) -> Operand:
    s, c, n = _sine_cosine(b, x)
    value = b.op("select", b.op("and", n, Literal(1)), s, c)
    turned = b.op("iadd", n, Literal(1))
    return b.op("xor", value, b.op("shl", b.op("and", turned, Literal(2)), Literal(30)))


def tangent(b: Builder, x: Operand) -> Operand:
    return divide(b, sine(b, x), cosine(b, x))


def arc_tangent(b: Builder, x: Operand) -> Operand:
    """Polynomial up to 1, pi / 2 - atan(1 / x) beyond."""
    magnitude = b.op("min", b.op("abs", x), Literal(1e18))
    beyond = b.op("cmp_gt", magnitude, Literal(1.0))
    t = b.op("select", beyond, reciprocal(b, b.op("max", magnitude, Literal(1.0))), magnitude)
    z = b.op("mul", t, t)
    inner = b.op("fma", b.op("mul", _polynomial(b, z, _ATAN), z), t, t)
    outer = b.op("sub", Literal(math.pi / 2), inner)
    return _with_sign(b, b.op("select", beyond, outer, inner), x)


def arc_sine(b: Builder, x: Operand) -> Operand:
    """2 atan(x / (1 + sqrt(1 - x x)))."""
    rest = root(b, b.op("mul", b.op("sub", Literal(1.0), x), b.op("add", x, Literal(1.0))))
    half = arc_tangent(b, divide(b, x, b.op("add", rest, Literal(1.0))))
    return b.op("mul", half, Literal(2.0))


def arc_cosine(b: Builder, x: Operand) -> Operand:
    """2 atan(sqrt((1 - x) / (1 + x)))."""
    above = b.op("max", b.op("add", x, Literal(1.0)), Literal(1e-30))
    half = arc_tangent(b, root(b, divide(b, b.op("sub", Literal(1.0), x), above)))
    return b.op("mul", half, Literal(2.0))


def hyperbolic_sine(b: Builder, x: Operand) -> Operand:
    """(E + E / (E + 1)) / 2 of |x| with E = e^|x| - 1."""
    e = exponential_minus_one(b, b.op("abs", x))
    both = b.op("add", e, divide(b, e, b.op("add", e, Literal(1.0))))
    return _with_sign(b, b.op("mul", both, Literal(0.5)), x)


def hyperbolic_cosine(b: Builder, x: Operand) -> Operand:
    e = exponential(b, b.op("abs", x))
    return b.op("mul", b.op("add", e, reciprocal(b, e)), Literal(0.5))


def inverse_hyperbolic_sine(b: Builder, x: Operand) -> Operand:
    """ln(1 + |x| + x x / (1 + sqrt(1 + x x)))."""
    magnitude = b.op("abs", x)
    square = b.op("mul", x, x)
    rest = b.op("add", root(b, b.op("add", square, Literal(1.0))), Literal(1.0))
    return _with_sign(b, logarithm_of_one_plus(b, b.op("add", magnitude, divide(b, square, rest))), x)


def inverse_hyperbolic_cosine(b: Builder, x: Operand) -> Operand:
    """ln(1 + t + sqrt(t (t + 2))) with t = x - 1."""
    t = b.op("sub", x, Literal(1.0))
    rest = root(b, b.op("mul", t, b.op("add", t, Literal(2.0))))
    return logarithm_of_one_plus(b, b.op("add", t, rest))


def inverse_hyperbolic_tangent(b: Builder, x: Operand) -> Operand:
    """ln(1 + 2 x / (1 - x)) / 2 of |x|."""
    magnitude = b.op("abs", x)
    ratio = divide(b, b.op("add", magnitude, magnitude), b.op("sub", Literal(1.0), magnitude))
    return _with_sign(b, b.op("mul", logarithm_of_one_plus(b, ratio), Literal(0.5)), x)


def power(b: Builder, x: Operand, y: Operand) -> Operand:
    """x^y: products and roots for simple constant exponents, e^(y ln |x|) with the sign of an odd y else."""
    simple = _constant_power(b, x, float(y.value)) if isinstance(y, Literal) else None
    if simple is not None:
        return simple
    value = exponential(b, b.op("mul", y, logarithm(b, b.op("abs", x))))
    odd = b.op("shl", b.op("f2i_trunc", y), Literal(31))
    return b.op("or", value, b.op("and", odd, x))


def _constant_power(b: Builder, x: Operand, y: float) -> Operand | None:
    """Exponents that are multiples of 1/2 up to 8; None for others."""
    if abs(y) > 8 or not (2 * y).is_integer():
        return None
    if y < 0:
        inverse = _constant_power(b, x, -y)
        return reciprocal_root(b, x) if y == -0.5 else reciprocal(b, inverse if inverse is not None else x)
    whole = int(y)
    value: Operand = Literal(1.0) if whole == y else root(b, x)
    square = x
    while whole:
        if whole & 1:
            value = square if value == Literal(1.0) else b.op("mul", value, square)
        whole >>= 1
        square = b.op("mul", square, square) if whole else square
    return value


def _integral(b: Builder, x: Operand, conversion: str) -> Operand:
    """`x` rounded by a conversion; large values are integers already."""
    small = b.op("cmp_lt", b.op("abs", x), Literal(_EXACT_ABOVE))
    return b.op("select", small, b.op("i2f", b.op(conversion, x)), x)


def floor(b: Builder, x: Operand) -> Operand:
    return _integral(b, x, "f2i_floor")


def rounded(b: Builder, x: Operand) -> Operand:
    return _integral(b, x, "f2i_round")


def truncated(b: Builder, x: Operand) -> Operand:
    return _integral(b, x, "f2i_trunc")


def ceiling(b: Builder, x: Operand) -> Operand:
    return b.op("neg", floor(b, b.op("neg", x)))


def modulo(b: Builder, x: Operand, y: Operand) -> Operand:
    """The remainder with the sign of the divisor."""
    return _signed_remainder(b, x, y, y)


def remainder(b: Builder, x: Operand, y: Operand) -> Operand:
    """The remainder with the sign of the dividend."""
    return _signed_remainder(b, x, y, x)


def _signed_remainder(b: Builder, x: Operand, y: Operand, like: Operand) -> Operand:
    """r = x - round(x / y) y lies in [-|y| / 2, |y| / 2]; where its sign is not that of `like`, |y| is added."""
    q = rounded(b, divide(b, x, y))
    r = b.op("fma", b.op("neg", q), y, x)
    apart = b.op("cmp_lt", _with_sign(b, Literal(1.0), b.op("xor", r, like)), Literal(0.0))
    wrong = b.op("select", b.op("cmp_eq", r, Literal(0.0)), Literal(0), apart)
    step = _with_sign(b, b.op("abs", y), like)
    return b.op("select", wrong, b.op("add", r, step), r)


def sign(b: Builder, x: Operand) -> Operand:
    positive = b.op("select", b.op("cmp_gt", x, Literal(0.0)), Literal(1.0), Literal(0.0))
    return b.op("select", b.op("cmp_lt", x, Literal(0.0)), Literal(-1.0), positive)


def _native(name: str) -> Callable[..., Operand]:
    return lambda b, *operands: b.op(name, *operands)


FLOAT_FUNCTIONS: Mapping[str, Callable[..., Operand]] = {
    **{name: _native(name) for name in ("add", "sub", "mul", "neg", "max", "min", "abs")},
    "div": divide, "reciprocal": reciprocal, "sqrt": root, "square": lambda b, x: b.op("mul", x, x),
    "exp": exponential, "log": logarithm, "log1p": logarithm_of_one_plus, "pow": power,
    "sigmoid": sigmoid, "tanh": hyperbolic_tangent, "softplus": softplus, "erf": error_function,
    "sin": sine, "cos": cosine, "tan": tangent, "asin": arc_sine, "acos": arc_cosine, "atan": arc_tangent,
    "sinh": hyperbolic_sine, "cosh": hyperbolic_cosine, "asinh": inverse_hyperbolic_sine,
    "acosh": inverse_hyperbolic_cosine, "atanh": inverse_hyperbolic_tangent,
    "floor": floor, "ceil": ceiling, "round": rounded, "trunc": truncated,
    "mod": modulo, "fmod": remainder, "sign": sign,
}  # fmt: skip
