"""Is this mapping legal? Judged from graph, machine and mapping alone, by rules of its own.

The idea: a mapping is a claim that the graph's operators, run as its stages say, compute the graph. The claim holds if

1. every operator runs exactly once, after what it reads is complete (`mapper.proof.rules_graph`);
2. each stage's tile program visits every point of the domain once, in an order that its own dependences allow, and
   merges only what may be merged (`rules_tiles`);
3. every slice has a place that is large enough and its own, and so has every tensor between stages (`rules_memory`);
4. stages stand on working PEs of their own, loop bodies are legal placements, tensors travel over connected links, and
   the stated time is one that bandwidths and initiation intervals allow (`rules_fabric`).

Nothing is shared with what made the mapping: neither a backend, nor the tiling engine, nor the cost model. Rules that
look deeper into a stage are asked only once the plainer ones hold, so that one fault is reported once.
"""

from __future__ import annotations

from collections.abc import Iterator

from mapper.ir import Op
from mapper.mapping import Mapping, Stage
from mapper.proof import rules_fabric, rules_graph, rules_memory, rules_tiles
from mapper.proof.displaced import displaced_bodies
from mapper.proof.left_in_rows import left_in_rows
from mapper.proof.stacked import stacked_bodies
from mapper.simulate import simulate
from mapper.violation import Violation

__all__ = ["check"]


def check(mapping: Mapping) -> tuple[Violation, ...]:
    """Every violation found, () for a legal mapping."""
    shape = [*rules_graph.settings(mapping), *rules_graph.coverage(mapping), *rules_graph.listing(mapping)]
    shape += [*rules_memory.homes(mapping), *rules_fabric.rectangles(mapping)]
    if shape:
        return tuple(shape)
    ops = {op.name: op for op in mapping.graph.nests}
    programs = [v for stage in mapping.stages for v in _program(mapping, stage, ops[stage.op])]
    found = [*rules_graph.order(mapping), *programs, *rules_fabric.bodies(mapping)]
    if found:
        return tuple(found)
    line = mapping.machine.fabric.topology == "line"
    found += stacked_bodies(mapping) if line else displaced_bodies(mapping)
    found += left_in_rows(mapping)
    found += [v for stage in mapping.stages for v in rules_memory.places(mapping, stage, ops[stage.op])]
    found += [*rules_memory.residents(mapping), *rules_memory.shared_memories(mapping), *rules_fabric.routes(mapping)]
    return tuple(found + list(_times(mapping, ops)))


def _program(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    yield from rules_tiles.tile_loops(mapping, stage, op)
    yield from rules_tiles.combination(stage, op)
    yield from rules_tiles.ordered_loops(stage, op)
    yield from rules_memory.buffers(mapping, stage, op)


def _times(mapping: Mapping, ops: dict[str, Op]) -> Iterator[Violation]:
    """Time is judged by the checker's own count of bytes."""
    moved = {count.stage: count.memories for count in simulate(mapping).ops if count.op in ops}
    for stage in mapping.stages:
        yield from rules_fabric.time(mapping, stage, ops[stage.op], moved[stage.name])
