"""Faults of whole stages, of where and when they run, that leave no legal mapping."""

from __future__ import annotations

import random
from dataclasses import replace

from mapper.mapping import Mapping, Stage
from mapper.placement import KernelMapping

from .parts import Mutant, fatal, on_body, on_stage, with_item, with_stage


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
    return with_stage(mapping, at, replace(mapping.stages[at], after=()))


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
    return with_stage(mapping, 0, replace(mapping.stages[0], rect=wide))


@fatal
def dead_core(mapping: Mapping, rng: random.Random) -> Mutant:
    """A PE under a stage dies."""
    rect = rng.choice(mapping.stages).rect
    dead = (rect.row + rng.randrange(rect.height), rect.column + rng.randrange(rect.width))
    fabric = replace(mapping.machine.fabric, dead=frozenset({dead}))
    return replace(mapping, machine=replace(mapping.machine, fabric=fabric))


@fatal
@on_stage
def shorter_phase(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage | None:
    """A cycle less than the initiation interval or the bandwidth asks for."""
    if not stage.phases or stage.phases[0].cycles + stage.phases[1].cycles == 0:
        return None
    longest = max(stage.phases, key=lambda phase: phase.cycles)
    if not stage.overlap and longest.name == "dma" or stage.overlap or stage.body is not None:
        at = stage.phases.index(longest)
        return replace(stage, phases=with_item(stage.phases, at, replace(longest, cycles=longest.cycles - 1)))
    return None


@fatal
@on_stage
def unknown_body(mapping: Mapping, stage: Stage, rng: random.Random) -> Stage:
    return replace(stage, body=len(mapping.bodies))


@fatal
@on_body
def moved_operation(body: KernelMapping, rng: random.Random) -> KernelMapping:
    at = rng.randrange(len(body.placed))
    return replace(body, placed=with_item(body.placed, at, replace(body.placed[at], pe=40 + rng.randrange(20))))


@fatal
@on_body
def doubled_slot(body: KernelMapping, rng: random.Random) -> KernelMapping:
    first, second, *rest = body.placed
    return replace(body, placed=(first, replace(second, pe=first.pe, cycle=first.cycle + body.ii), *rest))


@fatal
@on_body
def late_operation(body: KernelMapping, rng: random.Random) -> KernelMapping:
    at = rng.randrange(len(body.placed))
    return replace(body, placed=with_item(body.placed, at, replace(body.placed[at], cycle=body.placed[at].cycle + 7)))


@fatal
@on_body
def lost_operation(body: KernelMapping, rng: random.Random) -> KernelMapping:
    return replace(body, placed=body.placed[:-1])
