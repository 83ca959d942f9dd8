"""Fused chains: each template's words against an element-exact replay of the schedule it states."""

from __future__ import annotations

from itertools import product
from math import inf

import pytest

from mapper.bounds import chain_bound_bytes
from mapper.tiling.fused import attention_words, chain_words, pair_words, row_chain_words


class Room:
    """A memory of so many words: what is loaded, kept and stored is counted, too much is an error."""

    def __init__(self, words: int) -> None:
        self.words, self.inside, self.moved = words, set[object](), 0

    def load(self, *items: object) -> None:
        for item in items:
            self.moved += item not in self.inside
            self.make(item)

    def make(self, *items: object) -> None:
        self.inside.update(items)
        assert len(self.inside) <= self.words

    def drop(self, *items: object) -> None:
        self.inside.difference_update(items)

    def store(self, *items: object) -> None:
        self.moved += len(items)
        self.drop(*items)


def flash(rows: int, n0: int, n1: int, n2: int, room: int, tm: int) -> int:
    """X0 and Y of a block stay, one column of T at a time, weights streamed word by word; what is left keeps some."""
    inside = Room(room)
    weights = [("w1", k, j) for j in range(n1) for k in range(n0)] + [
        ("w2", j, c) for j in range(n1) for c in range(n2)
    ]
    kept = set(weights[: room - tm * (n0 + n2 + 1) - 1])
    for first in range(0, rows, tm):
        block = range(first, min(first + tm, rows))
        inside.load(*(("x", r, k) for r in block for k in range(n0)))
        inside.make(*(("y", r, c) for r in block for c in range(n2)))
        for j in range(n1):
            inside.make(*(("t", r) for r in block))
            for w in [("w1", k, j) for k in range(n0)] + [("w2", j, c) for c in range(n2)]:
                inside.load(w)
                if w not in kept:
                    inside.drop(w)
            inside.drop(*(("t", r) for r in block))
        inside.drop(*(("x", r, k) for r in block for k in range(n0)))
        inside.store(*(("y", r, c) for r in block for c in range(n2)))
    return inside.moved


@pytest.mark.parametrize(("rows", "depth", "room"), [(12, 3, 40), (9, 2, 30), (16, 2, 100)])
def test_the_row_blocked_pair_moves_what_its_schedule_moves(rows: int, depth: int, room: int) -> None:
    found = pair_words(rows, depth, rows, depth, room)
    replayed = min(flash(rows, depth, rows, depth, room, tm) for tm in range(1, rows + 1)
                   if tm * (2 * depth + 1) + 1 <= room)  # fmt: skip
    assert found.words <= replayed
    if found.how == "pair, rows outside" and found.columns == 1:
        assert found.words == replayed


def test_a_row_chain_that_fits_moves_everything_once() -> None:
    assert row_chain_words(128, (128, 128, 128), 65_536).words == 2 * 128 * 128 + 2 * 128 * 128
    assert row_chain_words(4, (5, 6, 7), 3).words == inf


def test_groups_are_chosen_by_words() -> None:
    alone = {(8, 8, 8): 100, (8, 64, 8): 500, (8, 8, 64): 400}
    found = chain_words(8, (8, 64, 8), 5, lambda m, n, k: alone[m, n, k])
    assert (found.words, found.how) == (900, "alone | alone")


@pytest.mark.parametrize(("tokens", "depth", "room"), list(product((32, 100), (4, 16), (200, 1000, 5000))))
def test_attention_is_between_its_bound_and_the_row_blocked_figure(tokens: int, depth: int, room: int) -> None:
    block = min(tokens, (room - 2 * depth) // (2 * depth + 1))
    published = 2 * tokens * depth + 2 * tokens * depth * -(-tokens // block)
    found = attention_words(tokens, depth, room, lambda m, n, k: None)
    one = 2 * tokens * tokens * depth / room**0.5 - 2 * room
    assert chain_bound_bytes(4 * tokens * depth, (int(one), int(one)), (tokens * tokens,)) <= found.words <= published
