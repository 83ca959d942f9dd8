"""Faults of routes over the mesh that leave no legal mapping."""

from __future__ import annotations

import random
from dataclasses import replace

from mapper.mapping import Mapping, Route

from .parts import Mutant, fatal, on_route, with_item


@fatal
@on_route
def dropped_hop(mapping: Mapping, route: Route, rng: random.Random) -> Route | None:
    """The hop that enters the target is missing (those inside the source might be spared)."""
    return replace(route, links=(*route.links[:2], *route.links[3:])) if len(route.links) > 2 else None


@fatal
@on_route
def bent_hop(mapping: Mapping, route: Route, rng: random.Random) -> Route | None:
    if not route.links:
        return None
    at = rng.randrange(len(route.links))
    here, there = route.links[at]
    return replace(route, links=with_item(route.links, at, (here, (there[0] + 2, there[1]))))


@fatal
@on_route
def reversed_hop(mapping: Mapping, route: Route, rng: random.Random) -> Route | None:
    if len(route.links) < 3:
        return None
    here, there = route.links[1]
    return replace(route, links=with_item(route.links, 1, (there, here)))


@fatal
@on_route
def too_many_colours(mapping: Mapping, route: Route, rng: random.Random) -> Route:
    return replace(route, colour=mapping.machine.links.colours or 0)


@fatal
def shared_colour(mapping: Mapping, rng: random.Random) -> Mutant:
    """Two routes hold one colour in a router that both pass."""
    travelling = [route for route in mapping.routes if route.links]
    return replace(mapping, routes=(*mapping.routes, rng.choice(travelling))) if travelling else None


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
