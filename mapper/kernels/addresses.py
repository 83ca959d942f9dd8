"""Where loads and stores of a body reach, and the operations that make their addresses.

Index expressions are over loop counters of the first copy. With *counters*, each region has one induction chain that
steps along the innermost loop on which the access depends (outer loops correct it when they turn, outside of the
body); another element of the region adds a constant; what does not depend on the loops that turn while the body runs
keeps its address in a register. With *host* addresses all that is free. Either way, divisions,
modulos and gathered values are computed by the body and added.

A guard that keeps an index inside its tensor is the border of the local copy: whoever fills the slice writes `fill`
there, and the load just reads it. Any other guard of a read is computed, and `select` replaces the loaded word by
`fill`. Guards of a write are computed and predicate the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mapper.index import Atom, FloorDiv, Gathered, Index, interval
from mapper.ir import Access, Graph, Op

from .builder import Builder, Literal, Operand, Touch
from .formats import stored_literal
from .integers import floor_divide

__all__ = ["Addresses", "Point", "is_border"]


Point = tuple[tuple[str, int], ...]


def is_border(guard: Index, access: Access, shape: Sequence[int]) -> bool:
    """Does the guard say no more than that one index lies inside the tensor?"""
    return any(guard in (index, extent - 1 - index) for index, extent in zip(access.index, shape, strict=True))


@dataclass(frozen=True)
class Addresses:
    """Makes the loads and stores of one copy (`point`: its offset per loop) of an operator's body; `gathered` delivers
    the value of another read; counters of loops outside of `moving` stand still while the body runs."""

    b: Builder
    graph: Graph
    op: Op
    copies: Mapping[str, int]
    gathered: Callable[[int], Operand]
    moving: frozenset[str]
    point: Point = ()

    def load(self, access: Access, role: str) -> Operand:
        """The loaded word of one element (`fill` where a computed guard is negative)."""
        tensor = self.graph.tensor(access.tensor)
        shape, fill = tensor.shape, stored_literal(access.fill, tensor.dtype)
        border = tuple(g for g in access.guards if is_border(g, access, shape))
        local = Access(access.tensor, access.index, border, access.fill) if border else _bare(access)
        if border:
            role += f"|border {access.fill}"
        word = self.b.load(Touch(local, role, self._address(local, role), point=self._deciding(local)))
        computed = [g for g in access.guards if g not in border]
        if not computed:
            return word
        return self.b.op("select", self._all_hold(computed), word, fill)

    def store(self, access: Access, role: str, data: Operand) -> None:
        predicate = self._all_hold(access.guards) if access.guards else None
        known = isinstance(predicate, Literal) or predicate is None
        address = self._address(_bare(access), role)
        self.b.store(Touch(access, role, address, data, None if known else _step(predicate), self._deciding(access)))

    def _deciding(self, access: Access) -> Point:
        """The copy, where a gathered value makes the element depend on it."""
        return self.point if any(i.gathered for i in access.index) else ()

    def counter(self, loop: str) -> Operand:
        """The counter of a loop at the first copy: it advances by the number of copies."""
        return self.b.counters.setdefault(loop, self.b.chain(loop, self.copies.get(loop, 1)))

    def value(self, index: Index) -> Operand:
        """An index expression as an integer value."""
        total: Operand | None = None
        for atom, coefficient in index.terms:
            part = self._atom(atom)
            if coefficient == -1 and total is None:
                total = self.b.op("isub", Literal(index.const), part)
                continue
            scaled = part if coefficient == 1 else self.b.op("imul", part, Literal(coefficient))
            total = self._sum(total if total is not None else Literal(index.const), scaled)
        return total if total is not None else Literal(index.const)

    def _sum(self, a: Operand, c: Operand) -> Operand:
        if a == Literal(0):
            return c
        return self.b.op("iadd", c, a)

    def _atom(self, atom: Atom) -> Operand:
        if isinstance(atom, str):
            return self.counter(atom)
        if isinstance(atom, Gathered):
            return self._wrapped(atom)
        divisor = atom.divisor if isinstance(atom, FloorDiv) else atom.modulus
        inner = self.value(atom.index)
        quotient = self._quotient(atom.index, inner, divisor)
        if isinstance(atom, FloorDiv):
            return quotient
        if divisor & (divisor - 1) == 0:
            return self.b.op("and", inner, Literal(divisor - 1))
        return self.b.op("isub", inner, self.b.op("imul", quotient, Literal(divisor)))

    def _quotient(self, index: Index, inner: Operand, divisor: int) -> Operand:
        """floor(index / divisor): a shift, else (x M) >> s where that is exact on the index's range, else in full."""
        low, high = interval(index, {loop.name: (0, loop.extent - 1) for loop in self.op.loops})
        if divisor & (divisor - 1) == 0 or low < 0:
            return floor_divide(self.b, inner, Literal(divisor))
        found = _multiplier(high, divisor)
        if found is None:
            return floor_divide(self.b, inner, Literal(divisor))
        factor, shift = found
        return self.b.op("shr", self.b.op("imul", inner, Literal(factor)), Literal(shift))

    def _wrapped(self, atom: Gathered) -> Operand:
        """The gathered integer, negatives counted from the end (known non-negative constants need nothing)."""
        value = self.gathered(atom.read)
        source = self.graph.tensor(self.op.reads[atom.read].tensor)
        if source.data is not None and (source.elements == 0 or source.array().min() >= 0):
            return value
        return self.b.op("iadd", value, self.b.op("and", self.b.op("sra", value, Literal(31)), Literal(atom.extent)))

    def _all_hold(self, guards: Sequence[Index]) -> Operand:
        """1 where no guard is negative."""
        held: Operand = Literal(1)
        for guard in guards:
            one = self.b.op("icmp_ge", self.value(guard), Literal(0))
            held = one if held == Literal(1) else self.b.op("and", held, one)
        return held

    def _address(self, access: Access, role: str) -> int | None:
        """What feeds the address unit; None where the host's registers suffice."""
        if not any(i.gathered for i in access.index) and not access.loops & self.moving:
            return None
        linear = self._linear(access)
        plain = Index(tuple(t for t in linear.terms if isinstance(t[0], str)), linear.const)
        hard = Index(tuple(t for t in linear.terms if not isinstance(t[0], str)))
        offset = self.value(hard) if hard.terms else None
        if self.b.style.addresses == "host":
            return None if offset is None or isinstance(offset, Literal) else _step(offset)
        steps = {n: plain.at({m: int(m == n) for m in self.op.extents}) - plain.const for n in self.op.extents}
        moved = [step * self.copies.get(n, 1) for n, step in steps.items() if step and n in self.moving]
        region = (access.tensor, role)
        first = self.b.origin(region, plain.const)
        address: Operand = self.b.chain((*region, plain.terms), moved[-1] if moved else 0)
        if plain.const != first:
            address = self.b.op("iadd", address, Literal(plain.const - first))
        return _step(address if offset is None else self.b.op("iadd", address, offset))

    def _linear(self, access: Access) -> Index:
        """The element's position in row-major order."""
        shape = self.graph.tensor(access.tensor).shape
        total = Index()
        for dimension, index in enumerate(access.index):
            total = total + index * math.prod(shape[dimension + 1 :])
        return total


def _bare(access: Access) -> Access:
    return Access(access.tensor, access.index)


def _step(operand: Operand | None) -> int:
    assert isinstance(operand, int)
    return operand


def _multiplier(high: int, divisor: int) -> tuple[int, int] | None:
    """(M, s) with floor(x / divisor) = (x M) >> s for 0 <= x <= high within 32 bits; None if there is none."""
    for shift in range(31, 0, -1):
        factor = -(-(1 << shift) // divisor)
        if high * factor < 1 << 32 and high * (factor * divisor - (1 << shift)) < 1 << shift:
            return factor, shift
    return None
