"""Results that could stay in local memory for the operators that follow, and how lanes and replicas can share them.

A *chain* is an operator and the readers of its result, if these are its successors in order and walk over it element by
element. A *cut* gives each lane and replica a part of the result, along dimensions that no operator of the chain
reduces, so that none ever needs the part of another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mapper.dtypes import BITS
from mapper.ir import Access, Graph, Op
from mapper.mapping import TileLoop

__all__ = ["Chain", "Cut", "Piece", "chains", "cuts"]


@dataclass(frozen=True, slots=True)
class Chain:
    """`ops`: the writer of `tensor` and its readers, numbers `first` and on; `free`: dimensions that none reduces."""

    tensor: str
    first: int
    ops: tuple[Op, ...]
    free: tuple[int, ...]

    def access(self, at: int) -> Access:
        """How operator `at` of the chain touches the tensor."""
        op = self.ops[at]
        return op.write if at == 0 else next(read for read in op.reads if read.tensor == self.tensor)

    def loop(self, at: int, dimension: int) -> str:
        """The loop of operator `at` that walks along a dimension."""
        return str(self.access(at).index[dimension].terms[0][0])


Piece = tuple[int, int, int, str]  # (dimension, size, number, axis)


@dataclass(frozen=True, slots=True)
class Cut:
    """Pieces of a tensor, lanes outside replicas; `busy` units of (lanes, replicas)."""

    pieces: tuple[Piece, ...]
    busy: tuple[float, float]

    @property
    def lanes(self) -> tuple[Piece, ...]:
        """The pieces that lanes take."""
        return tuple(piece for piece in self.pieces if piece[3] == "lane")

    def loops(self, chain: Chain, at: int) -> tuple[TileLoop, ...]:
        return tuple(TileLoop(chain.loop(at, d), size, number, axis) for d, size, number, axis in self.pieces)

    def size(self, dimension: int, extent: int) -> int:
        """What is left of a dimension in one instance."""
        return min([extent, *(size for d, size, _, _ in self.pieces if d == dimension)])


def chains(graph: Graph, nests: Sequence[Op]) -> Iterator[Chain]:
    """Every writer whose result only the next operators read, each once and element by element."""
    barred = {graph.root(name) for op in graph.ops if not isinstance(op, Op) for name in (*op.inputs, *op.outputs)}
    barred |= {graph.root(name) for name in graph.outputs}
    for first, writer in enumerate(nests):
        tensor = writer.write.tensor
        readers = graph.consumers[tensor]
        ops = (writer, *nests[first + 1 : first + 1 + len(readers)])
        if tensor in barred or not readers or list(readers) != list(ops[1:]) or not _is_final(graph, writer):
            continue
        chain = Chain(tensor, first, ops, ())
        if all(_walks(chain, at) for at in range(len(ops))):
            free = tuple(d for d in range(len(graph.tensor(tensor).shape)) if _is_free(chain, d))
            if free:
                yield replace(chain, free=free)


def _is_final(graph: Graph, writer: Op) -> bool:
    """Partial results are no wider than the tensor, so what stands for it holds them too."""
    dtype = graph.tensor(writer.write.tensor).dtype
    return writer.combiner is None or BITS[writer.combiner.accumulator] <= BITS[dtype]


def _walks(chain: Chain, at: int) -> bool:
    """Operator `at` touches the tensor once, each dimension by a loop of its own (or none, where it is single), none in
    an order; a reader not in its tail. A product is no reader: its terms would have to lie in one row."""
    op = chain.ops[at]
    reads = [number for number, read in enumerate(op.reads) if read.tensor == chain.tensor]
    if len(reads) != (at > 0) or (at and op.macs) or not op.tail_reads.isdisjoint(reads):
        return False
    access = chain.access(at)
    terms = [index.terms for index in access.index]
    plain = all(
        not i.const and len(i.terms) <= 1 and i.is_affine and all(c == 1 for _, c in i.terms) for i in access.index
    )
    names = [str(atom) for part in terms for atom, _ in part]
    ordered = {loop.name for loop in op.loops if loop.ordered}
    return plain and not access.guards and len(set(names)) == len(names) and ordered.isdisjoint(names)


def _is_free(chain: Chain, dimension: int) -> bool:
    """Every operator walks along the dimension, and its results do too."""
    indices = [chain.access(at).index[dimension] for at in range(len(chain.ops))]
    if not all(index.terms for index in indices):
        return False
    return all(chain.loop(at, dimension) in op.output_loops for at, op in enumerate(chain.ops))


def cuts(graph: Graph, chain: Chain, lanes: int, replicas: int) -> list[Cut]:
    """Cuts of the tensor over lanes and replicas, the busiest first."""
    shape = graph.tensor(chain.tensor).shape
    found: dict[Cut, None] = {}
    for given in _shared(chain.free, shape, lanes):
        pieces, busy, left = _cut(given, shape, "lane")
        for dimension in chain.free:
            more, full, _ = _cut(((dimension, min(replicas, left[dimension])),), left, "replica")
            found[Cut((*pieces, *more), (busy, full))] = None
    return sorted(found, key=lambda cut: (-cut.busy[0] * cut.busy[1], -cut.busy[0], cut.pieces))


def _shared(free: Sequence[int], shape: Sequence[int], places: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """(dimension, pieces) of one dimension, or of two that share the places."""
    for dimension in free:
        yield ((dimension, min(places, shape[dimension])),)
    for one, other in combinations(free, 2):
        for first in (n for n in range(2, min(places, shape[one]) + 1) if places // n > 1):
            yield ((one, first), (other, min(places // first, shape[other])))


def _cut(
    given: Sequence[tuple[int, int]], shape: Sequence[int], axis: str
) -> tuple[tuple[Piece, ...], float, tuple[int, ...]]:
    """Pieces, busy places, and what is left of the shape in one of them."""
    pieces, busy, left = [], 1.0, list(shape)
    for dimension, number in given:
        size = math.ceil(shape[dimension] / number)
        left[dimension] = size
        busy *= shape[dimension] / size
        if size < shape[dimension]:
            pieces.append((dimension, size, math.ceil(shape[dimension] / size), axis))
    return tuple(pieces), busy, tuple(left)
