"""A comparison as one picture: the roofline plot, and beneath it the movement of every system as a bar.

Above, both axes logarithmic: MACs per byte of the outermost memory in use against MACs per second. A line is a
system's roof (bandwidth, then peak), a filled point the bound of this model there, a hollow one a mapping that was
reached. Below, bytes in Eyeriss ratios, split by kind of memory: the unit that may be compared over nodes. Systems have
the same number in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mapper.comparison import LevelUse, Row
from mapper.errors import clean

from .canvas import INK, PALETTE, SOFT, Canvas
from .comparison_text import seconds
from .text import quantity

__all__ = ["svg"]

WIDTH, LEFT, RIGHT, TOP, PLOT, BAR = 980.0, 70.0, 40.0, 46.0, 400.0, 17.0
NAMES, VALUES = 205.0, 120.0  # widths of the columns beside the bars
LABEL_WIDTH, LABEL_HEIGHT = 40.0, 10.0
KINDS = {"dram": PALETTE[5], "buffer": PALETTE[4], "register": PALETTE[2], "link": PALETTE[3]}
WORDS = {"dram": "off chip", "buffer": "on-chip memory", "register": "registers", "link": "hops"}
RATIOS = {"dram": 100.0, "buffer": 3.0, "register": 0.5, "link": 1.0}  # per byte; see backends/roofline/energy.yaml


@dataclass(frozen=True, slots=True)
class _Point:
    """Row `number`: this model at `intensity` MAC/B, and the roof of the system where it is known."""

    number: int
    row: Row
    intensity: float
    rate: float
    bandwidth: float | None
    peak: float | None


@dataclass(frozen=True, slots=True)
class _Axes:
    """Logarithmic axes over decades."""

    x: tuple[int, int]
    y: tuple[int, int]

    def at(self, intensity: float, rate: float) -> tuple[float, float]:
        across = (math.log10(intensity) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(rate) - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), TOP + (1 - up) * PLOT


def svg(name: str, rows: Sequence[Row]) -> str:
    """The picture as an SVG document."""
    good = [row for row in rows if row.status == "ok"]
    height = TOP + PLOT + 110 + BAR * len(good)
    canvas = Canvas(WIDTH, height, f"{name} on {len(good)} systems")
    canvas.text(LEFT, 24, f"{clean(name, 70)}: roofline of {len(good)} systems", 15, bold=True)
    points = [found for number, row in enumerate(good, 1) for found in (_point(number, row),) if found is not None]
    if points:
        _roofline(canvas, points)
    _bars(canvas, good, TOP + PLOT + 70)
    return canvas.document()


def _point(number: int, row: Row) -> _Point | None:
    """Where the row stands in the plot; None without MACs, bytes or a time."""
    outer = row.outer
    moved = [level for level in row.levels if level.inward_bytes > 0]
    if outer is None or not moved or not row.macs or not row.seconds:
        return None
    held = outer if outer.inward_bytes else moved[0]
    return _Point(number, row, row.macs / held.inward_bytes, row.macs / row.seconds, held.bytes_per_s,
                  row.peak_macs_per_s)  # fmt: skip


def _roofline(canvas: Canvas, points: Sequence[_Point]) -> None:
    heights = [p.rate for p in points] + [p.peak for p in points if p.peak]
    axes = _Axes(_decades([p.intensity for p in points]), _decades(heights))
    _grid(canvas, axes)
    for point in points:
        _roof(canvas, axes, point)
    heights = _spread([axes.at(point.intensity, point.rate) for point in points])
    for at, point in enumerate(points):
        _mark(canvas, axes, point, heights[at], at % 2 == 0)


def _spread(places: Sequence[tuple[float, float]]) -> list[float]:
    """Heights of the labels, moved down where points of one side stand closer than a line of text."""
    heights = [y for _, y in places]
    for side in (0, 1):  # labels alternate between right and left of their points
        last: list[tuple[float, float]] = []
        for at in sorted(range(side, len(places), 2), key=lambda n: (places[n][1], n)):
            x, y = places[at]
            near = [below for across, below in last if abs(across - x) < LABEL_WIDTH]
            heights[at] = max([y, *(below + LABEL_HEIGHT for below in near)])
            last.append((x, heights[at]))
    return heights


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Whole decades around the values, one at least."""
    low, high = math.floor(math.log10(min(values)) - 0.1), math.ceil(math.log10(max(values)) + 0.1)
    return low, max(high, low + 1)


def _grid(canvas: Canvas, axes: _Axes) -> None:
    low, high = axes.y
    for exponent in range(axes.x[0], axes.x[1] + 1):
        x, _ = axes.at(10.0**exponent, 10.0**low)
        canvas.line([(x, TOP), (x, TOP + PLOT)], "#e4e4e4")
        canvas.text(x, TOP + PLOT + 15, f"{10.0**exponent:g}", 10, fill=SOFT, anchor="middle")
    for exponent in range(low, high + 1):
        _, y = axes.at(10.0 ** axes.x[0], 10.0**exponent)
        canvas.line([(LEFT, y), (WIDTH - RIGHT, y)], "#e4e4e4")
        canvas.text(LEFT - 6, y + 3, quantity(10.0**exponent, "MAC/s"), 10, fill=SOFT, anchor="end")
    words = "MACs per byte at the outermost memory that the model uses"
    canvas.text((LEFT + WIDTH - RIGHT) / 2, TOP + PLOT + 32, words, 11, anchor="middle")


def _roof(canvas: Canvas, axes: _Axes, point: _Point) -> None:
    """Bandwidth up to the ridge, the peak beyond; cut at the frame."""
    if point.bandwidth is None or point.peak is None:
        return
    left, right = 10.0 ** axes.x[0], 10.0 ** axes.x[1]
    floor = 10.0 ** axes.y[0]
    start = max(left, floor / point.bandwidth)
    ridge = min(max(point.peak / point.bandwidth, start), right)
    if start >= right:
        return
    path = [(start, point.bandwidth * start), (ridge, min(point.bandwidth * ridge, point.peak)),
            (right, min(point.bandwidth * right, point.peak))]  # fmt: skip
    tip = (f"{point.row.system}: {quantity(point.bandwidth, 'B/s')}, {quantity(point.peak, 'MAC/s')} "
           f"({point.row.peak_dtype})")  # fmt: skip
    canvas.line([axes.at(*corner) for corner in path], _colour(point), 1.1, opacity=0.5, tip=tip)


def _mark(canvas: Canvas, axes: _Axes, point: _Point, label_y: float, mark_right: bool) -> None:
    x, y = axes.at(point.intensity, point.rate)
    mapped = point.row.kind == "mapped"
    words = "reached" if mapped else f"bound, set by {point.row.limited_by}"
    tip = f"{point.row.system}: {seconds(point.row.seconds)} ({words}), {point.intensity:.3g} MAC/B"
    fill, stroke = ("#ffffff", _colour(point)) if mapped else (_colour(point), "#ffffff")
    canvas.rect(x - 4.5, y - 4.5, 9, 9, fill, tip=tip, stroke=stroke, line=2 if mapped else 0.8, radius=4.5)
    side = 1 if mark_right else -1
    canvas.text(x + 8 * side, label_y + 3.5, str(point.number), 10, anchor="start" if side > 0 else "end", bold=mapped)


def _colour(point: _Point) -> str:
    return PALETTE[(point.number - 1) % len(PALETTE)]


def _bars(canvas: Canvas, rows: Sequence[Row], top: float) -> None:
    """Movement of each row in Eyeriss ratios, stacked by kind of memory, on one linear scale."""
    canvas.text(LEFT - 50, top, "Movement in energies of one 16-bit multiply-accumulate (Eyeriss ratios)", 12,
                bold=True)  # fmt: skip
    x = LEFT - 50
    for kind, colour in KINDS.items():
        canvas.rect(x, top + 9, 10, 10, colour)
        canvas.text(x + 14, top + 18, f"{WORDS[kind]} ({RATIOS[kind]:g} per byte)", 10)
        x += 165
    most = max((row.eyeriss_macs or 0.0 for row in rows), default=0.0)
    for number, row in enumerate(rows, 1):
        _bar(canvas, number, row, top + 12 + BAR * number, most)


def _bar(canvas: Canvas, number: int, row: Row, y: float, most: float) -> None:
    room = WIDTH - (LEFT - 50) - NAMES - VALUES
    canvas.text(LEFT - 50, y + 10, f"{number}  {clean(row.system, 34)}", 10, bold=row.kind == "mapped")
    x = LEFT - 50 + NAMES
    for kind, colour in KINDS.items():
        worth = _bytes(row, kind) * RATIOS[kind]
        width = room * worth / most if most else 0.0
        if width > 0:
            tip = f"{row.system}, {WORDS[kind]}: {quantity(_bytes(row, kind), 'B')}, {quantity(worth, 'MAC')}"
            canvas.rect(x, y, width, BAR - 5, colour, tip=tip, line=0)
        x += width
    canvas.text(x + 5, y + 10, quantity(row.eyeriss_macs or 0.0, "MAC"), 10, fill=INK)


def _bytes(row: Row, kind: str) -> int:
    if kind == "link":
        return row.hop_bytes
    levels: list[LevelUse] = [level for level in row.levels if level.kind == kind]
    return sum(level.bytes for level in levels)
