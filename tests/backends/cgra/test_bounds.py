"""Bounds, windows, symmetry and register colouring, each against hand-made or brute-force truth."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.backends.cgra.bounds import conflict, fewest_moves, lifetime_bound, recurrence_bound, resource_bound
from mapper.backends.cgra.problem import direct_problem
from mapper.backends.cgra.registers import Life, colouring
from mapper.backends.cgra.symmetry import confine, shifts, turns
from mapper.backends.cgra.windows import Difference, Window, earliest, horizon_windows
from mapper.dfg import Dfg, Edge, Node
from mapper.machine import Fabric, PeClass

FOUR = Fabric("torus", 4, 4)


def ring(latency_nodes: int, distance: int) -> Dfg:
    nodes = tuple(Node(i, "add") for i in range(latency_nodes))
    edges = tuple(Edge(i, i + 1) for i in range(latency_nodes - 1))
    return Dfg("ring", nodes, (*edges, Edge(latency_nodes - 1, 0, distance)))


def test_recurrence_is_cycle_length_over_distance() -> None:
    assert recurrence_bound(direct_problem(ring(7, 2), FOUR)).ii == 4
    assert "1, 2, 3, 4, 5, 6, 0" in recurrence_bound(direct_problem(ring(7, 1), FOUR)).detail


def test_lifetime_of_unequal_paths() -> None:
    """0 -> 4 directly and over three more nodes: the direct value must wait 4 cycles, so II >= 4."""
    edges = (Edge(0, 1), Edge(1, 2), Edge(2, 3), Edge(3, 4), Edge(0, 4))
    problem = direct_problem(Dfg("paths", tuple(Node(i, "add") for i in range(5)), edges), FOUR)
    bound = lifetime_bound(problem)
    assert bound is not None and bound.ii == 4
    assert set(conflict(problem, 3)) == {0, 1, 2, 3, 4} and conflict(problem, 4) == ()
    assert fewest_moves(problem, 2)[0] == 1 and fewest_moves(problem, 1)[0] == 3


def test_shared_moves_are_counted_once() -> None:
    """Two long values of one producer need one chain of MOVEs."""
    edges = (Edge(0, 1), Edge(1, 2), Edge(2, 3), Edge(0, 3), Edge(2, 4), Edge(0, 4))
    problem = direct_problem(Dfg("fan", tuple(Node(i, "add") for i in range(5)), edges), FOUR)
    assert fewest_moves(problem, 2)[0] == 1


def test_parallel_values_of_unequal_distance_never_close() -> None:
    body = Dfg("two", (Node(0, "a"), Node(1, "b")), (Edge(0, 1, 0), Edge(0, 1, 2)))
    assert lifetime_bound(direct_problem(body, FOUR)) is None


def test_resource_counts_capable_pes_and_latency() -> None:
    classes = (PeClass("alu", frozenset({"add"})), PeClass("mul", frozenset({"add", "mul"}), (("mul", 2),), "row 0"))
    fabric = Fabric("torus", 2, 2, classes=classes)
    body = Dfg("muls", tuple(Node(i, "mul") for i in range(3)) + (Node(9, "add"),), ())
    bound = resource_bound(direct_problem(body, fabric))
    assert (bound.ii, bound.detail) == (3, "3 operations take 6 slots on 2 PEs")


def test_windows_of_a_chain_with_slack() -> None:
    spans = [Difference(0, 1, 1, 5), Difference(1, 2, 1, 5)]
    assert earliest(3, spans) == [0, 1, 2]
    assert horizon_windows(3, spans, 2) == (Window(0, 2), Window(1, 3), Window(2, 4))
    assert earliest(2, [Difference(0, 1, 3, 5), Difference(1, 0, -2, 0)]) is None


@pytest.mark.parametrize(("topology", "turned"), [("torus", 8), ("mesh", 8), ("king", 8), ("onehop", 8)])
def test_symmetries_keep_links(topology: str, turned: int) -> None:
    fabric = Fabric(topology, 4, 4)  # type: ignore[arg-type]
    assert len(set(turns(fabric))) == turned
    assert len(shifts(fabric)) == (16 if topology == "torus" else 1)
    for permutation in turns(fabric):
        for pe, reach in enumerate(fabric.neighbours):
            assert sorted(permutation[q] for q in reach) == list(fabric.neighbours[permutation[pe]])


def test_confinement_respects_what_breaks_symmetry() -> None:
    body = direct_problem(Dfg("x", (Node(0, "a"), Node(1, "b")), (Edge(0, 1),)), FOUR)
    assert confine(body, [0, 1])[0] == (0,)
    memory = Fabric("torus", 4, 4, classes=(PeClass(), PeClass("m", frozenset({"a", "b"}), (), "column 1")))
    kept = confine(direct_problem(body.dfg, memory), [0])[0]
    assert {pe // 4 for pe in kept} == {0}, "shifts along columns remain, others would move the special column"
    assert {pe % 4 for pe in kept} == {0, 1, 2, 3}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=5))
def test_colouring_is_exact(ii: int, arcs: list[tuple[int, int]]) -> None:
    """Brute force over all assignments of two registers."""
    lives = [Life(i, 0, start % ii, min(cycles, ii)) for i, (start, cycles) in enumerate(arcs)]
    slots = [{(life.start + k) % ii for k in range(life.cycles)} for life in lives]
    possible = any(
        all(a != b or not slots[i] & slots[j] for (i, a), (j, b) in itertools.combinations(enumerate(choice), 2))
        for choice in itertools.product(range(2), repeat=len(lives))
    )
    assert (colouring(lives, ii, 2) is not None) == possible
