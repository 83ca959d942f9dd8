"""Trees, strips, annealing, adapters and the driver: legal, reproducible, and as good as they say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.backends.wafer import contest, slicing
from mapper.backends.wafer.adapters import agree
from mapper.backends.wafer.annealing import curve_table, forest_of, tree_of, wire_table
from mapper.backends.wafer.bounds import Shortage, shortage, slowest_time
from mapper.backends.wafer.compaction import compact
from mapper.backends.wafer.contest import ContestRequest, ContestResult, place_contest
from mapper.backends.wafer.exchange import Offer, exchanged, offers
from mapper.backends.wafer.kernels import Arguments, kernel_memory, kernel_time
from mapper.backends.wafer.neighbourhoods import Opening, reopen
from mapper.backends.wafer.shapes import Split
from mapper.backends.wafer.solution import arguments_of, placed, solution_json
from mapper.backends.wafer.strips import Snake, StripLimits, place_strips, snake_plan, topological_order
from mapper.backends.wafer.targets import free_sizing, protocol_sizing, targets
from mapper.backends.wafer.trees import Box, Columns, Leaf, Rows, boxes_at, leaves, tree_curve
from mapper.backends.wafer.wraps import wrapped_plan
from mapper.check_contest import check_contest, score_contest
from mapper.frontends.kgraph import load
from mapper.kgraph import KernelEdge, KernelGraph, KernelNode, PlacedKernel, Weights

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "wafer"


UNIT = Weights(Fraction(1), Fraction(1), Fraction(0))


def chain(count: int, weights: Weights = UNIT, side: int = 60) -> KernelGraph:
    nodes = tuple(KernelNode(i, f"k{i}", "conv", H=8, W=8, R=3, S=3, C=8, K=8 + i % 3) for i in range(count))
    edges = tuple(KernelEdge(i, i + 1) for i in range(count - 1))
    return KernelGraph("chain", side, side, 24576, weights, nodes, edges)


def disjoint(boxes: list[Box]) -> bool:
    return not any(
        a.x < b.x + b.wide and b.x < a.x + a.wide and a.y < b.y + b.tall and b.y < a.y + a.tall
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    )


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_tree_curve_is_the_least_height_over_all_splits(sizes: list[tuple[int, int]]) -> None:
    """Rigid leaves a, b, c: (a over b) beside c, by brute force over the split."""
    width = height = 24
    curves = [np.where(np.arange(width + 1) >= w, h, slicing.FAR).astype(np.int64) for w, h in sizes]
    tree = Columns((Rows((Leaf(0), Leaf(1))), Leaf(2)))
    found = tree_curve(tree, curves, height)
    for w in range(width + 1):
        best = min(max(curves[0][left] + curves[1][left], curves[2][w - left]) for left in range(w + 1))
        assert found[w] == (best if best <= height else slicing.FAR)
    placed = boxes_at(tree, curves, height, np.array([0]), np.array([0]), np.array([width]))
    assert disjoint([Box(*(int(v[0]) for v in placed[k])) for k in range(3)])


def test_order_keeps_chains_and_follows_inputs() -> None:
    graph = load(DATA / "C.json")
    order = topological_order(graph)
    place = {kernel: i for i, kernel in enumerate(order)}
    assert sorted(order) == list(range(100))
    assert all(place[a] < place[b] for a, b in graph.wires)


def test_strips_are_disjoint_and_hold_their_kernels() -> None:
    graph = load(DATA / "A.json")
    sizing = free_sizing(graph, Fraction(34496))
    plan = place_strips(graph, sizing.menus)
    assert plan is not None and disjoint(list(plan.boxes))
    assert all(m.fits(b.wide, b.tall) for m, b in zip(sizing.menus, plan.boxes, strict=True))
    assert sorted(leaves(plan.tree)) == list(range(16))


def test_wraps_beat_strips_where_a_corner_saves_area() -> None:
    """At 33 712 no snake of columns holds A; a lane with plates around it does, and its estimate is close."""
    graph = load(DATA / "A.json")
    sizing = free_sizing(graph, Fraction(33712))
    snake = Snake(graph, sizing.menus, StripLimits())
    plan = wrapped_plan(snake)
    assert snake_plan(snake) is None and plan is not None
    assert disjoint(list(plan.boxes)) and sorted(leaves(plan.tree)) == list(range(16))
    assert all(m.fits(b.wide, b.tall) for m, b in zip(sizing.menus, plan.boxes, strict=True))
    assert all(b.x >= 0 and b.y >= 0 and b.x + b.wide <= 633 and b.y + b.tall <= 633 for b in plan.boxes)


@pytest.mark.parametrize("price", [0, 6, 12])
@pytest.mark.parametrize("breadth", [40, 150, 400])
def test_blocks_promise_no_less_reach_than_their_trees_need(price: int, breadth: int) -> None:
    """Every run of up to six kernels: the tree read back from a table is as low as the table says, or lower."""
    graph = load(DATA / "M.json")
    menus = free_sizing(graph, Fraction(2_300_000)).menus
    snake = Snake(graph, menus, StripLimits(6))
    for start, stop in ((0, 2), (3, 6), (5, 10), (12, 18)):
        reach = snake.blocks.block(start, stop).reach[price, breadth]
        if reach < slicing.FAR:
            tree = snake.blocks.tree(start, stop, price, breadth)
            assert sorted(leaves(tree)) == list(range(start, stop))
            assert tree_curve(tree, snake.curves, snake.height)[breadth] <= reach


def test_targets_rise_and_start_at_the_bound() -> None:
    graph = chain(4)
    rungs = [t for _, t in zip(range(20), targets(graph, Fraction(100)), strict=False)]
    assert rungs[0] == 100 and rungs == sorted(set(rungs))


def test_free_time_leaves_one_target_and_the_smallest_rectangles() -> None:
    graph = chain(6, Weights(Fraction(0), Fraction(1), Fraction(5)))
    (only,) = targets(graph, Fraction(100))
    assert only == slowest_time(graph)
    result = place_contest(graph, ContestRequest(effort="fast"))
    assert isinstance(result, ContestResult)
    assert check_contest(graph, result.places) == ()
    assert score_contest(graph, result.places).adapter == 0


def test_forest_and_tree_hold_the_same_kernels() -> None:
    tree = Rows((Leaf(2), Columns((Leaf(0), Leaf(3), Leaf(1)))))
    forest = forest_of(tree, 4, 0, 10)
    assert leaves(tree_of(forest, int(forest.scalar[0]))) == (2, 0, 3, 1)


def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every compiled function of the search replaced by the Python that it was compiled from."""
    for name in dir(slicing):
        function = getattr(slicing, name)
        if hasattr(function, "py_func"):
            monkeypatch.setattr(slicing, name, function.py_func)


def annealed(graph: KernelGraph, moves: int, seed: int) -> tuple[float, list[int], list[int]]:
    sizings = [free_sizing(graph, Fraction(t)) for t in (160, 200)]
    order = tuple(Leaf(k) for k in topological_order(graph))
    steps = slicing.Schedule(moves, 20.0, 0.5, 5.0, 50.0, 1.0, seed, 4)
    forest = forest_of(Rows(order), len(graph.kernels), 1, graph.width)
    cost, best, last = slicing.anneal(curve_table(graph, sizings), wire_table(graph), forest, steps)
    return cost, best.left.tolist() + best.kernel.tolist(), last.left.tolist()


def test_plain_python_anneals_to_the_same_tree_as_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = annealed(chain(6), 400, 3)
    plain(monkeypatch)
    assert annealed(chain(6), 400, 3) == fast


def test_annealing_never_ends_above_its_start() -> None:
    start, _, _ = annealed(chain(6), 0, 1)
    cost, _, _ = annealed(chain(6), 20000, 1)
    assert cost <= start


def test_agreement_only_removes_adapters_and_stays_in_the_boxes() -> None:
    graph = load(DATA / "K.json")
    split = Split.of(graph, Fraction(1152))
    sizing = free_sizing(graph, Fraction(1152))
    plan = place_strips(graph, sizing.menus)
    assert plan is not None
    start = [m.fits(b.wide, b.tall) for m, b in zip(sizing.menus, plan.boxes, strict=True)]
    given_start = [s for s in start if s is not None]
    found = agree(graph, split, plan.boxes, given_start)

    def units(chosen: list[tuple[Arguments, int]] | tuple[tuple[Arguments, int], ...]) -> int:
        pairs = [(chosen[a][0], chosen[b][0]) for a, b in graph.wires]
        return sum((a.h != b.h) + (a.w != b.w) + (a.writes != b.reads) for a, b in pairs)

    assert units(found) <= units(given_start)
    for (a, rotation), box in zip(found, plan.boxes, strict=True):
        wide, tall = (a.wide, a.tall) if rotation == 0 else (a.tall, a.wide)
        assert wide <= box.wide and tall <= box.tall


def test_dear_adapters_give_a_common_protocol() -> None:
    graph = chain(5, Weights(Fraction(1), Fraction(1), Fraction(10**6)))
    sizing = protocol_sizing(graph, Fraction(300), topological_order(graph), Fraction(1))
    chosen = [m.arguments[0] for m in sizing.menus]
    assert all((a.h, a.w, a.writes) == (b.h, b.w, b.reads) for a, b in zip(chosen, chosen[1:], strict=False))


def test_offers_are_within_time_and_memory_and_begin_with_the_present_arguments() -> None:
    graph = load(DATA / "K.json")
    target = Fraction(1152)
    plan = place_strips(graph, free_sizing(graph, target).menus)
    assert plan is not None
    fitting = [m.fits(b.wide, b.tall) for m, b in zip(free_sizing(graph, target).menus, plan.boxes, strict=True)]
    rows = zip(graph.kernels, plan.boxes, fitting, strict=True)
    places = [placed(node.name, box, *fit) for node, box, fit in rows if fit is not None]
    for kernel in (0, len(places) // 2):
        node, found = graph.kernels[kernel], offers(graph, Split.of(graph, target), places, kernel)
        assert found[0] == Offer(arguments_of(places[kernel]), places[kernel].rotation)
        assert len({offer.row for offer in found[1:]}) == len(found) - 1 > 10
        for offer in found:
            assert kernel_time(node, offer.arguments) <= target
            assert kernel_memory(node, offer.arguments) <= graph.memory_limit


def test_an_exchange_lets_neighbours_agree_where_boxes_may_move() -> None:
    """Two kernels wall to wall: the agreeing shape is another one, so the boxes have to change."""
    graph = chain(3, Weights(Fraction(1), Fraction(1), Fraction(50)))
    split = Split.of(graph, Fraction(1500))
    apart = [Arguments(2, 2, (4,), (3,)), Arguments(1, 4, (5,), (2,)), Arguments(4, 1, (3,), (4,))]
    places, y = [], 0
    for node, arguments in zip(graph.kernels, apart, strict=True):
        assert kernel_time(node, arguments) <= 1500
        places.append(PlacedKernel(node.name, 0, y, 0, arguments.h, arguments.w, arguments.c, arguments.k))
        y += arguments.tall
    found = exchanged(graph, split, places, frozenset((0, 1, 2)))
    assert found is not None and check_contest(graph, found) == ()
    before, after = score_contest(graph, tuple(places)), score_contest(graph, found)
    assert before.adapter == 6 and after.adapter < 3 and after.score < before.score and after.time <= 1500
    kept = exchanged(graph, split, places, frozenset((2,)))
    assert kept is None or [p.h for p in kept[:2]] == [2, 1]


@pytest.mark.parametrize("adapter", [0, 20])
def test_fast_placements_are_legal_scored_alike_and_above_the_bound(adapter: int) -> None:
    graph = chain(7, Weights(Fraction(1), Fraction(2), Fraction(adapter)))
    result = place_contest(graph, ContestRequest(effort="fast"))
    assert isinstance(result, ContestResult)
    assert check_contest(graph, result.places) == ()
    score = score_contest(graph, result.places)
    assert (score.time, score.wirelength, score.adapter, score.score) == (
        result.score.time,
        result.score.wirelength,
        result.score.adapter,
        result.score.total,
    )
    assert result.bounds.score <= score.score and result.bounds.time <= score.time
    assert result.bounds.wirelength <= score.wirelength


def test_default_effort_repeats_its_bytes_and_is_no_worse_than_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contest._EFFORTS, "default", contest._Effort(2, 30_000))
    graph = chain(3)
    fast, first, second = (place_contest(graph, ContestRequest(effort=e)) for e in ("fast", "default", "default"))
    assert isinstance(fast, ContestResult) and isinstance(first, ContestResult) and isinstance(second, ContestResult)
    assert solution_json(graph, first.places) == solution_json(graph, second.places)
    assert first.score.total <= fast.score.total


def test_compaction_closes_gaps_and_keeps_order() -> None:
    boxes = [Box(0, 0, 4, 4), Box(9, 1, 4, 4), Box(0, 8, 5, 2)]
    corners = compact(boxes, [(0, 1), (0, 2)], 20, 20)
    moved = [replace(box, x=x, y=y) for box, (x, y) in zip(boxes, corners, strict=True)]
    assert disjoint(moved)
    a, b, c = (box.twice_centre for box in moved)
    assert abs(a[0] - b[0]) + abs(a[1] - b[1]) == 8  # side by side, centres level
    assert abs(a[0] - c[0]) + abs(a[1] - c[1]) == 6 + 1  # one on top of the other, widths 4 and 5


def test_a_window_with_free_relations_brings_a_chain_together() -> None:
    graph, boxes = chain(3), [Box(0, 0, 4, 4), Box(30, 0, 4, 4), Box(4, 0, 4, 4)]
    found = reopen(graph, free_sizing(graph, Fraction(160)).menus, boxes, Opening(frozenset((0, 1, 2)), frozenset()))
    assert found is not None and disjoint(list(found))
    centres = [box.twice_centre for box in found]
    assert sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in zip(centres, centres[1:], strict=False)) == 16


def test_a_name_does_not_change_the_placement() -> None:
    graph = chain(5)
    results = [place_contest(g, ContestRequest("fast")) for g in (graph, replace(graph, name="other"))]
    assert all(isinstance(r, ContestResult) for r in results)
    assert results[0].places == results[1].places  # type: ignore[union-attr]


def test_lack_of_room_is_a_value() -> None:
    graph = chain(60, side=12)
    short = place_contest(graph, ContestRequest("fast"))
    assert isinstance(short, Shortage) and short.resource == "elements" and short.demand > short.limit == 144


def test_a_kernel_that_does_not_fit_a_core_says_how_many_words_it_needs() -> None:
    graph = replace(chain(3), memory_limit=2)
    short = shortage(graph)
    assert short is not None and (short.resource, short.unit, short.limit) == ("memory per element", "words", 2)
    assert shortage(replace(graph, memory_limit=short.demand - 1)) is not None
    wider = shortage(replace(graph, memory_limit=short.demand))
    assert wider is None or wider.resource == "elements" or wider.demand > short.demand


def test_a_fabric_narrower_than_any_kernel_is_named() -> None:
    short = shortage(replace(chain(2), width=2, height=2))
    assert short is not None and short.resource in ("side of the fabric", "memory per element") and short.demand > 2


def test_when_time_is_over_the_best_so_far_is_the_answer_and_watchers_saw_it() -> None:
    seen: list[tuple[float, float]] = []
    late = place_contest(chain(5), ContestRequest("default", 0, 0.0, lambda score, bound: seen.append((score, bound))))
    assert isinstance(late, ContestResult) and late.outcome.wall_limited
    assert seen[-1] == (float(late.score.total), float(late.bounds.score))
    assert check_contest(chain(5), late.places) == ()
