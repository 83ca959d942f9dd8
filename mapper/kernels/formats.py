"""Element types in memory and in registers.

A load delivers one element, zero- or sign-extended to a word; 64-bit integers keep their low word and float64 travels
as float32. Floats of less than 32 bits are widened and narrowed by operations of the body: their fields are shifted
under those of a float32 and a multiplication by a power of two corrects the bias (subnormals included).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mapper import dtypes

from .builder import Builder, Literal, Operand
from .run import to_words

__all__ = ["narrowed", "register_type", "rounded", "stored_literal", "widened"]


@dataclass(frozen=True, slots=True)
class SmallFloat:
    """Bits of the stored word, of its mantissa, exponent bias, and the largest value that narrowing delivers
    (infinity where the type has one)."""

    bits: int
    mantissa: int
    bias: int
    largest: float


_SMALL: Mapping[str, SmallFloat] = {
    "float16": SmallFloat(16, 10, 15, 65536.0),
    "float8e4m3fn": SmallFloat(8, 3, 7, 448.0),
    "float8e4m3fnuz": SmallFloat(8, 3, 8, 240.0),
    "float8e5m2": SmallFloat(8, 2, 15, 65536.0),
    "float8e5m2fnuz": SmallFloat(8, 2, 16, 57344.0),
    "float4e2m1": SmallFloat(4, 1, 1, 6.0),
}


def stored_literal(value: float | int, dtype: str) -> Literal:
    """A constant as the word that a load of `dtype` would deliver."""
    if dtype in ("float32", "float64"):
        return Literal(float(value))
    return Literal(int(to_words(np.asarray(value), dtype).view(np.int32)))


def register_type(dtype: str) -> str:
    """How a value of `dtype` computes: float32, int32, bool, or a narrow integer that wraps."""
    if dtypes.is_float(dtype):
        return "float32"
    if dtype == "bool":
        return "bool"
    return dtype if dtypes.is_integer(dtype) and dtypes.BITS[dtype] < 32 else "int32"


def widened(b: Builder, word: Operand, dtype: str) -> Operand:
    """The register value of a loaded word."""
    if dtype == "bfloat16":
        return b.op("shl", word, Literal(16))
    if dtype == "float8e8m0":
        return b.op("shl", word, Literal(23))
    small = _SMALL.get(dtype)
    if small is None:
        return word
    exponent = small.bits - 1 - small.mantissa
    spread = b.op("sra", b.op("shl", word, Literal(32 - small.bits)), Literal(8 - exponent))
    fields = ((1 << (small.bits - 1)) - 1) << (23 - small.mantissa)
    return b.op("mul", b.op("and", spread, Literal(fields - 2**31)), Literal(2.0 ** (127 - small.bias)))


def narrowed(b: Builder, value: Operand, dtype: str) -> Operand:
    """The word to store for a register value, rounded to nearest even."""
    if dtype == "bfloat16":
        return _rounded_shift(b, value, 16)
    if dtype == "float8e8m0":
        return b.op("shr", value, Literal(23))
    small = _SMALL.get(dtype)
    if small is None:
        return value
    magnitude = b.op("min", b.op("abs", value), Literal(small.largest))
    scaled = b.op("mul", magnitude, Literal(2.0 ** (small.bias - 127)))
    fields = _rounded_shift(b, scaled, 23 - small.mantissa)
    sign = b.op("shr", b.op("and", value, Literal(-(2**31))), Literal(32 - small.bits))
    return b.op("or", fields, sign)


def rounded(b: Builder, value: Operand, dtype: str) -> Operand:
    """A register value as a cast to `dtype` inside a body leaves it.

    Floats of 8 bits or less are quantised values: they round as a store and a load would. 16-bit floats keep the
    register's precision until they are stored.
    """
    return widened(b, narrowed(b, value, dtype), dtype) if dtypes.BITS[dtype] <= 8 else value


def _rounded_shift(b: Builder, word: Operand, bits: int) -> Operand:
    """word / 2^bits, ties to even: add half a unit less one, and the lowest bit that stays."""
    lowest = b.op("and", b.op("shr", word, Literal(bits)), Literal(1))
    return b.op("shr", b.op("iadd", b.op("iadd", word, Literal((1 << (bits - 1)) - 1)), lowest), Literal(bits))
