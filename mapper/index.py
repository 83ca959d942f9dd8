"""Quasi-affine index expressions: sums of integer multiples of loops, floor divisions and modulos.

An :class:`Index` is `const + sum(coefficient * atom)`; an atom is a loop name, `FloorDiv(index, c)`, `Mod(index, c)`
or `Gathered(read)`: the value that another read of the same operator delivers (one-level indirection).
Arithmetic normalises, so equal expressions compare equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Atom", "FloorDiv", "Gathered", "Index", "Mod", "constant", "interval", "loop"]


@dataclass(frozen=True, slots=True)
class FloorDiv:
    index: Index
    divisor: int


@dataclass(frozen=True, slots=True)
class Mod:
    index: Index
    modulus: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """The integer that read number `read` of the operator delivers, in [0, extent); negatives wrap once."""

    read: int
    extent: int


Atom = str | FloorDiv | Mod | Gathered


@dataclass(frozen=True, slots=True)
class Index:
    """`const + sum(coefficient * atom for atom, coefficient in terms)`, terms sorted and non-zero."""

    terms: tuple[tuple[Atom, int], ...] = ()
    const: int = 0

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.const + other)
        total: dict[Atom, int] = dict(self.terms)
        for atom, coefficient in other.terms:
            total[atom] = total.get(atom, 0) + coefficient
        terms = sorted(((a, c) for a, c in total.items() if c), key=lambda t: repr(t[0]))
        return Index(tuple(terms), self.const + other.const)

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        return Index(tuple((a, c * factor) for a, c in self.terms), self.const * factor)

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    def __rsub__(self, other: int) -> Index:
        return self * -1 + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Index:
        return self if divisor == 1 else Index(((FloorDiv(self, divisor), 1),))

    def __mod__(self, modulus: int) -> Index:
        return Index() if modulus == 1 else Index(((Mod(self, modulus), 1),))

    @property
    def loops(self) -> frozenset[str]:
        """Names of all loops that occur, also inside divisions (not those of a gathered read)."""
        return frozenset(self._loops())

    def _loops(self) -> Iterator[str]:
        for atom, _ in self.terms:
            if isinstance(atom, str):
                yield atom
            elif isinstance(atom, (FloorDiv, Mod)):
                yield from atom.index._loops()

    @property
    def gathered(self) -> tuple[Gathered, ...]:
        """Indirect atoms, in order of their terms."""
        return tuple(atom for atom, _ in self.terms if isinstance(atom, Gathered))

    @property
    def is_affine(self) -> bool:
        return all(isinstance(atom, str) for atom, _ in self.terms)

    def at(self, values: Mapping[str, Any], gathered: Any = None) -> Any:
        """The value with loops bound to integers or broadcastable integer arrays; `gathered(atom)` resolves reads."""
        total: Any = self.const
        for atom, coefficient in self.terms:
            total = total + coefficient * _atom_value(atom, values, gathered)
        return total

    def renamed(self, names: Mapping[str, Index]) -> Index:
        """Loops replaced by index expressions (missing names stay)."""
        total = Index(const=self.const)
        for atom, coefficient in self.terms:
            if isinstance(atom, str):
                part = names.get(atom, Index(((atom, 1),)))
            elif isinstance(atom, FloorDiv):
                part = atom.index.renamed(names) // atom.divisor
            elif isinstance(atom, Mod):
                part = atom.index.renamed(names) % atom.modulus
            else:
                part = Index(((atom, 1),))
            total = total + part * coefficient
        return total


def _atom_value(atom: Atom, values: Mapping[str, Any], gathered: Any) -> Any:
    if isinstance(atom, str):
        return values[atom]
    if isinstance(atom, FloorDiv):
        return atom.index.at(values, gathered) // atom.divisor
    if isinstance(atom, Mod):
        return atom.index.at(values, gathered) % atom.modulus
    return gathered(atom)


def loop(name: str) -> Index:
    return Index(((name, 1),))


def constant(value: int) -> Index:
    return Index(const=value)


def interval(index: Index, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Smallest and largest value while each loop runs over its inclusive range; exact for affine indices
    with each loop once, never too narrow otherwise."""
    low = high = index.const
    for atom, coefficient in index.terms:
        a, b = _atom_interval(atom, ranges)
        low += min(coefficient * a, coefficient * b)
        high += max(coefficient * a, coefficient * b)
    return low, high


def _atom_interval(atom: Atom, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    if isinstance(atom, str):
        return ranges[atom]
    if isinstance(atom, Gathered):
        return 0, atom.extent - 1
    low, high = interval(atom.index, ranges)
    if isinstance(atom, FloorDiv):
        return low // atom.divisor, high // atom.divisor
    if low // atom.modulus == high // atom.modulus:
        return low % atom.modulus, high % atom.modulus
    return 0, atom.modulus - 1
