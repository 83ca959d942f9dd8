"""The stages one by one: bounds, interchangeable parts, windows, columns, local-memory groups."""

from collections.abc import Callable

import pytest

from mapper.backends.cgla.bounds import Bounds
from mapper.backends.cgla.columns import arrange, groups_and_shares
from mapper.backends.cgla.kernel import KernelResult
from mapper.backends.cgla.listing import first_plans
from mapper.backends.cgla.realise import Realised, Realiser
from mapper.backends.cgla.rows import RowModel, RowPlan
from mapper.backends.cgla.rules import HALF, QUARTER, WHOLE, Body
from mapper.backends.cgla.symmetry import interchangeable
from mapper.backends.cgla.windows import Window, polish, roomy, squeeze
from mapper.check_rows import check_rows
from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
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


def test_equal_chains_are_interchangeable_and_a_longer_one_is_not() -> None:
    assert [len(copies) for copies in interchangeable(chain(3, 4))] == [4]
    body = chain(3, 4)
    longer = Dfg("odd", (*body.dfg.nodes, Node(99, "ADD")), (*body.dfg.edges, Edge(3, 99)), loop_levels=2)
    assert [len(copies) for copies in interchangeable(Body(longer))] == [3]


def test_copies_of_a_stage_are_found(public: Callable[[str], Dfg]) -> None:
    (stages,) = interchangeable(Body(public("inv_x1")))
    assert len(stages) == 16
    kinds = {public("inv_x1")[i].kind for i in stages}
    assert len(kinds) == 1


def test_ordering_copies_keeps_feasibility() -> None:
    for rows, feasible in ((3, False), (4, True)):
        body = chain(3, 4)
        spans = {i: Bounds(body).span(i, rows) for i in body.ids}
        _, free = RowModel(body, rows, spans).solve(LIMITS)
        _, ordered = RowModel(body, rows, spans, interchangeable=interchangeable(body)).solve(LIMITS)
        assert (free is not None) == (ordered is not None) == feasible


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
