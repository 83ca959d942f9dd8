"""Faults: small changes of a legal mapping, each of one part.

`FATAL` faults leave no legal mapping, whatever the rest looks like; `MAYBE` faults may. A mutator returns None where
the mapping has no part to which its fault applies.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from mapper.ir import Op
from mapper.mapping import WRITTEN, Buffer, Mapping, Route, Stage, TileLoop
from mapper.placement import KernelMapping
from mapper.proof.rules_memory import least_bytes

__all__ = ["FATAL", "MAYBE", "Mutator"]

Mutant = Mapping | None
Mutator = Callable[[Mapping, random.Random], Mutant]
FATAL: dict[str, Mutator] = {}
MAYBE: dict[str, Mutator] = {}


def fatal(mutate: Mutator) -> Mutator:
    """Register a fault that leaves no legal mapping."""
    FATAL[mutate.__name__] = mutate
    return mutate


def maybe(mutate: Mutator) -> Mutator:
    """Register a fault that may leave another legal mapping."""
    MAYBE[mutate.__name__] = mutate
    return mutate


# one change of one part ----------------------------------------------------------------------------------------------


def _op(mapping: Mapping, stage: Stage) -> Op:
    return next(op for op in mapping.graph.nests if op.name == stage.op)


def _with_stage(mapping: Mapping, at: int, stage: Stage) -> Mapping:
    return replace(mapping, stages=(*mapping.stages[:at], stage, *mapping.stages[at + 1 :]))


def on_stage(change: Callable[[Mapping, Stage, random.Random], Stage | None]) -> Mutator:
    """A mutator that changes one stage."""

    @wraps(change)
    def mutate(mapping: Mapping, rng: random.Random) -> Mutant:
        at = rng.randrange(len(mapping.stages))
        changed = change(mapping, mapping.stages[at], rng)
        return None if changed is None or changed == mapping.stages[at] else _with_stage(mapping, at, changed)

    return mutate


def on_loop(change: Callable[[Mapping, Stage, int, random.Random], TileLoop | None]) -> Mutator:
    """A mutator that changes one tile loop."""

    @wraps(change)
    def mutate(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
        if not stage.loops:
            return None
        at = rng.randrange(len(stage.loops))
        changed = change(mapping, stage, at, rng)
        return None if changed is None else replace(stage, loops=_set(stage.loops, at, changed))

    return on_stage(mutate)


def on_buffer(change: Callable[[Mapping, Stage, Buffer, random.Random], Buffer | None]) -> Mutator:
    """A mutator that changes one buffer."""

    @wraps(change)
    def mutate(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
        if not stage.buffers:
            return None
        at = rng.randrange(len(stage.buffers))
        changed = change(mapping, stage, stage.buffers[at], rng)
        return None if changed is None else replace(stage, buffers=_set(stage.buffers, at, changed))

    return on_stage(mutate)


def on_route(change: Callable[[Mapping, Route, random.Random], Route | None]) -> Mutator:
    """A mutator that changes one route."""

    @wraps(change)
    def mutate(mapping: Mapping, rng: random.Random) -> Mutant:
        if not mapping.routes:
            return None
        at = rng.randrange(len(mapping.routes))
        changed = change(mapping, mapping.routes[at], rng)
        return None if changed is None else replace(mapping, routes=_set(mapping.routes, at, changed))

    return mutate


def _set(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


def on_body(change: Callable[[KernelMapping, random.Random], KernelMapping]) -> Mutator:
    @wraps(change)
    def mutate(mapping: Mapping, rng: random.Random) -> Mutant:
        if not mapping.bodies:
            return None
        return replace(mapping, bodies=_set(mapping.bodies, 0, change(mapping.bodies[0], rng)))

    return mutate


# fatal faults --------------------------------------------------------------------------------------------------------


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
    ordered = {each.name for each in _op(mapping, stage).loops if each.ordered}
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
            return replace(mapping, axes=_set(mapping.axes, at, replace(axis, extent=used - 1)))
    return None


@fatal
@on_buffer
def byte_less(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer | None:
    least = least_bytes(mapping, stage, _op(mapping, stage), buffer)
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
    op = _op(mapping, stage)
    tensor = [*(read.tensor for read in op.reads), op.write.tensor]
    pairs = [(i, j) for i, a in enumerate(stage.buffers) for j, b in enumerate(stage.buffers)
             if a.memory == b.memory and tensor[a.operand] != tensor[b.operand] and a.bytes and b.bytes]  # fmt: skip
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    other = stage.buffers[j]
    address = other.address + rng.randrange(other.bytes * other.copies)
    return replace(stage, buffers=_set(stage.buffers, i, replace(stage.buffers[i], address=address)))


@fatal
@on_buffer
def unknown_memory(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, memory="nowhere")


@fatal
@on_buffer
def unknown_operand(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, operand=rng.choice([-2, len(_op(mapping, stage).reads)]))


@fatal
@on_buffer
def too_deep(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer:
    return replace(buffer, depth=rng.choice([-1, len(stage.loops) + 1]))


@fatal
@on_buffer
def stale_resident(mapping: Mapping, stage: Stage, buffer: Buffer, rng: random.Random) -> Buffer | None:
    """An activation, or a result, is said to stay from one inference to the next."""
    operand = buffer.operand
    tensor = None if operand == WRITTEN else mapping.graph.tensor(_op(mapping, stage).reads[operand].tensor)
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


@fatal
def lost_stage(mapping: Mapping, rng: random.Random) -> Mutant:
    at = rng.randrange(len(mapping.stages))
    return replace(mapping, stages=(*mapping.stages[:at], *mapping.stages[at + 1 :]))


@fatal
def doubled_stage(mapping: Mapping, rng: random.Random) -> Mutant:
    stage = rng.choice(mapping.stages)
    return replace(mapping, stages=(*mapping.stages, replace(stage, name=stage.name + "b", after=())))


@fatal
def lost_host_call(mapping: Mapping, rng: random.Random) -> Mutant:
    return replace(mapping, host=()) if mapping.host else None


@fatal
def swapped_operators(mapping: Mapping, rng: random.Random) -> Mutant:
    """Two stages run each other's operator."""
    if len(mapping.stages) < 2:
        return None
    first, second, *rest = mapping.stages
    swapped = (replace(first, op=second.op), replace(second, op=first.op), *rest)
    return replace(mapping, stages=swapped)


@fatal
def wrong_order(mapping: Mapping, rng: random.Random) -> Mutant:
    if len(mapping.stages) < 2:
        return None
    stages = list(mapping.stages)
    at = rng.randrange(len(stages) - 1)
    stages[at], stages[at + 1] = stages[at + 1], stages[at]
    return replace(mapping, stages=tuple(stages))


@fatal
def no_waiting(mapping: Mapping, rng: random.Random) -> Mutant:
    """A stage of a pipeline starts before what it reads is complete."""
    waiting = [at for at, stage in enumerate(mapping.stages) if stage.after]
    if mapping.schedule != "pipeline" or not waiting:
        return None
    at = rng.choice(waiting)
    return _with_stage(mapping, at, replace(mapping.stages[at], after=()))


@fatal
@on_stage
def waiting_for_later(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage:
    return replace(stage, after=(*stage.after, rng.choice([mapping.stages[-1].name, "nowhere"])))


@fatal
@on_stage
def off_the_fabric(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage:
    fabric = mapping.machine.fabric
    return replace(stage, rect=replace(stage.rect, row=rng.choice([-1, fabric.rows - stage.rect.height + 1])))


@fatal
def overlapping(mapping: Mapping, rng: random.Random) -> Mutant:
    if mapping.schedule != "pipeline" or len(mapping.stages) < 2:
        return None
    wide = replace(mapping.stages[0].rect, width=mapping.stages[0].rect.width + 1)
    return _with_stage(mapping, 0, replace(mapping.stages[0], rect=wide))


@fatal
def dead_core(mapping: Mapping, rng: random.Random) -> Mutant:
    """A PE under a stage dies."""
    rect = rng.choice(mapping.stages).rect
    dead = (rect.row + rng.randrange(rect.height), rect.column + rng.randrange(rect.width))
    fabric = replace(mapping.machine.fabric, dead=frozenset({dead}))
    return replace(mapping, machine=replace(mapping.machine, fabric=fabric))


@fatal
@on_route
def dropped_hop(mapping: Mapping, route: Route, rng: random.Random) -> Route | None:
    """The hop that enters the target is missing (those inside the source might be spared)."""
    return replace(route, links=(*route.links[:2], *route.links[3:])) if len(route.links) > 2 else None


@fatal
@on_route
def bent_hop(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    at = rng.randrange(len(route.links))
    here, there = route.links[at]
    return replace(route, links=_set(route.links, at, (here, (there[0] + 2, there[1]))))


@fatal
@on_route
def reversed_hop(mapping: Mapping, route: Route, rng: random.Random) -> Route | None:
    if len(route.links) < 3:
        return None
    here, there = route.links[1]
    return replace(route, links=_set(route.links, 1, (there, here)))


@fatal
@on_route
def too_many_colours(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    return replace(route, colour=mapping.machine.links.colours or 0)


@fatal
def shared_colour(mapping: Mapping, rng: random.Random) -> Mutant:
    """Two routes hold one colour in a router that both pass."""
    if len(mapping.routes) < 3:
        return None
    first = mapping.routes[1]
    return replace(mapping, routes=(*mapping.routes, replace(first, tensor=first.tensor)))


@fatal
@on_route
def lost_bytes(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    return replace(route, bytes=route.bytes - 1)


@fatal
@on_route
def wrong_target(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    return replace(route, target=rng.choice([route.source or "nowhere", "nowhere"]))


@fatal
@on_route
def served_too(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    """The tree claims to serve a stage that it does not reach, or that does not read it."""
    return replace(route, also=(rng.choice([mapping.stages[0].name, "nowhere"]),))


@fatal
@on_route
def outlying_lane(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    return replace(route, lanes=2, stride=rng.choice([(0, 0), (8, 0), (0, -8)]))


@fatal
@on_route
def wrong_tensor(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    return replace(route, tensor="f" if route.tensor != "f" else "a")


@fatal
@on_stage
def shorter_phase(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
    """A cycle less than the initiation interval or the bandwidth asks for."""
    if not stage.phases or stage.phases[0].cycles + stage.phases[1].cycles == 0:
        return None
    longest = max(stage.phases, key=lambda phase: phase.cycles)
    if not stage.overlap and longest.name == "dma" or stage.overlap or stage.body is not None:
        at = stage.phases.index(longest)
        return replace(stage, phases=_set(stage.phases, at, replace(longest, cycles=longest.cycles - 1)))
    return None


@fatal
@on_stage
def unknown_body(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage:
    return replace(stage, body=len(mapping.bodies))


@fatal
@on_body
def moved_operation(body: KernelMapping, rng: random.Random) -> KernelMapping:
    at = rng.randrange(len(body.placed))
    return replace(body, placed=_set(body.placed, at, replace(body.placed[at], pe=40 + rng.randrange(20))))


@fatal
@on_body
def doubled_slot(body: KernelMapping, rng: random.Random) -> KernelMapping:
    first, second, *rest = body.placed
    return replace(body, placed=(first, replace(second, pe=first.pe, cycle=first.cycle + body.ii), *rest))


@fatal
@on_body
def late_operation(body: KernelMapping, rng: random.Random) -> KernelMapping:
    at = rng.randrange(len(body.placed))
    return replace(body, placed=_set(body.placed, at, replace(body.placed[at], cycle=body.placed[at].cycle + 7)))


@fatal
@on_body
def lost_operation(body: KernelMapping, rng: random.Random) -> KernelMapping:
    return replace(body, placed=body.placed[:-1])


# faults that may give another legal mapping ---------------------------------------------------------------------------


@maybe
@on_loop
def other_step(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop | None:
    step = stage.loops[at].step + rng.choice([-1, 1])
    return replace(stage.loops[at], step=step) if step else None


@maybe
@on_loop
def other_loop(mapping: Mapping, stage: Stage, at: int, rng: random.Random) -> TileLoop:
    return replace(stage.loops[at], loop=rng.choice(list(_op(mapping, stage).extents)))


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
    return replace(buffer, operand=rng.choice([*range(len(_op(mapping, stage).reads)), WRITTEN]))


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
