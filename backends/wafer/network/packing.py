"""Columns of shelves of stacks of stages: what such a plan needs, and the room that it gives to each stage.

The floor is cut into equal columns; a column is filled by shelves one above the other; a shelf holds stacks side by
side, and a stack is stages one above the other, all of its width. With the least height c(w) of a stage at each width,

    a stack needs width w at height h   iff   sum of c(w) over its stages <= h
    a shelf is as low as possible: the least h at which the widths of its stacks fit the column

Heights tried are all small ones, then steps of a hundredth. Odd columns hang from the bottom. Shelves that would
cover a dead core start behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from .table import FAR, Ints

__all__ = [
    "Box",
    "Columns",
    "Floor",
    "Packing",
    "Shelf",
    "Stacks",
    "free_row",
    "heights_up_to",
    "least_widths",
    "with_curves",
]

NONE: Ints = np.zeros(0, np.int64)
Stacks = tuple[tuple[int, ...], ...]
Columns = tuple[tuple[Stacks, ...], ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of cores with its top left corner."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Floor:
    """The mesh to fill."""

    height: int
    width: int
    dead: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Shelf:
    """Stacks from the left, stages in each from the top; `tall` rows, FAR if they are too wide at any height.

    `x`, `y` are twice the centres of `stages`, from the shelf's corner.
    """

    stacks: Stacks
    tall: int
    stages: Ints
    x: Ints
    y: Ints


def heights_up_to(height: int) -> Ints:
    """Shelf heights tried."""
    found, at = [1], 1
    while at < height:
        at = min(height, at + max(1, at // 100))
        found.append(at)
    return np.array(found)


def least_widths(curve: Ints, heights: Ints) -> Ints:
    """For each height the least width of a falling shape curve, FAR where there is none."""
    widths = np.searchsorted(-curve, -heights)
    return np.where(widths < len(curve), widths, FAR)


def free_row(row: int, tall: int, blocked: Sequence[int]) -> int:
    """The first row from `row` on where a shelf stands beside dead cores."""
    for place in blocked:
        if row <= place < row + tall:
            row = place + 1
    return row


@dataclass(frozen=True)
class Packing:
    """A plan on `floor` whose columns are `wide`; `curves[stage, w]` is the least height of a stage at width w."""

    columns: Columns
    curves: Ints
    wide: int
    floor: Floor
    _shelves: dict[Stacks, Shelf] = field(default_factory=dict, repr=False, compare=False)
    _widths: dict[tuple[int, ...], Ints] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def heights(self) -> Ints:
        return heights_up_to(self.floor.height)

    @cached_property
    def blocked(self) -> list[list[int]]:
        """Per column the rows with a dead core, ascending."""
        dead = self.floor.dead
        return [sorted({row for row, at in dead if at // self.wide == n}) for n in range(len(self.columns))]

    def shelf(self, stacks: Stacks) -> Shelf:
        """The shelf of these stacks, made once."""
        if stacks not in self._shelves:
            self._shelves[stacks] = self._made(stacks)
        return self._shelves[stacks]

    def _made(self, stacks: Stacks) -> Shelf:
        if not stacks:
            return Shelf(stacks, 0, NONE, NONE, NONE)
        stages = np.array([stage for stack in stacks for stage in stack])
        total = np.sum([self.stack_widths(stack) for stack in stacks], axis=0)
        at = int(np.searchsorted(-total, -self.wide))
        if at == len(total):
            return Shelf(stacks, FAR, stages, stages, stages)
        left, x, y = 0, [], []
        for stack in stacks:
            width, top = int(self.stack_widths(stack)[at]), 0
            for stage in stack:
                height = int(self.curves[stage, width])
                x.append(2 * left + width)
                y.append(2 * top + height)
                top += height
            left += width
        return Shelf(stacks, int(self.heights[at]), stages, np.array(x), np.array(y))

    def stack_widths(self, stack: tuple[int, ...]) -> Ints:
        """Least width of a stack at each of the heights."""
        if stack not in self._widths:
            curve = self.curves[stack[0]] if len(stack) == 1 else self.curves[list(stack)].sum(axis=0)
            self._widths[stack] = least_widths(curve, self.heights)
        return self._widths[stack]

    def rows(self, number: int, tall: Sequence[int]) -> tuple[list[int], int]:
        """First rows of the shelves of column `number`, which are so `tall`, from the top; and rows that it lacks."""
        hanging, height, blocked = number % 2 == 1, self.floor.height, self.blocked[number]
        if hanging:
            blocked = [height - 1 - row for row in reversed(blocked)]
        row, found = 0, []
        for each in reversed(tall) if hanging else tall:
            row = free_row(row, each, blocked)
            found.append(height - row - each if hanging else row)
            row += each
        return found[::-1] if hanging else found, max(0, row - height)

    @property
    def fits(self) -> bool:
        """Is no shelf too wide and no column too tall?"""
        for number, column in enumerate(self.columns):
            tall = [self.shelf(stacks).tall for stacks in column]
            if max(tall, default=0) >= FAR or self.rows(number, tall)[1]:
                return False
        return True

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """Room for each stage; stacks share what is left of a shelf's width, stages what is left of its height."""
        found: dict[int, Box] = {}
        for number, column in enumerate(self.columns):
            shelves = [self.shelf(stacks) for stacks in column]
            rows, lacking = self.rows(number, [shelf.tall for shelf in shelves])
            assert not lacking, "a packing fits its floor"
            for shelf, row in zip(shelves, rows, strict=True):
                self._furnish(shelf, Box(row, number * self.wide, shelf.tall, self.wide), found)
        return tuple(found[stage] for stage in range(len(found)))

    def _furnish(self, shelf: Shelf, room: Box, found: dict[int, Box]) -> None:
        at = int(np.searchsorted(self.heights, shelf.tall))
        needs = [int(self.stack_widths(stack)[at]) for stack in shelf.stacks]
        for stack, (left, right) in zip(shelf.stacks, pairwise(_shares(needs, room.width)), strict=True):
            tall = [int(self.curves[stage, right - left]) for stage in stack]
            for stage, (top, bottom) in zip(stack, pairwise(_shares(tall, room.height)), strict=True):
                found[stage] = Box(room.row + top, room.column + left, bottom - top, right - left)


def with_curves(packing: Packing, curves: Sequence[Ints]) -> Packing:
    """The same shelves of the same stages with other shapes (it may not fit)."""
    return Packing(packing.columns, np.stack(curves), packing.wide, packing.floor)


def _shares(needs: Sequence[int], total: int) -> list[int]:
    """Ends of stretches that share a total in proportion to their needs, none below its need."""
    spare, whole = total - sum(needs), sum(needs)
    ends, given, need = [0], 0, 0
    for each in needs:
        need += each
        given = need + spare * need // whole
        ends.append(given)
    return ends
