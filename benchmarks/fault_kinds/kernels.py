"""Faults of a placed loop body: an operation, a MOVE, a way or a register is not where it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from mapper.placement import KernelMapping, Placed

from .parts import with_item

__all__ = ["GRIDS", "ROWS", "KernelMutator"]

KernelMutator = Callable[[KernelMapping, int, random.Random], KernelMapping | None]  # the body, PEs of the array
GRIDS: dict[str, KernelMutator] = {}
ROWS: dict[str, KernelMutator] = {}


def on_grids(mutate: KernelMutator) -> KernelMutator:
    GRIDS[mutate.__name__] = mutate
    return mutate


def on_rows(mutate: KernelMutator) -> KernelMutator:
    ROWS[mutate.__name__] = mutate
    return mutate


def _other(body: KernelMapping, rng: random.Random, change: Callable[[Placed], Placed]) -> KernelMapping:
    at = rng.randrange(len(body.placed))
    return replace(body, placed=with_item(body.placed, at, change(body.placed[at])))


@on_grids
@on_rows
def lost_operation(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    at = rng.randrange(len(body.placed))
    return replace(body, placed=body.placed[:at] + body.placed[at + 1 :])


@on_grids
@on_rows
def doubled_operation(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return replace(body, placed=(*body.placed, rng.choice(body.placed)))


@on_grids
@on_rows
def same_slot(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    """An operation runs where and when another does."""
    place = rng.choice(body.placed)
    return _other(body, rng, lambda p: replace(place, node=p.node))


@on_grids
@on_rows
def exchanged_operations(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    i, j = (rng.randrange(len(body.placed)) for _ in range(2))
    first, second = body.placed[i], body.placed[j]
    placed = with_item(body.placed, i, replace(second, node=first.node))
    return replace(body, placed=with_item(placed, j, replace(first, node=second.node)))


@on_grids
@on_rows
def off_the_array(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return _other(body, rng, lambda p: replace(p, pe=rng.choice((-1, pes))))


@on_grids
def other_pe(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return _other(body, rng, lambda p: replace(p, pe=rng.randrange(pes)))


@on_grids
def other_cycle(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return _other(body, rng, lambda p: replace(p, cycle=p.cycle + rng.choice((-2, -1, 1, 2))))


@on_grids
def other_ii(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return replace(body, ii=max(1, body.ii + rng.choice((-1, 1))))


@on_grids
def lost_move(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    return replace(body, moves=body.moves[1:]) if body.moves else None


@on_grids
def bent_way(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    """A MOVE on another PE."""
    if not body.moves:
        return None
    at = rng.randrange(len(body.moves))
    return replace(body, moves=with_item(body.moves, at, replace(body.moves[at], pe=rng.randrange(pes))))


@on_grids
def late_move(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    if not body.moves:
        return None
    at = rng.randrange(len(body.moves))
    move = body.moves[at]
    return replace(body, moves=with_item(body.moves, at, replace(move, cycle=move.cycle + rng.choice((-1, 1)))))


@on_grids
def stale_move(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    """A MOVE takes the value of another iteration."""
    if not body.moves:
        return None
    at = rng.randrange(len(body.moves))
    return replace(body, moves=with_item(body.moves, at, replace(body.moves[at], distance=body.moves[at].distance + 1)))


@on_grids
def swapped_source(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    if not body.moves:
        return None
    at = rng.randrange(len(body.moves))
    source = rng.choice(body.placed).node
    return replace(body, moves=with_item(body.moves, at, replace(body.moves[at], source=source)))


@on_grids
def lost_way(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    if not body.paths:
        return None
    at = rng.randrange(len(body.paths))
    return replace(body, paths=body.paths[:at] + body.paths[at + 1 :])


@on_grids
def shortened_way(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    """A value skips the last MOVE of its way."""
    if not body.paths:
        return None
    at = rng.randrange(len(body.paths))
    path = body.paths[at]
    shorter = replace(path, via=path.via[:-1], distances=path.distances[:-1])
    return replace(body, paths=with_item(body.paths, at, shorter)) if path.via else None


def _moved(place: Placed, row: int, column: int) -> Placed:
    return replace(place, cycle=row, pe=4 * row + column)


@on_rows
def other_row(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return _other(body, rng, lambda p: _moved(p, max(0, p.cycle + rng.choice((-1, 1))), p.pe - 4 * p.cycle))


@on_rows
def other_column(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return _other(body, rng, lambda p: _moved(p, p.cycle, rng.randrange(4)))


@on_rows
def other_slot(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    return _other(body, rng, lambda p: replace(p, slot=rng.choice(("exe", "cex", "mop0", "mop1"))))


@on_rows
def lost_register(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    if not body.registers:
        return None
    at = rng.randrange(len(body.registers))
    return replace(body, registers=body.registers[:at] + body.registers[at + 1 :])


@on_rows
def other_register(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    if not body.registers:
        return None
    at = rng.randrange(len(body.registers))
    moved = replace(body.registers[at], column=rng.randrange(4), index=rng.randrange(5))
    return replace(body, registers=with_item(body.registers, at, moved))


@on_rows
def exchanged_values(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    """A register holds another value."""
    if not body.registers:
        return None
    at = rng.randrange(len(body.registers))
    other = replace(body.registers[at], value=rng.choice(body.registers).value)
    return replace(body, registers=with_item(body.registers, at, other))


@on_rows
def skipped_row(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping | None:
    """A value waits in the row below the one that reads it."""
    if not body.registers:
        return None
    at = rng.randrange(len(body.registers))
    late = replace(body.registers[at], row=body.registers[at].row + 1)
    return replace(body, registers=with_item(body.registers, at, late))


@on_rows
def other_folding(body: KernelMapping, pes: int, rng: random.Random) -> KernelMapping:
    place = rng.choice(body.placed)
    unit = place.cycle, place.pe - 4 * place.cycle
    folded = set(body.folded) ^ {unit}
    return replace(body, folded=tuple(sorted(folded)))
