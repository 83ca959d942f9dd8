"""One plan per operator such that the whole is least in energy, in time, or in their product.

Operators run one after the other, so energies and cycles add up. Least energy and least time are chosen operator by
operator. The product (sum of energies) x (sum of cycles) is not a sum; but whatever choice minimises it among those on
the lower convex hull also minimises energy + price x cycles for some price of a cycle. Prices around the whole's own
ratio of energy to time are tried, both ends included: never worse than least energy or least time, not proven least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.cost import cost
from mapper.mapping import Mapping

__all__ = ["Weight", "chosen", "value_of"]

PRICES = tuple(4.0**power for power in range(-6, 7))


@dataclass(frozen=True, slots=True)
class Weight:
    """What a plan costs: movement and arithmetic in pJ, and cycles."""

    pj: float
    cycles: int


def value_of(mapping: Mapping, objective: str) -> float:
    """What a request minimises: pJ of movement, pJ of movement and arithmetic, cycles, or pJ x seconds."""
    total = cost(mapping)
    values = {"movement": total.movement_pj, "energy": total.energy_pj, "latency": float(total.cycles)}
    return values.get(objective, total.energy_pj * total.seconds)


def chosen(options: Sequence[Sequence[Weight]], objective: str) -> tuple[int, ...]:
    """The plan of each operator, by number; ties go to the earlier one. `objective` is that of a request."""
    if objective == "latency":
        return _least(options, 0.0, 1.0)
    by_energy = _least(options, 1.0, 0.0)
    if objective != "edp":
        return by_energy
    energy, cycles = _sums(options, by_energy)
    rate = energy / cycles if cycles else 0.0
    found = [by_energy, _least(options, 0.0, 1.0), *(_least(options, 1.0, rate * price) for price in PRICES)]
    return min(found, key=lambda choice: _product(options, choice))


def _least(options: Sequence[Sequence[Weight]], pj: float, cycle: float) -> tuple[int, ...]:
    """Least weighted sum per operator, then least of the other."""

    def weight(item: Weight) -> tuple[float, float, int]:
        return pj * item.pj + cycle * item.cycles, item.pj, item.cycles

    return tuple(min(range(len(each)), key=lambda at: weight(each[at])) for each in options)


def _sums(options: Sequence[Sequence[Weight]], choice: Sequence[int]) -> tuple[float, int]:
    taken = [each[at] for each, at in zip(options, choice, strict=True)]
    return sum(item.pj for item in taken), sum(item.cycles for item in taken)


def _product(options: Sequence[Sequence[Weight]], choice: Sequence[int]) -> float:
    energy, cycles = _sums(options, choice)
    return energy * cycles
