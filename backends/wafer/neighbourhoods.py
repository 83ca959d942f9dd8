"""Neighbourhoods: parts of a placement are opened again and solved exactly with CP-SAT.

Kernel k has a corner (x_k, y_k) and extents (s_k, t_k). Inside a *window* of kernels the relations are free, around it
the shapes are, and everything else keeps its shape and its order but may slide:

    minimise  sum over edges |2 x_a + s_a - 2 x_b - s_b| + |2 y_a + t_a - 2 y_b - t_b|    (twice the wirelength)
    subject to  (s_k, t_k) in shapes(k)                       one shape where k is not reshaped
                0 <= x_k <= width - s_k,  0 <= y_k <= height - t_k
                x_a + s_a <= x_b  or  y_a + t_a <= y_b  (a before b)  for every pair outside the window: the one kept
                one of the four relations                             for every pair inside it

The target time is fixed, so every shape on offer costs the same. A window of no kernels frees the shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mapper.kgraph import KernelGraph
from mapper.solver import Limits, Model, Solution, Variable, solve

from .shapes import Menu
from .trees import Box

__all__ = ["Opening", "Rectangle", "centre_distances", "kept_relations", "reopen", "windows"]

_LIMITS = Limits(effort=2.0)
_RELEASED = 7  # kernels of a window
_RESHAPED = 21  # kernels around its middle whose shapes are free
_SHAPES = 60  # shapes on offer to a kernel: those nearest to its present area

Sides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Opening:
    """What one solve may change: relations among `released`, shapes of `reshaped`."""

    released: frozenset[int]
    reshaped: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """The variables of one kernel's corner and extents."""

    x: Variable
    y: Variable
    wide: Variable
    tall: Variable


def windows(boxes: Sequence[Box], reshape: bool) -> tuple[Opening, ...]:
    """All shapes alone, then around every kernel its nearest neighbours in the plane."""
    openings = [Opening(frozenset(), frozenset(range(len(boxes))))] if reshape else []
    for box in boxes:
        near = sorted(range(len(boxes)), key=lambda k: (_distance(box, boxes[k]), k))
        openings.append(Opening(frozenset(near[:_RELEASED]), frozenset(near[:_RESHAPED] if reshape else ())))
    return tuple(dict.fromkeys(openings))


def _distance(a: Box, b: Box) -> int:
    (ax, ay), (bx, by) = a.twice_centre, b.twice_centre
    return abs(ax - bx) + abs(ay - by)


def _shapes(menu: Menu, box: Box) -> list[Sides]:
    """The present rectangle, and the menu's of least area in both rotations."""
    sides = list(zip(menu.wide, menu.tall, strict=True))
    both = {*sides, *((t, w) for w, t in sides)} - {(box.wide, box.tall)}
    kept = sorted(both, key=lambda s: (s[0] * s[1], s))[: _SHAPES - 1]
    return [(box.wide, box.tall), *kept]


def _rectangle(model: Model, graph: KernelGraph, box: Box, shapes: Sequence[Sides]) -> Rectangle:
    """(s, t) in shapes, and 0 <= x <= width - s, 0 <= y <= height - t."""
    shapes = [(w, t) for w, t in shapes if w <= graph.width and t <= graph.height]
    wide = model.integer(min(w for w, _ in shapes), max(w for w, _ in shapes))
    tall = model.integer(min(t for _, t in shapes), max(t for _, t in shapes))
    if len(shapes) > 1:
        model.add_allowed_assignments([wide, tall], shapes)
    x, y = model.integer(0, graph.width), model.integer(0, graph.height)
    model.add(x + wide <= graph.width)
    model.add(y + tall <= graph.height)
    model.hint(zip((x, y, wide, tall), (box.x, box.y, box.wide, box.tall), strict=True))
    return Rectangle(x, y, wide, tall)


def kept_relations(boxes: Sequence[Box], released: frozenset[int]) -> set[tuple[int, int, int]]:
    """(axis, a, b): a before b on the axis where they are further apart, without what follows from two others."""
    kept: set[tuple[int, int, int]] = set()
    for a, b in combinations(range(len(boxes)), 2):
        if a not in released or b not in released:
            axis, first, second, _ = max(_relations(boxes, a, b), key=lambda r: r[3])
            kept.add((axis, first, second))
    after = [[{b for x, a, b in kept if x == axis and a == k} for k in range(len(boxes))] for axis in (0, 1)]
    return {(x, a, b) for x, a, b in kept if not any(b in after[x][middle] for middle in after[x][a])}


def _relations(boxes: Sequence[Box], a: int, b: int) -> tuple[tuple[int, int, int, int], ...]:
    """(axis, first, second, gap) of the four ways in which two rectangles can be apart."""
    p, q = boxes[a], boxes[b]
    return (
        (0, a, b, q.x - p.x - p.wide),
        (0, b, a, p.x - q.x - q.wide),
        (1, a, b, q.y - p.y - p.tall),
        (1, b, a, p.y - q.y - q.tall),
    )


def _free_relations(model: Model, parts: Sequence[Rectangle], boxes: Sequence[Box], released: Sequence[int]) -> None:
    """One of the four relations holds for each pair of the window."""
    for a, b in combinations(released, 2):
        flags = []
        options = _relations(boxes, a, b)
        present = max(range(4), key=lambda i: options[i][3])
        for number, (axis, first, second, _) in enumerate(options):
            p, q = parts[first], parts[second]
            flag = model.flag()
            model.add(p.y + p.tall <= q.y if axis else p.x + p.wide <= q.x).only_enforce_if(flag)
            model.add_hint(flag, number == present)
            flags.append(flag)
        model.add_exactly_one(flags)


def centre_distances(
    model: Model, graph: KernelGraph, parts: Sequence[Rectangle], boxes: Sequence[Box]
) -> list[Variable]:
    """The distances of the centres along both axes, doubled."""
    distances = []
    for a, b in graph.wires:
        p, q = parts[a], parts[b]
        (px, py), (qx, qy) = boxes[a].twice_centre, boxes[b].twice_centre
        for side, difference, now in (
            (graph.width, 2 * p.x + p.wide - 2 * q.x - q.wide, abs(px - qx)),
            (graph.height, 2 * p.y + p.tall - 2 * q.y - q.tall, abs(py - qy)),
        ):
            distance = model.integer(0, 2 * side)
            model.add(distance >= difference)
            model.add(distance >= -difference)
            model.add_hint(distance, now)
            distances.append(distance)
    return distances


def reopen(graph: KernelGraph, menus: Sequence[Menu], boxes: Sequence[Box], opening: Opening) -> tuple[Box, ...] | None:
    """The best rectangles of the opening; None where the solver found nothing shorter than `boxes`."""
    model = Model()
    parts = [
        _rectangle(model, graph, box, _shapes(menus[k], box) if k in opening.reshaped else [(box.wide, box.tall)])
        for k, box in enumerate(boxes)
    ]
    for axis, a, b in sorted(kept_relations(boxes, opening.released)):
        p, q = parts[a], parts[b]
        model.add(p.y + p.tall <= q.y if axis else p.x + p.wide <= q.x)
    _free_relations(model, parts, boxes, sorted(opening.released))
    distances = centre_distances(model, graph, parts, boxes)
    now = sum(_distance(boxes[a], boxes[b]) for a, b in graph.wires)
    model.add(sum(distances) <= now)
    model.minimize(sum(distances))
    found = solve(model, _LIMITS)
    return _read(found, parts) if found and found.objective < now else None


def _read(found: Solution, parts: Sequence[Rectangle]) -> tuple[Box, ...]:
    return tuple(Box(found.value(p.x), found.value(p.y), found.value(p.wide), found.value(p.tall)) for p in parts)
