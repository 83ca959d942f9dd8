"""The contest checker finds every planted fault and scores by hand-computed figures."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from mapper.check_contest import check_contest, score_contest
from mapper.kgraph import KernelEdge, KernelGraph, KernelNode, PlacedKernel, Weights

GRAPH = KernelGraph(
    name="pair",
    width=40,
    height=30,
    memory_limit=500,
    weights=Weights(Fraction(1), Fraction(2), Fraction(10)),
    nodes=(
        KernelNode(0, "in", "input", shape=(8, 8, 4)),
        KernelNode(1, "p", "conv", H=8, W=8, R=3, S=3, C=4, K=8, T=2),
        KernelNode(2, "q", "dblock", H=4, W=4, F=16),
    ),
    edges=(KernelEdge(0, 1), KernelEdge(1, 2)),
)
# p: tall 2*2*(2+1) = 12, wide 3*4 = 12; time 4*4*2*2*9/4 = 144; memory 2*2*9 + 5*5*2 = 86
# q: tall 2*2*(4+1) = 20, wide 3*(1+2+4) = 21; time max(4*4*4, 4*1*2*9, 4*1*4) = 72; memory 16+..
P = PlacedKernel("p", 0, 0, 0, 2, 2, (2,), (4,))
Q = PlacedKernel("q", 12, 0, 0, 2, 2, (4, 4, 4), (1, 2, 4))


def test_a_legal_placement_has_no_violation_and_the_score_of_hand_arithmetic() -> None:
    assert check_contest(GRAPH, (P, Q)) == ()
    score = score_contest(GRAPH, (P, Q))
    assert score.time == 144
    assert score.wirelength == Fraction(33, 2) + 4  # centres (6, 6) and (22.5, 10)
    assert score.adapter == 0  # p writes 4, q reads 4
    assert score.score == 144 + 2 * Fraction(41, 2)


def test_rotation_swaps_the_sides() -> None:
    turned = replace(Q, rotation=90)
    assert score_contest(GRAPH, (P, turned)).wirelength == 16 + Fraction(9, 2)


def test_adapters_count_h_w_and_features() -> None:
    other = replace(Q, h=1, w=4, c=(3, 4, 4))
    assert score_contest(GRAPH, (P, other)).adapter == 3


@pytest.mark.parametrize(
    ("places", "rule", "subject"),
    [
        ((P,), "placed once", "q"),
        ((P, P, Q), "placed once", "p"),
        ((P, Q, replace(P, name="r")), "known kernel", "r"),
        ((P, replace(Q, x=11)), "overlap", "p and q"),
        ((P, replace(Q, x=20)), "inside", "q"),
        ((P, replace(Q, y=-1)), "inside", "q"),
        ((replace(P, h=9), Q), "arguments", "p"),
        ((replace(P, c=(5,)), Q), "arguments", "p"),
        ((P, replace(Q, k=(1, 2))), "arguments", "q"),
        ((P, replace(Q, rotation=45)), "rotation", "q"),
        ((replace(P, h=1, w=1, x=0, c=(1,), k=(1,)), Q), "memory", "p"),
    ],
)
def test_every_planted_fault_is_named(places: tuple[PlacedKernel, ...], rule: str, subject: str) -> None:
    assert (rule, subject) in {(v.rule, v.subject) for v in check_contest(GRAPH, places)}
