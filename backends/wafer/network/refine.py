"""Shorter wires: windows of neighbouring stages are placed anew, exactly, by CP-SAT.

The floor plan gives every stage its size. A window frees a few stages that follow each other; all others stand still.

    variables    column x_i, row y_i of every free box, inside the window's outline
    no overlap   free boxes, the standing boxes that reach into the outline, and dead cores in it: NoOverlap2D
    distance     dx_e >= x_b - (x_a + w_a - 1),  dx_e >= x_a - (x_b + w_b - 1),  dx_e >= 0; dy_e alike
    minimise     sum over tensors of bytes_e (dx_e + dy_e)          the links between the nearest cores of two boxes

The outline is that of the freed boxes, so the plan stays legal whatever a window finds; the old places are the hint, so
it never gets worse. The windows with most bytes x links come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.solver import Expression, Limits, Model, Variable, solve

from .floorplan import Box, Floor
from .flow import Edge
from .paths import box_distance

__all__ = ["Effort", "tightened", "wire_cost"]

WINDOW = 7
SCALE = 1 << 20  # weights are rounded to this many steps of the heaviest


@dataclass(frozen=True, slots=True)
class Effort:
    """How many windows are tried, and CP-SAT's deterministic time for each."""

    windows: int
    each: float
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Wire:
    """`bytes` between two stages."""

    a: int
    b: int
    bytes: int


def wire_cost(boxes: Sequence[Box], edges: Sequence[Edge]) -> int:
    """Bytes x links between the nearest cores of the boxes that each tensor joins."""
    return sum(wire.bytes * box_distance(boxes[wire.a], boxes[wire.b]) for wire in _wires(edges))


def _wires(edges: Sequence[Edge]) -> list[_Wire]:
    found = []
    for edge in edges:
        for target, size in zip(edge.targets, edge.sizes, strict=True):
            if edge.source is not None and target is not None:
                found.append(_Wire(edge.source, target, size))
    return found


def tightened(boxes: Sequence[Box], edges: Sequence[Edge], floor: Floor, effort: Effort) -> tuple[Box, ...]:
    """The same boxes with shorter wires."""
    places, wires = list(boxes), _wires(edges)
    starts = list(range(0, max(1, len(boxes) - WINDOW + 1), max(1, WINDOW // 2)))
    starts.sort(key=lambda start: (-_window_cost(places, wires, start), start))
    for start in starts[: effort.windows]:
        free = range(start, min(start + WINDOW, len(places)))
        found = _placed_anew(places, wires, floor, free, Limits(effort.each, seed=effort.seed))
        for stage, box in zip(free, found or (), strict=False):
            places[stage] = box
    return tuple(places)


def _window_cost(places: Sequence[Box], wires: Sequence[_Wire], start: int) -> int:
    """Bytes x links that the stages of a window have part in."""
    mine = [w for w in wires if start <= w.a < start + WINDOW or start <= w.b < start + WINDOW]
    return sum(w.bytes * box_distance(places[w.a], places[w.b]) for w in mine)


def _placed_anew(
    places: Sequence[Box], wires: Sequence[_Wire], floor: Floor, free: range, limits: Limits
) -> list[Box] | None:
    """New places for the stages in `free`; None if CP-SAT finds nothing in its time."""
    outline = _outline([places[n] for n in free])
    model = Model()
    x = {n: model.integer(outline.column, outline.column + outline.width - places[n].width) for n in free}
    y = {n: model.integer(outline.row, outline.row + outline.height - places[n].height) for n in free}
    _no_overlap(model, places, floor, outline, x, y)
    mine = [w for w in wires if w.a in free or w.b in free]
    if not mine:
        return None
    heaviest = max(w.bytes for w in mine)
    lengths = [_length(model, places, w, x, y, floor) * max(1, w.bytes * SCALE // heaviest) for w in mine]
    model.minimize(sum(lengths))
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
    model: Model, places: Sequence[Box], wire: _Wire, x: dict[int, Variable], y: dict[int, Variable], floor: Floor
) -> Expression:
    """Links between the nearest cores of two boxes."""
    a, b = places[wire.a], places[wire.b]
    xa, xb = x.get(wire.a, a.column), x.get(wire.b, b.column)
    ya, yb = y.get(wire.a, a.row), y.get(wire.b, b.row)
    across, down = model.integer(0, floor.width), model.integer(0, floor.height)
    model.add(across >= xb - (xa + a.width - 1))
    model.add(across >= xa - (xb + b.width - 1))
    model.add(down >= yb - (ya + a.height - 1))
    model.add(down >= ya - (yb + b.height - 1))
    return across + down
