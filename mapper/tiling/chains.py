"""The least chain of points: exact search over all temporal mappings of a layer on an accelerator.

A point says how much of each dimension lies inside; points form a lattice, one axis per prime factor of a dimension's
steps. Each memory of each operand but the outermost ends at a point, and so does what stands still at the inputs of the
array. Some temporal order realises a set of points exactly if they form a chain. With c(i, x) the energy of the i-th
point of an operand at x (`accelerator.py`) and k = (points placed for I, W, O),

    F(k, x) = min over y <= x and operands o of  F(k - e_o, y) + c(o, k_o, y),      F(0, x) = 0,

and the answer is F(all, whole layer): one pass of running minima along each axis per k. A memory that operands share
couples them; if what each takes alone does not fit together, its room is divided in every way between them (thinned
where there are very many).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from .accelerator import OPERANDS, Accelerator, Layer, Terms

__all__ = ["Chain", "Lattice", "least_chain"]

Array = np.ndarray[Any, Any]
DIVISIONS = 24  # ways to divide a shared memory that are tried before looking around the best


@dataclass(frozen=True)
class Lattice:
    """Points of a layer: axes (dimension, prime, largest exponent)."""

    layer: Layer

    @cached_property
    def axes(self) -> tuple[tuple[str, int, int], ...]:
        return tuple((d, p, e) for d, steps in self.layer.steps.items() for p, e in _factors(steps))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(e + 1 for _, _, e in self.axes)

    @cached_property
    def points(self) -> dict[str, Array]:
        """Per dimension the product of the factors inside, broadcast over the lattice."""
        found = {}
        for d in self.layer.size:
            inside = np.ones((1,) * len(self.axes))
            for at, (owner, prime, most) in enumerate(self.axes):
                if owner == d:
                    along = [1] * len(self.axes)
                    along[at] = most + 1
                    inside = inside * (float(prime) ** np.arange(most + 1)).reshape(along)
            found[d] = inside
        return found

    def point(self, index: Sequence[int]) -> dict[str, int]:
        """The products of the factors inside at one index."""
        found = dict.fromkeys(self.layer.size, 1)
        for (d, prime, _), exponent in zip(self.axes, index, strict=True):
            found[d] *= prime**exponent
        return found


def _factors(number: int) -> list[tuple[int, int]]:
    """(prime, exponent) of a number."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        exponent = 0
        while number % divisor == 0:
            number, exponent = number // divisor, exponent + 1
        if exponent:
            found.append((divisor, exponent))
        divisor += 1
    return [*found, (number, 1)] if number > 1 else found


@dataclass(frozen=True, slots=True)
class Chain:
    """Energy of memories, and per operand its points as (level, index in the lattice), inner ones first."""

    pj: float
    points: tuple[tuple[str, tuple[tuple[int, tuple[int, ...]], ...]], ...]

    def of(self, operand: str) -> tuple[tuple[int, tuple[int, ...]], ...]:
        return dict(self.points)[operand]


@dataclass(frozen=True)
class _Costs:
    """Energy and room of every point of every operand, as arrays over the lattice."""

    lattice: Lattice
    accelerator: Accelerator
    finished: bool  # results are finished before they leave the innermost memory
    terms: dict[str, Terms] = field(default_factory=dict)
    pj: dict[tuple[str, int], Array] = field(default_factory=dict)
    bits: dict[tuple[str, int], Array] = field(default_factory=dict)

    def levels(self, operand: str) -> range:
        """Levels whose end is free: from the inputs of the array (-1) or the innermost memory to the last but one."""
        return range(0 if operand == "O" else -1, len(self.terms[operand].memories) - 1)

    def constant_pj(self) -> float:
        """Results go in and out of the innermost memory at every cycle."""
        ones = dict.fromkeys(self.lattice.layer.size, 1)
        return float(self.terms["O"].pj(-1, ones))


def _costs(lattice: Lattice, accelerator: Accelerator, finished: bool) -> _Costs:
    costs = _Costs(lattice, accelerator, finished)
    layer = lattice.layer
    for operand in OPERANDS:
        terms = costs.terms[operand] = Terms(layer, accelerator, operand)
        for level in costs.levels(operand):
            pj = np.broadcast_to(terms.pj(level, lattice.points), lattice.shape).astype(float)
            bits = np.broadcast_to(_bits(terms, level, lattice, finished), lattice.shape)
            limit = math.inf if level < 0 else terms.memories[level].bits
            allowed = bits <= limit if level >= 0 else _still(terms, lattice)
            if finished and operand == "O" and level == 0:
                allowed = allowed & ~np.asarray(terms.partial_outside(0, lattice.points))
            costs.pj[operand, level] = np.where(allowed, pj, math.inf)
            costs.bits[operand, level] = bits
    return costs


def _bits(terms: Terms, level: int, lattice: Lattice, finished: bool) -> Any:
    """Room in memory `level`; results take their partial width unless they are finished further in."""
    partial = not (finished and level > 0)
    return terms.elements(level, lattice.points) * terms.layer.bits(terms.operand, partial)


def _still(terms: Terms, lattice: Lattice) -> Any:
    """Points inside which the operand does not move at the inputs of the array."""
    still: Any = np.ones(lattice.shape, bool)
    for d in lattice.layer.size:
        if terms.relevant(d):
            still = still & (lattice.points[d] == 1)
    return still


def least_chain(layer: Layer, accelerator: Accelerator) -> Chain | None:
    """The chain of least energy; None if no mapping fits."""
    lattice = Lattice(layer)
    found = [_least(_costs(lattice, accelerator, finished)) for finished in (True, False)]
    fitting = [chain for chain in found if chain is not None]
    return min(fitting, key=lambda chain: chain.pj) if fitting else None


def _least(costs: _Costs) -> Chain | None:
    """Least chain, shared memories divided where what each operand takes alone does not fit together."""
    free = _solve(costs, {})
    if free is None or _fits(costs, free):
        return free
    best: Chain | None = None
    for limits in _divisions(costs):
        chain = _solve(costs, limits)
        if chain is not None and (best is None or chain.pj < best.pj):
            best = chain
    return best


def _shared(costs: _Costs) -> Iterator[tuple[int, tuple[tuple[str, int], ...]]]:
    """(bits, ((operand, level), ...)) of bounded memories with several operands."""
    for memory in costs.accelerator.memories[:-1]:
        users = tuple((o, costs.terms[o].memories.index(memory)) for o in OPERANDS if o in memory.operands)
        if len(users) > 1:
            yield memory.bits, users


def _fits(costs: _Costs, chain: Chain) -> bool:
    for bits, users in _shared(costs):
        if sum(float(costs.bits[o, level][dict(chain.of(o))[level]]) for o, level in users) > bits:
            return False
    return True


def _divisions(costs: _Costs) -> Iterator[Mapping[tuple[str, int], float]]:
    """Limits per operand and level: every useful share of all but the last operand, the rest for the last."""
    choices = []
    for bits, users in _shared(costs):
        shares = []
        for part in product(*(_sizes(costs.bits[user], bits, DIVISIONS) for user in users[:-1])):
            if sum(part) < bits:
                shares.append(dict(zip(users, (*part, bits - sum(part)), strict=True)))
        choices.append(shares)
    for picked in product(*choices):
        yield {key: value for share in picked for key, value in share.items()}


def _sizes(bits: Array, limit: float, most: int) -> list[float]:
    sizes = np.unique(bits[bits <= limit])
    if len(sizes) > most:
        sizes = sizes[np.unique(np.linspace(0, len(sizes) - 1, most).round().astype(int))]
    return [float(size) for size in sizes]


def _solve(costs: _Costs, limits: Mapping[tuple[str, int], float]) -> Chain | None:
    """The recurrence of the module, then the way back."""
    levels = {o: list(costs.levels(o)) for o in OPERANDS}
    pj = {key: np.where(costs.bits[key] <= limits.get(key, math.inf), value, math.inf)
          for key, value in costs.pj.items()}  # fmt: skip
    best: dict[tuple[int, ...], Array] = {}
    placed: dict[tuple[int, ...], Array] = {}
    for k in product(*(range(len(levels[o]) + 1) for o in OPERANDS)):
        if not any(k):
            best[k] = np.zeros(costs.lattice.shape)
            continue
        here = np.full(costs.lattice.shape, math.inf)
        for at, operand in enumerate(OPERANDS):
            if k[at]:
                here = np.minimum(here, best[_less(k, at)] + pj[operand, levels[operand][k[at] - 1]])
        placed[k] = here
        for axis in range(here.ndim):
            here = np.minimum.accumulate(here, axis=axis)
        best[k] = here
    whole = tuple(extent - 1 for extent in costs.lattice.shape)
    if not math.isfinite(best[k][whole]):
        return None
    found = _trace(levels, pj, best, placed, k, whole)
    return Chain(float(best[k][whole]) + costs.constant_pj(), found)


def _less(k: tuple[int, ...], at: int) -> tuple[int, ...]:
    return (*k[:at], k[at] - 1, *k[at + 1 :])


def _trace(
    levels: dict[str, list[int]],
    pj: Mapping[tuple[str, int], Array],
    best: Mapping[tuple[int, ...], Array],
    placed: Mapping[tuple[int, ...], Array],
    k: tuple[int, ...],
    x: tuple[int, ...],
) -> tuple[tuple[str, tuple[tuple[int, tuple[int, ...]], ...]], ...]:
    """Points of a least chain, from the outermost inwards."""
    found: dict[str, list[tuple[int, tuple[int, ...]]]] = {o: [] for o in OPERANDS}
    while any(k):
        box = placed[k][tuple(slice(0, at + 1) for at in x)]
        x = tuple(int(at) for at in np.unravel_index(int(np.argmin(box)), box.shape))
        for at, operand in enumerate(OPERANDS):
            level = levels[operand][k[at] - 1] if k[at] else 0
            if k[at] and best[_less(k, at)][x] + pj[operand, level][x] == placed[k][x]:
                found[operand].append((level, x))
                k = _less(k, at)
                break
    return tuple((o, tuple(reversed(points))) for o, points in found.items())
