"""An operator as the tiling search sees it: extents, and per operand which loops it depends on and how wide it is.

:class:`Nest` carries no names, so that two operators of one shape are one value: the key under which a result is
kept. The number of elements in a slice is estimated from the sizes of a tile by :func:`count`, which is exact for
affine indices without gaps, linear in each size (so the mean over tiles is the count at the mean size), and never too
small for a slice inside its tensor. What a finished program moves is always counted exactly (`program.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.footprint import components, dependencies
from mapper.index import FloorDiv, Gathered, Index, Mod, interval
from mapper.ir import Access, Graph, Op
from mapper.mapping import WRITTEN

from .hierarchy import Hierarchy

__all__ = ["Nest", "Operand", "Part", "count", "counts_exactly", "footprint", "nest_of", "total"]

Sizes = Sequence[Any]  # a number or an array per loop


@dataclass(frozen=True, slots=True)
class Part:
    """Tensor dimensions that share loops: (index over loop numbers, extent) each; `gathered`: one element a point;
    `boxed`: elements between those touched are moved with them."""

    loops: tuple[int, ...]
    dimensions: tuple[tuple[Index, int], ...]
    gathered: bool
    boxed: bool = False


@dataclass(frozen=True, slots=True)
class Operand:
    """One read, or the written tensor (`number` -1).

    `bytes` and `partial_bytes` are widths of an element, `once` marks reads that happen once per output element,
    `home` is the level where the tensor lives.
    """

    number: int
    relevant: tuple[bool, ...]
    parts: tuple[Part, ...]
    bytes: float
    partial_bytes: float
    once: bool
    home: int

    @property
    def written(self) -> bool:
        return self.number == WRITTEN


@dataclass(frozen=True, slots=True)
class Nest:
    """`extents`, `ordered` and `reducing` per loop; `mergeable`: may copies of a reducing loop be combined?"""

    extents: tuple[int, ...]
    ordered: tuple[bool, ...]
    reducing: tuple[bool, ...]
    mergeable: bool
    operands: tuple[Operand, ...]

    @property
    def points(self) -> int:
        return math.prod(self.extents)


def nest_of(graph: Graph, op: Op, hierarchy: Hierarchy, homes: Callable[[str], str]) -> Nest:
    """The nest of `op`; `homes` names the memory in which a tensor lives."""
    names = {loop.name: f"{number:03d}" for number, loop in enumerate(op.loops)}
    operands = tuple(
        _operand(graph, op, number, names, hierarchy, homes) for number in (*range(len(op.reads)), WRITTEN)
    )
    reducing = tuple(loop.name not in op.output_loops for loop in op.loops)
    mergeable = op.combiner is not None and not op.combiner.kind.startswith("arg")
    return Nest(tuple(loop.extent for loop in op.loops), tuple(loop.ordered for loop in op.loops), reducing, mergeable,
                operands)  # fmt: skip


def _operand(
    graph: Graph, op: Op, number: int, names: dict[str, str], hierarchy: Hierarchy, homes: Callable[[str], str]
) -> Operand:
    access = op.write if number == WRITTEN else op.reads[number]
    tensor = graph.tensor(access.tensor)
    depends = dependencies(op, access)
    partial = op.combiner.accumulator if op.combiner is not None else tensor.dtype
    return Operand(
        number,
        tuple(loop.name in depends for loop in op.loops),
        _parts(op, access, tensor.shape, names),
        dtypes.BITS[tensor.dtype] / 8,
        dtypes.BITS[partial if number == WRITTEN else tensor.dtype] / 8,
        number != WRITTEN and number not in op.body_reads,
        hierarchy.index(homes(graph.root(access.tensor))),
    )


def _parts(op: Op, access: Access, shape: tuple[int, ...], names: dict[str, str]) -> tuple[Part, ...]:
    renamed = {name: Index(((number, 1),)) for name, number in names.items()}
    found = []
    for component in components(op, access, shape):
        loops = tuple(int(names[name]) for name in component.loops)
        dimensions = tuple((index.renamed(renamed), extent) for index, extent in component.dimensions)
        found.append(Part(tuple(sorted(loops)), dimensions, component.gathered))
    return tuple(found)


def count(part: Part, sizes: Sizes) -> Any:
    """Elements of `part` in a tile of `sizes` (numbers or broadcastable arrays, fractions allowed for means)."""
    points: Any = 1.0
    for number in part.loops:
        points = points * sizes[number]
    box: Any = 1.0
    for index, extent in part.dimensions:
        box = box * (float(extent) if part.gathered else np.minimum(_spread(index, sizes, part.boxed) + 1.0, extent))
    return box if part.boxed else np.minimum(points, box)


def _spread(index: Index, sizes: Sizes, boxed: bool = False) -> Any:
    """Largest minus smallest value of an index over a tile, in steps of its greatest common coefficient."""
    step = math.gcd(*(c for _, c in index.terms)) if index.is_affine and index.terms and not boxed else 1
    reach: Any = 0.0
    for atom, coefficient in index.terms:
        if isinstance(atom, str):
            width = sizes[int(atom)] - 1.0
        elif isinstance(atom, FloorDiv):
            width = np.ceil(_spread(atom.index, sizes) / atom.divisor)
        elif isinstance(atom, Mod):
            width = np.minimum(_spread(atom.index, sizes), atom.modulus - 1.0)
        else:
            assert isinstance(atom, Gathered)
            width = float(atom.extent - 1)
        reach = reach + abs(coefficient) // step * width
    return reach


def counts_exactly(nest: Nest) -> bool:
    """Is :func:`count` exact for every tile of every operand? Indices are sums of loops that stay inside the tensor."""
    ranges = {f"{number:03d}": (0, extent - 1) for number, extent in enumerate(nest.extents)}
    return all(
        not part.gathered and len(part.dimensions) == 1 and _counted_exactly(*part.dimensions[0], ranges)
        for operand in nest.operands
        for part in operand.parts
        if part.loops
    )


def _counted_exactly(index: Index, extent: int, ranges: dict[str, tuple[int, int]]) -> bool:
    """One multiple of loops and nothing clipped: the values of any tile then follow each other without gaps."""
    if not index.is_affine or len({abs(coefficient) for _, coefficient in index.terms}) != 1:
        return False
    low, high = interval(index, ranges)
    return low >= 0 and high < extent


def footprint(operand: Operand, sizes: Sizes) -> Any:
    """Elements of the operand's slice in a tile of `sizes`."""
    found: Any = 1.0
    for part in operand.parts:
        found = found * count(part, sizes)
    return found


def total(operand: Operand, sizes: Sizes, pieces: Sizes) -> Any:
    """Elements of all slices together, for `pieces` tiles of mean size `sizes` along each loop."""
    found: Any = 1.0
    for part in operand.parts:
        for number in part.loops:
            found = found * pieces[number]
        found = found * count(part, sizes)
    return found
