"""Faults that may happen to give another legal mapping."""

from __future__ import annotations

import random
from dataclasses import replace

from mapper.mapping import WRITTEN, Buffer, Mapping, Stage, TileLoop

from .parts import Mutant, maybe, on_buffer, on_loop, on_stage, op_of


@maybe
@on_loop
def other_step(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop | None:
    step = stage.loops[at].step + rng.choice([-1, 1])
    return replace(stage.loops[at], step=step) if step else None


@maybe
@on_loop
def other_loop(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop:
    return replace(stage.loops[at], loop=rng.choice(list(op_of(mapping, stage).extents)))


@maybe
@on_loop
def other_axis(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop:
    return replace(stage.loops[at], axis=rng.choice([None, *(axis.name for axis in mapping.axes)]))


@maybe
@on_stage
def swapped_loops(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
    if len(stage.loops) < 2:
        return None
    loops = list(stage.loops)
    i, j = rng.sample(range(len(loops)), 2)
    loops[i], loops[j] = loops[j], loops[i]
    return replace(stage, loops=tuple(loops))


@maybe
@on_stage
def dropped_buffer(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
    if not stage.buffers:
        return None
    at = rng.randrange(len(stage.buffers))
    return replace(stage, buffers=(*stage.buffers[:at], *stage.buffers[at + 1 :]))


@maybe
@on_buffer
def swapped_operand(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, operand=rng.choice([*range(len(op_of(mapping, stage).reads)), WRITTEN]))


@maybe
@on_buffer
def other_depth(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, depth=max(0, min(len(stage.loops), buffer.depth + rng.choice([-1, 1]))))


@maybe
@on_buffer
def other_memory(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, memory=rng.choice(mapping.machine.memories).name)


@maybe
def other_home(mapping: Mapping, rng: random.Random) -> Mutant:
    tensor = rng.choice(mapping.graph.tensors).name
    home = rng.choice(mapping.machine.memories).name
    return replace(mapping, homes=(*(h for h in mapping.homes if h[0] != tensor), (tensor, home)))


@maybe
@on_buffer
def other_address(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, address=max(0, buffer.address + rng.choice([-1, 1])))


@maybe
@on_buffer
def streamed(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, streamed=not buffer.streamed)
