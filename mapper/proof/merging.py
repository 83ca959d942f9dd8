"""Results under way: elements of a box that several fills add to, and how often each was added to.

An accumulator starts with the combiner's identity. Draining merges it into the one outside; because combiners are
associative, carrying partial results out and back in gives the same values. Arg-combiners carry (value, counter).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.ir import Op

__all__ = ["Partial", "blank", "empty", "merge"]

Array = np.ndarray[Any, Any]
_UFUNC: dict[str, Any] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip


@dataclass(frozen=True)
class Partial:
    """Elements from `low` on: combined values, the counters that won (arg-combiners), iterations merged so far."""

    low: tuple[int, ...]
    values: Array
    winner: Array
    merged: Array


def accumulator(op: Op, dtype: str) -> str:
    """The type in which partial results are held; arg-combiners compare in double precision."""
    if op.combiner is None:
        return dtype
    return "float64" if op.combiner.kind.startswith("arg") else op.combiner.accumulator


def blank(op: Op, dtype: str) -> Any:
    """What an element holds before any iteration."""
    if op.combiner is None:
        return np.zeros((), dtypes.numpy_type(dtype))[()]
    kind = op.combiner.kind
    if kind.startswith("arg"):
        return -np.inf if kind.startswith("argmax") else np.inf
    wide = dtypes.numpy_type(op.combiner.accumulator)
    if wide.kind in "iu" and kind in ("max", "min"):
        return np.iinfo(wide).min if kind == "max" else np.iinfo(wide).max
    return np.asarray(op.combiner.identity).astype(wide)[()]


def empty(op: Op, box: tuple[slice, ...], dtype: str) -> Partial:
    """Nothing merged yet."""
    shape = tuple(max(s.stop - s.start, 0) for s in box)
    kind = dtypes.numpy_type(accumulator(op, dtype))
    values = np.full(shape, blank(op, dtype)).astype(kind)
    return Partial(tuple(s.start for s in box), values, np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def merge(op: Op, into: Partial, at: tuple[Any, ...], part: Partial, collide: bool = False) -> None:
    """Merge the elements of `part` into those of `into` at the coordinates `at`; `collide`: some may be equal."""
    if collide:
        _merge_colliding(op, into, at, part)
        return
    held, new = part.merged > 0, into.merged[at] == 0
    if op.combiner is None:
        into.values[at] = np.where(held, part.values, into.values[at])
    elif op.combiner.kind.startswith("arg"):
        better = held & (new | _wins(op.combiner.kind)(part, into, at))
        into.winner[at] = np.where(better, part.winner, into.winner[at])
        into.values[at] = np.where(better, part.values, into.values[at])
    else:
        both = _UFUNC[op.combiner.kind](into.values[at], part.values).astype(into.values.dtype)
        into.values[at] = np.where(held, np.where(new, part.values, both), into.values[at])
    into.merged[at] += part.merged


def _merge_colliding(op: Op, into: Partial, at: tuple[Any, ...], part: Partial) -> None:
    shape = part.values.shape
    where = tuple(np.broadcast_to(i, shape)[part.merged > 0] for i in at)
    values = part.values[part.merged > 0].astype(into.values.dtype)
    if op.combiner is None:
        into.values[where] = values
    else:
        _UFUNC[op.combiner.kind].at(into.values, where, values)
    np.add.at(into.merged, where, part.merged[part.merged > 0])


def _wins(kind: str) -> Callable[[Partial, Partial, tuple[Any, ...]], Array]:
    """Does the part's pair beat the held one? Ties go to the first (or last) counter."""

    def wins(part: Partial, into: Partial, at: tuple[Any, ...]) -> Array:
        ahead = part.values > into.values[at] if kind.startswith("argmax") else part.values < into.values[at]
        earlier = part.winner < into.winner[at]
        tie = (part.values == into.values[at]) & (~earlier if kind.endswith("_last") else earlier)
        found: Array = ahead | tie
        return found

    return wins
