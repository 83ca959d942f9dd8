"""Symmetries of a fabric, and the PEs that the first operations may be confined to without loss.

Shifts along a row or a column (of a torus), reflections and the transposition are tried as permutations of the PEs;
those that keep links, PE classes, dead PEs and memory ports are automorphisms. Any mapping can be carried over by one,
so the first operation may be confined to one PE per orbit; if that is a single PE, the next operation to one PE per
orbit of automorphisms that fix it; and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from mapper.machine import Fabric

from .problem import Problem

__all__ = ["confine", "shifts", "turns"]

Permutation = tuple[int, ...]
Turn = Callable[[int, int], tuple[int, int]]


def _permutation(fabric: Fabric, turn: Turn, down: int = 0, right: int = 0) -> Permutation:
    rows, columns = fabric.rows, fabric.columns
    places = (turn(*divmod(pe, columns)) for pe in range(fabric.size))
    return tuple((r + down) % rows * columns + (c + right) % columns for r, c in places)


def _keeps(fabric: Fabric, permutation: Permutation) -> bool:
    """True when links, classes, dead PEs and the groups that share memory ports are carried onto themselves."""
    classes, columns = fabric.pe_classes, fabric.columns
    for pe, image in enumerate(permutation):
        if classes[pe] is not classes[image]:
            return False
        if (divmod(pe, columns) in fabric.dead) != (divmod(image, columns) in fabric.dead):
            return False
        if sorted(permutation[q] for q in fabric.neighbours[pe]) != list(fabric.neighbours[image]):
            return False
    groups = {frozenset(group) for group in fabric.port_groups}
    return all(frozenset(permutation[pe] for pe in group) in groups for group in groups)


@lru_cache(maxsize=16)
def shifts(fabric: Fabric) -> tuple[tuple[int, int], ...]:
    """The (rows, columns) by which a torus may be shifted onto itself; (0, 0) alone elsewhere."""
    if fabric.topology != "torus":
        return ((0, 0),)
    down = [d for d in range(fabric.rows) if _keeps(fabric, _permutation(fabric, lambda r, c: (r, c), d, 0))]
    right = [d for d in range(fabric.columns) if _keeps(fabric, _permutation(fabric, lambda r, c: (r, c), 0, d))]
    return tuple((d, e) for d in down for e in right)


@lru_cache(maxsize=16)
def turns(fabric: Fabric) -> tuple[Permutation, ...]:
    """Reflections, rotations and the transposition that carry the fabric onto itself."""
    rows, columns = fabric.rows, fabric.columns
    flips: list[Turn] = [
        lambda r, c: (r, c),
        lambda r, c: (rows - 1 - r, c),
        lambda r, c: (r, columns - 1 - c),
        lambda r, c: (rows - 1 - r, columns - 1 - c),
    ]
    if rows == columns:
        flips += [lambda r, c, flip=flip: flip(c, r) for flip in flips[:4]]  # type: ignore[misc]
    return tuple(p for p in (_permutation(fabric, flip) for flip in flips) if _keeps(fabric, p))


def _orbit_leaders(size: int, generators: Iterable[Permutation]) -> list[int]:
    """Per PE the smallest PE of its orbit under the group that `generators` generate."""
    leader = list(range(size))

    def find(pe: int) -> int:
        while leader[pe] != pe:
            leader[pe] = leader[leader[pe]]
            pe = leader[pe]
        return pe

    for permutation in generators:
        for pe, image in enumerate(permutation):
            a, b = find(pe), find(image)
            leader[max(a, b)] = min(a, b)
    return [find(pe) for pe in range(size)]


def _shifted_back(fabric: Fabric, permutation: Permutation, fixed: int) -> Permutation | None:
    """`permutation` followed by the shift that returns `fixed` to its place, if that shift is a symmetry."""
    rows, columns = fabric.rows, fabric.columns
    (r, c), (goal_r, goal_c) = divmod(permutation[fixed], columns), divmod(fixed, columns)
    shift = ((goal_r - r) % rows, (goal_c - c) % columns)
    if shift not in shifts(fabric):
        return None
    places = (divmod(image, columns) for image in permutation)
    return tuple((r + shift[0]) % rows * columns + (c + shift[1]) % columns for r, c in places)


def _all_symmetries(fabric: Fabric) -> list[Permutation]:
    steps = [s for s in shifts(fabric) if 0 in s]
    return [*turns(fabric), *(_permutation(fabric, lambda r, c: (r, c), *step) for step in steps)]


def confine(problem: Problem, order: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Per operation index of a leading part of `order`, the PEs to which it may be confined without loss."""
    fabric = problem.fabric
    group = _all_symmetries(fabric)
    kept: dict[int, tuple[int, ...]] = {}
    for position, index in enumerate(order):
        leaders = _orbit_leaders(fabric.size, group)
        kept[index] = tuple(pe for pe in problem.operations[index].pes if leaders[pe] == pe)
        if len(kept[index]) != 1:
            break
        fixed = kept[index][0]
        if position == 0:
            group = [p for p in (_shifted_back(fabric, turn, fixed) for turn in turns(fabric)) if p is not None]
        group = [p for p in group if p[fixed] == fixed]
        if len(group) <= 1:
            break
    return kept
