"""Chains of matmuls and attention through one buffer, the intermediates kept inside: least words moved, by template.

X0 (M x n0) is multiplied by W1 (n0 x n1), W2 (n1 x n2), ... ; nothing is computed twice, S words stand inside. Groups
of neighbouring products are fused, what lies between groups is written and read back; a group is one of

* a single product, tiled alone (the exact two-level optimum of `grid.py`);
* a *pair* through a block of the intermediate T, tm rows by tj columns:  T = X0 W1 over k, one column of X0 or one row
  of W1 at a time, then  Y += T W2.  Rows outside, columns inside: W1 and W2 are read once per block of rows; X0 and Y
  move once per block of columns too, unless they stay (tm n0, tm n2 words). Columns outside: the same with the roles of
  rows and weights exchanged. Whatever room is left keeps a part of what is streamed;
* a *row chain*: tm rows of neighbouring intermediates stand, every weight is read once per block of rows.

Attention of one head is the pair  S = Q K^T, O = S V  with N x N scores (row statistics are not counted, as in the
published row-blocked figure). Every figure is reached by a schedule stated here, so it is attainable; it is not proven
to be least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf

import numpy as np

__all__ = ["Fused", "attention_words", "chain_words", "pair_words", "row_chain_words"]


@dataclass(frozen=True, slots=True)
class Fused:
    """Words moved and the schedule that does it; `rows`, `columns` of the block (0 where it has none), `kept` words of
    streamed operands that stay inside from block to block."""

    words: float
    how: str
    rows: int = 0
    columns: int = 0
    kept: int = 0


def chain_words(rows: int, dims: Sequence[int], room: int, single: Callable[[int, int, int], int | None]) -> Fused:
    """Least words over all ways to group the chain; `single(m, n, k)` gives the words of one product tiled alone."""

    @cache
    def best(first: int) -> Fused:
        if first == len(dims) - 1:
            return Fused(0, "")
        found = []
        for last in range(first + 1, len(dims)):
            group, rest = _group(rows, dims[first : last + 1], room, single), best(last)
            found.append(Fused(group.words + rest.words, " | ".join(filter(None, (group.how, rest.how)))))
        return min(found, key=lambda f: f.words)

    return best(0)


def _group(rows: int, dims: Sequence[int], room: int, single: Callable[[int, int, int], int | None]) -> Fused:
    """One group of neighbouring products."""
    found = [row_chain_words(rows, dims, room)]
    if len(dims) == 2:
        alone = single(rows, dims[1], dims[0])
        found.append(Fused(inf if alone is None else alone, "alone"))
    if len(dims) == 3:
        found.append(pair_words(rows, dims[0], dims[1], dims[2], room))
    return min(found, key=lambda f: f.words)


def attention_words(tokens: int, depth: int, room: int, single: Callable[[int, int, int], int | None]) -> Fused:
    """One head: Q, K, V, O are tokens x depth each, scores tokens x tokens."""
    return chain_words(tokens, (depth, tokens, depth), room, single)


def row_chain_words(rows: int, dims: Sequence[int], room: int) -> Fused:
    """Blocks of tm rows through the whole chain: M n0 + M n_last + sum of weights x ceil(M / tm).

    While product i runs, tm rows of its input and output stand beside one weight; the first input comes column by
    column and the last output leaves column by column (one column of tm words each).
    """
    last = len(dims) - 2
    width = max((1 if at == 0 else dims[at]) + (1 if at == last else dims[at + 1]) for at in range(last + 1))
    if last == 0:  # nothing stands: one column at a time would read the input again for each column of the output
        width = 1 + dims[1]
    weights = sum(a * b for a, b in zip(dims, dims[1:], strict=False))
    return _blocked(rows, 1, width, room, rows * (dims[0] + dims[-1]), weights, "row chain")


def _blocked(length: int, fixed: int, width: int, room: int, once: int, streamed: int, how: str) -> Fused:
    """Blocks of t of `length` lines, `width` words each beside `fixed`: `once` words move once, `streamed` words per
    block; what is left of the room keeps a part of them from block to block."""
    most = min(length, (room - fixed) // width)
    if most < 1:
        return Fused(inf, how)
    blocks = -(-length // most)
    size = -(-length // blocks)
    kept = min(streamed, room - fixed - width * size)
    return Fused(once + streamed * blocks - kept * (blocks - 1), how, size, 0, kept)


def pair_words(rows: int, n0: int, n1: int, n2: int, room: int) -> Fused:
    """Two products through a block of their intermediate, in both orders of the blocks, operands staying or not."""
    found = [
        _pair(rows, n0, n1, n2, room, keep_in, keep_out)
        for keep_in in (False, True)
        for keep_out in (False, True)
    ]  # fmt: skip
    found += [_pair_by_columns(rows, n0, n1, n2, room, keep) for keep in (False, True)]
    return min(found, key=lambda f: f.words)


def _pair(rows: int, n0: int, n1: int, n2: int, room: int, keep_in: bool, keep_out: bool) -> Fused:
    """Rows outside, columns of T inside.

    words = M n0 x (1 or J) + M n2 x (1 or 2J - 1) + (W1 + W2) x I,  I and J the numbers of blocks of rows and columns
    room >= tm tj + tm n0 (X0 stays) + tm n2 (Y stays) + a line of X0 or W1, of Y or W2, + 1
    """
    tj = np.array(_steps(n1), float)
    tm = np.array(_steps(rows), float)[:, None]
    columns, blocks = np.ceil(n1 / tj), np.ceil(rows / tm)
    line = 0 if keep_in and keep_out else np.minimum(tm, tj)
    used = tm * tj + (tm * n0 if keep_in else 0) + (tm * n2 if keep_out else 0) + line + 1
    words = rows * n0 * (1 if keep_in else columns) + rows * n2 * (1 if keep_out else 2 * columns - 1)
    weights = n0 * n1 + n1 * n2
    kept = np.minimum(weights, room - used)
    words = words + weights * blocks - kept * (blocks - 1)
    return _least(words, used <= room, tm, tj, kept, "pair, rows outside")


def _pair_by_columns(rows: int, n0: int, n1: int, n2: int, room: int, keep: bool) -> Fused:
    """Columns of T outside, rows inside: W1 and W2 move once; X0 and Y once per block of columns.

    words = W1 + W2 + M n0 J + M n2 (2J - 1);  room >= tj (n0 + n2) + tm tj + a line of X0 or Y + 1. With `keep`, what
    is left of the room holds rows of X0 for all blocks of columns.
    """
    tj = np.array(_steps(n1), float)
    tm = np.ones((1, 1))
    columns = np.ceil(n1 / tj)
    used = tj * (n0 + n2) + tm * tj + tm + 1
    kept = np.minimum(rows * n0, room - used) if keep else np.zeros_like(used)
    words = n0 * n1 + n1 * n2 + rows * n0 * columns + rows * n2 * (2 * columns - 1) - kept * (columns - 1)
    return _least(words, used <= room, tm, tj, kept, "pair, columns outside")


def _least(words: np.ndarray, fits: np.ndarray, tm: np.ndarray, tj: np.ndarray, kept: np.ndarray, how: str) -> Fused:
    words = np.where(fits, words, inf)
    row, column = np.unravel_index(int(np.argmin(words)), words.shape)
    if not np.isfinite(words[row, column]):
        return Fused(inf, how)
    kept = np.broadcast_to(kept, words.shape)
    return Fused(int(words[row, column]), how, int(tm[row, 0]), int(tj[column]), int(kept[row, column]))


def _steps(extent: int) -> list[int]:
    """The smallest block for each number of blocks."""
    return sorted({-(-extent // blocks) for blocks in range(1, extent + 1)})
