"""The stages one by one: bounds, windows, columns, local-memory groups."""

from collections.abc import Callable
from types import ModuleType

import pytest

from mapper.backends.cgla.bounds import Bounds
from mapper.backends.cgla.columns import arrange, groups_and_shares
from mapper.backends.cgla.kernel import KernelRequest, KernelResult, map_kernel
from mapper.backends.cgla.listing import first_plans
from mapper.backends.cgla.realise import Realised, Realiser
from mapper.backends.cgla.registers import excess
from mapper.backends.cgla.repair import Allowance, repaired
from mapper.backends.cgla.rows import RowPlan
from mapper.backends.cgla.rules import HALF, QUARTER, WHOLE, Body
from mapper.backends.cgla.windows import Window, polish, roomy, squeeze
from mapper.check_rows import check_rows
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.frontends import imax
from mapper.solver import Limits

LIMITS = Limits(effort=2.0, workers=1)


def chain(length: int, width: int) -> Body:
    """`width` independent chains of exe nodes, all fed by one counter."""
    nodes = [Node(0, "ADD", self_update=True)]
    edges = []
    for c in range(width):
        for step in range(length):
            i = 1 + c * length + step
            nodes.append(Node(i, "ADD"))
            edges.append(Edge(i - 1 if step else 0, i))
    return Body(Dfg("chains", tuple(nodes), tuple(edges), loop_levels=2))


@pytest.mark.parametrize(
    ("length", "width", "rows"),
    [(5, 1, 6), (3, 4, 4), (3, 5, 5), (2, 9, 6)],  # counter first, then ceil(length * width / 4) rows
)
def test_bounds_of_chains(length: int, width: int, rows: int) -> None:
    assert Bounds(chain(length, width)).rows == rows


def test_bounds_never_exceed_what_was_placed(mapped: Callable[[str], KernelResult]) -> None:
    for name in ("jacobi", "grapes", "expand4k"):
        result = mapped(name)
        bounds = Bounds(Body(result.mapping.dfg))
        assert bounds.rows <= result.rows
        for place in result.mapping.placed:
            first, last = bounds.span(place.node, result.rows)
            assert first <= place.cycle <= last


def test_a_plan_that_holds_too_much_is_repaired() -> None:
    """Eighteen results wait for one late reader each: spread over rows, at most sixteen registers are taken."""
    body = fan(18)
    plan = RowPlan(11, crowded_rows(18), frozenset())
    assert excess(body, plan) != {}
    mended = repaired(body, Bounds(body), plan, 12, Allowance(5.0, 0))
    assert mended is not None and excess(body, mended) == {}
    assert isinstance(Realiser(body).realise(mended), Realised)


def fan(width: int) -> Body:
    """`width` pairs of a producer and its reader."""
    nodes = tuple(Node(i, "ADD", self_update=i < width) for i in range(2 * width))
    return Body(Dfg("fan", nodes, tuple(Edge(i, width + i) for i in range(width)), loop_levels=1))


def crowded_rows(width: int) -> dict[int, int]:
    """Producers in the first five rows, readers in the five after them."""
    return {i: 1 + i // 4 for i in range(width)} | {width + i: 6 + i // 4 for i in range(width)}


@pytest.mark.parametrize("seed", [0, 1, 6, 12])
def test_planted_kernels_take_no_more_rows_than_planted(
    seed: int, benchmark_named: Callable[[str], ModuleType]
) -> None:
    rows = 6 if seed % 6 == 0 else 12
    planted = benchmark_named("planted_rows").planted
    result = map_kernel(imax.parse(planted(seed, rows)), KernelRequest(effort="fast"))
    assert isinstance(result, KernelResult)
    assert check_rows(result.mapping) == ()
    assert result.rows <= rows
    assert result.lmm_share_ok


def spread(body: Body) -> RowPlan:
    """The chains of `chain(2, 4)` one row further apart than needed."""
    row = {0: 0}
    for i in body.ids[1:]:
        row[i] = 1 if (i - 1) % 2 == 0 else 3
    return RowPlan(4, row, frozenset())


def test_squeeze_gains_the_empty_row_and_polish_shortens_lifetimes() -> None:
    body = chain(2, 4)
    bounds = Bounds(body)
    shorter = squeeze(body, bounds, spread(body), Window(1, 3), LIMITS)
    assert shorter.plan is not None and shorter.plan.rows == 3
    calmer = polish(body, bounds, spread(body), Window(0, 4), LIMITS)
    assert calmer.plan is not None
    assert all(calmer.plan.row_of[2 * c + 2] - calmer.plan.row_of[2 * c + 1] == 1 for c in range(4))
    refused = squeeze(body, bounds, shorter.plan, Window(0, 3), LIMITS)
    assert (refused.status, refused.plan) == ("refuted", None)


def test_a_roomy_window_has_a_row_of_free_slots() -> None:
    body = chain(2, 4)
    assert roomy(body, spread(body), 0, 2) == Window(0, 3)  # row 2 is free, row 0 has one slot
    assert roomy(body, spread(body), 3, 1) is None


def test_list_schedules_are_legal(public: Callable[[str], Dfg]) -> None:
    for name in ("jacobi", "grapes", "tone_curve"):
        body = Body(public(name))
        plans = list(first_plans(body, Bounds(body), restarts=6, seed=1))
        assert plans
        for plan in plans:
            realised = Realiser(body).realise(plan)
            assert isinstance(realised, Realised)
            assert check_rows(realised.mapping(body)) == ()


def test_groups_of_local_memory() -> None:
    assert [share for _, share in groups_and_shares([0, 0, None, None])] == [WHOLE, WHOLE, HALF, HALF]
    assert [share for _, share in groups_and_shares([0, 1, 2, None])] == [QUARTER, QUARTER, HALF, HALF]
    assert groups_and_shares([5, 5, 5, 5]) == [("row", WHOLE)] * 4


def test_a_row_without_layout_is_refused() -> None:
    loads = tuple(Node(i, "LDR", "load", memory=MemoryUse(i, i)) for i in range(5))
    body = Body(Dfg("five", loads, (), tuple(Region(i, 64) for i in range(5))))
    assert arrange(body, range(4), frozenset(), row=1) is not None
    assert arrange(body, range(5), frozenset(), row=1) is None
    pinned = arrange(body, range(4), frozenset(), row=1, pins={0: 3})
    assert pinned is not None and pinned[0] == (3, "mop1")


def test_a_body_written_for_the_judge_reads_back(benchmark_named: Callable[[str], ModuleType]) -> None:
    commands = benchmark_named("random_rows")
    dfg = imax.parse(benchmark_named("planted_rows").planted(3, 8))
    again = imax.parse(commands.kernel_json(dfg))
    assert {node.id: (node.kind, node.host, node.self_update, node.memory) for node in again.nodes} == {
        node.id: (node.kind, node.host, node.self_update, node.memory) for node in dfg.nodes
    }
    assert again.regions == dfg.regions
    assert [set(again.predecessors[i]) for i in again.order] == [set(dfg.predecessors[i]) for i in dfg.order]
