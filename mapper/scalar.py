"""Scalar bodies: what an operator computes for one point of its iteration domain.

A body is a small tree over `Arg(i)` (the value of read i), `Acc()` (the combined value, in a tail), constants,
loop counters, casts and calls of the functions in :data:`FUNCTIONS`. One table gives each function its numpy
meaning; loop bodies, the interpreter and the simulator all evaluate through :func:`evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper import dtypes

__all__ = ["FUNCTIONS", "Acc", "Arg", "Call", "Cast", "Const", "Counter", "Scalar", "evaluate", "parts", "substitute"]


@dataclass(frozen=True, slots=True)
class Arg:
    """Value of read number `read`."""

    read: int


@dataclass(frozen=True, slots=True)
class Acc:
    """The combined value of an output element (only in a tail)."""


@dataclass(frozen=True, slots=True)
class Const:
    value: float | int | bool


@dataclass(frozen=True, slots=True)
class Counter:
    """Current value of a loop."""

    loop: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion to `dtype`; with `saturate`, out-of-range values clip instead of wrapping."""

    dtype: str
    value: Scalar
    saturate: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    args: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise ValueError(f"unknown scalar function {self.function!r}")


Scalar = Arg | Acc | Const | Counter | Cast | Call


def _erf(x: Any) -> Any:
    x = np.asarray(x)
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def _integer_div(a: Any, b: Any) -> Any:
    """Integer division truncates towards zero (ONNX Div); floats divide."""
    if np.issubdtype(np.result_type(a, b), np.integer):
        quotient = np.floor_divide(a, b)
        return quotient + ((np.remainder(a, b) != 0) & ((np.asarray(a) < 0) != (np.asarray(b) < 0)))
    return np.divide(a, b)


def _sigmoid(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _power(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    if np.issubdtype(a.dtype, np.integer):
        return np.power(a.astype(np.float64), b).astype(a.dtype)
    return np.power(a, b).astype(a.dtype)


def _softplus(x: Any) -> Any:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _integer_div, "neg": np.negative,
    "max": np.maximum, "min": np.minimum, "pow": _power, "mod": np.mod, "fmod": np.fmod, "abs": np.abs,
    "sign": np.sign, "reciprocal": np.reciprocal, "square": np.square, "sqrt": np.sqrt, "exp": np.exp,
    "log": np.log, "log1p": np.log1p, "erf": _erf, "sigmoid": _sigmoid, "tanh": np.tanh, "softplus": _softplus,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc,
    "where": np.where, "equal": np.equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor, "not": np.logical_not,
    "bit_and": np.bitwise_and, "bit_or": np.bitwise_or, "bit_xor": np.bitwise_xor, "bit_not": np.bitwise_not,
    "shift_left": np.left_shift, "shift_right": np.right_shift, "isnan": np.isnan, "isinf": np.isinf,
}  # fmt: skip


def evaluate(body: Scalar, args: Sequence[Any], acc: Any = None, counters: Mapping[str, Any] | None = None) -> Any:
    """The value of `body`; `args`, `acc` and `counters` may be numpy arrays that broadcast against each other."""
    if isinstance(body, Arg):
        return args[body.read]
    if isinstance(body, Acc):
        return acc
    if isinstance(body, Const):
        return body.value
    if isinstance(body, Counter):
        return (counters or {})[body.loop]
    if isinstance(body, Cast):
        return cast(evaluate(body.value, args, acc, counters), body.dtype, body.saturate)
    values = [evaluate(a, args, acc, counters) for a in body.args]
    with np.errstate(all="ignore"):
        return FUNCTIONS[body.function](*values)


def cast(value: Any, dtype: str, saturate: bool = False) -> Any:
    """Convert an array; float to integer truncates, `saturate` clips to the target's range (NaN becomes 0)."""
    target = dtypes.numpy_type(dtype)
    array = np.asarray(value)
    if saturate and dtypes.is_integer(dtype):
        info = ml_info(dtype)
        array = np.clip(np.nan_to_num(array) if array.dtype.kind == "f" else array, info[0], info[1])
    with np.errstate(all="ignore"):
        return array.astype(target)


def ml_info(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer type of any width."""
    bits = dtypes.BITS[dtype]
    return (0, 2**bits - 1) if dtype.startswith("uint") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def parts(body: Scalar) -> Iterator[Scalar]:
    """All nodes of the tree, operands before users."""
    if isinstance(body, Cast):
        yield from parts(body.value)
    elif isinstance(body, Call):
        for argument in body.args:
            yield from parts(argument)
    yield body


def substitute(body: Scalar, args: Mapping[int, Scalar], acc: Scalar | None = None) -> Scalar:
    """`body` with reads (and the combined value) replaced by other trees; reads not named stay."""
    if isinstance(body, Arg):
        return args.get(body.read, body)
    if isinstance(body, Acc):
        return acc if acc is not None else body
    if isinstance(body, Cast):
        return Cast(body.dtype, substitute(body.value, args, acc), body.saturate)
    if isinstance(body, Call):
        return Call(body.function, tuple(substitute(a, args, acc) for a in body.args))
    return body
