"""Shorter wires: windows of neighbouring stages are placed anew, exactly, by CP-SAT.

The floor plan gives every stage its size. A window frees a few stages that follow each other; all others stand still.

    variables    column x_i, row y_i of every free box, inside the window's outline
    no overlap   free boxes, the standing boxes that reach into the outline, and dead cores in it: NoOverlap2D
    distance     dx_e >= |2 x_a + w_a - 2 x_b - w_b|; dy_e alike; the edges of the wafer as partners in x
    minimise     sum over tensors and readers of bytes_e (dx_e + dy_e)          twice the distance of the centres

The outline is that of the freed boxes, so the plan stays legal whatever a window finds; the old places are the hint, so
it never gets worse. The windows with most bytes x distance come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.solver import Expression, Limits, Model, Variable, solve

from .packing import Box, Floor
from .wires import Wires

__all__ = ["Effort", "tightened"]

WINDOW = 7
Pulls = Sequence[tuple[int, float]]  # partners of a stage and bytes, as `Wires.pulls` lists them
SCALE = 1 << 20  # weights are rounded to this many steps of the heaviest


@dataclass(frozen=True, slots=True)
class Effort:
    """Moves of the last annealing (`improve`); how many windows are tried, and CP-SAT's deterministic time for each."""

    moves: int
    windows: int
    each: float
    seed: int = 0


def tightened(boxes: Sequence[Box], wires: Wires, floor: Floor, effort: Effort) -> tuple[Box, ...]:
    """The same boxes with shorter wires."""
    places, pulls = list(boxes), wires.pulls(len(boxes))
    starts = list(range(0, max(1, len(boxes) - WINDOW + 1), max(1, WINDOW // 2)))
    starts.sort(key=lambda start: (-_window_cost(places, pulls, start, floor), start))
    for start in starts[: effort.windows]:
        free = range(start, min(start + WINDOW, len(places)))
        found = _placed_anew(places, pulls, floor, free, Limits(effort.each, seed=effort.seed))
        for stage, box in zip(free, found or (), strict=False):
            places[stage] = box
    return tuple(places)


def _window_cost(places: Sequence[Box], pulls: Sequence[Pulls], start: int, floor: Floor) -> float:
    """Bytes x distance that the stages of a window have part in."""
    total = 0.0
    for stage in range(start, min(start + WINDOW, len(places))):
        for other, size in pulls[stage]:
            ends = zip(_centre(places[stage]), _end(places, other, floor), strict=True)
            total += size * sum(abs(a - b) for a, b in ends if b is not None)
    return total


def _centre(box: Box) -> tuple[int, int]:
    """Twice the centre: column, row."""
    return 2 * box.column + box.width, 2 * box.row + box.height


def _end(places: Sequence[Box], other: int, floor: Floor) -> tuple[int, int | None]:
    """Twice the centre of a partner; for the west (-1) and the east edge (-2) only the column counts."""
    return _centre(places[other]) if other >= 0 else (0 if other == -1 else 2 * floor.width, None)


def _placed_anew(
    places: Sequence[Box], pulls: Sequence[Pulls], floor: Floor, free: range, limits: Limits
) -> list[Box] | None:
    """New places for the stages in `free`; None if CP-SAT finds nothing in its time."""
    outline = _outline([places[n] for n in free])
    model = Model()
    x = {n: model.integer(outline.column, outline.column + outline.width - places[n].width) for n in free}
    y = {n: model.integer(outline.row, outline.row + outline.height - places[n].height) for n in free}
    _no_overlap(model, places, floor, outline, x, y)
    mine = [(n, other, size) for n in free for other, size in pulls[n] if other not in free or n < other]
    if not mine:
        return None
    heaviest = max(size for _, _, size in mine)
    at = {n: (2 * x[n] + places[n].width, 2 * y[n] + places[n].height) for n in free}
    lengths = [_length(model, at[n], at.get(other) or _end(places, other, floor), floor) for n, other, _ in mine]
    weights = [max(1, int(size * SCALE / heaviest)) for _, _, size in mine]
    model.minimize(sum(length * weight for length, weight in zip(lengths, weights, strict=True)))
    model.hint([(x[n], places[n].column) for n in free] + [(y[n], places[n].row) for n in free])
    answer = solve(model, limits)
    if not answer:
        return None
    return [Box(answer.value(y[n]), answer.value(x[n]), places[n].height, places[n].width) for n in free]


def _outline(boxes: Sequence[Box]) -> Box:
    row, column = min(b.row for b in boxes), min(b.column for b in boxes)
    bottom, right = max(b.row + b.height for b in boxes), max(b.column + b.width for b in boxes)
    return Box(row, column, bottom - row, right - column)


def _no_overlap(
    model: Model,
    places: Sequence[Box],
    floor: Floor,
    outline: Box,
    x: dict[int, Variable],
    y: dict[int, Variable],
) -> None:
    """No two boxes share a core; what stands still inside the outline is in the way."""
    columns = [model.new_fixed_size_interval_var(x[n], places[n].width, "") for n in x]
    rows = [model.new_fixed_size_interval_var(y[n], places[n].height, "") for n in x]
    standing = [box for n, box in enumerate(places) if n not in x and _meet(box, outline)]
    standing += [box for box in (Box(r, c, 1, 1) for r, c in sorted(floor.dead)) if _meet(box, outline)]
    for box in standing:
        columns.append(model.new_fixed_size_interval_var(box.column, box.width, ""))
        rows.append(model.new_fixed_size_interval_var(box.row, box.height, ""))
    model.add_no_overlap_2d(columns, rows)


def _meet(a: Box, b: Box) -> bool:
    rows = a.row < b.row + b.height and b.row < a.row + a.height
    return rows and a.column < b.column + b.width and b.column < a.column + a.width


def _length(
    model: Model, a: tuple[Expression, Expression], b: tuple[Expression, Expression | None], floor: Floor
) -> Expression:
    """Twice the Manhattan distance of two centres; None where an axis does not count."""
    total: Expression = 0
    for one, other, most in zip(a, b, (2 * floor.width, 2 * floor.height), strict=True):
        if other is not None:
            apart = model.integer(0, most)
            model.add(apart >= one - other)
            model.add(apart >= other - one)
            total = total + apart
    return total
