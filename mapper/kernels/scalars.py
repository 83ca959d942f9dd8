"""Scalar bodies (`mapper.scalar`) into operations of a PE.

Every value has a register type: float32, int32, a narrower integer that wraps, or bool (0 or 1). Constants take the
type of their partner, as in numpy. Arithmetic of mixed types goes through float32 when one side is a float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mapper import dtypes
from mapper.scalar import Acc, Arg, Call, Cast, Const, Counter, Scalar, ml_info

from .builder import Builder, Literal, Operand
from .formats import register_type, rounded, stored_literal
from .functions import FLOAT_FUNCTIONS, reciprocal_root
from .integers import INTEGER_FUNCTIONS, wrapped

__all__ = ["LoweringError", "Scalars", "Typed", "converted"]

_COMPARISONS = {"equal": "eq", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge"}
_LOGICAL = {"and": "and", "or": "or", "xor": "xor"}
_FLOAT_ONLY = frozenset(FLOAT_FUNCTIONS) - frozenset(INTEGER_FUNCTIONS)


class LoweringError(ValueError):
    """A scalar body that cannot become operations; the message names the function and types."""


@dataclass(frozen=True, slots=True)
class Typed:
    """An operand and its register type; `weak` constants take the type of their partner."""

    value: Operand
    dtype: str
    weak: bool = False

    @property
    def is_float(self) -> bool:
        return self.dtype == "float32"


@dataclass
class Scalars:
    """Lowers trees with given meanings of their leaves (`read`: a register value, `word`: as it lies in memory)."""

    b: Builder
    read: Callable[[int], Typed]
    word: Callable[[int], Operand]
    counter: Callable[[str], Operand]
    acc: Typed | None = None
    _memo: dict[int, Typed] = field(default_factory=dict)

    def lower(self, body: Scalar) -> Typed:
        if id(body) not in self._memo:
            self._memo[id(body)] = self._lower(body)
        return self._memo[id(body)]

    def moved(self, body: Scalar, dtype: str) -> Operand:
        """The stored word of a body that only selects reads of `dtype`: nothing is widened."""
        if isinstance(body, Arg):
            return self.word(body.read)
        if isinstance(body, Const):
            return stored_literal(body.value, dtype)
        assert isinstance(body, Call)
        condition, *branches = body.args
        words = [self.moved(branch, dtype) for branch in branches]
        return self.b.op("select", self._truth(self.lower(condition)), *words)

    def _lower(self, body: Scalar) -> Typed:
        if isinstance(body, Arg):
            return self.read(body.read)
        if isinstance(body, Counter):
            return Typed(self.counter(body.loop), "int32")
        if isinstance(body, Const):
            return constant(body.value)
        if isinstance(body, Cast):
            return self._cast(body)
        if isinstance(body, Acc):
            if self.acc is None:
                raise LoweringError("the combined value is used outside of a tail")
            return self.acc
        return self._call(body)

    def _cast(self, body: Cast) -> Typed:
        inner = body.value
        if dtypes.is_integer(body.dtype) and isinstance(inner, Call) and inner.function in ("round", "floor", "trunc"):
            value = self.lower(inner.args[0])
            if value.is_float:
                whole = self.b.op(f"f2i_{inner.function}", value.value)
                return _fitted(self.b, Typed(whole, "int32"), body.dtype, body.saturate)
        value = converted(self.b, self.lower(inner), body.dtype, body.saturate)
        return Typed(rounded(self.b, value.value, body.dtype), value.dtype) if value.is_float else value

    def _call(self, body: Call) -> Typed:
        root = _inverse_root(body)
        if root is not None and self.lower(root).is_float:
            inverse = Typed(reciprocal_root(self.b, self.lower(root).value), "float32")
            if body.function == "reciprocal":
                return inverse
            return Typed(self.b.op("mul", self._as_float(self.lower(body.args[0])), inverse.value), "float32")
        args = [self.lower(a) for a in body.args]
        name = body.function
        if name == "where":
            return self._where(args)
        if name in _COMPARISONS:
            return self._compare(_COMPARISONS[name], args)
        if name in _LOGICAL or name == "not":
            return self._logical(name, args)
        if name in ("isnan", "isinf"):
            return self._special(name, args[0])
        return self._arithmetic(name, args)

    def _arithmetic(self, name: str, args: list[Typed]) -> Typed:
        dtype = promoted(args)
        if dtype == "float32" or name in _FLOAT_ONLY:
            if name not in FLOAT_FUNCTIONS:
                raise LoweringError(f"function {name!r} has no meaning on {dtype} values")
            return Typed(FLOAT_FUNCTIONS[name](self.b, *(self._as_float(a) for a in args)), "float32")
        dtype = "int32" if dtype == "bool" else dtype
        value = INTEGER_FUNCTIONS[name](self.b, *(a.value for a in args))
        keeps_range = name in ("max", "min", "bit_and", "bit_or", "bit_xor", "shift_right", "mod", "fmod")
        return Typed(value if keeps_range else wrapped(self.b, value, dtype), dtype)

    def _where(self, args: list[Typed]) -> Typed:
        condition, a, b = args
        dtype = promoted([a, b])
        if dtype == "float32":
            a, b = Typed(self._as_float(a), dtype), Typed(self._as_float(b), dtype)
        if isinstance(condition.value, Literal):
            return a if condition.value.value else b
        if a.value == b.value:
            return Typed(a.value, dtype)
        return Typed(self.b.op("select", self._truth(condition), a.value, b.value), dtype)

    def _compare(self, order: str, args: list[Typed]) -> Typed:
        if promoted(args) == "float32":
            return Typed(self.b.op(f"cmp_{order}", *(self._as_float(a) for a in args)), "bool")
        return Typed(self.b.op(f"icmp_{order}", *(a.value for a in args)), "bool")

    def _logical(self, name: str, args: list[Typed]) -> Typed:
        if name == "not":
            return Typed(self.b.op("xor", self._truth(args[0]), Literal(1)), "bool")
        return Typed(self.b.op(_LOGICAL[name], *(self._truth(a) for a in args)), "bool")

    def _special(self, name: str, x: Typed) -> Typed:
        if not x.is_float:
            return Typed(Literal(0), "bool")
        if name == "isinf":
            return Typed(self.b.op("cmp_eq", self.b.op("abs", x.value), Literal(float("inf"))), "bool")
        return Typed(self.b.op("xor", self.b.op("cmp_eq", x.value, x.value), Literal(1)), "bool")

    def _truth(self, x: Typed) -> Operand:
        return truth(self.b, x)

    def _as_float(self, x: Typed) -> Operand:
        return converted(self.b, x, "float32").value


def _inverse_root(body: Call) -> Scalar | None:
    """x where the call is 1 / sqrt(x) or a / sqrt(x): one root instead of a root and a quotient."""
    if body.function not in ("reciprocal", "div"):
        return None
    divisor = body.args[-1]
    return divisor.args[0] if isinstance(divisor, Call) and divisor.function == "sqrt" else None


def constant(value: float | int | bool) -> Typed:
    if isinstance(value, bool):
        return Typed(Literal(int(value)), "bool", weak=True)
    return Typed(Literal(value), "float32" if isinstance(value, float) else "int32", weak=True)


def promoted(args: list[Typed]) -> str:
    """The common register type: float32 if any is a float, else the widest integer; weak constants yield."""
    if any(a.is_float for a in args):
        return "float32"
    strong = [a.dtype for a in args if not a.weak] or [a.dtype for a in args]
    integers = [d for d in strong if d != "bool"]
    if not integers:
        return "bool" if all(a.dtype == "bool" for a in args) else "int32"
    if len({d.startswith("u") for d in integers}) > 1:
        return "int32"
    return max(integers, key=lambda d: dtypes.BITS[d])


def truth(b: Builder, x: Typed) -> Operand:
    """1 for a value that is not zero."""
    if x.dtype == "bool":
        return x.value
    equal = b.op("cmp_eq", x.value, Literal(0.0)) if x.is_float else b.op("icmp_eq", x.value, Literal(0))
    return b.op("xor", equal, Literal(1))


def converted(b: Builder, x: Typed, dtype: str, saturate: bool = False) -> Typed:
    """`x` as a register value of element type `dtype`: floats truncate to integers, integers wrap or saturate."""
    target = register_type(dtype)
    if target == "float32":
        if x.is_float:
            return Typed(x.value, target)
        if isinstance(x.value, Literal):
            return Typed(Literal(float(x.value.value)), target)
        return Typed(b.op("i2f", x.value), target)
    if target == "bool":
        return Typed(truth(b, x), "bool")
    return _fitted(b, Typed(b.op("f2i_trunc", x.value), "int32") if x.is_float else x, dtype, saturate)


def _fitted(b: Builder, x: Typed, dtype: str, saturate: bool) -> Typed:
    """An integer brought into the range of `dtype`."""
    target = register_type(dtype)
    if not saturate:
        inside = x.dtype in (target, "bool")
        return Typed(x.value if inside else wrapped(b, x.value, target), target)
    low, high = ml_info(dtype)
    value = x.value
    if dtypes.BITS[dtype] < 32:
        value = b.op("imin", b.op("imax", value, Literal(low)), Literal(high))
    elif low == 0:
        value = b.op("imax", value, Literal(0))
    return Typed(value, target)
