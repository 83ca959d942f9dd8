"""Bounds at every boundary: never above a mapping, exact where the least is known; reasons below the attainable."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mapper
from mapper import bounds
from mapper.boundaries import boundary_rows, crossing_bytes, inside_of, movement_bound_pj, provable_bytes
from mapper.cost import cost
from mapper.mapping import WRITTEN, Axis, Mapping, TileLoop
from mapper.traffic import Link, links


def _loaded(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


strategies = _loaded("strategies", "strategies.py")
nests = _loaded("tiling_nests", "tiling/nests.py")
EXAMPLES = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def chain_of(mapping: Mapping) -> list[Link]:
    stage, op = mapping.stages[0], next(mapping.graph.nests)
    return links(mapping.graph, stage, op, {a.name: a for a in mapping.axes}, mapping.home)


def held(mapping: Mapping) -> Mapping:
    """The mapping on a machine whose inner memories are just as large as what it keeps there."""
    copies = math.prod(axis.extent for axis in mapping.axes)
    kept = [buffer for stage in mapping.stages for buffer in stage.buffers]
    outer, *inner = mapping.machine.memories
    for at, memory in enumerate(inner):
        ends = [b.address + b.bytes * b.copies for b in kept if b.memory == memory.name]
        inner[at] = replace(memory, capacity_bytes=max(ends, default=1), instances=copies)
    return replace(mapping, machine=replace(mapping.machine, memories=(outer, *inner)))


@EXAMPLES
@given(strategies.mappings())
def test_no_mapping_crosses_with_less_than_is_provable(mapping: Mapping) -> None:
    mapping = held(mapping)
    for level in range(len(mapping.machine.memories)):
        assert provable_bytes(mapping.graph, inside_of(mapping, level)) <= crossing_bytes(mapping, level)
    assert movement_bound_pj(mapping) <= cost(mapping).movement_pj


@settings(EXAMPLES, max_examples=60)
@given(strategies.networks())
def test_networks_cross_with_no_less_either(mapping: Mapping) -> None:
    total = cost(mapping)
    for row in boundary_rows(mapping, total).values():
        assert row["provable_bytes"] <= row["mapping_bytes"]
        assert ("below_attainable" in row) == (row["mapping_bytes"] < row.get("attainable_bytes", 0))
    assert movement_bound_pj(mapping) <= total.movement_pj


@EXAMPLES
@given(strategies.mappings())
def test_what_enters_a_level_leaves_it(mapping: Mapping) -> None:
    """Finished elements pass every level once, partial ones come back as often as they leave, and where no axis
    multicasts each word sent is a word received."""
    finished = {link.received - link.partial_received for link in chain_of(mapping) if link.operand == WRITTEN}
    assert len(finished) == 1
    single = replace(mapping, axes=tuple(replace(axis, multicast=False) for axis in mapping.axes))
    for link in chain_of(single):
        assert (link.sent, link.partial_sent) == (link.received, link.partial_received)


def on_units(m: int, n: int, k: int, units: tuple[int, int, int]) -> int:
    """Words between one memory and units that take m, n and k side by side."""
    graph = nests.matmul(m, n, k)
    op = next(graph.nests)
    axes = tuple(Axis(name, extent) for name, extent in zip("mnk", units, strict=True))
    wide = zip("mnk", units, op.extents.values(), strict=True)
    loops = [TileLoop(name, min(copies, size), -(-size // copies)) for name, copies, size in wide]
    loops += [TileLoop(name, 1, copies, name) for name, copies in zip("mnk", units, strict=True)]
    stage = strategies.Stage("s", op.name, tuple(loops), (), strategies.Rect(0, 0, 1, 1))
    found = links(graph, stage, op, {axis.name: axis for axis in axes}, lambda name: "dram")
    return sum(link.sent if link.operand != WRITTEN else link.received + link.partial_received for link in found)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_a_cube_of_units_shares_as_much_as_can_be_shared(side: int) -> None:
    """side^3 units take two faces and give one: 3 side^2 words a step, which the bound states exactly."""
    graph = nests.matmul(16, 16, 16)
    least = bounds.units_bound_bytes(graph, next(graph.nests), side**3)
    assert least == 3 * (16 // side) ** 3 * side**2
    assert least <= on_units(16, 16, 16, (side, side, side)) + (16 // side) ** 3 * side**2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(*(st.integers(1, 6) for _ in range(6)))
def test_units_take_no_less_than_their_bound(m: int, n: int, k: int, a: int, b: int, c: int) -> None:
    units = (min(a, m), min(b, n), min(c, k))
    graph = nests.matmul(m, n, k)
    assert bounds.units_bound_bytes(graph, next(graph.nests), math.prod(units)) <= on_units(m, n, k, units)


def test_a_wafer_that_keeps_weights_says_why_it_moves_less() -> None:
    rows = mapper.compile("zoo:resnet-tiny", target="wafer", machine="wse3:width=64,height=64", effort="fast").report[
        "bounds"
    ]
    assert "weights stay inside" in rows["dram"]["below_attainable"]
    assert "attainable_bytes" in rows["sram"] and "attainable_bytes" not in rows["reg"]
