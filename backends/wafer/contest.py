"""Places a contest graph: the time target is part of the search.

1. *Strips* (:mod:`.strips`) and *wraps* (:mod:`.wraps`) over a ladder of targets from the area bound upward, and again
   between the rungs beside the best ones: legal placements in seconds.
2. Where adapters cost, strips again with kernels held to common protocols (:mod:`.protocols`).
3. *Annealing* over slicing trees (:mod:`.slicing`) from the most promising strips, the target free to move a little.
4. *Compaction* (:mod:`.compaction`) of the best few: rectangles slide to where the wires are shortest.
5. Where adapters cost, *exchange* (:mod:`.exchange`) of arguments along stretches of the network, everything sliding.
6. *Neighbourhoods* (:mod:`.neighbourhoods`) of the best one: parts of it are opened again and solved exactly.

Every placement is sized again in its boxes and scored in exact numbers; the best one is the answer. All effort is
counted, never timed: the same graph and request give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.signals import asked
from mapper.solver import Outcome

from .adapters import agree
from .bounds import Bounds, Shortage, area_at, contest_bounds, shortage, slowest_time
from .compaction import compact
from .exchange import exchanged
from .kernels import Arguments
from .neighbourhoods import reopen, windows
from .shapes import Split
from .solution import Score, levelled, placed, rectangle, score
from .strips import Plan, Snake, StripLimits, snake_plan, topological_order
from .targets import Sizing, free_sizing, protocol_sizing, targets
from .trees import Box
from .wraps import wrapped_plan

__all__ = ["ContestRequest", "ContestResult", "place_contest"]


_Choice = tuple[Arguments, int]  # arguments and rotation of a kernel


def unshown(_score: float, _bound: float) -> None:
    """The receiver of quiet runs."""


@dataclass(frozen=True, slots=True)
class ContestRequest:
    """How hard to try: `fast` is strips alone (seconds), `default` minutes on one core, `max` several times that.

    Behind `end` (of `time.monotonic`) no new step begins, as behind a signal; the best placement so far is the answer.
    `show` is told score and bound whenever the score falls.
    """

    effort: Literal["fast", "default", "max"] = "default"
    seed: int = 0
    end: float | None = None
    show: Callable[[float, float], None] = unshown

    @property
    def late(self) -> bool:
        """Is the time over?"""
        return self.end is not None and time.monotonic() >= self.end

    @property
    def over(self) -> bool:
        """Should no further step begin?"""
        return self.late or asked.is_set()


@dataclass(frozen=True, slots=True)
class ContestResult:
    """A legal placement, its score by parts, and lower bounds that :mod:`.bounds` recomputes."""

    places: tuple[PlacedKernel, ...]
    outcome: Outcome
    score: Score
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class _Try:
    """A plan for a sizing with the placement that it gives."""

    sizing: Sizing
    plan: Plan
    places: tuple[PlacedKernel, ...]
    score: Score

    def promise(self, graph: KernelGraph) -> Fraction:
        """What annealing may make of it: three tenths off the wires."""
        return self.score.total - graph.weights.wirelength * self.score.wirelength * Fraction(3, 10)


@dataclass(frozen=True, slots=True)
class _Effort:
    """Counts that bound the search: plans annealed, moves times kernels over all of them, neighbourhoods solved."""

    plans: int
    moves: int
    openings: int = 0
    exchanges: int = 0


_EFFORTS = {
    "fast": _Effort(0, 0),
    "default": _Effort(6, 100_000_000, 6, 40),
    "max": _Effort(12, 1_000_000_000, 200, 200),
}


def place_contest(graph: KernelGraph, request: ContestRequest = ContestRequest()) -> ContestResult | Shortage:
    """Size and place every kernel; a :class:`Shortage` names the resource when nothing fits."""
    short = shortage(graph)
    if short is not None:
        return short
    bounds, effort = contest_bounds(graph), _EFFORTS[request.effort]
    tries = _shown(request, bounds, _strip_tries(graph, bounds, request))
    if graph.weights.adapter > 0 and not request.over:
        tries = _shown(request, bounds, [*tries, *_protocol_tries(graph, tries, request)])
    if not tries:
        area = area_at(graph, slowest_time(graph))
        return Shortage("elements", area, graph.width * graph.height, "no arrangement in columns was found")
    if effort.plans and len(graph.kernels) > 1 and not request.over:
        tries = _shown(request, bounds, [*tries, *_annealed_tries(graph, tries, effort, request)])
    finished = [_compacted(graph, t) for t in tries[:_FINALISTS] if not request.over]
    tries = _shown(request, bounds, [*finished, *tries])
    if graph.weights.adapter > 0:
        tries = _shown(request, bounds, [_exchanged(graph, tries[0], effort.exchanges, request), *tries])
    best = tries[0]
    return _result(request, bounds, _reopened(graph, best, effort.openings, request))


def _shown(request: ContestRequest, bounds: Bounds, tries: Sequence[_Try]) -> list[_Try]:
    """The tries, best first; who watches is told the best."""
    ranked = _ranked(tries)
    if ranked:
        request.show(float(ranked[0].score.total), float(bounds.score))
    return ranked


def _ranked(tries: Sequence[_Try]) -> list[_Try]:
    """Best first; of equal placements the one of the least target stands for all."""
    ranked = sorted(tries, key=lambda t: (t.score.total, t.sizing.target))
    return list({t.places: t for t in reversed(ranked)}.values())[::-1]


def _sized(graph: KernelGraph, sizing: Sizing, plan: Plan) -> _Try:
    """Every kernel takes the smallest rectangle that fits its box, or one that spares adapters, if that scores less."""
    chosen = []
    for node, shapes, box in zip(graph.kernels, sizing.menus, plan.boxes, strict=True):
        fitting = shapes.fits(box.wide, box.tall)
        if fitting is None:
            raise AssertionError(f"{node.name} has no rectangle in its own box")
        chosen.append(fitting)
    variants = [tuple(chosen)]
    if graph.weights.adapter > 0:
        variants.append(agree(graph, Split.of(graph, sizing.target), plan.boxes, chosen))
    variants += [_levelled(graph, plan, variant) for variant in variants]
    tries = []
    for variant in variants:
        rows = zip(graph.kernels, plan.boxes, variant, strict=True)
        places = tuple(placed(node.name, box, *arguments) for node, box, arguments in rows)
        tries.append(_Try(sizing, plan, places, score(graph, places)))
    return min(tries, key=lambda t: t.score.total)


def _levelled(graph: KernelGraph, plan: Plan, chosen: Sequence[_Choice]) -> tuple[_Choice, ...]:
    rows = zip(graph.kernels, plan.boxes, chosen, strict=True)
    return tuple((levelled(node, box, arguments, turn), turn) for node, box, (arguments, turn) in rows)


def _strips(graph: KernelGraph, sizing: Sizing) -> _Try | None:
    """The better one of strips and wrap."""
    snake = Snake(graph, sizing.menus, StripLimits())
    plans = [plan for plan in (snake_plan(snake), wrapped_plan(snake)) if plan is not None]
    return min((_sized(graph, sizing, plan) for plan in plans), key=lambda t: t.score.total, default=None)


def _strip_tries(graph: KernelGraph, bounds: Bounds, request: ContestRequest) -> list[_Try]:
    """Strips over the ladder until the time alone costs more than the best score, or nothing got better for long; then
    between the best rungs and their neighbours."""
    tries: list[_Try] = []
    rungs: list[Fraction] = []
    for target in targets(graph, bounds.time):
        if tries and (request.over or _is_over(graph, tries, target)):
            break
        rungs.append(target)
        found = _strips(graph, free_sizing(graph, target))
        if found is not None:
            tries.append(found)
    if request.effort != "fast":
        for target in _between(rungs, [t.sizing.target for t in _ranked(tries)[:_REFINED]]):
            if request.over:
                break
            found = _strips(graph, free_sizing(graph, target))
            if found is not None:
                tries.append(found)
    return _ranked(tries)


def _between(rungs: Sequence[Fraction], best: Sequence[Fraction]) -> list[Fraction]:
    """Targets that cut the gaps on both sides of the best rungs into quarters."""
    gaps = [(a, b) for a, b in zip(rungs, rungs[1:], strict=False) if a in best or b in best]
    return sorted({Fraction(int(a + (b - a) * n / 4)) for a, b in gaps for n in (1, 2, 3)} - set(rungs))


def _is_over(graph: KernelGraph, tries: Sequence[_Try], target: Fraction) -> bool:
    best = min(t.score.total for t in tries)
    stale = len(tries) > _PATIENCE and best < min(t.score.total for t in tries[-_PATIENCE:])
    return stale or graph.weights.time * target >= best


_REFINED = 2  # rungs of the ladder around which more targets are tried
_FINALISTS = 4  # placements that are compacted
_STRETCH = 12  # kernels of an exchange
_MOVES_PER_KERNEL = 100_000  # of one annealing: more gains nothing on small graphs
_PATIENCE = 10  # rungs of the ladder without a better score
_PRICES = (Fraction(1, 4), Fraction(1), Fraction(4), Fraction(16))  # times the worth of an element at that target


def _protocol_tries(graph: KernelGraph, tries: Sequence[_Try], request: ContestRequest) -> list[_Try]:
    """Strips with common protocols at the best targets; the price of area is that of time, times a factor."""
    order, found = topological_order(graph), []
    most = 6 if len(graph.kernels) <= 40 else 2  # a sizing takes several seconds on long networks
    for target in list(dict.fromkeys(t.sizing.target for t in tries))[:most]:
        if request.over:
            break
        price = graph.weights.time * target / (graph.width * graph.height)
        menus = [protocol_sizing(graph, target, order, price * factor) for factor in _PRICES]
        for sizing in dict.fromkeys(menus):
            placement = _strips(graph, sizing)
            if placement is not None:
                found.append(placement)
    return found


def _annealed_tries(graph: KernelGraph, tries: Sequence[_Try], effort: _Effort, request: ContestRequest) -> list[_Try]:
    """Anneals the most promising plans, then once more the best of what came out."""
    from .annealing import anneal_plan  # numba is imported only when annealing is wanted

    count = max(1, min(effort.plans, 100 // len(graph.kernels)))  # large trees need their moves together
    starts = sorted(tries, key=lambda t: (t.promise(graph), t.sizing.target))[:count]
    moves = min(_MOVES_PER_KERNEL * len(graph.kernels), effort.moves // (len(graph.kernels) * max(1, len(starts))))
    found = []
    for start in starts:
        if request.over:
            break
        result = anneal_plan(graph, _nearby(graph, start.sizing), start.plan, moves, request.seed)
        if result is not None:
            found.append(_sized(graph, result.sizing, result.plan))
    return found


def _nearby(graph: KernelGraph, sizing: Sizing) -> list[Sizing]:
    """The sizing and slightly larger targets; a sizing with protocols stands alone."""
    if sizing != free_sizing(graph, sizing.target):
        return [sizing]
    steps = (Fraction(3, 2000) * i for i in range(1, 4))
    return [sizing, *(free_sizing(graph, Fraction(int(sizing.target * (1 + s)))) for s in steps)]


def _compacted(graph: KernelGraph, best: _Try) -> _Try:
    """Slide the rectangles to shorter wires; keeps the better of the two."""
    corners = compact([rectangle(p) for p in best.places], graph.wires, graph.width, graph.height)
    places = tuple(replace(p, x=x, y=y) for p, (x, y) in zip(best.places, corners, strict=True))
    slid = replace(best, places=places, score=score(graph, places))
    return min(best, slid, key=lambda t: t.score.total)


def _exchanged(graph: KernelGraph, best: _Try, count: int, request: ContestRequest) -> _Try:
    """Exchanges arguments along the network, half a stretch further each time, until a whole round brings nothing."""
    order, split = topological_order(graph), Split.of(graph, best.sizing.target)
    step, quiet = min(_STRETCH // 2, len(order)), 0
    for turn in range(count):
        if request.over or quiet * step > len(order) + step:
            break
        begin = turn * step % len(order)
        stretch = frozenset((order + order)[begin : begin + _STRETCH])
        places = exchanged(graph, split, best.places, stretch)
        quiet = 0 if places is not None else quiet + 1
        if places is not None:
            best = replace(best, places=places, score=score(graph, places))
    return best


def _reopened(graph: KernelGraph, best: _Try, openings: int, request: ContestRequest) -> _Try:
    """Solves neighbourhoods one after the other; each improvement is the start of the next. Where adapters cost,
    shapes stay as they were agreed.
    """
    count = 0
    while count < openings and not request.over:
        before = best
        for opening in windows([rectangle(p) for p in best.places], graph.weights.adapter == 0)[: openings - count]:
            if request.over:
                break
            count += 1
            boxes = reopen(graph, best.sizing.menus, [rectangle(p) for p in best.places], opening)
            if boxes is not None:
                best = min(best, _reshaped(graph, best, boxes), key=lambda t: t.score.total)
        if best is before:
            break
    return best


def _reshaped(graph: KernelGraph, old: _Try, boxes: Sequence[Box]) -> _Try:
    """The placement with these rectangles: a kernel of the old sides keeps its arguments, others take the menu's."""
    places = []
    for place, shapes, box in zip(old.places, old.sizing.menus, boxes, strict=True):
        was = rectangle(place)
        if (was.wide, was.tall) == (box.wide, box.tall):
            places.append(replace(place, x=box.x, y=box.y))
            continue
        fitting = shapes.fits(box.wide, box.tall)
        if fitting is None:
            raise AssertionError(f"{place.name} has no rectangle of {box.wide} x {box.tall}")
        places.append(placed(place.name, box, *fitting))
    return replace(old, places=tuple(places), score=score(graph, places))


def _result(request: ContestRequest, bounds: Bounds, best: _Try) -> ContestResult:
    total, floor = best.score.total, bounds.score
    met = total == floor
    outcome = Outcome(
        status="optimal" if met else "feasible",
        objective=float(total),
        bound=float(floor),
        proof="bound" if met else "none",
        seed=request.seed,
        interrupted=asked.is_set(),
        wall_limited=request.late,
    )
    return ContestResult(best.places, outcome, best.score, bounds)
