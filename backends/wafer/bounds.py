"""Provable lower bounds on time, wirelength and score of a contest graph.

*Time*: at a target time every kernel needs at least its smallest legal rectangle, and the sum must fit the fabric.
The area is a falling step function of the target, so the least target that fits is found by bisection.

*Wirelength at a time t*: two rectangles that do not overlap have centres at least half the sum of their short sides
apart, so an edge costs at least half the sum of the least short sides at t.

*Score*: on each interval [a, b) of times a placement pays at least `w_t a` and the wirelength bound at b, where shapes
are freer; the least over intervals that cover all times is a bound on the score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from mapper.kgraph import KernelGraph, KernelNode

from .kernels import Arguments, convolutions, kernel_memory, kernel_time
from .shapes import FAR, Split, menu

__all__ = ["Bounds", "Shortage", "area_at", "contest_bounds", "shortage", "slowest_time", "time_bound"]


@dataclass(frozen=True, slots=True)
class Shortage:
    """Does not fit: which resource, how much is needed at least, how much there is, and what would help."""

    resource: str
    demand: int
    limit: int
    hint: str
    unit: str = "elements"


@dataclass(frozen=True, slots=True)
class Bounds:
    """No legal placement has less time, less wirelength or a lower score."""

    time: Fraction
    wirelength: Fraction
    score: Fraction


def slowest_time(graph: KernelGraph) -> Fraction:
    """A time that the least parallel arguments of every kernel meet: larger targets change nothing."""
    counts = {node: len(convolutions(node)) for node in graph.kernels}
    return max(kernel_time(node, Arguments(1, 1, (1,) * n, (1,) * n)) for node, n in counts.items())


def area_at(graph: KernelGraph, target: Fraction) -> int:
    """Sum of the smallest rectangles, FAR squared or more where a kernel has none."""
    split = Split.of(graph, target)
    return sum(menu(node, split).area for node in graph.kernels)


def _grain(graph: KernelGraph) -> int:
    """Times are multiples of 1 / this."""
    return max(conv.T for node in graph.kernels for conv in convolutions(node)) ** 2


def time_bound(graph: KernelGraph) -> Fraction | None:
    """The least target whose smallest rectangles fit the fabric together; None where none does."""
    grain, room = _grain(graph), graph.width * graph.height
    high = int(slowest_time(graph) * grain)
    if area_at(graph, Fraction(high, grain)) > room:
        return None
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if area_at(graph, Fraction(middle, grain)) <= room else (middle, high)
    return Fraction(high, grain)


def shortage(graph: KernelGraph) -> Shortage | None:
    """Why no placement can exist at any time: a kernel without a rectangle, or too little area."""
    split = Split.of(graph, slowest_time(graph))
    for node in graph.kernels:
        if not menu(node, split).tall:
            return _kernel_shortage(graph, node, split)
    area, room = area_at(graph, slowest_time(graph)), graph.width * graph.height
    if area <= room:
        return None
    return Shortage("elements", area, room, "the smallest rectangles exceed the fabric: use fewer kernels")


def _kernel_shortage(graph: KernelGraph, node: KernelNode, split: Split) -> Shortage:
    """Why a kernel has no rectangle: the least memory with which it has one; the fabric's side if there is none."""
    one = (1,) * len(convolutions(node))
    low, high = graph.memory_limit, math.ceil(kernel_memory(node, Arguments(1, 1, one, one)))
    if high <= low or not menu(node, replace(split, memory_limit=high)).tall:
        smallest = 3 * len(one)
        hint = f"kernel {node.name} is at least 2 x {smallest} elements: use a larger fabric"
        return Shortage("side of the fabric", smallest, split.side, hint)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if menu(node, replace(split, memory_limit=middle)).tall else (middle, high)
    hint = f"kernel {node.name} needs that much in every rectangle inside {split.side} x {split.side}"
    return Shortage("memory per element", high, graph.memory_limit, hint, "words")


def _short_sides(graph: KernelGraph, target: Fraction) -> tuple[int, ...]:
    split = Split.of(graph, target)
    fronts = (menu(node, split) for node in graph.kernels)
    return tuple(min((min(w, t) for w, t in zip(f.wide, f.tall, strict=True)), default=FAR) for f in fronts)


def wirelength_bound(graph: KernelGraph, target: Fraction) -> Fraction:
    """sum over edges of (short side + short side) / 2."""
    side = _short_sides(graph, target)
    return Fraction(sum(side[a] + side[b] for a, b in graph.wires), 2)


def contest_bounds(graph: KernelGraph, steps_per_octave: int = 24) -> Bounds:
    """The three bounds; raises ValueError where nothing fits (ask :func:`shortage` first)."""
    least, most = time_bound(graph), slowest_time(graph)
    if least is None:
        raise ValueError(f"{graph.name}: no placement exists")
    weights, score, start = graph.weights, None, least
    while start <= most:
        end = max(start + 1, start * Fraction(round(2 ** (1 / steps_per_octave) * 4096), 4096))
        part = weights.time * start + weights.wirelength * wirelength_bound(graph, min(end, most))
        score = part if score is None else min(score, part)
        start = end
        if weights.time * start > score:
            break
    assert score is not None
    return Bounds(least, wirelength_bound(graph, most), score)
