"""Faults of a contest placement: a corner, a turn, an argument or a kernel is not what it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from mapper.kgraph import KernelGraph, PlacedKernel

from .parts import with_item

__all__ = ["PLACES", "PlaceMutator"]

Placement = tuple[PlacedKernel, ...]
PlaceMutator = Callable[[KernelGraph, Placement, random.Random], Placement | None]
PLACES: dict[str, PlaceMutator] = {}


Change = Callable[[KernelGraph, PlacedKernel, random.Random], PlacedKernel]


def on_one(change: Change) -> Change:
    """Register a fault of one kernel's place."""

    def mutate(graph: KernelGraph, places: Placement, rng: random.Random) -> Placement:
        at = rng.randrange(len(places))
        return with_item(places, at, change(graph, places[at], rng))

    PLACES[change.__name__] = mutate
    return change


@on_one
def shifted(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, x=place.x + rng.randint(-2, 2), y=place.y + rng.randint(-2, 2))


@on_one
def outside(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, x=rng.choice((-1, graph.width)))


@on_one
def turned(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, rotation=90 - place.rotation)


@on_one
def half_turned(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, rotation=rng.choice((45, 180)))


@on_one
def other_window(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, h=place.h + rng.choice((-1, 1))) if rng.random() < 0.5 else replace(place, w=place.w + 1)


@on_one
def other_features(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, c=(place.c[0] + rng.choice((-1, 1)), *place.c[1:]))


@on_one
def other_filters(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, k=(place.k[0] + rng.choice((-1, 1)), *place.k[1:]))


@on_one
def other_name(graph: KernelGraph, place: PlacedKernel, rng: random.Random) -> PlacedKernel:
    return replace(place, name=rng.choice((*(node.name for node in graph.kernels), "nobody")))


def lost(graph: KernelGraph, places: Placement, rng: random.Random) -> Placement:
    return places[1:]


def doubled(graph: KernelGraph, places: Placement, rng: random.Random) -> Placement:
    return (*places, rng.choice(places))


def on_another(graph: KernelGraph, places: Placement, rng: random.Random) -> Placement | None:
    """Two kernels have one corner."""
    if len(places) < 2:
        return None
    first, second, *rest = places
    return (first, replace(second, x=first.x, y=first.y), *rest)


PLACES |= {"lost": lost, "doubled": doubled, "on_another": on_another}
