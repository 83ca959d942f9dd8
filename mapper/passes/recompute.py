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
from dataclasses import replace

from mapper.ir import AnyOp, Graph, Op
from mapper.scalar import Counter, parts

from .forward import composed, composes, is_plain
from .fuse import is_short

__all__ = ["recompute"]


def recompute(graph: Graph) -> Graph:
    """`graph` without the elementwise nests whose readers compute their values themselves."""
    gone: dict[str, Op] = {}
    ops: list[AnyOp] = []
    for op in graph.ops:
        if isinstance(op, Op):
            for name in [name for name in op.inputs if name in gone]:
                op = composed(graph, gone[name], op)
        if isinstance(op, Op) and _vanishes(graph, op):
            gone[op.write.tensor] = op
        else:
            ops.append(op)
    tensors = tuple(t for t in graph.tensors if t.name not in gone)
    return replace(graph, ops=tuple(ops), tensors=tensors)


def _vanishes(graph: Graph, op: Op) -> bool:
    """Whether reading the operands instead of the value moves less, in bodies that stay short."""
    name = op.write.tensor
    readers = [reader for reader in graph.consumers[name] if isinstance(reader, Op)]
    if name in graph.outputs or len(readers) < len(graph.consumers[name]) or not readers or op.macs:
        return False
    if not is_plain(op) or any(isinstance(part, Counter) for part in parts(op.body)):
        return False
    if not all(_takes(graph, op, reader) for reader in readers):
        return False
    value, operands = graph.tensor(name).bytes, {read.tensor for read in op.reads}
    again = sum(_bytes(graph, operands - set(reader.inputs)) for reader in readers)
    return again < _bytes(graph, operands) + value * (1 + len(readers))


def _bytes(graph: Graph, names: set[str]) -> int:
    return sum(graph.tensor(name).bytes for name in names)


def _takes(graph: Graph, op: Op, reader: Op) -> bool:
    """Whether a reader can compute the value where it reads it, once per element and in a short body."""
    elements = graph.tensor(op.write.tensor).elements
    reads = (number for number, read in enumerate(reader.reads) if read.tensor == op.write.tensor)
    if not composes(op, reader) or any(_evaluations(reader, number) > elements for number in reads):
        return False
    merged = composed(graph, op, reader)
    return all(is_short(body) for body in (merged.body, merged.tail) if body is not None)


def _evaluations(reader: Op, number: int) -> int:
    """How often a nest reads its operand `number`."""
    loops = reader.output_loops if number in reader.tail_reads else reader.extents
    return math.prod(reader.extents[name] for name in loops)
