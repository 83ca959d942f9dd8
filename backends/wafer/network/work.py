"""What one operator asks of a rectangle of cores: cycles per point, loops that may be split, words per slice.

Everything follows from the loop nest. A loop may be split over cores unless it is ordered, unless the written element
mixes it with other loops of a combined write (a scatter, whose halves would have to be added elsewhere), and unless it
reduces into an argument (positions cannot be combined on the way out).

    cycles of a core = points of its piece x operations per point + outputs of its piece x operations per output
    words of a slice = product over the tensor's dimensions of the span that the piece's loops reach there

Spans are upper bounds (exact for the affine accesses of convolutions, products and pooling), vectorised over many
pieces at once; the program that is finally written down has its slices counted exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapper import dtypes
from mapper.footprint import Component, components, dependencies
from mapper.index import FloorDiv, Gathered, Index, Mod
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN
from mapper.scalar import Acc, Call, Scalar, parts

__all__ = ["Floats", "Operand", "Work", "scattered_loops", "slice_words", "split_loops", "work_of"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand as the sizing sees it: `copies` slices stand in each core's memory at once; it crosses the
    rectangle's edge `crossings` times at every inference (a result once per reader, weights that stay never)."""

    number: int
    bits: int
    wide_bits: int
    parts: tuple[Component, ...]
    copies: int
    crossings: int

    @property
    def moves(self) -> bool:
        return self.crossings > 0


@dataclass(frozen=True, slots=True)
class Work:
    """One operator's sizing problem; operators with equal work get equal tables."""

    extents: tuple[tuple[str, int], ...]
    splittable: tuple[str, ...]
    reducing: frozenset[str]
    outputs: frozenset[str]
    ordered: frozenset[str]
    operands: tuple[Operand, ...]
    point_cycles: int
    output_cycles: int


def work_of(graph: Graph, op: Op, copies: Mapping[int, int], resident: frozenset[int], readers: int = 1) -> Work:
    """The work of `op`: `copies[read]` slices of each read stand at once, reads in `resident` never move, and the
    result goes to `readers`."""
    operands = [_operand(graph, op, n, copies.get(n, 1), int(n not in resident)) for n in range(len(op.reads))]
    operands.append(_operand(graph, op, WRITTEN, 1 if scattered_loops(op) else 0, readers))
    point, output = _cycles(op)
    reducing = frozenset(op.extents) - op.output_loops
    extents = tuple(op.extents.items())
    ordered = frozenset(loop.name for loop in op.loops if loop.ordered)
    return Work(extents, split_loops(op), reducing, op.output_loops, ordered, tuple(operands), point, output)


def _operand(graph: Graph, op: Op, number: int, copies: int, crossings: int) -> Operand:
    access = op.write if number == WRITTEN else op.reads[number]
    tensor = graph.tensor(access.tensor)
    bits = dtypes.BITS[tensor.dtype]
    combined = number == WRITTEN and op.combiner is not None
    wide = dtypes.BITS[op.combiner.accumulator] if combined and op.combiner is not None else bits
    return Operand(number, bits, wide, components(op, access, tensor.shape), copies, crossings)


def split_loops(op: Op) -> tuple[str, ...]:
    """Loops that may be split over cores, the longest first."""
    entangled = scattered_loops(op)
    positional = op.combiner is not None and op.combiner.kind.startswith("arg")
    found = []
    for loop in op.loops:
        reduces = loop.name not in op.output_loops
        if loop.extent > 1 and not loop.ordered and loop.name not in entangled and not (reduces and positional):
            found.append(loop.name)
    return tuple(sorted(found, key=lambda name: (-op.extents[name], name)))


def scattered_loops(op: Op) -> frozenset[str]:
    """Output loops that reach one element from several points: their sums stand in a core's memory."""
    if op.combiner is None:
        return frozenset()
    found: frozenset[str] = frozenset()
    for index in op.write.index:
        if index.gathered or not _injective(index, op.extents):
            found |= index.loops
        for atom in index.gathered:
            found |= dependencies(op, op.reads[atom.read])
    return found


def _injective(index: Index, extents: Mapping[str, int]) -> bool:
    """Do different points of the index's loops give different values (a mixed-radix number)?"""
    if not index.is_affine:
        return False
    reach = 0
    for magnitude, extent in sorted((abs(c), extents[str(a)]) for a, c in index.terms):
        if magnitude <= reach:
            return False
        reach += magnitude * (extent - 1)
    return True


def _cycles(op: Op) -> tuple[int, int]:
    """(operations per point, operations per output): a multiplication that is summed is one operation."""
    point = _calls(op.body)
    if op.combiner is not None and not (op.combiner.kind == "sum" and _is_product(op.body)):
        point += 1
    return max(1, point), _calls(op.tail) if op.tail is not None else 0


def _calls(body: Scalar) -> int:
    return sum(isinstance(part, Call) for part in parts(body))


def _is_product(body: Scalar) -> bool:
    return isinstance(body, Call) and body.function == "mul" and not any(isinstance(a, Acc) for a in body.args)


def slice_words(operand: Operand, sizes: Mapping[str, Floats], bits: int) -> Floats:
    """Words of 32 bits in the slice that a piece of `sizes` touches (an upper bound)."""
    total: Floats = np.ones_like(next(iter(sizes.values()))) if sizes else np.ones(1)
    for part in operand.parts:
        total = total * _component(part, sizes)
    return total * (bits / 32)


def _component(part: Component, sizes: Mapping[str, Floats]) -> Floats:
    """Elements of a component: at most one per point, at most the product of the dimensions' spans."""
    points: Floats = np.ones(1)
    for name in part.loops:
        points = points * sizes[name]
    spans: Floats = np.ones(1)
    for index, extent in part.dimensions:
        spans = spans * np.minimum(_distinct(index, sizes, points), extent)
    return np.minimum(points, spans)


def _distinct(index: Index, sizes: Mapping[str, Floats], points: Floats) -> Floats:
    """Values that the index takes."""
    if index.is_affine:
        return _span(index, sizes) + 1
    total: Floats = np.ones(1)
    for atom, _ in index.terms:
        if isinstance(atom, str):
            total = total * sizes[atom]
        elif isinstance(atom, Gathered):
            total = total * points
        elif isinstance(atom, Mod):
            total = total * np.minimum(_distinct(atom.index, sizes, points), atom.modulus)
        else:
            total = total * _quotients(atom, sizes, points)
    return total


def _quotients(atom: FloorDiv, sizes: Mapping[str, Floats], points: Floats) -> Floats:
    if atom.index.is_affine:
        return np.ceil(_span(atom.index, sizes) / atom.divisor) + 1
    return _distinct(atom.index, sizes, points)


def _span(index: Index, sizes: Mapping[str, Floats]) -> Floats:
    """Largest less smallest value of an affine index."""
    total: Floats = np.zeros(1)
    for atom, coefficient in index.terms:
        total = total + abs(coefficient) * (sizes[str(atom)] - 1)
    return total
