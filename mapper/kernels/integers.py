"""Functions of 32-bit integers, written in a PE's operations.

Values of narrower types live widened in a register; after an operation that can leave the type's range they wrap back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mapper import dtypes

from .builder import Builder, Literal, Operand
from .functions import reciprocal

__all__ = ["INTEGER_FUNCTIONS", "floor_divide", "wrapped"]


def wrapped(b: Builder, x: Operand, dtype: str) -> Operand:
    """The value of `x` modulo the range of an integer type of less than 32 bits."""
    bits = dtypes.BITS[dtype]
    if bits >= 32:
        return x
    if dtype.startswith("u"):
        return b.op("and", x, Literal(2**bits - 1))
    return b.op("sra", b.op("shl", x, Literal(32 - bits)), Literal(32 - bits))


def _power_of_two(y: Operand) -> int | None:
    if isinstance(y, Literal) and y.value > 0 and int(y.value) & (int(y.value) - 1) == 0:
        return int(y.value).bit_length() - 1
    return None


def _negative(b: Builder, x: Operand) -> Operand:
    """-1 for negative values, else 0."""
    return b.op("sra", x, Literal(31))


def _quotient(b: Builder, x: Operand, y: Operand) -> Operand:
    """x / y towards zero by float quotients: two approximations, then one unit up or down."""
    inverse = reciprocal(b, b.op("i2f", y))
    q = b.op("f2i_trunc", b.op("mul", b.op("i2f", x), inverse))
    rest = b.op("isub", x, b.op("imul", q, y))
    q = b.op("iadd", q, b.op("f2i_round", b.op("mul", b.op("i2f", rest), inverse)))
    rest = b.op("isub", x, b.op("imul", q, y))
    # The remainder must have the sign of x: a wrong one means that q is one too far from zero.
    wrong = b.op("and", _negative(b, b.op("xor", rest, x)), b.op("icmp_lt", Literal(0), _magnitude(b, rest)))
    step = b.op("or", _negative(b, b.op("xor", x, y)), Literal(1))
    return b.op("isub", q, b.op("select", wrong, step, Literal(0)))


def _magnitude(b: Builder, x: Operand) -> Operand:
    return b.op("imax", x, b.op("isub", Literal(0), x))


def divide(b: Builder, x: Operand, y: Operand) -> Operand:
    """Towards zero; a power of two is a shift after adding 2^k - 1 to negative values."""
    shift = _power_of_two(y)
    if shift is None:
        return _quotient(b, x, y)
    bias = b.op("and", _negative(b, x), Literal((1 << shift) - 1))
    return b.op("sra", b.op("iadd", x, bias), Literal(shift)) if shift else x


def floor_divide(b: Builder, x: Operand, y: Operand) -> Operand:
    shift = _power_of_two(y)
    if shift is not None:
        return b.op("sra", x, Literal(shift)) if shift else x
    q = _quotient(b, x, y)
    rest = b.op("isub", x, b.op("imul", q, y))
    apart = b.op("and", _negative(b, b.op("xor", rest, y)), b.op("icmp_lt", Literal(0), _magnitude(b, rest)))
    return b.op("isub", q, apart)


def modulo(b: Builder, x: Operand, y: Operand) -> Operand:
    """The remainder with the sign of the divisor."""
    if _power_of_two(y) is not None and isinstance(y, Literal):
        return b.op("and", x, Literal(int(y.value) - 1))
    return b.op("isub", x, b.op("imul", floor_divide(b, x, y), y))


def remainder(b: Builder, x: Operand, y: Operand) -> Operand:
    """The remainder with the sign of the dividend."""
    return b.op("isub", x, b.op("imul", divide(b, x, y), y))


def sign(b: Builder, x: Operand) -> Operand:
    return b.op("imin", b.op("imax", x, Literal(-1)), Literal(1))


def power(b: Builder, x: Operand, y: Operand) -> Operand:
    """Products by squaring: constant exponents up to 2^31, else the five low bits of y."""
    if isinstance(y, Literal):
        return _constant_power(b, x, int(y.value))
    value: Operand = Literal(1)
    square = x
    for bit in range(5):
        taken = b.op("and", b.op("shr", y, Literal(bit)), Literal(1))
        value = b.op("select", taken, b.op("imul", value, square), value)
        square = b.op("imul", square, square)
    return value


def _constant_power(b: Builder, x: Operand, y: int) -> Operand:
    value: Operand = Literal(1)
    while y > 0:
        if y & 1:
            value = x if value == Literal(1) else b.op("imul", value, x)
        y >>= 1
        x = b.op("imul", x, x) if y else x
    return value


def _native(name: str) -> Callable[..., Operand]:
    return lambda b, *operands: b.op(name, *operands)


INTEGER_FUNCTIONS: Mapping[str, Callable[..., Operand]] = {
    "add": _native("iadd"), "sub": _native("isub"), "mul": _native("imul"), "max": _native("imax"),
    "min": _native("imin"), "neg": lambda b, x: b.op("isub", Literal(0), x), "abs": _magnitude,
    "square": lambda b, x: b.op("imul", x, x), "sign": sign, "div": divide, "mod": modulo, "fmod": remainder,
    "pow": power, "floor": lambda b, x: x, "ceil": lambda b, x: x, "round": lambda b, x: x, "trunc": lambda b, x: x,
    "bit_and": _native("and"), "bit_or": _native("or"), "bit_xor": _native("xor"), "bit_not": _native("not"),
    "shift_left": _native("shl"), "shift_right": _native("sra"),
}  # fmt: skip
