"""The fabric as a few lines of text: for the terminal, and for logs that cannot show a picture.

A model in sequence becomes bars of its costliest stages, a pipeline a small floorplan, a loop on a grid its slots, a
loop on a line its rows. Colour is added only where the caller asks for it.
"""

from __future__ import annotations

from mapper.cost import stage_cycles
from mapper.documents import ContestDecision, Decision, KernelDecision
from mapper.errors import clean
from mapper.machine import Fabric
from mapper.mapping import Mapping
from mapper.placement import KernelMapping

__all__ = ["fabric_map"]

WIDTH, HEIGHT = 60, 16
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
MOST_ROWS, MOST_SLOTS = 16, 4
_TINTS = (34, 33, 32, 35, 36, 31)
_SLOTS = ("exe", "cex", "mop1", "mop0")

Box = tuple[str, int, int, int, int]  # name, row, column, height, width


def fabric_map(decision: Decision, colour: bool = False) -> str:
    """The map; with `colour`, letters and operations carry ANSI colours."""
    if isinstance(decision, KernelDecision):
        fabric = decision.machine.fabric
        return (_rows if fabric.topology == "line" else _slots)(decision.mapping, fabric, colour)
    if isinstance(decision, ContestDecision):
        boxes = [(p.name, p.y, p.x, p.size[1], p.size[0]) for p in decision.places]
        return _floor(boxes, decision.graph.height, decision.graph.width, colour)
    if decision.schedule == "pipeline":
        found = [(s.op, s.rect.row, s.rect.column, s.rect.height, s.rect.width) for s in decision.stages]
        return _floor(found, decision.machine.fabric.rows, decision.machine.fabric.columns, colour)
    return _bars(decision, colour)


def _tint(text: str, number: int, colour: bool) -> str:
    return f"\x1b[{_TINTS[number % len(_TINTS)]}m{text}\x1b[0m" if colour else text


def _slots(mapping: KernelMapping, fabric: Fabric, colour: bool) -> str:
    """One small grid per slot, side by side; later slots are left out."""
    shown = min(mapping.ii, MOST_SLOTS, max(1, 100 // (fabric.columns * 5 + 3)))
    cells: dict[tuple[int, int], tuple[str, int]] = {(p.cycle % mapping.ii, p.pe): (str(p.node), 0)
                                                     for p in mapping.placed}  # fmt: skip
    cells |= {(m.cycle % mapping.ii, m.pe): (m.id, 1) for m in mapping.moves}
    lines = ["   ".join(f"slot {slot}".ljust(fabric.columns * 5) for slot in range(shown)).rstrip()]
    for row in range(fabric.rows):
        parts = []
        for slot in range(shown):
            line = ""
            for column in range(fabric.columns):
                name, tint = cells.get((slot, row * fabric.columns + column), (".", -1))
                line += (_tint(name.rjust(4), tint, colour) if tint >= 0 else name.rjust(4)) + " "
            parts.append(line)
        lines.append("   ".join(parts).rstrip())
    return "\n".join(lines + ([f"… {mapping.ii - shown} more slots"] if shown < mapping.ii else []))


def _rows(mapping: KernelMapping, fabric: Fabric, colour: bool) -> str:
    """One line per row: what each unit's four slots hold."""
    used = 1 + max((p.cycle for p in mapping.placed), default=0)
    held = {(p.cycle, p.pe % fabric.columns, p.slot): str(p.node) for p in mapping.placed}
    lines = ["row  " + "  ".join("exe cex ld  l/s".ljust(15) for _ in range(fabric.columns)).rstrip()]
    for row in range(min(used, MOST_ROWS)):
        units = []
        for column in range(fabric.columns):
            names = [held.get((row, column, slot), ".") for slot in _SLOTS]
            units.append(" ".join(_tint(name.ljust(3), i, colour) if name != "." else name.ljust(3)
                                  for i, name in enumerate(names)))  # fmt: skip
        lines.append(f"{row:3d}  {'  '.join(units)}".rstrip())
    return "\n".join(lines + ([f"… {used - MOST_ROWS} more rows"] if used > MOST_ROWS else []))


def _floor(boxes: list[Box], rows: int, columns: int, colour: bool) -> str:
    """A letter per rectangle on a coarse grid of the part in use, with a key."""
    rows = min(rows, max((r + h for _, r, _, h, _ in boxes), default=rows))
    columns = min(columns, max((c + w for _, _, c, _, w in boxes), default=columns))
    scale = max(columns / WIDTH, rows / HEIGHT / 2)
    wide, high = max(1, round(columns / scale)), max(1, round(rows / scale / 2))
    grid = [["."] * wide for _ in range(high)]
    for number, (_, r, c, h, w) in enumerate(boxes):
        for y in range(int(r / scale / 2), max(int(r / scale / 2) + 1, round((r + h) / scale / 2))):
            for x in range(int(c / scale), max(int(c / scale) + 1, round((c + w) / scale))):
                if y < high and x < wide:
                    grid[y][x] = _tint(LETTERS[number % len(LETTERS)], number, colour)
    key = [f"{LETTERS[i % len(LETTERS)]} {clean(name, 30)}" for i, (name, *_) in enumerate(boxes[:12])]
    more = [f"… {len(boxes) - 12} more"] if len(boxes) > 12 else []
    lines = ["".join(row) for row in grid]
    return "\n".join([*lines, f"{columns} x {rows} cores in use; {', '.join(key + more)}"])


def _bars(mapping: Mapping, colour: bool) -> str:
    """The longest stages as bars of their share of the time, a letter per phase."""
    total = sum(stage_cycles(s) for s in mapping.stages) or 1
    names = list(dict.fromkeys(p.name for s in mapping.stages for p in s.phases))
    letters = {name: LETTERS[i % len(LETTERS)] if _doubles(names) else name[0] for i, name in enumerate(names)}
    longest = sorted(mapping.stages, key=lambda s: (-stage_cycles(s), s.name))[:8]
    top = stage_cycles(longest[0]) if longest else 1
    lines = []
    for stage in longest:
        work = sum(p.cycles * p.times for p in stage.phases) or 1
        length = stage_cycles(stage) / (top or 1) * 40
        bar = "".join(_tint(letters[p.name] * round(p.cycles * p.times / work * length), names.index(p.name), colour)
                      for p in stage.phases)  # fmt: skip
        lines.append(f"{clean(stage.op, 28):<30}{stage_cycles(stage) / total:6.1%}  {bar}")
    key = ", ".join(f"{letters[name]} {name}" for name in names)
    return "\n".join([*lines, f"share of {total:,} cycles; {key}"])


def _doubles(names: list[str]) -> bool:
    return len({name[0] for name in names}) < len(names)
