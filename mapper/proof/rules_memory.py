"""Buffers and homes: what a stage keeps has a place, is large enough, fits, and is not overwritten while it is needed.

Buffers of one stage are live together in every instance of their memory. Tensors whose home is not the outermost memory
are live from the stage that writes them to the last that reads them (weights always; in a pipeline everything); they
spread over the instances.
"""

from __future__ import annotations

from collections.abc import Iterator

from mapper.dtypes import BITS
from mapper.ir import Op, View
from mapper.machine import Memory
from mapper.mapping import WRITTEN, Buffer, Mapping, Stage
from mapper.violation import Violation

from .chains import Feed, access_of, chain, feeds
from .replay import largest_slice

__all__ = ["buffers", "homes", "least_bytes", "places", "residents", "shared_memories"]


def buffers(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    """Operand, memory, depth and copies of each buffer exist."""
    names = [memory.name for memory in mapping.machine.memories]
    for at, buffer in enumerate(stage.buffers):
        subject = _subject(stage, at, buffer)
        if not WRITTEN <= buffer.operand < len(op.reads):
            yield Violation("buffers", subject, f"operand {buffer.operand}", f"-1 to {len(op.reads) - 1}")
        if buffer.memory not in names:
            yield Violation("buffers", subject, f"memory {buffer.memory!r}", ", ".join(names))
        if not 0 <= buffer.depth <= len(stage.loops):
            yield Violation("buffers", subject, f"depth {buffer.depth}", f"0 to {len(stage.loops)}")
        if buffer.copies < 1 or buffer.address < 0:
            yield Violation("buffers", subject, f"{buffer.copies} copies at {buffer.address}", "a place in memory")


def places(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    """Chains run inwards; slices fit their buffers; buffers of a stage fit their memory side by side."""
    yield from _chains(mapping, stage, op)
    yield from _staying(mapping, stage, op)
    yield from _slices(mapping, stage, op)
    for memory in mapping.machine.memories:
        inside = [(at, b) for at, b in enumerate(stage.buffers) if b.memory == memory.name]
        yield from _capacity(stage, memory, inside)
        yield from _apart(stage, op, inside)


def _chains(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    level = {memory.name: at for at, memory in enumerate(mapping.machine.memories)}
    for operand in (*range(len(op.reads)), WRITTEN):
        outer = mapping.home(mapping.graph.root(access_of(op, operand).tensor))
        for buffer in chain(stage, operand):
            if level[buffer.memory] < level.get(outer, 0):
                subject = _subject(stage, stage.buffers.index(buffer), buffer)
                yield Violation("chains", subject, f"fed from {outer!r}, further in", "memories from outside to inside")
            outer = buffer.memory


def _staying(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    """What stays from one inference to the next is a weight, filled once, on PEs of its own stage alone."""
    written = {name for giver in mapping.graph.ops for name in giver.outputs}
    for feed in (feed for feed in feeds(mapping, stage, op) if feed.buffer.resident):
        subject = _subject(stage, stage.buffers.index(feed.buffer), feed.buffer)
        root = mapping.graph.root(access_of(op, feed.operand).tensor)
        if feed.written or root in written or mapping.graph.tensor(root).role not in ("weight", "constant"):
            yield Violation("residents", subject, f"{root!r} stays between inferences", "only weights and constants")
        if feed.last >= 0:
            yield Violation("residents", subject, f"refilled by tile loop {feed.last}", "filled once")
        if mapping.schedule != "pipeline":
            yield Violation("residents", subject, f"schedule {mapping.schedule!r}", "a pipeline: PEs of its own")


def _slices(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    for at, buffer in enumerate(stage.buffers):
        needed = least_bytes(mapping, stage, op, buffer)
        if buffer.bytes < needed:
            tensor = access_of(op, buffer.operand).tensor
            expected = f"{needed} for its largest slice of {tensor!r}"
            yield Violation("slices", _subject(stage, at, buffer), f"{buffer.bytes} bytes", expected)


def least_bytes(mapping: Mapping, stage: Stage, op: Op, buffer: Buffer) -> int:
    """Bytes of the buffer's largest slice, in the accumulator's type if unfinished results come into it."""
    links = feeds(mapping, stage, op)
    at = next(i for i, feed in enumerate(links) if feed.buffer == buffer)
    dtype = mapping.graph.tensor(access_of(op, buffer.operand).tensor).dtype
    if buffer.operand == WRITTEN and op.combiner is not None and _holds_partial(mapping, stage, op, links[at + 1]):
        dtype = op.combiner.accumulator
    return (largest_slice(stage, op, links[at]) * BITS[dtype] + 7) // 8


def _holds_partial(mapping: Mapping, stage: Stage, op: Op, inner: Feed) -> bool:
    """Does a buffer receive unfinished results through `inner`? Reducing steps outside the inner slice leave them."""
    if inner.data_decides(op):
        return True
    for position, tile in enumerate(stage.loops[: inner.buffer.depth]):
        if tile.loop in op.output_loops or tile.trips <= 1:
            continue
        if tile.axis is None:
            partial = position <= inner.last
        else:  # copies of the buffer itself hold a part each; copies below it are merged if the axis multicasts
            partial = position < inner.above or not mapping.axis(tile.axis).multicast
        if partial:
            return True
    return False


def _capacity(stage: Stage, memory: Memory, inside: list[tuple[int, Buffer]]) -> Iterator[Violation]:
    for at, buffer in inside:
        end = buffer.address + buffer.bytes * buffer.copies
        if memory.capacity_bytes is not None and end > memory.capacity_bytes:
            found = f"ends at byte {end}"
            expected = f"at most {memory.capacity_bytes}, the capacity of {memory.name!r}"
            yield Violation("capacity", _subject(stage, at, buffer), found, expected)


def _apart(stage: Stage, op: Op, inside: list[tuple[int, Buffer]]) -> Iterator[Violation]:
    """No two buffers of a memory share a byte, but those of one tensor that is read and written."""
    ordered = sorted(inside, key=lambda entry: (entry[1].address, entry[0]))
    reach: tuple[int, int, Buffer] | None = None
    for at, buffer in ordered:
        end = buffer.address + buffer.bytes * buffer.copies
        if reach is not None and buffer.address < reach[0] and buffer.bytes and not _same_tensor(op, reach[2], buffer):
            found = f"starts at byte {buffer.address}"
            expected = f"at least {reach[0]}, where buffer {reach[1]} ends"
            yield Violation("overlap", _subject(stage, at, buffer), found, expected)
        if reach is None or end > reach[0]:
            reach = (end, at, buffer)


def _same_tensor(op: Op, one: Buffer, other: Buffer) -> bool:
    """One tensor, read and written by the same operator."""
    same = access_of(op, one.operand).tensor == access_of(op, other.operand).tensor
    return same and WRITTEN in (one.operand, other.operand) and one.operand != other.operand


def _subject(stage: Stage, at: int, buffer: Buffer) -> str:
    return f"stage {stage.name!r}, buffer {at} (operand {buffer.operand}, {buffer.memory!r})"


def homes(mapping: Mapping) -> Iterator[Violation]:
    """Homes name tensors and memories that exist; a view lives where its bytes do."""
    names = [memory.name for memory in mapping.machine.memories]
    tensors = {tensor.name for tensor in mapping.graph.tensors}
    for tensor, memory in mapping.homes:
        if tensor not in tensors:
            yield Violation("homes", f"tensor {tensor!r}", "a home", "a tensor of the graph")
        elif memory not in names:
            yield Violation("homes", f"tensor {tensor!r}", f"memory {memory!r}", ", ".join(names))
        elif isinstance(mapping.graph.producer.get(tensor), View):
            expected = mapping.home(mapping.graph.root(tensor))
            if memory != expected:
                yield Violation("homes", f"view {tensor!r}", f"home {memory!r}", f"{expected!r}, where its bytes are")


def residents(mapping: Mapping) -> Iterator[Violation]:
    """At every stage, its buffers and the tensors that live in a memory fit that memory together."""
    lives = _lives(mapping)
    for memory in mapping.machine.memories:
        if memory.capacity_bytes is None:
            continue
        staying = [(name, span) for name, span in lives.items() if mapping.home(name) == memory.name]
        for at, stage in enumerate(mapping.stages if staying else ()):
            live = sum(mapping.graph.tensor(n).bytes for n, (first, last) in staying if first <= at <= last)
            used = sum(b.bytes * b.copies for b in stage.buffers if b.memory == memory.name)
            if used + -(-live // memory.instances) > memory.capacity_bytes:
                found = (
                    f"{live} bytes of tensors in {memory.instances} instances beside {used} bytes of buffers in each"
                )
                yield Violation("residents", f"memory {memory.name!r}, stage {stage.name!r}", found,
                                f"at most {memory.capacity_bytes} bytes in each instance")  # fmt: skip


def _lives(mapping: Mapping) -> dict[str, tuple[int, int]]:
    """First and last stage at which each tensor must stand, for all that share bytes."""
    graph, end = mapping.graph, len(mapping.stages)
    position = {stage.op: at for at, stage in enumerate(mapping.stages)}
    lives: dict[str, tuple[int, int]] = {}
    for op in graph.ops:
        for name in (*op.inputs, *op.outputs):
            root = graph.root(name)
            tensor, at = graph.tensor(root), position.get(op.name)
            always = mapping.schedule == "pipeline" or tensor.role in ("weight", "constant") or at is None
            first, last = lives.get(root, (end, -1))
            first = 0 if always or (root not in graph.producer) else min(first, position.get(op.name, 0))
            last = end if always or name in graph.outputs else max(last, position.get(op.name, end))
            lives[root] = (first, last)
    return lives


def shared_memories(mapping: Mapping) -> Iterator[Violation]:
    """Stages that run at once share memories that the fabric has once: their buffers lie apart there."""
    if mapping.schedule != "pipeline":
        return
    for memory in mapping.machine.memories:
        if memory.instances > 1 or memory.at not in ("off", "fabric") or memory.capacity_bytes is None:
            continue
        end, holder = 0, ""
        held = [(b.address, b.address + b.bytes * b.copies, s.name) for s in mapping.stages for b in s.buffers
                if b.memory == memory.name]  # fmt: skip
        for start, stop, name in sorted(held):
            if start < end and name != holder:
                yield Violation("overlap", f"memory {memory.name!r}, stage {name!r}", f"a buffer from byte {start}",
                                f"at least {end}, where stage {holder!r}, running beside it, ends")  # fmt: skip
            if stop > end:
                end, holder = stop, name
