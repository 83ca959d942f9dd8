"""Loop bodies of an operator: what one iteration of its nest does on an array.

The *main body* is one iteration, unrolled `copies[loop]` times side by side along each loop: it loads every distinct
element once, computes `Op.body` per copy, combines copies that write the same element, and stores.

* Nothing is combined: one store per distinct element.
* A combiner: an accumulator carries the combined value from iteration to iteration of the reducing loops. Its initial
  value (the combiner's identity, or the partial result that an earlier run stored) is set before the run. The store of
  the accumulator is in the body, so it holds its place and port; it takes effect in the last iteration of a run.
* Colliding writes (transposed convolution, scatter): the element is loaded, combined and stored back in one iteration.

The *tail body* runs once per output element: it loads the combined value, computes `Op.tail`, and stores. Without a
tail the main body stores the converted result itself (where writes collide, and in a style that converts last, a tail
converts). The number of copies need
not divide an extent; a ragged last iteration is the business of whoever runs the nest.

On arrays without explicit phis, an accumulator cannot be read before it is updated. The first of equal extremes
(argmax, argmin) is then found by running that loop backwards, where the last one wins: see :func:`reversed_loop`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mapper.dfg import Dfg
from mapper.dtypes import is_float
from mapper.index import Index, loop
from mapper.ir import Access, Combiner, Graph, Op
from mapper.scalar import Acc, Cast, Scalar

from .addresses import Addresses, Point
from .builder import SELF, Before, Builder, Literal, Operand
from .emit import Lowered, emit
from .formats import narrowed, register_type, widened
from .scalars import Scalars, Typed, converted
from .style import Style

__all__ = ["lower_main", "lower_tail", "main_body", "reversed_loop", "tail_body"]

_EXTREME = {"argmax": "gt", "argmin": "lt", "argmax_last": "ge", "argmin_last": "le"}


def main_body(graph: Graph, op: Op, style: Style, copies: Mapping[str, int] = {}) -> Dfg:
    """One iteration of the nest. Raises :class:`~mapper.kernels.scalars.LoweringError` where no operation fits."""
    return lower_main(graph, op, style, copies).dfg


def tail_body(graph: Graph, op: Op, style: Style, copies: Mapping[str, int] = {}) -> Dfg | None:
    """What finishes output elements; None when the main body does. Copies of reducing loops are ignored."""
    lowered = lower_tail(graph, op, style, copies)
    return None if lowered is None else lowered.dfg


def lower_main(graph: Graph, op: Op, style: Style, copies: Mapping[str, int] = {}) -> Lowered:
    """The main body together with the elements that its loads and stores reach."""
    body = _Body(Builder(style), graph, op, copies, _moving(op))
    if op.combiner is None:
        _store_points(body)
    else:
        for access, points in body.written():
            _store_combined(body, op.combiner, access, points)
    return emit(body.b, op.name)


def lower_tail(graph: Graph, op: Op, style: Style, copies: Mapping[str, int] = {}) -> Lowered | None:
    if op.tail is None and not _needs_conversion(graph, op, style):
        return None
    kept = {name: count for name, count in copies.items() if name in op.output_loops}
    body = _Body(Builder(style), graph, op, kept, op.output_loops)
    target = graph.tensor(op.write.tensor).dtype
    accumulator = op.combiner.accumulator if op.combiner is not None else target
    for access, points in body.written():
        addresses = body.addresses(points[0])
        value = Typed(addresses.load(Access(access.tensor, access.index), "partial"), register_type(accumulator))
        tree = op.tail if op.tail is not None else Acc()
        addresses.store(access, "out", body.finished(body.scalars(points[0], value), tree, target))
    return emit(body.b, f"{op.name} tail")


def reversed_loop(op: Op, style: Style) -> str | None:
    """The loop that the main body of `op` runs from its last to its first iteration, if any."""
    if op.combiner is not None and op.combiner.kind in ("argmax", "argmin") and not style.explicit_phi:
        return op.combiner.over
    return None


@dataclass(frozen=True)
class _Body:
    """The builder with the operator's accesses, resolved per copy (`Point`)."""

    b: Builder
    graph: Graph
    op: Op
    copies: Mapping[str, int]
    moving: frozenset[str]

    def points(self) -> Iterator[Point]:
        """Offsets of every copy, in the order in which a single copy would run them."""
        names = [name for name in self.op.extents if self.copies.get(name, 1) > 1]
        for offsets in itertools.product(*(range(self.copies[name]) for name in names)):
            yield tuple(zip(names, offsets, strict=True))

    def moved(self, index: Index, point: Point) -> Index:
        """`index` at a copy: counters moved by its offset, a reversed loop counted from its end."""
        names = {name: loop(name) + offset for name, offset in point}
        backwards = reversed_loop(self.op, self.b.style)
        if backwards is not None:
            names[backwards] = self.op.extents[backwards] - 1 - names.get(backwards, loop(backwards))
        return index.renamed(names)

    def at(self, access: Access, point: Point) -> Access:
        index = tuple(self.moved(i, point) for i in access.index)
        return Access(access.tensor, index, tuple(self.moved(g, point) for g in access.guards), access.fill)

    def written(self) -> list[tuple[Access, list[Point]]]:
        """Copies grouped by the element that they write."""
        groups: dict[Access, list[Point]] = {}
        for point in self.points():
            groups.setdefault(self.at(self.op.write, point), []).append(point)
        return list(groups.items())

    def addresses(self, point: Point) -> Addresses:
        return Addresses(
            self.b, self.graph, self.op, self.copies, lambda read: self.read(read, point).value, self.moving, point
        )

    def scalars(self, point: Point, acc: Typed | None = None) -> Scalars:
        """The meaning of a body's leaves at one copy."""
        return Scalars(
            self.b,
            lambda read: self.read(read, point),
            lambda read: self.word(read, point),
            lambda name: self.counter(name, point),
            acc,
        )

    def word(self, number: int, point: Point) -> Operand:
        return self.addresses(point).load(self.at(self.op.reads[number], point), "in")

    def read(self, number: int, point: Point) -> Typed:
        dtype = self.graph.tensor(self.op.reads[number].tensor).dtype
        return Typed(widened(self.b, self.word(number, point), dtype), register_type(dtype))

    def counter(self, name: str, point: Point) -> Operand:
        return self.addresses(point).value(self.moved(loop(name), point))

    def stored(self, value: Typed, dtype: str) -> Operand:
        """The word of element type `dtype` that a store writes."""
        return narrowed(self.b, converted(self.b, value, dtype).value, dtype)

    def finished(self, scalars: Scalars, tree: Scalar, dtype: str) -> Operand:
        """The word of the value of `tree`; a float cast to what is stored is left to the store."""
        left = tree.value if isinstance(tree, Cast) and tree.dtype == dtype and is_float(dtype) else tree
        return self.stored(scalars.lower(left), dtype)


def _moving(op: Op) -> frozenset[str]:
    """The loops that turn while the main body runs: those that reduce, where an accumulator waits for their end."""
    reducing = frozenset(loop.name for loop in op.loops if loop.extent > 1 and loop.name not in op.output_loops)
    return reducing if op.combiner is not None and reducing else frozenset(op.extents)


def _store_points(body: _Body) -> None:
    """One store per distinct element; of copies that write the same one, the last is right."""
    target = body.graph.tensor(body.op.write.tensor).dtype
    kept = body.op.is_movement and all(body.graph.tensor(r.tensor).dtype == target for r in body.op.reads)
    for access, points in body.written():
        scalars = body.scalars(points[-1])
        word = scalars.moved(body.op.body, target) if kept else body.finished(scalars, body.op.body, target)
        body.addresses(points[-1]).store(access, "out", word)


def _store_combined(body: _Body, combiner: Combiner, access: Access, points: list[Point]) -> None:
    """Combine the copies, accumulate over iterations, store the accumulator."""
    addresses = body.addresses(points[0])
    if combiner.kind in _EXTREME:
        result = Typed(_extreme_position(body, combiner, points), "int32")
    else:
        result = _combined(body, combiner, access, points)
    if body.op.tail is not None or _needs_conversion(body.graph, body.op, body.b.style):
        addresses.store(access, "partial", converted(body.b, result, combiner.accumulator).value)
    else:
        target = body.graph.tensor(access.tensor).dtype
        role = "partial" if _collides(body.op) else "out"
        addresses.store(access, role, body.stored(result, target))


def _combined(body: _Body, combiner: Combiner, access: Access, points: list[Point]) -> Typed:
    """The accumulated value of one element."""
    values = [converted(body.b, body.scalars(p).lower(body.op.body), combiner.accumulator) for p in points]
    dtype = values[0].dtype
    name = _operation(combiner.kind, dtype)
    value = _gathered_up(body.b, name, [v.value for v in values])
    if _reduces(body.op):
        value = _accumulated(body.b, name, value, _identity(combiner, dtype))
    if _collides(body.op):
        stored = body.addresses(points[0]).load(Access(access.tensor, access.index), "partial")
        value = _joined(body.b, name, value, stored)
    return Typed(value, dtype)


def _operation(kind: str, dtype: str) -> str:
    """The operation that combines two values."""
    if kind in ("and", "or"):
        return kind
    plain = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}[kind]
    return plain if dtype == "float32" else f"i{plain}"


def _identity(combiner: Combiner, dtype: str) -> float | int:
    value = combiner.identity
    if dtype == "float32":
        return float(value)
    return int(max(-(2**31), min(2**31 - 1, value)))


def _reduces(op: Op) -> bool:
    """Does some loop of several iterations leave the written element standing?"""
    return any(loop.extent > 1 and loop.name not in op.output_loops for loop in op.loops)


def _collides(op: Op) -> bool:
    """Can two points of the output loops write one element? (False only where that is certain.)

    Per dimension the loops must form a mixed radix: each step exceeds all that smaller steps add up to; and no loop
    may occur in two dimensions for its own sake, so every loop has to be found in some dimension.
    """
    if op.combiner is None:
        return False
    for index in op.write.index:
        if not index.is_affine:
            return True
        reach = 0
        turning = [term for term in index.terms if op.extents[str(term[0])] > 1]
        for name, step in sorted(turning, key=lambda term: abs(term[1])):
            if abs(step) <= reach:
                return True
            reach += abs(step) * (op.extents[str(name)] - 1)
    return False


def _needs_conversion(graph: Graph, op: Op, style: Style) -> bool:
    """Must a tail body turn stored partial results into the output's type? (Colliding writes store no other.)"""
    if op.combiner is None or op.combiner.accumulator == graph.tensor(op.write.tensor).dtype:
        return False
    return _collides(op) or (style.converts_last and _reduces(op))


def _product(b: Builder, value: Operand) -> tuple[Operand, Operand] | None:
    """The factors of a float product, for fusing it with an addition."""
    if not isinstance(value, int) or b.steps[value].op != "mul" or "fma" not in b.style.operations:
        return None
    first, second = b.steps[value].operands
    return first, second


def _joined(b: Builder, name: str, value: Operand, onto: Operand) -> Operand:
    factors = _product(b, value) if name == "add" else None
    return b.op("fma", *factors, onto) if factors else b.op(name, value, onto)


def _gathered_up(b: Builder, name: str, values: list[Operand]) -> Operand:
    """All copies combined: one after the other, or in a balanced tree."""
    if b.style.chain:
        total = values[0]
        for value in values[1:]:
            total = _joined(b, name, value, total)
        return total
    while len(values) > 1:
        pairs = [b.op(name, *values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]


def _accumulated(b: Builder, name: str, value: Operand, initial: float | int) -> Operand:
    factors = _product(b, value) if name == "add" else None
    if factors:
        return b.accumulate("fma", (*factors, SELF), initial)
    return b.accumulate(name, (value, SELF), initial)


def _extreme_position(body: _Body, combiner: Combiner, points: list[Point]) -> Operand:
    """The counter of `over` at the largest (smallest) value: value and position are carried together."""
    b, over = body.b, combiner.over or ""
    backwards = reversed_loop(body.op, b.style) is not None
    order = _EXTREME[combiner.kind] if not backwards else {"gt": "ge", "lt": "le"}[_EXTREME[combiner.kind]]
    value: Operand | None = None
    position: Operand = Literal(0)
    for point in points:
        typed = body.scalars(point).lower(body.op.body)
        kind = "" if typed.is_float else "i"
        if value is None:
            value, position = typed.value, body.counter(over, point)
            continue
        better = b.op(f"{kind}cmp_{order}", typed.value, value)
        value = b.op("select", better, typed.value, value)
        position = b.op("select", better, body.counter(over, point), position)
    assert value is not None
    return _carried_extreme(b, combiner, order, Typed(value, typed.dtype), position)


def _carried_extreme(b: Builder, combiner: Combiner, order: str, value: Typed, position: Operand) -> Operand:
    name = "max" if combiner.kind.startswith("argmax") else "min"
    kind = "" if value.is_float else "i"
    worst = -math.inf if name == "max" else math.inf
    initial = worst if value.is_float else int(max(-(2**31), min(2**31 - 1, worst)))
    best = b.accumulate(f"{kind}{name}", (value.value, SELF), initial)
    against: Operand = Before(best) if b.style.explicit_phi else best
    better = b.op(f"{kind}cmp_{order}", value.value, against)
    return b.accumulate("select", (better, position, SELF), 0)
