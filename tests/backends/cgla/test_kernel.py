"""Placed kernels: as short as is proven possible, legal by other code, and the same every time."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.backends.cgla.kernel import DoesNotFit, KernelRequest, KernelResult, _agreed, map_kernel
from mapper.backends.cgla.loops import solve_kernel
from mapper.backends.cgla.replicas import copied, replicas
from mapper.backends.cgla.solution import solution_json
from mapper.check_rows import check_rows, hops, lmm_share_ok, rows_used
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.errors import CheckFailed
from mapper.index import loop
from mapper.ir import Access, Graph, Loop, Op, Tensor
from mapper.kernels.body import main_body
from mapper.kernels.style import CGLA_STYLE
from mapper.machines import resolve
from mapper.request import KernelSolved, Request
from mapper.scalar import Const
from mapper.simulate_rows import simulate_rows

FAST = KernelRequest(effort="fast")


def assert_sound(result: KernelResult | DoesNotFit) -> KernelResult:
    assert isinstance(result, KernelResult)
    assert check_rows(result.mapping) == ()
    assert simulate_rows(result.mapping).violations == ()
    assert (rows_used(result.mapping), hops(result.mapping)) == (result.rows, result.hops)
    assert result.rows_bound <= result.rows
    return result


@pytest.mark.parametrize(
    ("name", "rows", "proof"), [("jacobi", 9, "bound"), ("grapes", 13, "bound"), ("expand4k", 14, "bound")]
)
def test_public_kernels_that_are_settled_quickly(
    mapped: Callable[[str], KernelResult], name: str, rows: int, proof: str
) -> None:
    result = assert_sound(mapped(name))
    assert (result.rows, result.rows_bound, result.outcome.proof) == (rows, rows, proof)
    assert lmm_share_ok(result.mapping) is result.lmm_share_ok is True


def test_a_refuted_row_count_is_a_proof_but_not_called_optimal(mapped: Callable[[str], KernelResult]) -> None:
    result = assert_sound(mapped("tone_curve"))
    assert (result.rows, result.outcome.proof, result.outcome.status) == (15, "exhausted", "feasible")
    assert "14 rows were refuted" in result.why_not_lower


def test_same_request_same_bytes(public: Callable[[str], Dfg], mapped: Callable[[str], KernelResult]) -> None:
    again = map_kernel(public("jacobi"), FAST)
    assert isinstance(again, KernelResult)
    assert solution_json(again.mapping) == solution_json(mapped("jacobi").mapping)


def test_a_time_limit_stops_the_search_with_a_legal_plan(public: Callable[[str], Dfg]) -> None:
    request = Request(effort="fast", time_limit_seconds=0.01, options={"pins": "drop", "share": "enforce"})
    solved = solve_kernel(public("tone_curve"), resolve("imax3"), request)
    assert isinstance(solved, KernelSolved)
    assert check_rows(solved.mapping) == ()
    assert solved.outcome.wall_limited and solved.outcome.proof == "none"
    assert "stopped from outside" in solved.facts["why_not_lower"]


def test_pins_are_kept(public: Callable[[str], Dfg]) -> None:
    dfg = public("jacobi")
    result = assert_sound(map_kernel(dfg, replace(FAST, pins="keep")))
    places = {p.node: (p.cycle, p.pe - 4 * p.cycle) for p in result.mapping.placed}
    pinned = {node.id: node.pin for node in dfg.nodes if node.pin is not None}
    assert pinned and {i: places[i] for i in pinned} == pinned
    assert result.rows == 9


@st.composite
def exe_bodies(draw: st.DrawFn) -> Dfg:
    count = draw(st.integers(1, 7))
    pairs = [(a, b) for a, b in itertools.combinations(range(count), 2)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8)) if pairs else []
    nodes = tuple(Node(i, "ADD", self_update=True) for i in range(count))
    return Dfg("random", nodes, tuple(Edge(a, b) for a, b in chosen), loop_levels=draw(st.integers(1, 2)))


def fewest_rows(dfg: Dfg) -> int:
    """By trying every assignment of rows: four exe nodes a row, fewer in row 0, sources above users."""
    ids = [node.id for node in dfg.nodes]
    for rows in itertools.count(1):
        for choice in itertools.product(range(rows), repeat=len(ids)):
            row = dict(zip(ids, choice, strict=True))
            full = any(choice.count(r) > (4 - dfg.loop_levels if r == 0 else 4) for r in range(rows))
            if not full and all(row[e.src] < row[e.dst] for e in dfg.edges):
                return rows
    raise AssertionError


@settings(max_examples=12, deadline=None)
@given(exe_bodies())
def test_no_assignment_is_shorter(dfg: Dfg) -> None:
    result = assert_sound(map_kernel(dfg, FAST))
    assert result.rows == fewest_rows(dfg)


def loads(count: int, words: int, regions: int) -> Dfg:
    """`count` loads spread over `regions` regions of `words` words, all at host addresses."""
    nodes = tuple(Node(i, "LDR", "load", memory=MemoryUse(i % regions, i % regions)) for i in range(count))
    return Dfg("loads", nodes, (), tuple(Region(r, words) for r in range(regions)), loop_levels=1)


@pytest.mark.parametrize(
    ("words", "rows"),
    [(1024, 1), (4096, 1), (8192, 2), (16384, 4)],  # 4 regions: quarters, quarters, halves, whole memories
)
def test_large_regions_spread_over_rows(words: int, rows: int) -> None:
    result = assert_sound(map_kernel(loads(4, words, 4), FAST))
    assert result.rows == rows
    assert lmm_share_ok(result.mapping) is True


def test_without_the_share_they_stay_together() -> None:
    result = assert_sound(map_kernel(loads(4, 16384, 4), replace(FAST, enforce_share=False)))
    assert (result.rows, result.lmm_share_ok, lmm_share_ok(result.mapping)) == (1, False, False)


def test_eight_loads_of_one_region_share_four_units() -> None:
    assert assert_sound(map_kernel(loads(8, 64, 1), FAST)).rows == 1
    assert assert_sound(map_kernel(loads(9, 64, 1), FAST)).rows == 2


def accumulate() -> Dfg:
    """load - add - store of one region: only a folded unit does this in the one row that rule 14 allows."""
    nodes = (
        Node(0, "LDR", "load", memory=MemoryUse(0, 0)),
        Node(1, "FAD", host=(1,)),
        Node(2, "STR", "store", memory=MemoryUse(0, 0, data=1)),
    )
    return Dfg("accumulate", nodes, (Edge(0, 1), Edge(1, 2)), (Region(0, 64),), loop_levels=1)


def test_load_modify_store_is_folded_into_one_unit() -> None:
    result = assert_sound(map_kernel(accumulate(), FAST))
    assert result.rows == 1
    assert len(result.mapping.folded) == 1
    assert len({p.pe for p in result.mapping.placed}) == 1


def test_what_does_not_fit_is_named() -> None:
    chain = Dfg("chain", tuple(Node(i, "ADD") for i in range(66)), tuple(Edge(i, i + 1) for i in range(65)))
    assert map_kernel(chain, FAST) == DoesNotFit("rows", 66, 64, "split the loop body")
    carried = Dfg("carried", (Node(0, "ADD"), Node(1, "ADD")), (Edge(0, 1, 1),))
    verdict = map_kernel(carried, FAST)
    assert isinstance(verdict, DoesNotFit)
    assert "edge 0->1" in verdict.resource


def test_copies_share_constants_and_nothing_else() -> None:
    union = copied(accumulate(), 3)
    assert [n.id for n in union.nodes] == list(range(9))
    assert [n.memory.region for n in union.nodes if n.memory] == [0, 0, 1, 1, 2, 2]
    assert [n.host for n in union.nodes if n.kind == "exe"] == [(1,)] * 3


def test_replicas_stacked_and_interleaved() -> None:
    stacked = replicas(accumulate(), FAST, "stacked", at_most=6)
    assert stacked is not None
    assert (stacked.count, stacked.rows, stacked.bound) == (6, 6, 6)
    assert check_rows(stacked.mapping) == ()
    tight = replace(FAST, rows_limit=2)
    merged = replicas(accumulate(), tight, "interleaved", at_most=8)
    assert merged is not None
    assert (merged.count, merged.bound) == (7, 7)  # eight units less the one of the loop counter
    assert check_rows(merged.mapping) == () and simulate_rows(merged.mapping).violations == ()


@pytest.mark.parametrize("copies", [1, 4])
def test_a_body_that_only_writes_a_constant(copies: int) -> None:
    i = loop("i")
    op = Op("fill", "Expand", (Loop("i", 6),), (), Access("y", (i,)), Const(3.5))
    graph = Graph("g", (Tensor("y", (6,), "float32"),), (op,), (), ("y",))
    result = assert_sound(map_kernel(main_body(graph, op, CGLA_STYLE, {"i": copies}), FAST))
    kinds = [(node.kind, node.op, len(set(node.host))) for node in result.mapping.dfg.nodes]
    assert kinds == [("exe", "or", 1), ("store", "store", 0)] * copies
    assert result.rows == -(-(copies + 2) // 4)  # two units of row 0 hold the loop counters


def test_two_runs_that_disagree_are_an_error() -> None:
    assert _agreed("refuted", 7, "body") and not _agreed("unknown", 7, "body")
    with pytest.raises(CheckFailed, match="two searches disagree: 7 rows were refuted by one and found by the other"):
        _agreed("found", 7, "body")


def test_an_update_in_place_is_refused_at_once() -> None:
    """A stored region stays in one row, so its load cannot feed its store; bounds once grew without end on it."""
    load, store = (Node(i, op, kind, memory=MemoryUse(0, descriptor=0, data=data))
                   for i, op, kind, data in ((0, "LDR", "load", None), (3, "STR", "store", 2)))  # fmt: skip
    nodes = (load, Node(1, "ADD", "exe"), Node(2, "ADD", "exe"), store)
    body = Dfg("in place", nodes, (Edge(0, 1, 0, 0), Edge(1, 2, 0, 0), Edge(2, 3, 0, 0)), (Region(0),))
    verdict = map_kernel(body, FAST)
    assert isinstance(verdict, DoesNotFit)
    assert verdict.resource == "rows that hold both 0 and 1, which reads its result"
    assert "another region" in verdict.hint
