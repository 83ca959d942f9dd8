"""Compaction: rectangles keep their sizes and their order, and slide to where the wires are shortest.

Two rectangles that do not overlap are separated along x or along y; each pair keeps the separation with the larger gap.
Along each axis on its own, with corner p_k and extent s_k,

    minimise  sum over edges |2 p_a + s_a - 2 p_b - s_b|   (twice the distance of the centres)
    subject to  p_a + s_a <= p_b   for every pair kept on this axis with a before b,   0 <= p_k <= side - s_k

which is a linear program with an integral optimum; CP-SAT proves it in moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mapper.solver import Limits, Model, solve

from .trees import Box

__all__ = ["compact"]

_LIMITS = Limits(effort=10.0)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis: the side of the fabric, present corners, extents, and pairs (a, b) with a before b."""

    side: int
    corners: tuple[int, ...]
    extents: tuple[int, ...]
    before: tuple[tuple[int, int], ...]


def _axes(boxes: Sequence[Box], width: int, height: int) -> tuple[_Axis, _Axis]:
    """Gives every pair to the axis on which it is further apart."""
    along_x: list[tuple[int, int]] = []
    along_y: list[tuple[int, int]] = []
    for a, b in combinations(range(len(boxes)), 2):
        p, q = boxes[a], boxes[b]
        gaps = {
            (0, a, b): q.x - p.x - p.wide,
            (0, b, a): p.x - q.x - q.wide,
            (1, a, b): q.y - p.y - p.tall,
            (1, b, a): p.y - q.y - q.tall,
        }
        axis, first, second = max(gaps, key=lambda key: gaps[key])
        (along_y if axis else along_x).append((first, second))
    x = _Axis(width, tuple(b.x for b in boxes), tuple(b.wide for b in boxes), tuple(along_x))
    y = _Axis(height, tuple(b.y for b in boxes), tuple(b.tall for b in boxes), tuple(along_y))
    return x, y


def _slide(axis: _Axis, wires: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Corners of least wirelength along one axis; the present ones if the search ends without an answer."""
    model = Model()
    corner = [model.integer(0, axis.side - extent) for extent in axis.extents]
    for a, b in axis.before:
        model.add(corner[a] + axis.extents[a] <= corner[b])
    distances = []
    for a, b in wires:
        distance = model.integer(0, 2 * axis.side)
        model.add_abs_equality(distance, 2 * corner[a] + axis.extents[a] - 2 * corner[b] - axis.extents[b])
        distances.append(distance)
    model.minimize(sum(distances))
    model.hint(zip(corner, axis.corners, strict=True))
    found = solve(model, _LIMITS)
    return tuple(found.value(variable) for variable in corner) if found else axis.corners


def compact(
    boxes: Sequence[Box], wires: Sequence[tuple[int, int]], width: int, height: int
) -> tuple[tuple[int, int], ...]:
    """New corners (x, y) of the rectangles."""
    x, y = _axes(boxes, width, height)
    return tuple(zip(_slide(x, wires), _slide(y, wires), strict=True))
