"""How much passes every link of a mesh per inference, from the routes as they are laid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapper.machine import Fabric
from mapper.mapping import Route

__all__ = ["link_load"]

_DIRECTIONS = {(-1, 0): 0, (1, 0): 1, (0, -1): 2, (0, 1): 3}


def link_load(routes: Sequence[Route], fabric: Fabric) -> np.ndarray:
    """Bytes that leave each core in its busiest direction, as rows x columns; lanes of a bundle share the bytes."""
    load = np.zeros((4, fabric.rows, fabric.columns))
    for route in routes:
        if not route.links:
            continue
        starts = np.array([start for start, _ in route.links])
        way = np.array([_DIRECTIONS.get((e[0] - s[0], e[1] - s[1]), 0) for s, e in route.links])
        shift = np.arange(route.lanes)[:, None] * np.array(route.stride)[None, :]
        at = (starts[None, :, :] + shift[:, None, :]).reshape(-1, 2)
        inside = ((at >= 0) & (at < (fabric.rows, fabric.columns))).all(axis=1)
        turned = np.tile(way, route.lanes)[inside]
        np.add.at(load, (turned, at[inside, 0], at[inside, 1]), route.bytes / route.lanes)
    busiest: np.ndarray = load.max(axis=0)
    return busiest
