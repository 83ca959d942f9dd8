"""Sizing, floor plan, ways and registers, each on cases that can be counted by hand."""

import math
from collections import Counter
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.backends.wafer.network.arrange import rearranged
from mapper.backends.wafer.network.floorplan import pack
from mapper.backends.wafer.network.flow import Edge, Flow
from mapper.backends.wafer.network.latency import latency_cycles
from mapper.backends.wafer.network.packing import Box, Floor, Packing
from mapper.backends.wafer.network.paths import between, box_distance
from mapper.backends.wafer.network.program import Cuts
from mapper.backends.wafer.network.refine import Effort, tightened
from mapper.backends.wafer.network.registers import block_of
from mapper.backends.wafer.network.routing import Bundle, Mesh, _meets_itself, route_all
from mapper.backends.wafer.network.slide import slid
from mapper.backends.wafer.network.table import FAR, Cores, table_of
from mapper.backends.wafer.network.turn import turned
from mapper.backends.wafer.network.wires import Wires, wires_of
from mapper.backends.wafer.network.work import slice_words, split_loops, work_of
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import Infeasible
from mapper.scalar import Arg, Call

MESH = Cores(16, 16, 49152, 1.0)


def matmul(m: int, n: int, k: int, kind: str = "sum", write: tuple[str, ...] = ("m", "n")) -> tuple[Graph, Op]:
    sizes = {"m": m, "n": n, "k": k}
    a, b = Tensor("a", (m, k), "float32", "input"), Tensor("b", (k, n), "float32", "weight")
    c = Tensor("c", tuple(sizes[name] for name in write), "float32")
    op = Op("mm", "MatMul", tuple(Loop(name, size) for name, size in sizes.items()),
            (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n")))),
            Access("c", tuple(loop(name) for name in write)), Call("mul", (Arg(0), Arg(1))),
            Combiner(kind, "float32", "k" if kind.startswith("arg") else None))  # type: ignore[arg-type]  # fmt: skip
    return Graph("g", (a, b, c), (op,), ("a",), ("c",)), op


def test_a_product_is_one_operation_and_its_slices_are_rectangles() -> None:
    graph, op = matmul(8, 6, 10)
    work = work_of(graph, op, {0: 2, 1: 1}, frozenset({1}))
    assert (work.point_cycles, work.output_cycles) == (1, 0)
    sizes = {"m": np.array([2.0]), "n": np.array([3.0]), "k": np.array([5.0])}
    assert [float(slice_words(o, sizes, 32)[0]) for o in work.operands] == [10, 15, 6]


def test_positions_of_extremes_and_sums_of_scatters_are_not_split() -> None:
    assert split_loops(matmul(8, 6, 10)[1]) == ("k", "m", "n")
    assert split_loops(matmul(8, 6, 10, "argmax")[1]) == ("m", "n")
    scatter = Op("t", "ConvTranspose", (Loop("i", 4), Loop("r", 3)), (Access("x", (loop("i"),)),),
                 Access("y", (loop("i") * 2 + loop("r"),)), Arg(0), Combiner("sum", "float32"))  # fmt: skip
    assert split_loops(scatter) == ()


def test_the_table_knows_the_least_cores_for_a_time() -> None:
    graph, op = matmul(8, 8, 8)
    table = table_of(work_of(graph, op, {0: 2, 1: 1}, frozenset({1})), MESH)
    assert table.least_area(512) == 1
    assert table.least_area(128) == 4
    assert table.least_area(0.5) == FAR
    curve = table.heights(128, MESH.width)
    assert curve[0] == FAR and all(low >= high for low, high in pairwise(curve))


def test_memory_forces_a_split_even_without_hurry() -> None:
    graph, op = matmul(64, 64, 64)  # weights 16 KiB, input 2 x 16 KiB, in cores of 8 KiB
    table = table_of(work_of(graph, op, {0: 2, 1: 1}, frozenset({1})), Cores(16, 16, 8192, 1.0))
    assert table.least_memory_bytes < 8192 < 3 * 16384
    assert table.least_area(math.inf) > 1


def test_a_block_of_outputs_shares_what_it_fetches() -> None:
    graph, op = matmul(16, 16, 16)
    work = work_of(graph, op, {0: 2, 1: 1}, frozenset({1}))
    block = block_of(work, (("m", 16), ("n", 16), ("k", 16)), op.body_reads, 256)
    m, n = dict(block.sides)["m"], dict(block.sides)["n"]
    assert 4 * (m * n + m + n) <= 256
    best = min((a + b) / (a * b) for a in range(1, 17) for b in range(1, 17) if 4 * (a * b + a + b) <= 256)
    assert (m + n) / (m * n) == pytest.approx(best, rel=0.02)
    assert block.kept == frozenset({0, 1})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=14),
       st.sets(st.tuples(st.integers(0, 23), st.integers(0, 19)), max_size=4))  # fmt: skip
def test_packed_boxes_hold_their_stages_apart(sizes: list[tuple[int, int]], dead: set[tuple[int, int]]) -> None:
    curves = [np.array([h if w >= width else FAR for w in range(21)]) for h, width in sizes]
    packing = pack(curves, Floor(24, 20, frozenset(dead)))
    if packing is None:
        return
    boxes = packing.boxes
    cells = [
        {(r, c) for r in range(b.row, b.row + b.height) for c in range(b.column, b.column + b.width)} for b in boxes
    ]
    assert all(one.isdisjoint(other) for one, other in combinations(cells, 2))
    for (height, width), box in zip(sizes, boxes, strict=True):
        assert box.height >= height and box.width >= width
        assert box.row >= 0 and box.row + box.height <= 24 and box.column >= 0 and box.column + box.width <= 20
    used = [{(r, c) for r in range(b.row, b.row + h) for c in range(b.column, b.column + w)}
            for b, (h, w) in zip(boxes, sizes, strict=True)]  # fmt: skip
    assert not dead & set().union(*used)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=10),
       st.sets(st.tuples(st.integers(0, 23), st.integers(0, 19)), max_size=3), st.integers(0, 99))  # fmt: skip
def test_rearranged_plans_stay_legal_and_never_get_longer_wires(
    sizes: list[tuple[int, int]], dead: set[tuple[int, int]], seed: int
) -> None:
    curves = [np.array([h if w >= width else FAR for w in range(21)]) for h, width in sizes]
    packing = pack(curves, Floor(24, 20, frozenset(dead)))
    if packing is None:
        return
    wires = wires_of([Edge(f"t{n}", n, (n + 1,), (n + 1,)) for n in range(len(sizes) - 1)], 20)
    found = rearranged(packing, wires, 60, seed)
    assert found is not None and found == rearranged(packing, wires, 60, seed)
    cores = Counter(
        (r, c) for b in found.boxes for r in range(b.row, b.row + b.height) for c in range(b.column, b.column + b.width)
    )
    assert max(cores.values()) == 1 and not dead & set(cores)
    assert all(b.height >= h and b.width >= w for b, (h, w) in zip(found.boxes, sizes, strict=True))


def test_annealing_brings_partners_together() -> None:
    quarter = np.array([FAR if w < 5 else 5 for w in range(21)])
    packing = pack([quarter] * 8, Floor(10, 20), (1,))
    assert packing is not None
    wires = wires_of([Edge("t", 0, (7,), (100,)), Edge("u", 1, (6,), (100,))], 20)
    found = rearranged(packing, wires, 2000, 0)
    assert found is not None and wires.of(found.boxes) == wires.least(found.boxes) == 1000 < wires.of(packing.boxes)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=10),
       st.sets(st.tuples(st.integers(0, 23), st.integers(0, 19)), max_size=3), st.randoms())  # fmt: skip
def test_turned_shelves_stay_where_they_are_and_wires_get_no_longer(
    sizes: list[tuple[int, int]], dead: set[tuple[int, int]], random: Random
) -> None:
    curves = [np.array([h if w >= width else FAR for w in range(21)]) for h, width in sizes]
    packing = pack(curves, Floor(24, 20, frozenset(dead)))
    if packing is None:
        return
    ends = [sorted(random.sample(range(len(sizes)), 2)) for _ in sizes]
    wires = wires_of([Edge(f"t{n}", a, (b,), (n + 1,)) for n, (a, b) in enumerate(ends)], 20)
    found = turned(packing, wires)
    assert _exact_length(found, wires) <= _exact_length(packing, wires)
    shelves = [[{stage for stack in shelf for stage in stack} for shelf in c] for c in packing.columns]
    assert [[{stage for stack in shelf for stage in stack} for shelf in c] for c in found.columns] == shelves
    cores = [(r, c) for b in found.boxes for r in range(b.row, b.row + b.height)
             for c in range(b.column, b.column + b.width)]  # fmt: skip
    assert len(cores) == len(set(cores)) and not dead & set(cores)


def _exact_length(packing: Packing, wires: Wires) -> float:
    """Bytes x distance before stacks share what a shelf leaves."""
    x, y = np.zeros(len(packing.curves), np.int64), np.zeros(len(packing.curves), np.int64)
    for number, column in enumerate(packing.columns):
        shelves = [packing.shelf(stacks) for stacks in column]
        for shelf, row in zip(shelves, packing.rows(number, [s.tall for s in shelves])[0], strict=True):
            x[shelf.stages], y[shelf.stages] = shelf.x + 2 * number * packing.wide, shelf.y + 2 * row
    return wires.cost(x, y)


def test_a_snake_of_two_shelves_turns_the_second() -> None:
    quarter = np.array([FAR if w < 5 else 5 for w in range(21)])
    packing = pack([quarter] * 8, Floor(10, 20), (1,))
    assert packing is not None
    wires = wires_of([Edge(f"t{n}", n, (n + 1,), (1,)) for n in range(7)], 20)
    assert wires.of(packing.boxes) == 3 * 5 + (15 + 5) + 3 * 5
    assert wires.of(turned(packing, wires).boxes) == 7 * 5


def test_what_flows_from_edge_to_edge_crosses_the_mesh() -> None:
    boxes = [Box(0, 0, 2, 2), Box(0, 50, 2, 2), Box(0, 98, 2, 2)]
    chain = [Edge("in", None, (0,), (30,)), Edge("a", 0, (1,), (20,)), Edge("b", 1, (2,), (25,))]
    wires = wires_of([*chain, Edge("out", 2, (None,), (40,))], 100)
    assert wires.through() == 20
    assert wires.least(boxes) == 20 * 100 <= wires.of(boxes)
    assert wires_of(chain, 100).least(boxes) == 20 * 2 + 25 * 2 + 30 * 1  # nothing leaves: pairs alone


def test_a_rectangle_slides_to_its_partner_inside_its_room() -> None:
    rooms = [Box(0, 0, 4, 10), Box(0, 10, 4, 10)]
    cuts = [Cuts((), (), (), 4, 3, 1.0), Cuts((), (), (), 4, 4, 1.0)]
    wires = wires_of([Edge("t", 0, (1,), (8,))], 20)
    assert slid(rooms, cuts, wires) == [Box(0, 7, 4, 3), Box(0, 10, 4, 4)]


def test_what_fits_exactly_is_packed() -> None:
    quarter = np.array([FAR if w < 5 else 5 for w in range(11)])
    assert pack([quarter] * 4, Floor(10, 10)) is not None
    assert pack([quarter] * 5, Floor(10, 10)) is None


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
def test_lanes_never_meet_and_join_both_boxes(row: int, column: int, height: int, width: int, lanes: int) -> None:
    a, b = Box(12, 12, 8, 8), Box(row, column, height, width)
    for path in between(a, b, lanes):
        routers = [
            {(r + i * path.stride[0], c + i * path.stride[1]) for r, c in path.places} for i in range(path.lanes)
        ]
        apart = row >= 20 or column >= 20 or row + height <= 12 or column + width <= 12
        if apart:
            assert all(one.isdisjoint(other) for one, other in combinations(routers, 2))
        for i in range(path.lanes):
            ends = [(p[0] + i * path.stride[0], p[1] + i * path.stride[1]) for p in (path.places[0], path.places[-1])]
            assert box_distance(a, Box(*ends[0], 1, 1)) == 0 == box_distance(b, Box(*ends[1], 1, 1))


def test_routes_through_one_router_differ_in_colour() -> None:
    boxes = [Box(0, 0, 1, 1), Box(0, 9, 1, 1), Box(0, 1, 1, 1), Box(0, 8, 1, 1)]
    edges = [Edge("a", 0, (1,), (40,)), Edge("b", 2, (3,), (40,))]
    bundles = route_all(Mesh(Floor(1, 10), 2, 4.0, 10.0, boxes), edges)
    assert not isinstance(bundles, Infeasible)
    assert {bundle.colour for bundle in bundles} == {0, 1}
    short = route_all(Mesh(Floor(1, 10), 1, 4.0, 10.0, boxes), edges)
    assert isinstance(short, Infeasible) and short.resource == "routing colours"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_lanes_that_meet_are_seen(places: list[tuple[int, int]]) -> None:
    rows, columns = (np.array(part) for part in zip(*places, strict=True))
    mesh = Mesh(Floor(6, 6), 1, 4.0, 1.0, ())
    assert _meets_itself(mesh, rows, columns) == _meets_itself(mesh, rows, columns) == (len(set(places)) < len(places))


def test_a_large_tensor_travels_in_lanes() -> None:
    boxes = [Box(0, 0, 4, 4), Box(6, 6, 4, 4)]
    mesh = Mesh(Floor(12, 12), 4, 4.0, 10.0, boxes)
    (bundle,) = route_all(mesh, [Edge("a", 0, (1,), (160,))])  # type: ignore[misc]
    assert bundle.lanes == 4 and mesh.load.max() == 10.0


def test_a_reader_on_the_way_is_served_by_the_same_tree() -> None:
    boxes = [Box(0, 0, 2, 2), Box(0, 4, 2, 2), Box(0, 8, 2, 2)]
    (bundle,) = route_all(Mesh(Floor(2, 12), 4, 4.0, 100.0, boxes), [Edge("a", 0, (1, 2), (40, 40))])  # type: ignore[misc]
    assert set(bundle.targets) == {1, 2} and len(bundle.links) == 7


def test_windows_shorten_wires_and_keep_boxes_apart() -> None:
    boxes = [Box(0, 5 * n, 5, 5) for n in range(6)]
    wires = wires_of([Edge("t", 0, (5,), (100,)), Edge("u", 1, (2,), (1,))], 30)
    found = tightened(boxes, wires, Floor(5, 30), Effort(0, 5, 1.0))
    assert wires.of(found) == (100 + 1) * 5 == wires.least(found) < wires.of(boxes)
    assert all(a.column + 5 <= b.column or b.column + 5 <= a.column for a, b in combinations(found, 2))


def test_edges_carry_what_each_reader_needs(residual: Graph) -> None:
    flow = Flow(residual, pipelined=True)
    assert flow.levels == (0, 1, 2)
    assert [(e.tensor, e.source, e.targets) for e in flow.edges] == [
        ("x", None, (0,)),
        ("a", 0, (1, 2)),
        ("b", 1, (2,)),
        ("c", 2, (None,)),
    ]
    assert flow.off_wafer_bytes == (residual.tensor("x").bytes, residual.tensor("c").bytes)


def test_no_lane_of_a_bundle_passes_a_dead_core() -> None:
    dead = frozenset({(3, 7), (4, 3), (7, 4), (2, 6)})
    mesh = Mesh(Floor(12, 12, dead), 4, 4.0, 20.0, [Box(0, 0, 4, 4), Box(6, 6, 4, 4)])
    bundles = route_all(mesh, [Edge("a", 0, (1,), (160,))])
    assert not isinstance(bundles, Infeasible)
    routers = {
        (r + lane * b.stride[0], c + lane * b.stride[1])
        for b in bundles
        for lane in range(b.lanes)
        for link in b.links
        for r, c in link
    }
    assert routers and routers.isdisjoint(dead)


def test_latency_is_the_longest_way_through_stages_and_hops() -> None:
    """0 feeds 1 four hops away and 2 six hops away on the same tree; 2's result leaves over two more."""
    boxes = (Box(0, 0, 1, 1), Box(0, 4, 1, 1), Box(0, 6, 1, 1))
    tree = Bundle(Edge("t", 0, (1, 2), (4, 4)), (1, 2), 4, tuple(((0, c), (0, c + 1)) for c in range(6)), 1, (0, 0), 0)
    out = Bundle(Edge("u", 2, (None,), (4,)), (None,), 4, (((0, 6), (0, 7)), ((0, 7), (0, 8))), 1, (0, 0), 1)
    assert latency_cycles((10, 30, 5), boxes, (tree, out), 1) == (44, 40)
    assert latency_cycles((10, 3, 5), boxes, (tree, out), 3) == (10 + 18 + 5 + 6, 15)
    assert latency_cycles((), (), (), 1) == (0, 0)
