"""An elementwise value that is cheaper to compute again than to write and read is computed by those who read it.

Softmax writes exp(x - max) for its sum and reads it twice. Where each of R readers reads the operands itself, with S
bytes of operands and T bytes of the value,

    S + T + R T   becomes   R S

bytes, operands that a reader has already not counted. The value vanishes if that is less, if no reader evaluates it
more often than once per element (never inside a product, which would compute it again for every column), and if no body
grows too long for the rows of a one-way fabric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mapper.ir import Graph, Op
from mapper.scalar import Counter, parts

from .forward import absorbed, composed, composes, is_plain
from .fuse import LARGEST_BODY, is_short

__all__ = ["recompute"]


def recompute(graph: Graph) -> Graph:
    """`graph` without the elementwise nests whose readers compute their values themselves."""
    grown: dict[str, int] = {}  # what readers took in so far, in parts of their bodies

    def vanishes(graph: Graph, op: Op) -> bool:
        readers = _readers(graph, op)
        if not readers or not _pays(graph, op, readers):
            return False
        merged = [composed(graph, op, reader) for reader in readers]
        pairs = list(zip(readers, merged, strict=True))
        if not all(_takes(graph, op, reader, after, grown.get(reader.name, 0)) for reader, after in pairs):
            return False
        for reader, after in pairs:
            grown[reader.name] = grown.get(reader.name, 0) + _size(after) - _size(reader)
        return True

    return absorbed(graph, vanishes)


def _readers(graph: Graph, op: Op) -> list[Op]:
    """The nests that could take in all of an elementwise nest; none if something else needs its value."""
    name = op.write.tensor
    readers = [reader for reader in graph.consumers[name] if isinstance(reader, Op)]
    if name in graph.outputs or len(readers) < len(graph.consumers[name]) or op.macs or not is_plain(op):
        return []
    if any(isinstance(part, Counter) for part in parts(op.body)):
        return []
    return readers if all(composes(op, reader) for reader in readers) else []


def _pays(graph: Graph, op: Op, readers: Sequence[Op]) -> bool:
    """Whether reading the operands instead of the value moves less."""
    value, operands = graph.tensor(op.write.tensor).bytes, {read.tensor for read in op.reads}
    again = sum(_bytes(graph, operands - set(reader.inputs)) for reader in readers)
    return again < _bytes(graph, operands) + value * (1 + len(readers))


def _bytes(graph: Graph, names: set[str]) -> int:
    return sum(graph.tensor(name).bytes for name in names)


def _takes(graph: Graph, op: Op, reader: Op, merged: Op, grown: int) -> bool:
    """Whether a reader that has `grown` already evaluates the value once per element, in a body that stays short when
    `merged`."""
    elements = graph.tensor(op.write.tensor).elements
    reads = (number for number, read in enumerate(reader.reads) if read.tensor == op.write.tensor)
    if any(_evaluations(reader, number) > elements for number in reads):
        return False
    return all(is_short(body, LARGEST_BODY - grown) for body in (merged.body, merged.tail) if body is not None)


def _size(op: Op) -> int:
    return sum(1 for body in (op.body, op.tail) if body is not None for _ in parts(body))


def _evaluations(reader: Op, number: int) -> int:
    """How often a nest reads its operand `number`."""
    loops = reader.output_loops if number in reader.tail_reads else reader.extents
    return math.prod(reader.extents[name] for name in loops)
