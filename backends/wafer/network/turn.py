"""Shorter wires in a plan of any size: the order of the stages inside every shelf of a snake.

A snake fills each shelf in the order of the network, so wires from the end of a shelf to the start of the next cross
the whole column, and branches stand where the order put them. Whatever the order of its stacks, a shelf needs the same
rows; so orders are exchanged freely, and every exchange is judged by bytes x distance alone:

    turn a shelf round; exchange two of its stacks         while that shortens the wires, shelf after shelf

A descent, without random numbers: some hundred stages take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np

from .packing import Packing, Shelf
from .wires import Wires

__all__ = ["turned"]

SWEEPS = 6
FAR_APART = 6  # stacks further apart in a long shelf are not exchanged


def turned(packing: Packing, wires: Wires) -> Packing:
    """The same shelves in the same places, their stacks in an order of shorter wires."""
    search = _Search(packing, wires)
    for _ in range(SWEEPS):
        if not any([search.improve(n, at) for n, column in enumerate(search.columns) for at in range(len(column))]):
            break
    return replace(packing, columns=tuple(tuple(shelf.stacks for shelf in column) for column in search.columns))


class _Search:
    """Shelves as they stand, their first rows, and twice the centre of every stage."""

    def __init__(self, packing: Packing, wires: Wires) -> None:
        self.packing, self.wires = packing, wires
        self.columns = [[packing.shelf(stacks) for stacks in column] for column in packing.columns]
        self.rows = [packing.rows(n, [s.tall for s in column])[0] for n, column in enumerate(self.columns)]
        self.x, self.y = np.zeros(len(packing.curves), np.int64), np.zeros(len(packing.curves), np.int64)
        for number, column in enumerate(self.columns):
            for at, shelf in enumerate(column):
                self._stand(number, at, shelf)
        self.length = wires.cost(self.x, self.y)

    def _stand(self, number: int, at: int, shelf: Shelf) -> None:
        self.columns[number][at] = shelf
        self.x[shelf.stages] = shelf.x + 2 * number * self.packing.wide
        self.y[shelf.stages] = shelf.y + 2 * self.rows[number][at]

    def improve(self, number: int, at: int) -> bool:
        """Take every order of one shelf that shortens the wires; was there one?"""
        begin = self.length
        for stacks in _orders(len(self.columns[number][at].stacks)):
            before = self.columns[number][at]
            self._stand(number, at, self.packing.shelf(tuple(before.stacks[n] for n in stacks)))
            length = self.wires.cost(self.x, self.y)
            if length < self.length * (1 - 1e-9):
                self.length = length
            else:
                self._stand(number, at, before)
        return self.length < begin


def _orders(count: int) -> Iterator[list[int]]:
    """The reverse order, then those in which two that are not far apart are exchanged."""
    if count > 1:
        yield list(range(count))[::-1]
    for a, b in combinations(range(count), 2):
        if b - a <= FAR_APART:
            order = list(range(count))
            order[a], order[b] = b, a
            yield order
