"""Which outputs a core keeps in its registers at once.

A core holds a small block of outputs; at every step of the reduction it fetches what the block needs and combines all
of it. The larger the block, the fewer words come from memory per operation:

    minimise  sum over reads of words(slice of the block) / points of the block
    subject to  sums of the block + slices of the reads that are used more than once  <=  the register file

A read whose elements the block uses once each goes from memory to the unit directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from mapper.mapping import WRITTEN

from .work import Work, slice_words

__all__ = ["Block", "block_of"]

SIDES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)
LOOPS_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Block:
    """Iterations of each output loop in a block, and the reads whose slices are kept in registers."""

    sides: tuple[tuple[str, int], ...]
    kept: frozenset[int]


@lru_cache(maxsize=4096)
def block_of(work: Work, sizes: tuple[tuple[str, int], ...], body_reads: frozenset[int], capacity_bytes: int) -> Block:
    """The best block for a core whose piece has `sizes`; reads outside `body_reads` happen once per output."""
    size = dict(sizes)
    loops = sorted((n for n in work.outputs - work.ordered if size[n] > 1), key=lambda n: (-size[n], n))[:LOOPS_LIMIT]
    if not any(size[n] > 1 for n in work.reducing) or not loops:
        return Block((), frozenset())
    sides = np.array(list(product(*([s for s in SIDES if s <= size[n]] for n in loops))), float)
    block = {name: np.ones(len(sides)) for name in size} | {n: sides[:, i] for i, n in enumerate(loops)}
    points = sides.prod(axis=1)
    words, bytes_ = np.zeros(len(sides)), np.zeros(len(sides))
    for operand in work.operands:
        taken = slice_words(operand, block, operand.bits)
        if operand.number == WRITTEN:
            bytes_ = bytes_ + 4 * np.ceil(slice_words(operand, block, operand.wide_bits))
        elif operand.number in body_reads:
            words = words + taken
            reused = taken < points * (operand.bits / 32)
            bytes_ = bytes_ + 4 * np.ceil(taken) * reused
    rate = np.where(bytes_ <= capacity_bytes, words / points, np.inf)
    best = int(np.lexsort((points, rate.round(9)))[0])
    chosen = {name: int(sides[best, i]) for i, name in enumerate(loops)}
    return Block(tuple(chosen.items()), _kept(work, block, body_reads, best, float(points[best])))


def _kept(
    work: Work, block: Mapping[str, np.ndarray], body_reads: frozenset[int], best: int, points: float
) -> frozenset[int]:
    """Reads with fewer elements than the block has points."""
    one = {name: values[best : best + 1] for name, values in block.items()}
    reads = (o for o in work.operands if o.number in body_reads)
    return frozenset(o.number for o in reads if float(slice_words(o, one, 32)[0]) < points)
