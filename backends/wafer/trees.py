"""Slicing floorplans: a rectangle is a kernel, or is cut into rows or into columns of smaller rectangles.

Every node has a *curve*: its least height at each width. Rows add curves, columns add the inverse curves (least
width at each height), so the best shapes of a whole tree follow from its leaves without search. All functions here
work on every width 0 .. fabric width at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .shapes import FAR, Ints, inverse

__all__ = ["Box", "Columns", "Leaf", "Rows", "Tree", "boxes_at", "leaves", "tree_curve"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Kernel number `kernel` of the graph."""

    kernel: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Parts on top of each other, the first at the smallest y."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Parts side by side, the first at the smallest x."""

    parts: tuple[Tree, ...]


Tree = Leaf | Rows | Columns


@dataclass(frozen=True, slots=True)
class Box:
    """The part of the fabric that is set aside for a kernel; its rectangle may be smaller."""

    x: int
    y: int
    wide: int
    tall: int

    @property
    def twice_centre(self) -> tuple[int, int]:
        return 2 * self.x + self.wide, 2 * self.y + self.tall


def leaves(tree: Tree) -> tuple[int, ...]:
    """Kernels in reading order."""
    if isinstance(tree, Leaf):
        return (tree.kernel,)
    return tuple(kernel for part in tree.parts for kernel in leaves(part))


def tree_curve(tree: Tree, curves: Sequence[Ints], height: int) -> Ints:
    """Least height at each width; heights above `height` count as FAR."""
    if isinstance(tree, Leaf):
        return curves[tree.kernel]
    parts = [tree_curve(part, curves, height) for part in tree.parts]
    if isinstance(tree, Rows):
        total: Ints = np.sum(parts, axis=0)
        return np.where(total <= height, total, FAR)
    width = np.sum([inverse(part, height) for part in parts], axis=0)
    return inverse(width, len(parts[0]) - 1)


def boxes_at(tree: Tree, curves: Sequence[Ints], height: int, x: Ints, y: Ints, wide: Ints) -> dict[int, list[Ints]]:
    """Per kernel the columns x, y, width, height of its box when the tree is `wide` and as low as it can be."""
    tall = tree_curve(tree, curves, height)[wide]
    if isinstance(tree, Leaf):
        return {tree.kernel: [x, y, wide, tall]}
    found: dict[int, list[Ints]] = {}
    for part in tree.parts:
        least = tree_curve(part, curves, height)
        if isinstance(tree, Rows):
            found |= boxes_at(part, curves, height, x, y, wide)
            y = y + least[wide]
        else:
            needed = inverse(least, height)[np.minimum(tall, height)]
            found |= boxes_at(part, curves, height, x, y, np.minimum(needed, len(least) - 1))
            x = x + needed
    return found
