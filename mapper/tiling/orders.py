"""Temporal orders: from a chain of points to loops per memory, and the quickest order by local search.

Latency depends on the order itself (which loops end a slice), not on points alone, so it is not a shortest path. The
search starts from the chain of least energy and from whole orders of dimensions with every memory filled, and then
moves loops and ends of memories as long as that helps. Deterministic; not proven.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from .accelerator import OPERANDS, Accelerator, Layer, Terms, points_of
from .chains import Chain, Lattice, least_chain
from .latency import Latency, latency, settle

__all__ = ["Order", "energy_pj", "outermost_bytes", "quickest", "realise"]

STARTS, EVALUATIONS, MIXED = 4, 400, 24
Loop = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Order:
    """Loops (dimension, factor) from inside to outside; per operand the positions at which its memories end, all but
    the outermost."""

    loops: tuple[Loop, ...]
    ends: tuple[tuple[str, tuple[int, ...]], ...]

    def splits(self) -> dict[str, list[list[Loop]]]:
        """Loops of each operand per memory."""
        found = {}
        for operand, ends in self.ends:
            bounds = (0, *ends, len(self.loops))
            found[operand] = [list(self.loops[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
        return found


def realise(layer: Layer, chain: Chain, first: Sequence[str]) -> Order:
    """An order whose memories end at the points of the chain; between points dimensions come as in `first`."""
    lattice = Lattice(layer)
    whole = tuple(extent - 1 for extent in lattice.shape)
    marks = sorted({p for o in OPERANDS for _, p in chain.of(o)} | {whole}, key=lambda p: (sum(p), p))
    loops: list[Loop] = []
    position, before = {}, tuple(0 for _ in whole)
    for mark in marks:
        between = [(d, prime) for (d, prime, _), a, b in zip(lattice.axes, before, mark, strict=True)
                   for _ in range(b - a)]  # fmt: skip
        loops += sorted(between, key=lambda loop: (first.index(loop[0]), loop[1]))
        position[mark], before = len(loops), mark
    ends = tuple((o, tuple(position[p] for level, p in chain.of(o) if level >= 0)) for o in OPERANDS)
    return Order(tuple(loops), ends)


def _ends(
    layer: Layer, accelerator: Accelerator, splits: Mapping[str, Sequence[Sequence[Loop]]]
) -> Iterator[tuple[Terms, int, dict[str, int]]]:
    """Terms, level and point at which every memory of a mapping ends, the inputs of the array (level -1) included."""
    for operand in OPERANDS:
        terms = Terms(layer, accelerator, operand)
        settled = settle(operand, splits[operand])
        still = dict.fromkeys(layer.size, 1)
        for dimension, factor in settled[0] if operand != "O" else ():
            if terms.relevant(dimension):
                break
            still[dimension] *= factor
        for level, point in enumerate([still, *points_of(layer, settled)[:-1]], -1):
            yield terms, level, point


def energy_pj(layer: Layer, accelerator: Accelerator, splits: Mapping[str, Sequence[Sequence[Loop]]]) -> float:
    """Energy of memories of a mapping as it stands; `splits` gives loops per memory, inner ones first."""
    return sum(float(terms.pj(level, point)) for terms, level, point in _ends(layer, accelerator, splits))


def outermost_bytes(layer: Layer, accelerator: Accelerator, splits: Mapping[str, Sequence[Sequence[Loop]]]) -> int:
    """Bytes moved at the outermost memory, whole words."""
    found = 0
    for terms, level, point in _ends(layer, accelerator, splits):
        for memory, direction, words in terms.accesses(level, point):
            if memory == len(terms.memories) - 1:
                found += int(words) * terms.memories[memory].width(terms.operand, direction)[1] // 8
    return found


def quickest(layer: Layer, accelerator: Accelerator) -> tuple[Order, Latency] | None:
    """The quickest order found; None if no mapping fits."""
    terms = {o: Terms(layer, accelerator, o) for o in OPERANDS}
    scored = [
        (latency(layer, accelerator, order.splits()).cycles, order) for order in _starts(layer, accelerator, terms)
    ]
    if not scored:
        return None
    scored.sort(key=lambda entry: entry[0])
    best = min((_climb(layer, accelerator, terms, *entry) for entry in scored[:STARTS]), key=lambda entry: entry[0])
    return best[1], latency(layer, accelerator, best[1].splits())


def _starts(layer: Layer, accelerator: Accelerator, terms: Mapping[str, Terms]) -> Iterator[Order]:
    chain = least_chain(layer, accelerator)
    moving = [d for d, steps in layer.steps.items() if steps > 1]
    rest = [d for d in layer.size if d not in moving]
    axes = Lattice(layer).axes
    for first in list(permutations(moving))[:24]:
        if chain is not None:
            yield realise(layer, chain, [*first, *rest])
        loops = [(d, prime) for wanted in first for d, prime, most in axes if d == wanted for _ in range(most)]
        yield from _filled(layer, accelerator, terms, tuple(loops))
    draw, mixed = random.Random(0), [(d, prime) for d, prime, most in axes for _ in range(most)]
    for _ in range(MIXED):
        draw.shuffle(mixed)
        yield from _filled(layer, accelerator, terms, tuple(mixed))


def _filled(
    layer: Layer, accelerator: Accelerator, terms: Mapping[str, Terms], loops: tuple[Loop, ...]
) -> Iterator[Order]:
    """Every memory ends as far out as its room allows, operands served in two orders; or as far in as it may."""
    for served in (OPERANDS, OPERANDS[::-1]):
        order = Order(loops, tuple((o, (0,) * (len(terms[o].memories) - 1)) for o in OPERANDS))
        for operand in served:
            for level in range(len(terms[operand].memories) - 1):
                for end in range(len(loops), 0, -1):
                    moved = _moved(order, operand, level, end)
                    if moved is not None and _fits(layer, accelerator, terms, moved):
                        order = moved
                        break
        if _fits(layer, accelerator, terms, order):
            yield order


def _moved(order: Order, operand: str, level: int, end: int) -> Order | None:
    """The order with one memory ending elsewhere, those further out at least as far."""
    if not 0 <= end <= len(order.loops):
        return None
    ends = dict(order.ends)
    old = ends[operand]
    ends[operand] = tuple(
        min(e, end) if at < level else end if at == level else max(e, end) for at, e in enumerate(old)
    )
    return Order(order.loops, tuple(ends.items())) if ends[operand] != old else None


def _fits(layer: Layer, accelerator: Accelerator, terms: Mapping[str, Terms], order: Order) -> bool:
    """What the operands of each memory keep there fits it together."""
    used = dict.fromkeys((memory.name for memory in accelerator.memories), 0.0)
    splits = order.splits()
    for operand, item in terms.items():
        for level, point in enumerate(points_of(layer, splits[operand])[:-1]):
            used[item.memories[level].name] += float(item.elements(level, point)) * layer.bits(operand, True)
    return all(used[memory.name] <= memory.bits for memory in accelerator.memories)


def _climb(
    layer: Layer, accelerator: Accelerator, terms: Mapping[str, Terms], cycles: float, order: Order
) -> tuple[float, Order]:
    """Take the first neighbour that is quicker, until none is or enough were looked at."""
    left, improved = EVALUATIONS, True
    floor = layer.cycles
    while improved and left > 0 and cycles > floor:
        improved = False
        for neighbour in _neighbours(order):
            if left == 0:
                break
            if not _fits(layer, accelerator, terms, neighbour):
                continue
            left -= 1
            found = latency(layer, accelerator, neighbour.splits()).cycles
            if found < cycles:
                cycles, order, improved = found, neighbour, True
                break
    return cycles, order


def _neighbours(order: Order) -> Iterator[Order]:
    """Ends of memories moved by one or two loops, loops exchanged or moved to the outside."""
    for operand, ends in order.ends:
        for level, end in enumerate(ends):
            for shift in (-1, 1, -2, 2):
                moved = _moved(order, operand, level, end + shift)
                if moved is not None:
                    yield moved
    number = len(order.loops)
    for at in range(number):
        for other in range(at + 1, number):
            if order.loops[at] != order.loops[other]:
                loops = list(order.loops)
                loops[at], loops[other] = loops[other], loops[at]
                yield Order(tuple(loops), order.ends)
                loops = list(order.loops)
                loops.insert(other, loops.pop(at))
                yield Order(tuple(loops), order.ends)
