"""The shapes that most lowerings have: a value per output element, a reduction, a movement; and scalar shorthand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mapper import dtypes
from mapper.index import Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Call, Cast, Const, Scalar

from .context import Context, Reads
from .errors import ModelError
from .node import Node

__all__ = [
    "COMPUTE", "accumulator", "axis_of", "broadcast", "call", "computed", "identity", "leaf", "loops_over", "move",
    "names_of", "pointwise", "reduce", "spread",
]  # fmt: skip

_NAMES = {0: (), 1: ("n",), 2: ("m", "n"), 3: ("b", "m", "n"), 4: ("b", "c", "y", "x"), 5: ("b", "c", "z", "y", "x")}

COMPUTE = {"float16": "float32", "bfloat16": "float32"}


def leaf(value: Scalar | float | int | bool) -> Scalar:
    return Const(value) if isinstance(value, (bool, int, float)) else value


def call(function: str, *args: Scalar | float | int | bool) -> Scalar:
    """`function(*args)` with plain numbers as constants."""
    return Call(function, tuple(leaf(a) for a in args))


def computed(value: Scalar, dtype: str) -> Scalar:
    """A value in a type that arithmetic is defined on: 8-bit and smaller floats and bfloat16 widen to float32,
    4-bit integers to int32."""
    if isinstance(value, Const):
        return value
    if dtype == "bfloat16" or dtype.startswith(("float8", "float4")):
        return Cast("float32", value)
    if dtype in ("int2", "uint2", "int4", "uint4"):
        return Cast("int32", value)
    return value


def accumulator(dtype: str) -> str:
    """The type in which sums of `dtype` are kept."""
    if dtypes.is_float(dtype):
        return "float64" if dtype == "float64" else "float32"
    return {"int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32"}.get(dtype, dtype)


def names_of(rank: int) -> tuple[str, ...]:
    """Loop names for the dimensions of a tensor."""
    return _NAMES[rank] if rank in _NAMES else tuple(f"d{i}" for i in range(rank))


def loops_over(shape: Sequence[int], names: Sequence[str] | None = None) -> tuple[Loop, ...]:
    return tuple(Loop(n, e) for n, e in zip(names or names_of(len(shape)), shape, strict=True))


def identity(rank: int) -> tuple[Index, ...]:
    """The index that reads or writes each element in its own place."""
    return tuple(loop(name) for name in names_of(rank))


def axis_of(axis: int, rank: int, where: str) -> int:
    """A non-negative axis. Raises ModelError outside [-rank, rank)."""
    if not -rank <= axis < max(rank, 1):
        raise ModelError(f"axis {axis} of a tensor of rank {rank}", where)
    return axis + rank if axis < 0 else axis


def broadcast(c: Context, *names: str) -> tuple[int, ...]:
    """The shape of operands that broadcast against each other. Raises ModelError when they do not."""
    shapes = [c.shape(name) for name in names]
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for position, extent in enumerate(shape, rank - len(shape)):
            if extent != 1 and out[position] not in (1, extent):
                text = " and ".join(str(list(s)) for s in shapes)
                raise ModelError(f"shapes {text} do not broadcast", c.where)
            out[position] = extent if extent != 1 else out[position]
    return tuple(out)


def spread(shape: Sequence[int], index: Sequence[Index], target: Sequence[int]) -> tuple[Index, ...]:
    """The index of an operand of `shape` for element `index` of the broadcast result."""
    offset = len(target) - len(shape)
    return tuple(
        constant(0) if extent == 1 and target[offset + i] != 1 else index[offset + i] for i, extent in enumerate(shape)
    )


def pointwise(
    c: Context, node: Node, inputs: Sequence[str], out: str, body: Callable[..., Scalar], *, label: str = ""
) -> str:
    """`out[i] = body(*inputs[i])` with broadcasting; returns `out`."""
    shape = c.shape(out)
    reads, index = Reads(c), identity(len(shape))
    args = [computed(reads(name, spread(c.shape(name), index, shape)), c.dtype(name)) for name in inputs]
    c.nest(node, loops_over(shape), reads, Access(out, index), body(*args), label=label)
    return out


def move(
    c: Context,
    node: Node,
    source: str,
    out: str,
    index: Callable[[tuple[Index, ...]], Sequence[Index]],
    label: str = "",
) -> str:
    """`out[i] = source[index(i)]`: data that changes place only."""
    shape = c.shape(out)
    at = identity(len(shape))
    reads = Reads(c)
    body = reads(source, index(at))
    c.nest(node, loops_over(shape), reads, Access(out, at), body, label=label)
    return out


def reduce(
    c: Context,
    node: Node,
    source: str,
    out: str,
    axes: Sequence[int],
    kind: str,
    body: Callable[[Scalar], Scalar] = lambda x: x,
    tail: Callable[[Scalar], Scalar] | None = None,
    *,
    label: str = "",
    keep: bool = True,
    dtype: str | None = None,
) -> str:
    """`out` = `kind` over `axes` of `body(source)`, finished by `tail`; kept axes are indexed by 0."""
    shape, names = c.shape(source), names_of(len(c.shape(source)))
    reads = Reads(c)
    value = body(computed(reads(source, identity(len(shape))), c.dtype(source)))
    kept = [constant(0) if i in axes else loop(n) for i, n in enumerate(names)]
    index = tuple(kept) if keep else tuple(k for i, k in enumerate(kept) if i not in axes)
    combiner = Combiner(kind, dtype or accumulator(c.dtype(source)))  # type: ignore[arg-type]
    finish = tail(Acc()) if tail is not None else None
    c.nest(node, loops_over(shape), reads, Access(out, index), value, combiner, finish, label=label)
    return out


def count_of(shape: Sequence[int], axes: Sequence[int]) -> int:
    """Elements that a reduction over `axes` folds into one."""
    return math.prod(shape[a] for a in axes)
