"""A floorplan as data for the page: areas with their overlays, routed trees as corner points, link load on a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mapper.cost import stage_cycles
from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.machine import Fabric
from mapper.mapping import Mapping as FabricMapping
from mapper.mapping import Route, Stage

from .floorplan import runs
from .load import link_load

__all__ = ["contest", "pipeline"]

HEAT_CELLS = 120  # the longer side of the link-load grid
CORNERS = 60_000  # points of routes that a page carries


def pipeline(mapping: FabricMapping, rows: Mapping[str, Mapping[str, Any]], index: Mapping[str, int]) -> dict[str, Any]:
    """Stages in place; `rows` are the report's operators by name, `index` their numbers on the page."""
    fabric, stage_of = mapping.machine.fabric, {s.name: s for s in mapping.stages}
    areas = []
    for stage in mapping.stages:
        box = stage.rect
        areas.append({"i": index[stage.op], "r": box.row, "c": box.column, "h": box.height, "w": box.width,
                      "v": _overlays(mapping, stage, rows[stage.op])})  # fmt: skip
    return {
        "kind": "floor", "rows": fabric.rows, "columns": fabric.columns, "dead": sorted(fabric.dead), "areas": areas,
        "overlays": [["stage time", "cycles"], ["utilisation", "share"], ["core memory in use", "share"],
                     ["movement", "pJ"]],
        "routes": _routes(mapping.routes, stage_of, index), "heat": _heat(mapping.routes, fabric),
    }  # fmt: skip


def _overlays(mapping: FabricMapping, stage: Stage, row: Mapping[str, Any]) -> list[float]:
    """Cycles, multiply-accumulates per core and cycle, the fullest core memory, movement."""
    cycles, cores = stage_cycles(stage), stage.rect.height * stage.rect.width
    busy = row["macs"] / (cycles * cores) if cycles else 0.0
    fill = 0.0
    for memory in mapping.machine.memories:
        if memory.at == "pe" and memory.capacity_bytes:
            used = sum(b.bytes * b.copies for b in stage.buffers if b.memory == memory.name)
            fill = max(fill, used / memory.capacity_bytes)
    return [cycles, round(busy, 5), round(fill, 5), round(row["movement_pj"], 1)]


def _routes(routes: Sequence[Route], stages: Mapping[str, Stage], index: Mapping[str, int]) -> list[dict[str, Any]]:
    found, corners = [], 0
    for route in routes:
        if not route.links or corners > CORNERS:
            continue
        lines = [_corners(run) for run in runs(route)]
        corners += sum(map(len, lines)) // 2
        ends = [index[stages[name].op] for name in (route.target, *route.also) if name in stages]
        source = index[stages[route.source].op] if route.source in stages else -1
        found.append({"t": route.tensor, "from": source, "to": ends, "b": route.bytes, "k": route.colour,
                      "n": route.lanes, "s": list(route.stride), "l": lines})  # fmt: skip
    return found


def _corners(run: Sequence[tuple[int, int]]) -> list[int]:
    """A straight run as its two ends."""
    return [*run[0], *run[-1]]


def _heat(routes: Sequence[Route], fabric: Fabric) -> dict[str, Any]:
    """The busiest link of each square of cores, where there is any traffic."""
    side = -(-max(fabric.rows, fabric.columns) // HEAT_CELLS)
    load = link_load(routes, fabric)
    high, wide = -(-fabric.rows // side) * side, -(-fabric.columns // side) * side
    padded = np.zeros((high, wide))
    padded[: fabric.rows, : fabric.columns] = load
    cells = padded.reshape(high // side, side, wide // side, side).max(axis=(1, 3))
    used = [[int(r), int(c), round(float(cells[r, c]))] for r, c in np.argwhere(cells > 0)]
    return {"side": side, "cells": used}


def contest(graph: KernelGraph, places: Sequence[PlacedKernel]) -> dict[str, Any]:
    """Kernels of a contest graph in place, wires between centres."""
    areas, index = [], {place.name: number for number, place in enumerate(places)}
    for number, place in enumerate(places):
        width, height = place.size
        areas.append({"i": number, "r": place.y, "c": place.x, "h": height, "w": width, "v": [width * height]})
    kernels = graph.kernels
    wires = [[index[kernels[src].name], index[kernels[dst].name]] for src, dst in graph.wires]
    return {"kind": "floor", "rows": graph.height, "columns": graph.width, "dead": [], "areas": areas,
            "overlays": [["area", "elements"]], "routes": [], "wires": wires, "heat": None}  # fmt: skip
