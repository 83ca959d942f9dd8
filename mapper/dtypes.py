"""Element types by name: width in bits as stored, and the numpy type that holds a value of it.

Sub-byte types keep their real width: a 4-bit tensor of n elements is n / 2 bytes (rounded up per tensor).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["BITS", "bytes_of", "is_float", "is_integer", "numpy_type"]

BITS: Mapping[str, int] = {
    "bool": 8, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4e2m1": 4,
    "int8": 8, "uint8": 8, "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8,
    "float8e8m0": 8, "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16,
    "int32": 32, "uint32": 32, "float32": 32, "int64": 64, "uint64": 64, "float64": 64,
    "complex64": 64, "complex128": 128, "string": 64,
}  # fmt: skip

_EXTENDED: Mapping[str, str] = {
    "bfloat16": "bfloat16", "int2": "int2", "uint2": "uint2", "int4": "int4", "uint4": "uint4",
    "float4e2m1": "float4_e2m1fn", "float8e4m3fn": "float8_e4m3fn", "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2", "float8e5m2fnuz": "float8_e5m2fnuz", "float8e8m0": "float8_e8m0fnu",
}  # fmt: skip


@cache
def numpy_type(dtype: str) -> np.dtype[Any]:
    """The numpy type of one element. Raises KeyError for a name that is not in :data:`BITS`."""
    if dtype in _EXTENDED:
        extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _EXTENDED[dtype]))
        return extended
    if dtype == "string":
        return np.dtype(object)
    if dtype not in BITS:
        raise KeyError(f"unknown element type {dtype!r}")
    plain: np.dtype[Any] = np.dtype(dtype)
    return plain


def bytes_of(elements: int, dtype: str) -> int:
    """Bytes that `elements` packed elements take, rounded up to a whole byte."""
    return -(-elements * BITS[dtype] // 8)


def is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))


def is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))
