"""The operations of a PE, and what each does to 32-bit registers.

A register holds a 32-bit word. Each operation reads its operands as float32 ("f") or int32 ("i") and writes a word of
its own kind; "w" takes the word as it is (`select`, `mov`). Reading a float as an integer costs nothing: that is how
exponents are taken apart. Integers wrap; conversions to integer saturate and turn NaN into 0; comparisons give 0 or 1.
`fma` rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LOGIC", "PRIMITIVES", "SHIFTS", "Primitive", "Words", "apply", "literal_word"]

Words = np.ndarray[Any, np.dtype[np.uint32]]
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Primitive:
    """`operands` and `result` are kinds (one letter each); `function` works on arrays of those kinds."""

    operands: str
    result: str
    function: Function


def _fma(a: Any, b: Any, c: Any) -> Any:
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def _to_integer(rounding: Function) -> Function:
    """Round, then saturate to int32; NaN becomes 0."""

    def convert(x: Any) -> Any:
        wide = np.nan_to_num(rounding(x).astype(np.float64), nan=0.0, posinf=2.0**31, neginf=-(2.0**31))
        return np.clip(wide, -(2**31), 2**31 - 1).astype(np.int64).astype(np.int32)

    return convert


def _amount(x: Any) -> Any:
    return x & 31


def _float(function: Function) -> Primitive:
    return Primitive("ff", "f", function)


def _integer(function: Function) -> Primitive:
    return Primitive("ii", "i", function)


def _compare(function: Function, kind: str) -> Primitive:
    return Primitive(2 * kind, "i", lambda a, b: function(a, b).astype(np.int32))


def _shift_right_logical(a: Any, b: Any) -> Any:
    return (a.view(np.uint32) >> _amount(b).astype(np.uint32)).view(np.int32)


_ORDERS: Mapping[str, Function] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
}  # fmt: skip

PRIMITIVES: Mapping[str, Primitive] = {
    "add": _float(np.add), "sub": _float(np.subtract), "mul": _float(np.multiply),
    "max": _float(np.maximum), "min": _float(np.minimum),
    "fma": Primitive("fff", "f", _fma),
    "abs": Primitive("f", "f", np.abs), "neg": Primitive("f", "f", np.negative),
    "iadd": _integer(np.add), "isub": _integer(np.subtract), "imul": _integer(np.multiply),
    "imax": _integer(np.maximum), "imin": _integer(np.minimum),
    "and": _integer(np.bitwise_and), "or": _integer(np.bitwise_or), "xor": _integer(np.bitwise_xor),
    "not": Primitive("i", "i", np.bitwise_not),
    "shl": _integer(lambda a, b: np.left_shift(a, _amount(b))),
    "sra": _integer(lambda a, b: np.right_shift(a, _amount(b))),
    "shr": _integer(_shift_right_logical),
    **{f"cmp_{name}": _compare(function, "f") for name, function in _ORDERS.items()},
    **{f"icmp_{name}": _compare(function, "i") for name, function in _ORDERS.items()},
    "select": Primitive("iww", "w", lambda c, a, b: np.where(c != 0, a, b)),
    "mov": Primitive("w", "w", lambda a: a), "phi": Primitive("w", "w", lambda a: a),
    "nop": Primitive("w", "w", lambda a: a),
    "i2f": Primitive("i", "f", lambda a: a.astype(np.float32)),
    "f2i_round": Primitive("f", "i", _to_integer(np.rint)),
    "f2i_trunc": Primitive("f", "i", _to_integer(np.trunc)),
    "f2i_floor": Primitive("f", "i", _to_integer(np.floor)),
}  # fmt: skip

LOGIC = frozenset({"and", "or", "xor"})
SHIFTS = frozenset({"shl", "shr", "sra"})
_VIEWS: Mapping[str, Any] = {"f": np.float32, "i": np.int32, "w": np.uint32}


def apply(op: str, operands: Sequence[Words]) -> Words:
    """The word that operation `op` makes of its operand words."""
    primitive = PRIMITIVES[op]
    typed = [np.asarray(w).view(_VIEWS[k]) for w, k in zip(operands, primitive.operands, strict=True)]
    with np.errstate(all="ignore"):
        result = np.asarray(primitive.function(*typed), dtype=_VIEWS[primitive.result])
    return result.view(np.uint32)


def literal_word(value: float | int) -> Words:
    """A constant as a register word: Python floats as float32, integers (and booleans) as int32."""
    if isinstance(value, float):
        return np.asarray(value, np.float32).view(np.uint32)
    return np.asarray(int(value) & 0xFFFFFFFF, np.uint32)
