"""From the snake's plan to a faster one with shorter wires.

1. Plans of one, two and three columns (and the snake's own number) are annealed a little at the snake's target time;
   the one with the shortest wires goes on.
2. The target is lowered by steps as long as annealing finds a plan that fits (at most `TRIES` of them).
3. At `SLACK` times the least target found, where wires have some freedom, a longer annealing shortens them.

So time comes first, wires second, within that slack. Routing then takes the first plan whose links are fast enough, or
the fastest of all.

Plans of too many stages for that are snakes of any number of columns that fits at up to `SLACK` times the target, each
with its shelves turned to short wires (`turn`); a per cent of time has to shorten them by two. At low effort the one
snake is turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .arrange import rearranged
from .floorplan import COLUMNS, pack
from .packing import Packing, with_curves
from .sizing import Plan, Sized
from .turn import turned
from .wires import Wires

__all__ = ["improved"]

TRIES = 7
WORTH = 800
LOWER, RAISE = 0.95, 1.02  # steps of the target behind a success and a failure
SLACK = 1.05
SNAKES = (1.0, 1.02, SLACK)  # targets of the snakes that are compared, in times of the least
MANY = 500  # stages, beyond which other snakes are not made: a thousand would take 20 s
LOOSE = 1.15  # the snake itself may need this much more time with another number of columns


def improved(sized: Sized, plan: Plan, wires: Wires, bound: float, moves: int, seed: int) -> list[Plan]:
    """Plans for routing to choose from: those with the shortest wires first, the given one last.

    `moves` is the length of the last annealings, the others take an eighth of it each. Plans of so many stages that
    each would get less than `WORTH` moves are not annealed: short searches hardly improve them.
    """
    if not wires.count:
        return [plan]
    if moves < WORTH * len(sized.works):
        return [*(_snakes(sized, plan, wires) if moves and len(sized.works) <= MANY else ()), *_turned(plan, wires)]
    few = moves // 8
    tried = [_annealed(sized, start, plan.target_cycles, wires, few, seed) for start in _starts(sized, plan)]
    best = min((each for each in tried if each), key=lambda each: _length(each, wires), default=plan)
    fastest = _faster(sized, best, wires, bound, few, seed)
    target = min(plan.target_cycles, fastest.target_cycles * SLACK)
    tried = [_annealed(sized, start.packing, target, wires, moves, seed) for start in (fastest, best)]
    return [*sorted((each for each in tried if each), key=lambda each: _length(each, wires)), plan]


def _turned(plan: Plan, wires: Wires) -> list[Plan]:
    """The snake with turned shelves, and as it was: now and then its links are faster."""
    return [replace(plan, packing=turned(plan.packing, wires)), plan]


def _snakes(sized: Sized, plan: Plan, wires: Wires) -> list[Plan]:
    """Of snakes with any number of columns, at the target and behind it, that of the least time squared x wires."""
    found = []
    for target in [plan.target_cycles * factor for factor in SNAKES]:
        curves = sized.curves(target)
        packings = (pack(curves, sized.floor, (count,)) for count in COLUMNS)
        found += [Plan(target, turned(each, wires)) for each in packings if each is not None]
    return sorted(found, key=lambda each: each.target_cycles**2 * _length(each, wires))[:1]


def _length(plan: Plan, wires: Wires) -> float:
    """Bytes x distance between rooms."""
    return wires.of(plan.packing.boxes)


def _starts(sized: Sized, plan: Plan) -> Iterator[Packing]:
    """The plan, and snakes of other numbers of columns, which may be too long at its target."""
    yield plan.packing
    for count in (1, 2, 3):
        if count != len(plan.packing.columns):
            snake = pack(sized.curves(plan.target_cycles * LOOSE), sized.floor, (count,))
            if snake is not None:
                yield snake


def _annealed(sized: Sized, start: Packing, target: float, wires: Wires, moves: int, seed: int) -> Plan | None:
    """`start` rearranged so that it fits at a target time; None if no such plan is met."""
    packing = rearranged(with_curves(start, sized.curves(target)), wires, moves, seed)
    return Plan(target, packing) if packing else None


def _faster(sized: Sized, plan: Plan, wires: Wires, bound: float, moves: int, seed: int) -> Plan:
    """The plan of the least target time at which annealing succeeded."""
    factor = LOWER
    for _ in range(TRIES):
        target = max(bound, plan.target_cycles * factor)
        if target >= plan.target_cycles * 0.995:
            break
        found = _annealed(sized, plan.packing, target, wires, moves, seed)
        plan, factor = (found, LOWER) if found else (plan, factor * RAISE)
    return plan
