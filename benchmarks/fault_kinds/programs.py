"""Faults of tile loops, buffers and homes that leave no legal mapping."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from mapper.mapping import WRITTEN, Buffer, Mapping, Stage, TileLoop
from mapper.proof.rules_memory import least_bytes

from .parts import Mutant, fatal, on_buffer, on_loop, on_stage, op_of, with_item


@fatal
@on_loop
def more_trips(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop:
    return replace(stage.loops[at], trips=stage.loops[at].trips + rng.randint(1, 3))


@fatal
@on_loop
def fewer_trips(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop | None:
    trips = stage.loops[at].trips
    return replace(stage.loops[at], trips=rng.randrange(trips)) if trips > 1 else None


@fatal
@on_loop
def unknown_loop(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop:
    return replace(stage.loops[at], loop="nowhere")


@fatal
@on_loop
def unknown_axis(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop:
    return replace(stage.loops[at], axis="nowhere")


@fatal
@on_loop
def ordered_side_by_side(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop | None:
    ordered = {each.name for each in op_of(mapping, stage).loops if each.ordered}
    tile = stage.loops[at]
    return replace(tile, axis=mapping.axes[0].name) if tile.loop in ordered and tile.trips > 1 else None


@fatal
@on_stage
def lost_tile_loop(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
    """The loop that alone brings its operator loop down to points is missing."""
    trips = Counter(tile.loop for tile in stage.loops if tile.trips > 1)
    last = [at for at, tile in enumerate(stage.loops) if tile.trips > 1 and trips[tile.loop] == 1]
    lost = [at for at in last if not any(t.loop == stage.loops[at].loop and t.step == 1 and i != at
                                         for i, t in enumerate(stage.loops))]  # fmt: skip
    if not lost:
        return None
    at = rng.choice(lost)
    buffers = tuple(replace(b, depth=min(b.depth, len(stage.loops) - 1)) for b in stage.buffers)
    return replace(stage, loops=(*stage.loops[:at], *stage.loops[at + 1 :]), buffers=buffers)


@fatal
def short_axis(mapping: Mapping, rng: random.Random) -> Mutant:
    """An axis has one position less than a stage uses."""
    for at, axis in enumerate(mapping.axes):
        used = 1
        for stage in mapping.stages:
            trips = 1
            for tile in stage.loops:
                trips *= tile.trips if tile.axis == axis.name else 1
            used = max(used, trips)
        if used > 1:
            return replace(mapping, axes=with_item(mapping.axes, at, replace(axis, extent=used - 1)))
    return None


@fatal
@on_buffer
def byte_less(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer | None:
    least = least_bytes(mapping, stage, op_of(mapping, stage), buffer)
    return replace(buffer, bytes=least - 1) if least else None


@fatal
@on_buffer
def over_capacity(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer | None:
    capacity = mapping.machine.memory(buffer.memory).capacity_bytes
    if capacity is None:
        return None
    return replace(buffer, address=capacity - buffer.bytes * buffer.copies + 1)


@fatal
@on_stage
def same_place(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
    """Two buffers of different operands share bytes of one memory."""
    op = op_of(mapping, stage)
    tensor = [*(read.tensor for read in op.reads), op.write.tensor]
    pairs = [(i, j) for i, a in enumerate(stage.buffers) for j, b in enumerate(stage.buffers)
             if a.memory == b.memory and tensor[a.operand] != tensor[b.operand] and a.bytes and b.bytes]  # fmt: skip
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    other = stage.buffers[j]
    address = other.address + rng.randrange(other.bytes * other.copies)
    return replace(stage, buffers=with_item(stage.buffers, i, replace(stage.buffers[i], address=address)))


@fatal
@on_buffer
def unknown_memory(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, memory="nowhere")


@fatal
@on_buffer
def unknown_operand(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, operand=rng.choice([-2, len(op_of(mapping, stage).reads)]))


@fatal
@on_buffer
def too_deep(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, depth=rng.choice([-1, len(stage.loops) + 1]))


@fatal
@on_buffer
def stale_resident(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer | None:
    """An activation, or a result, is said to stay from one inference to the next."""
    operand = buffer.operand
    tensor = None if operand == WRITTEN else mapping.graph.tensor(op_of(mapping, stage).reads[operand].tensor)
    weight = tensor is not None and tensor.role == "weight"
    return None if weight and mapping.schedule == "pipeline" else replace(buffer, resident=True)


@fatal
@on_buffer
def no_copies(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, copies=0)


@fatal
def unknown_home(mapping: Mapping, rng: random.Random) -> Mutant:
    tensor = rng.choice(mapping.graph.tensors).name
    return replace(mapping, homes=(*(h for h in mapping.homes if h[0] != tensor), (tensor, "nowhere")))


@fatal
def home_of_nothing(mapping: Mapping, rng: random.Random) -> Mutant:
    return replace(mapping, homes=(*mapping.homes, ("nothing", "dram")))
