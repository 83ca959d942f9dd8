"""How far a tile program has been built, from the backing store inwards.

A program is made of *blocks*: block b cuts the tile that stands above level b into tiles of level b, by temporal loops
in some order and then by spatial loops; every operand kept at level b stands below them. A :class:`State` remembers
what the next block needs: the tile that is left, the pieces that every loop is cut into, how often each operand is
refilled by all that lies outside, and what it has cost so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mapper.mapping import TileLoop

from .hierarchy import Hierarchy
from .nest import Nest

__all__ = ["Block", "Spatial", "State", "before_blocks", "cut", "first_state", "spatial_of_block"]

Pieces = tuple[tuple[int, int], ...]  # (size, how many) along one loop


@dataclass(frozen=True, slots=True)
class Spatial:
    """Loop `loop` cut into at most `factor` pieces on `axis`; `step` 0 leaves the size of a piece to the search."""

    loop: int
    factor: int
    axis: str
    below: int
    multicast: bool
    step: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """`order`: loops from outside to inside with their temporal steps; `tile`: what is left for each instance below;
    `kept`: operands (positions in the nest) with a buffer of level `level` there."""

    level: int
    order: tuple[tuple[int, int], ...]
    tile: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """`fills` are the repetitions per operand by irrelevant loops up to its innermost refilling one, `shared` the
    copies since its source that one read serves, `source` the level that feeds it."""

    tile: tuple[int, ...]
    pieces: tuple[Pieces, ...]
    fills: tuple[float, ...]
    shared: tuple[float, ...]
    source: tuple[int, ...]
    pj: float
    blocks: tuple[Block, ...] = ()

    def repeats(self, loop: int) -> int:
        """Pieces that loop `loop` is cut into so far."""
        return sum(number for _, number in self.pieces[loop])


def first_state(nest: Nest) -> State:
    """Nothing is cut but ordered loops, which step one by one outside everything else."""
    tile = tuple(1 if ordered else extent for extent, ordered in zip(nest.extents, nest.ordered, strict=True))
    pieces = tuple(((1, extent),) if ordered else ((extent, 1),)
                   for extent, ordered in zip(nest.extents, nest.ordered, strict=True))  # fmt: skip
    fills = tuple(_ordered_fills(nest, operand.relevant, operand.once) for operand in nest.operands)
    ones = (1.0,) * len(nest.operands)
    prefix = tuple((at, 1) for at, ordered in enumerate(nest.ordered) if ordered)
    blocks = (Block(0, prefix, tile, ()),) if prefix else ()
    return State(tile, pieces, fills, ones, tuple(operand.home for operand in nest.operands), 0.0, blocks)


def _ordered_fills(nest: Nest, relevant: Sequence[bool], once: bool) -> float:
    """Steps of ordered loops that refill an operand without changing its slice: those outside one that does."""
    found, waiting = 1.0, 1.0
    for at, ordered in enumerate(nest.ordered):
        if ordered and relevant[at] and nest.extents[at] > 1:
            found *= waiting
            waiting = 1.0
        elif ordered and not (once and nest.reducing[at]):
            waiting *= nest.extents[at]
    return found


def spatial_of_block(spatial: Sequence[Spatial], level: int) -> tuple[Spatial, ...]:
    """Spatial loops between the tile above level `level` and its buffers."""
    return tuple(item for item in spatial if item.below == level - 1)


def cut(pieces: Pieces, step: int) -> Pieces:
    """Every piece cut into pieces of `step`, the last one ragged."""
    found: dict[int, int] = {}
    for size, number in pieces:
        if size // step:
            found[step] = found.get(step, 0) + number * (size // step)
        if size % step:
            found[size % step] = found.get(size % step, 0) + number
    return tuple(sorted(found.items(), reverse=True))


def before_blocks(hierarchy: Hierarchy, spatial: Sequence[Spatial], loop: int, level: int) -> int:
    """Iterations of a loop that one instance of level `level` should keep, so that the axes further in are filled."""
    inner = [item for item in spatial if item.loop == loop and item.below >= level]
    if not inner:
        return 1
    return math.prod(item.factor for item in inner) * max(1, inner[-1].step)


def temporal(order: Sequence[tuple[int, int]], names: Sequence[str], size: Sequence[int]) -> list[TileLoop]:
    """The temporal loops of a block that cut anything."""
    return [TileLoop(names[at], step, -(-size[at] // step)) for at, step in order if step < size[at]]
