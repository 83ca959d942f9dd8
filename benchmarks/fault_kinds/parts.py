"""What faults of a network's mapping are made of: registers of their kinds, and changes of one part."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from mapper.ir import Op
from mapper.mapping import Buffer, Mapping, Route, Stage, TileLoop
from mapper.placement import KernelMapping

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


def op_of(mapping: Mapping, stage: Stage) -> Op:
    return next(op for op in mapping.graph.nests if op.name == stage.op)


def with_stage(mapping: Mapping, at: int, stage: Stage) -> Mapping:
    return replace(mapping, stages=(*mapping.stages[:at], stage, *mapping.stages[at + 1 :]))


def on_stage(change: Callable[[Mapping, Stage, random.Random], Stage | None]) -> Mutator:
    """A mutator that changes one stage."""

    @wraps(change)
    def mutate(mapping: Mapping, rng: random.Random) -> Mutant:
        at = rng.randrange(len(mapping.stages))
        changed = change(mapping, mapping.stages[at], rng)
        return None if changed is None or changed == mapping.stages[at] else with_stage(mapping, at, changed)

    return mutate


def on_loop(change: Callable[[Mapping, Stage, int, random.Random], TileLoop | None]) -> Mutator:
    """A mutator that changes one tile loop."""

    @wraps(change)
    def mutate(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
        if not stage.loops:
            return None
        at = rng.randrange(len(stage.loops))
        changed = change(mapping, stage, at, rng)
        return None if changed is None else replace(stage, loops=with_item(stage.loops, at, changed))

    return on_stage(mutate)


def on_buffer(change: Callable[[Mapping, Stage, Buffer, random.Random], Buffer | None]) -> Mutator:
    """A mutator that changes one buffer."""

    @wraps(change)
    def mutate(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
        if not stage.buffers:
            return None
        at = rng.randrange(len(stage.buffers))
        changed = change(mapping, stage, stage.buffers[at], rng)
        return None if changed is None else replace(stage, buffers=with_item(stage.buffers, at, changed))

    return on_stage(mutate)


def on_route(change: Callable[[Mapping, Route, random.Random], Route | None]) -> Mutator:
    """A mutator that changes one route."""

    @wraps(change)
    def mutate(mapping: Mapping, rng: random.Random) -> Mutant:
        if not mapping.routes:
            return None
        at = rng.randrange(len(mapping.routes))
        changed = change(mapping, mapping.routes[at], rng)
        return None if changed is None else replace(mapping, routes=with_item(mapping.routes, at, changed))

    return mutate


def with_item(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


def on_body(change: Callable[[KernelMapping, random.Random], KernelMapping]) -> Mutator:
    @wraps(change)
    def mutate(mapping: Mapping, rng: random.Random) -> Mutant:
        if not mapping.bodies:
            return None
        return replace(mapping, bodies=with_item(mapping.bodies, 0, change(mapping.bodies[0], rng)))

    return mutate
