"""Rectangles slide inside their rooms towards what they exchange tensors with.

One coordinate of one rectangle, all others standing, costs sum of bytes x |centre - partner's centre|: it is least at
the weighted median of the partners, so the best place is that median, brought back into the room. Sweeps over all
rectangles until none moves.
"""

from __future__ import annotations

from collections.abc import Sequence

from .packing import Box
from .program import Cuts
from .wires import Wires

__all__ = ["slid"]

SWEEPS = 20


def slid(rooms: Sequence[Box], choices: Sequence[Cuts], wires: Wires) -> list[Box]:
    """What the choices take, inside their rooms; the wires are never longer than from the top left corners."""
    pulls, pairs = wires.pulls(len(rooms)), list(zip(rooms, choices, strict=True))
    columns = _line([(room.column, room.width, cuts.width) for room, cuts in pairs], pulls, wires.mesh_width)
    rows = _line([(room.row, room.height, cuts.height) for room, cuts in pairs], pulls, None)
    return [Box(row, column, c.height, c.width) for row, column, c in zip(rows, columns, choices, strict=True)]


def _line(
    rooms: Sequence[tuple[int, int, int]], pulls: Sequence[Sequence[tuple[int, float]]], length: int | None
) -> list[int]:
    """Starts on one axis of stretches with (first place, room, size); partners -1 and -2 are the ends of the axis."""
    found = [start for start, _, _ in rooms]
    for _ in range(SWEEPS):
        moved = False
        for stage, (start, room, size) in enumerate(rooms):
            centres = [(_centre(other, found, rooms, length), pull) for other, pull in pulls[stage]]
            known = [(centre, pull) for centre, pull in centres if centre is not None]
            if room == size or not known:
                continue
            wished = min(max((_median(known) - size) // 2, start), start + room - size)
            moved |= wished != found[stage]
            found[stage] = wished
        if not moved:
            break
    return found


def _centre(other: int, found: Sequence[int], rooms: Sequence[tuple[int, int, int]], length: int | None) -> int | None:
    """Twice the centre of a partner; None for the edges on the axis that does not count for them."""
    if other >= 0:
        return 2 * found[other] + rooms[other][2]
    return None if length is None else 0 if other == -1 else 2 * length


def _median(points: Sequence[tuple[int, float]]) -> int:
    """The weighted median, the lower one of two."""
    half, seen = sum(weight for _, weight in points) / 2, 0.0
    for place, weight in sorted(points):
        seen += weight
        if seen >= half:
            return place
    return max(points)[0]
