"""The engine's programs: legal, counted as the cost counts them, least where that can be enumerated."""

from __future__ import annotations

import importlib.util
import math
from itertools import permutations, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.bounds import attainable, op_bound_bytes
from mapper.cost import cost
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN, Axis, Buffer, Infeasible, Mapping, Rect, Stage, TileLoop
from mapper.proof import rules_memory, rules_tiles
from mapper.tiling import engine
from mapper.tiling.engine import Tiling, tile
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis
from mapper.tiling.nest import nest_of
from mapper.tiling.spatial import ample_pj
from mapper.tiling.state import Spatial
from mapper.traffic import buffer_elements, links

_spec = importlib.util.spec_from_file_location("nests", Path(__file__).with_name("nests.py"))
assert _spec and _spec.loader
nests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nests)

small = st.integers(1, 9)
graphs = st.one_of(
    st.builds(nests.matmul, small, small, small, wide=st.sampled_from(["int8", "int32"])),
    st.builds(nests.conv, small, small, small, small, st.integers(1, 3), st.integers(1, 2)),
    st.builds(nests.conv, small, small, st.integers(3, 9), st.integers(3, 9), st.just(3), st.just(1), st.just(1)),
    st.builds(nests.recurrence, st.integers(1, 4), small),
)
AXES = (
    SpatialAxis(Axis("row", 4, True, hop=True), 0),
    SpatialAxis(Axis("lane", 3, False), 0),
    SpatialAxis(Axis("column", 2), 1),
    SpatialAxis(Axis("unit", 3), 2),
)


def dram(name: str) -> str:
    return "dram"


def solve(graph: Graph, hierarchy: Hierarchy, **options: object) -> tuple[Op, Tiling | Infeasible]:
    op = next(graph.nests)
    return op, tile(graph, op, hierarchy, homes=dram, **options)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(graphs, st.integers(24, 400), st.integers(3, 40), st.sets(st.sampled_from(range(4))))
def test_programs_are_legal_and_counted_as_the_cost_counts_them(
    graph: Graph, lmm: int, reg: int, axes: set[int]
) -> None:
    machine = nests.machine(lmm, reg)
    chosen = tuple(AXES[at] for at in sorted(axes))
    op, found = solve(graph, nests.three_level(machine, chosen))
    assert isinstance(found, Tiling)
    stage = Stage("s", op.name, found.loops, found.buffers, Rect(0, 0, 8, 8))
    mapping = Mapping("test", machine, graph, tuple(a.axis for a in chosen), (stage,))
    faults = [*rules_tiles.tile_loops(mapping, stage, op), *rules_tiles.combination(stage, op),
              *rules_tiles.ordered_loops(stage, op), *rules_memory.buffers(mapping, stage, op),
              *rules_memory.places(mapping, stage, op)]  # fmt: skip
    assert faults == []
    total = cost(mapping)
    assert found.movement_pj == pytest.approx(total.movement_pj)
    assert found.hop_bytes == total.hop_bytes
    assert {name: (read, write) for name, read, write in found.levels} == {
        name: (level.read_bytes, level.write_bytes) for name, level in total.levels
    }
    assert found.bound <= found.movement_pj * (1 + 1e-9)


def enumerated(graph: Graph, room: int) -> int:
    """Least DRAM bytes over all tiles that all operands share and all orders of the tile loops."""
    op, best = next(graph.nests), math.inf
    names = [name for name, extent in op.extents.items() if extent > 1]
    for tiles in product(*(range(1, op.extents[name] + 1) for name in names)):
        step = dict(zip(names, tiles, strict=True))
        for order in permutations(names):
            outer = [TileLoop(n, step[n], -(-op.extents[n] // step[n])) for n in order]
            inner = [TileLoop(n, 1, step[n]) for n in names]
            buffers = tuple(Buffer(operand, "lmm", len(outer), 0) for operand in (*range(len(op.reads)), WRITTEN))
            stage = Stage("s", op.name, (*outer, *inner), buffers, Rect(0, 0, 1, 1))
            if sum(buffer_elements(graph, stage, op, buffer) for buffer in buffers) > room:
                break
            moved = 0
            for link in links(graph, stage, op, {}, dram):
                if "dram" in (link.source, link.target):
                    moved += link.sent if link.source == "dram" else link.received + link.partial_received
            best = min(best, moved)
    return int(best)


@pytest.mark.parametrize(
    ("m", "n", "k", "room"), [(5, 6, 7, 20), (8, 3, 5, 12), (7, 7, 1, 9), (4, 4, 4, 48), (1, 9, 8, 7)]
)
def test_two_levels_equal_enumeration_of_matmuls(m: int, n: int, k: int, room: int) -> None:
    graph = nests.matmul(m, n, k)
    _, found = solve(graph, nests.two_level(room))
    assert isinstance(found, Tiling)
    assert found.bytes("dram") == enumerated(graph, room)
    assert found.exact_in == engine.ONE_BUFFER
    assert found.proof in ("exhausted", "bound")


@pytest.mark.parametrize(("stride", "room"), [(1, 9), (1, 14), (2, 12)])
def test_two_levels_equal_enumeration_of_convolutions(stride: int, room: int) -> None:
    graph = nests.conv(2, 1, 4, 1, 2, stride)
    op, found = solve(graph, nests.two_level(room))
    assert isinstance(found, Tiling)
    assert op_bound_bytes(graph, op, room).bytes <= found.bytes("dram") == enumerated(graph, room)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200), st.integers(3, 3000), st.integers(0, 3000))
def test_more_memory_never_moves_more(m: int, n: int, k: int, room: int, more: int) -> None:
    graph = nests.matmul(m, n, k)
    op = next(graph.nests)
    tight, wide = attainable(graph, op, room), attainable(graph, op, room + more)
    assert tight is not None and wide is not None
    assert op_bound_bytes(graph, op, room).bytes <= tight.bytes
    assert wide.bytes <= tight.bytes


def test_ragged_tiles_beat_divisors_on_the_published_case() -> None:
    graph = nests.matmul(128, 128, 128)
    op, ragged = solve(graph, nests.two_level(1024))
    divisors = tile(graph, op, nests.two_level(1024), homes=dram, divisors=True)
    assert isinstance(ragged, Tiling) and isinstance(divisors, Tiling)
    assert (ragged.bytes("dram"), divisors.bytes("dram")) == (163_840, 212_992)


def test_the_space_of_exactness_is_not_claimed_for_several_levels() -> None:
    _, found = solve(nests.matmul(16, 16, 16), nests.three_level(nests.machine(128, 8), ()))
    assert isinstance(found, Tiling) and found.exact_in == ""


def test_everything_fits_means_compulsory_traffic_and_a_proof() -> None:
    _, found = solve(nests.matmul(12, 10, 8), nests.two_level(10_000))
    assert isinstance(found, Tiling)
    assert found.bytes("dram") == 12 * 8 + 8 * 10 + 12 * 10
    assert found.proof == "bound"


def test_does_not_fit_names_memory_demand_and_limit() -> None:
    _, found = solve(nests.matmul(8, 8, 8, wide="int32"), nests.two_level(5))
    assert isinstance(found, Infeasible)
    assert (found.resource, found.demand, found.limit, found.culprit) == ("lmm", 6, 5, "mm")
    assert str(found).startswith("mm needs 6 bytes of lmm, there are 5")


def test_double_buffering_leaves_half_of_the_room() -> None:
    levels = (Level("dram", None, 1, 1), Level("lmm", 2048, 0, 0, copies=2))
    _, double = solve(nests.matmul(128, 128, 128), Hierarchy(levels))
    _, single = solve(nests.matmul(128, 128, 128), nests.two_level(1024))
    assert isinstance(double, Tiling) and isinstance(single, Tiling)
    assert double.bytes("dram") == single.bytes("dram")
    assert max(b.address + b.bytes * b.copies for b in double.buffers) <= 2048


def test_a_given_spatial_choice_is_kept() -> None:
    axes = (SpatialAxis(Axis("row", 4), 0),)
    hierarchy = nests.three_level(nests.machine(256, 16), axes)
    fixed = (TileLoop("n", 8, 4, "row"),)
    op, found = solve(nests.matmul(16, 32, 8), hierarchy, spatial=fixed)
    assert isinstance(found, Tiling)
    assert [loop for loop in found.loops if loop.axis] == [TileLoop("n", 8, 4, "row")]


def test_a_tensor_at_home_further_in_starts_its_chain_there() -> None:
    graph = nests.matmul(16, 32, 8)
    op = next(graph.nests)
    hierarchy = nests.three_level(nests.machine(256, 16), ())
    found = tile(graph, op, hierarchy, homes=lambda name: "lmm" if name == "b" else "dram")
    assert isinstance(found, Tiling)
    assert not [b for b in found.buffers if b.operand == 1 and b.memory == "lmm"]
    assert found.bytes("dram") == 16 * 8 + 16 * 32


def test_equal_nests_are_solved_once_whatever_their_names() -> None:
    hierarchy = nests.two_level(77)
    _, first = solve(nests.matmul(11, 13, 17), hierarchy)
    known = len(engine._solved)
    _, second = solve(nests.matmul(11, 13, 17, names="xyz"), hierarchy)
    assert isinstance(first, Tiling) and isinstance(second, Tiling)
    assert len(engine._solved) == known
    assert {loop.loop for loop in second.loops} <= set("xyz")
    assert [(loop.step, loop.trips) for loop in first.loops] == [(loop.step, loop.trips) for loop in second.loops]


def test_results_accumulate_in_the_innermost_memory_where_that_pays() -> None:
    levels = (Level("dram", None, 100, 100), Level("lmm", 65_536, 3, 3), Level("reg", 64, 0.5, 0.5))
    graph = nests.matmul(128, 768, 768, "float32", "float32")
    _, quick = solve(graph, Hierarchy(levels))
    _, long = solve(graph, Hierarchy(levels), effort="max")
    assert isinstance(quick, Tiling) and isinstance(long, Tiling)
    assert any(b.operand == WRITTEN and b.memory == "reg" for b in quick.buffers)
    assert long.movement_pj <= quick.movement_pj <= 1.05 * long.movement_pj


def test_axes_without_multicast_go_to_the_loop_that_moves_the_smaller_operand() -> None:
    """Eight lanes with ports of their own: what a lane's loop does not move is read eight times, so the large weights
    must be split over the lanes and the small activations repeated."""
    axes = (SpatialAxis(Axis("lane", 8, False), 0, reduces=False),)
    _, found = solve(nests.matmul(64, 4096, 64), nests.three_level(nests.machine(65_536, 64), axes))
    assert isinstance(found, Tiling)
    assert [loop.loop for loop in found.loops if loop.axis == "lane"] == ["n"]


def test_memories_that_hold_every_tile_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = (SpatialAxis(Axis("row", 4), 0), SpatialAxis(Axis("column", 2), 1))
    ample = three_level_of(1 << 20, axes)
    larger = three_level_of(1 << 30, axes)
    graph = nests.conv(6, 5, 9, 7, 3)
    first = engine.tilings(graph, graph.ops[0], ample, homes=dram)
    monkeypatch.setattr("mapper.tiling.search._choices", None)  # a search of its own would call it
    assert engine.tilings(graph, graph.ops[0], larger, homes=dram) == first


def three_level_of(lmm_bytes: int, axes: tuple[SpatialAxis, ...]) -> Hierarchy:
    return Hierarchy((Level("dram", None, 100, 90), Level("lmm", lmm_bytes, 3, 4), Level("reg", 64, 0.5, 0.25)), axes)


def test_windows_that_overlap_count_in_every_place_that_reads_them() -> None:
    # three places that take a window position each read a 7 x 7 image nearly thrice; channels are read once
    graph = nests.conv(4, 3, 5, 5, 3)
    hierarchy = Hierarchy(nests.two_level(1 << 20).levels, (SpatialAxis(Axis("row", 3), 0, parallel=False),))
    nest = nest_of(graph, graph.ops[0], hierarchy, dram)
    by_loop = {graph.ops[0].loops[at].name: ample_pj(nest, hierarchy, [Spatial(at, 3, "row", 0, True)])
               for at in (1, 4, 5)}  # fmt: skip
    weights, results, image = 4 * 3 * 9, 4 * 25, 3 * 7 * 7
    assert by_loop["c"] == weights + results + image
    assert by_loop["fy"] == by_loop["fx"] == weights + results + 3 * 3 * 5 * 7
