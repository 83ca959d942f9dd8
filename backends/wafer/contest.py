"""Places a contest graph: the time target is part of the search.

1. *Strips* (:mod:`.strips`) over targets from the area bound upward: a legal placement in seconds.
2. The best by score is kept, sized again in its boxes and scored in exact numbers.

Everything is bounded by counts, never by a clock: the same graph and request give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.solver import Outcome

from .bounds import Bounds, Shortage, contest_bounds, shortage, slowest_time
from .shapes import Menu, Split, menu
from .solution import Score, placed, score
from .strips import Plan, StripLimits, place_strips

__all__ = ["ContestRequest", "ContestResult", "place_contest"]


@dataclass(frozen=True, slots=True)
class ContestRequest:
    """How hard to try: `fast` is strips alone (seconds), `default` minutes on one core, `max` several times that."""

    effort: Literal["fast", "default", "max"] = "default"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ContestResult:
    """A legal placement, its score by parts, and lower bounds that :mod:`.bounds` recomputes."""

    places: tuple[PlacedKernel, ...]
    outcome: Outcome
    score: Score
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class _Try:
    """A plan at a target with the placement that it gives."""

    target: Fraction
    plan: Plan
    places: tuple[PlacedKernel, ...]
    score: Score


def menus_at(graph: KernelGraph, target: Fraction) -> tuple[Menu, ...]:
    split = Split.of(graph, target)
    return tuple(menu(node, split) for node in graph.kernels)


def _targets(graph: KernelGraph, bounds: Bounds) -> Iterator[Fraction]:
    """A geometric ladder, fine near the bound (0.3 %) and coarser with distance (10 % at most)."""
    target, step = bounds.time, Fraction(3, 1000)
    most = slowest_time(graph)
    while target <= most:
        yield target
        target = Fraction(round(target * (1 + step) * 16), 16) + Fraction(1, 16)
        step = min(step * Fraction(9, 8), Fraction(1, 10))


def _sized(graph: KernelGraph, target: Fraction, plan: Plan) -> _Try:
    """Every kernel takes the smallest rectangle that fits its box."""
    places = []
    for node, shapes, box in zip(graph.kernels, menus_at(graph, target), plan.boxes, strict=True):
        chosen = shapes.fits(box.wide, box.tall)
        if chosen is None:
            raise AssertionError(f"{node.name} has no rectangle in its own box")
        places.append(placed(node.name, box, *chosen))
    return _Try(target, plan, tuple(places), score(graph, places))


def _strip_tries(graph: KernelGraph, bounds: Bounds, limits: StripLimits) -> list[_Try]:
    """Strips over the ladder until the time alone costs more than the best score."""
    tries: list[_Try] = []
    best: Fraction | None = None
    for target in _targets(graph, bounds):
        if best is not None and graph.weights.time * target >= best:
            break
        plan = place_strips(graph, menus_at(graph, target), limits)
        if plan is not None:
            tries.append(_sized(graph, target, plan))
            best = tries[-1].score.total if best is None else min(best, tries[-1].score.total)
    return sorted(tries, key=lambda t: (t.score.total, t.target))


def place_contest(graph: KernelGraph, request: ContestRequest = ContestRequest()) -> ContestResult | Shortage:
    """Size and place every kernel; a :class:`Shortage` names the resource when nothing fits."""
    short = shortage(graph)
    if short is not None:
        return short
    bounds = contest_bounds(graph)
    tries = _strip_tries(graph, bounds, StripLimits())
    if not tries:
        return Shortage("elements", 0, graph.width * graph.height, "no arrangement in columns was found")
    return _result(request, bounds, tries[0])


def _result(request: ContestRequest, bounds: Bounds, best: _Try) -> ContestResult:
    total, floor = best.score.total, bounds.score
    met = total == floor
    outcome = Outcome(
        status="optimal" if met else "feasible",
        objective=float(total),
        bound=float(floor),
        proof="bound" if met else "none",
        seed=request.seed,
    )
    return ContestResult(best.places, outcome, best.score, bounds)
