"""Target times worth trying: a ladder from the area bound upward, each rung lowered to where its area begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mapper.kgraph import KernelGraph

from .bounds import area_at, slowest_time
from .protocols import protocol_menus
from .shapes import Menu, Split, menu

__all__ = ["Sizing", "free_sizing", "protocol_sizing", "targets"]


@dataclass(frozen=True, slots=True)
class Sizing:
    """One target time and the shapes that the kernels may take at it."""

    target: Fraction
    menus: tuple[Menu, ...]


def free_sizing(graph: KernelGraph, target: Fraction) -> Sizing:
    """Every kernel on its own."""
    split = Split.of(graph, target)
    return Sizing(target, tuple(menu(node, split) for node in graph.kernels))


def protocol_sizing(graph: KernelGraph, target: Fraction, order: Sequence[int], price: Fraction) -> Sizing:
    """Neighbours share splits where an element of area, at `price`, costs less than an adapter."""
    return Sizing(target, protocol_menus(graph, Split.of(graph, target), order, price))


def targets(graph: KernelGraph, least: Fraction) -> Iterator[Fraction]:
    """Rungs 0.4 % apart near the bound and up to 10 % far from it, without repetition; the last one alone where time
    costs nothing, since more time never needs larger rectangles."""
    step, most = Fraction(4, 1000), slowest_time(graph)
    if graph.weights.time == 0:
        yield most
        return
    previous, rung = least, least
    yield least
    while rung < most:
        rung = min(most, Fraction(int(rung * (1 + step)) + 1))
        lowered = _start_of_plateau(graph, previous, rung)
        if lowered > previous:
            previous = lowered
            yield lowered
        step = min(step * Fraction(9, 8), Fraction(1, 10))


def _start_of_plateau(graph: KernelGraph, low: Fraction, high: Fraction) -> Fraction:
    """The least integer time above `low` at which the kernels need no more area than at `high`."""
    area = area_at(graph, high)
    if area_at(graph, low) == area:
        return low
    below, above = int(low), int(high)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if area_at(graph, Fraction(middle)) == area else (middle, above)
    return Fraction(above)
