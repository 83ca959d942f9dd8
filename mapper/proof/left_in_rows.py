"""Tensors whose home is the rows' local memory: each row holds what its readers ask of it, in the very row.

A tensor that stays (`mapper.mapping`, *Tensors at home in rows*) is never moved, so four things are judged:

* one stage writes it and all others read it itself, not a view of it;
* each instance of a reader touches only elements that the instance at the same place (lane, replica) has written;
* the loads of the readers stand in the row of the stores, replica by replica;
* while it stands, its largest part fits local memory beside the buffers of every stage that runs.

Elements are told apart by the values of each dimension, walked loop by loop; nothing here comes from the counts of
`mapper.traffic`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from itertools import product

from mapper.dtypes import BITS
from mapper.index import Index
from mapper.ir import Access, Op
from mapper.mapping import Mapping, Stage
from mapper.placement import KernelMapping
from mapper.violation import Violation

from .displaced import displaced_copies

__all__ = ["left_in_rows"]

Place = tuple[int, ...]  # positions along the axes whose instances have memories of their own


@dataclass(frozen=True, slots=True)
class _Use:
    """A stage that touches the tensor: `values` per place and dimension, `rows` per place."""

    stage: Stage
    values: Dict[Place, tuple[frozenset[int], ...]]
    rows: Dict[Place, int]


class _Fault(Exception):
    """What is wrong with a use: found, expected."""


def left_in_rows(mapping: Mapping) -> Iterator[Violation]:
    """Violations of all tensors at home in a memory that stands in the rows of a line."""
    rows = {memory.name for memory in mapping.machine.memories if memory.at == "row"}
    for tensor, memory in mapping.homes:
        if mapping.machine.fabric.topology == "line" and memory in rows:
            yield from _judge(mapping, tensor, memory)


def _judge(mapping: Mapping, tensor: str, memory: str) -> Iterator[Violation]:
    ops = {op.name: op for op in mapping.graph.nests}
    touching = [(at, stage) for at, stage in enumerate(mapping.stages) if _touches(mapping, ops[stage.op], tensor)]
    writers = [stage for _, stage in touching if ops[stage.op].write.tensor == tensor]
    if len(writers) != 1:
        yield Violation("left in rows", f"tensor {tensor!r}", f"{len(writers)} stages that write it", "one")
        return
    uses = []
    for _, stage in touching:
        try:
            uses.append(_use(mapping, stage, ops, tensor))
        except _Fault as fault:
            yield Violation("left in rows", f"tensor {tensor!r}, stage {stage.name!r}", *fault.args)
            return
    writer = next(use for use in uses if use.stage is writers[0])
    for use in uses:
        yield from _same_places(tensor, writer, use)
    span = range(touching[0][0], touching[-1][0] + 1)
    yield from _room(mapping, tensor, memory, _largest_bytes(mapping, ops[writers[0].op], writer), span)


def _touches(mapping: Mapping, op: Op, tensor: str) -> bool:
    return tensor in {mapping.graph.root(name) for name in (*op.inputs, *op.outputs)}


def _use(mapping: Mapping, stage: Stage, ops: Dict[str, Op], tensor: str) -> _Use:
    op = ops[stage.op]
    numbers = [n for n, read in enumerate(op.reads) if mapping.graph.root(read.tensor) == tensor]
    access = op.write if op.write.tensor == tensor else op.reads[numbers[0]]
    if len(numbers) + (op.write.tensor == tensor) != 1 or access.tensor != tensor:
        raise _Fault("several accesses or a view", "one access of the tensor itself")
    row = _stored_row(mapping, stage, ops) if not numbers else _loaded_row(mapping, stage, ops, numbers[0])
    return _Use(stage, _values(mapping, stage, op, access), _rows(mapping, stage, row))


# ---- elements


def _apart(mapping: Mapping) -> list[str]:
    """Axes whose instances have local memories of their own, in the mapping's order."""
    return [axis.name for axis in mapping.axes if axis.displaces or not axis.multicast]


def _places(mapping: Mapping, stage: Stage) -> Iterator[tuple[Place, dict[int, int]]]:
    """Every place with the step of each loop on those axes; loops that share an axis nest, outer strides larger."""
    on = [[at for at, loop in enumerate(stage.loops) if loop.axis == axis] for axis in _apart(mapping)]
    sizes = [math.prod(stage.loops[at].trips for at in loops) for loops in on]
    for place in product(*map(range, sizes)):
        steps = {}
        for position, loops in zip(place, on, strict=True):
            for at in reversed(loops):
                position, steps[at] = divmod(position, stage.loops[at].trips)
        yield place, steps


def _values(mapping: Mapping, stage: Stage, op: Op, access: Access) -> dict[Place, tuple[frozenset[int], ...]]:
    """Per place the values of each dimension."""
    loops = [_loop_of(index) for index in access.index]
    if access.guards:
        raise _Fault("a guarded access", "one that always happens")
    return {
        place: tuple(_walked(stage, name, op.extents[name], steps) if name else frozenset((0,)) for name in loops)
        for place, steps in _places(mapping, stage)
    }


def _loop_of(index: Index) -> str:
    """The loop that an index is, "" for a dimension of one element."""
    names = [atom for atom, factor in index.terms if isinstance(atom, str) and factor == 1]
    if index.const or len(names) < len(index.terms) or len(names) > 1:
        raise _Fault(f"index {index}", "a loop for each dimension")
    return names[0] if names else ""


def _walked(stage: Stage, name: str, extent: int, steps: Dict[int, int]) -> frozenset[int]:
    """Values that a loop takes in one place."""
    pieces = [(0, extent)]
    for at, loop in enumerate(stage.loops):
        if loop.loop == name:
            taken = [steps[at]] if at in steps else range(loop.trips)
            pieces = [(start + step * loop.step, min(loop.step, size - step * loop.step))
                      for start, size in pieces for step in taken if size > step * loop.step]  # fmt: skip
    return frozenset(value for start, size in pieces for value in range(start, start + size))


def _same_places(tensor: str, writer: _Use, use: _Use) -> Iterator[Violation]:
    """What a place touches, the writer's same place has written, in the same row of the same lane."""
    subject = f"tensor {tensor!r}, stage {use.stage.name!r}"
    for place, values in use.values.items():
        if not all(values):
            continue
        there = writer.values.get(place)
        if there is None or use.stage.rect.lane != writer.stage.rect.lane:
            yield Violation("left in rows", f"{subject}, place {place}", "a read", f"stage {writer.stage.name!r} there")
            return
        missing = [
            (at, min(mine - other)) for at, (mine, other) in enumerate(zip(values, there, strict=True)) if mine - other
        ]
        if missing:
            found = f"element {missing[0][1]} of dimension {missing[0][0]}"
            yield Violation("left in rows", f"{subject}, place {place}", found, "what the same place wrote")
            return
        if use.rows[place] != writer.rows[place]:
            found = f"loads in row {use.rows[place]}"
            yield Violation(
                "left in rows", f"{subject}, place {place}", found, f"row {writer.rows[place]} of the stores"
            )
            return


# ---- rows


def _rows(mapping: Mapping, stage: Stage, row: int) -> dict[Place, int]:
    """Row of the ring per place, for operations that stand in `row` of the body."""
    ways = [axis.displaces == "rows" for axis in mapping.axes if axis.displaces or not axis.multicast]
    pitch = stage.rect.height // displaced_copies(mapping, stage, "rows")
    return {
        place: (stage.rect.row + row + pitch * sum(p for p, way in zip(place, ways, strict=True) if way))
        % mapping.machine.fabric.rows
        for place, _ in _places(mapping, stage)
    }


def _loaded_row(mapping: Mapping, stage: Stage, ops: Dict[str, Op], number: int) -> int:
    """Row of a body in which it loads operand `number`."""
    if stage.body is None or number in ops[stage.op].tail_reads:
        raise _Fault("no loop body that loads it", "loads in the body")
    body = mapping.bodies[stage.body]
    return _row(body, _model(body, ops).reads[number].tensor, "load", partial=False)


def _stored_row(mapping: Mapping, stage: Stage, ops: Dict[str, Op]) -> int:
    """Row of the final stores, counted from the first row of the body: a tail is displaced so that it loads partial
    results in the row that stored them."""
    if stage.body is None:
        raise _Fault("no loop body", "stores of a body")
    body = mapping.bodies[stage.body]
    if stage.tail is None:
        return _row(body, _model(body, ops).write.tensor, "store", partial=False)
    tail, end = mapping.bodies[stage.tail], _model(mapping.bodies[stage.tail], ops).write.tensor
    shift = _row(body, _model(body, ops).write.tensor, "store", partial=True) - _row(tail, end, "load", partial=True)
    return shift + _row(tail, end, "store", partial=False)


def _model(body: KernelMapping, ops: Dict[str, Op]) -> Op:
    """The operator that a body was made for: another one may run it too, under its own names of tensors."""
    name = body.dfg.name.removesuffix(" tail")
    if name not in ops:
        raise _Fault(f"body {body.dfg.name!r}", "a body named after an operator")
    return ops[name]


def _row(body: KernelMapping, tensor: str, kind: str, partial: bool) -> int:
    """The one row with all operations of a kind on the regions of a tensor, partial results told apart."""
    regions = {region.id for region in body.dfg.regions if region.tensor == tensor}
    lone = len(regions) == 1 and not partial
    regions = {r.id for r in body.dfg.regions if r.id in regions and (lone or r.one_row == partial)}
    nodes = {n.id for n in body.dfg.nodes if n.kind == kind and n.memory is not None and n.memory.region in regions}
    rows = sorted({place.cycle for place in body.placed if place.node in nodes})
    if len(rows) != 1:
        raise _Fault(f"{kind}s of {tensor!r} in rows {rows}", "one row")
    return rows[0]


# ---- room


def _largest_bytes(mapping: Mapping, op: Op, writer: _Use) -> int:
    """Bytes of the largest part, in the accumulator's type if that is wider."""
    types = [mapping.graph.tensor(op.write.tensor).dtype]
    types += [op.combiner.accumulator] if op.combiner is not None else []
    elements = max(math.prod(map(len, values)) for values in writer.values.values())
    return -(-elements * max(BITS[each] for each in types) // 8)


def _room(mapping: Mapping, tensor: str, memory: str, part_bytes: int, span: range) -> Iterator[Violation]:
    """While the tensor stands, every stage has room for it beside its buffers."""
    capacity = mapping.machine.memory(memory).capacity_bytes
    for stage in mapping.stages[span.start : span.stop]:
        used = sum(buffer.bytes * buffer.copies for buffer in stage.buffers if buffer.memory == memory)
        if capacity is not None and used + part_bytes > capacity:
            found = f"{part_bytes} bytes beside {used} of buffers"
            yield Violation("left in rows", f"tensor {tensor!r}, stage {stage.name!r}", found, f"at most {capacity}")
