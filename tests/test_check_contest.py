"""The contest checker finds every planted fault and scores by hand-computed figures."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from mapper.check_contest import check_contest, kernel_facts, score_contest
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


def words(*places: PlacedKernel, graph: KernelGraph = GRAPH) -> list[tuple[str, str, str, str]]:
    return [(v.rule, v.subject, v.found, v.expected) for v in check_contest(graph, places)]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((P,), [("placed once", "q", "0 places", "1 place")]),
        ((P, Q, replace(P, name="r", x=999)), [("known kernel", "r", "no such kernel", "")]),
        ((P, replace(Q, x=20)), [("inside", "q", "[20, 41) x [0, 20)", "within 40 x 30")]),
        ((P, replace(Q, y=11)), [("inside", "q", "[12, 33) x [11, 31)", "within 40 x 30")]),
        ((replace(P, x=-1), Q), [("inside", "p", "[-1, 11) x [0, 12)", "within 40 x 30")]),
        ((P, replace(Q, x=11)), [("overlap", "p and q", "shared elements", "none")]),
        ((replace(P, h=0), Q), [("arguments", "p", "h = 0", "1 to 8")]),
        ((replace(P, w=9), Q), [("arguments", "p", "w = 9", "1 to 8")]),
        ((replace(P, c=(0,)), Q), [("arguments", "p", "c1 = 0", "1 to 4")]),
        ((replace(P, k=(9,)), Q), [("arguments", "p", "k1 = 9", "1 to 8")]),
        ((P, replace(Q, c=(17, 5, 5))), [("arguments", "q", f"c{i} = {most + 1}", f"1 to {most}")
                                         for i, most in enumerate((16, 4, 4), 1)]),
        ((P, replace(Q, k=(5, 5, 17))), [("arguments", "q", f"k{i} = {most + 1}", f"1 to {most}")
                                         for i, most in enumerate((4, 4, 16), 1)]),
        ((P, replace(Q, k=(1, 2))), [("arguments", "q", "3 c and 2 k", "3 of each")]),
        ((P, replace(Q, c=(1, 2))), [("arguments", "q", "2 c and 3 k", "3 of each")]),
        ((P, replace(Q, rotation=45)), [("rotation", "q", "45", "0 or 90")]),
        # weights 4 x 8 x 9, image 10 x 10 x 8
        ((replace(P, h=1, w=1, c=(1,), k=(1,)), Q), [("memory", "p", "1088.00 words", "at most 500")]),
    ],
)  # fmt: skip
def test_a_fault_is_said_once_and_exactly(places: tuple[PlacedKernel, ...], expected: list[tuple[str, ...]]) -> None:
    assert words(*places) == expected


def test_a_kernel_with_wrong_arguments_is_not_judged_further() -> None:
    assert {rule for rule, *_ in words(replace(P, h=9, x=-5), Q)} == {"arguments"}


@pytest.mark.parametrize("place", [
    replace(P, h=8, w=1, c=(2,), k=(8,)), replace(P, h=1, w=8, c=(2,), k=(8,)), replace(P, rotation=90, c=(4,)),
])  # fmt: skip
def test_the_ends_of_every_range_are_legal(place: PlacedKernel) -> None:
    alone = replace(GRAPH, nodes=GRAPH.nodes[:2], edges=GRAPH.edges[:1])
    assert words(place, graph=alone) == []


def square(name: str, x: int, y: int) -> PlacedKernel:
    """A conv of one column of three and two elements along y: 3 x 2."""
    return PlacedKernel(name, x, y, 0, 1, 1, (1,), (1,))


_UNITS = tuple(KernelNode(i, name, "conv", H=1, W=1, R=1, S=1, C=1, K=1, T=1) for i, name in enumerate("ab"))
TWINS = KernelGraph("twins", 9, 8, 2, Weights(Fraction(1), Fraction(0), Fraction(0)), _UNITS, ())


@pytest.mark.parametrize("x", range(7))
@pytest.mark.parametrize("y", range(7))
def test_rectangles_overlap_if_they_share_an_element(x: int, y: int) -> None:
    """`a` covers x 3 to 5 and y 3 to 4; memory is 1 + 1 words, exactly the limit."""
    share = {(i, j) for i in range(x, x + 3) for j in range(y, y + 2)} & {(i, j) for i in (3, 4, 5) for j in (3, 4)}
    found = words(square("a", 3, 3), square("b", x, y), graph=TWINS)
    assert [rule for rule, *_ in found] == (["overlap"] if share else [])


def test_a_word_over_the_limit_is_too_much() -> None:
    tight = replace(TWINS, memory_limit=1)
    assert [v[:3] for v in words(square("a", 0, 0), square("b", 3, 0), graph=tight)] == [
        ("memory", "a", "2.00 words"), ("memory", "b", "2.00 words"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "units"),
    [({"h": 1}, 1), ({"w": 1}, 1), ({"c": (3, 4, 4)}, 1), ({"c": (4, 1, 1)}, 0), ({"k": (4, 4, 4)}, 0)],
)
def test_each_difference_counts_one_unit(other: dict[str, object], units: int) -> None:
    score = score_contest(GRAPH, (P, replace(Q, **other)))  # type: ignore[arg-type]
    assert score.adapter == units
    assert score.score == score.time + 2 * score.wirelength + 10 * units


def test_a_block_writes_through_its_third_convolution() -> None:
    turned = replace(GRAPH, edges=(KernelEdge(2, 1),))
    assert score_contest(turned, (replace(P, c=(4,)), Q)).adapter == 0
    assert score_contest(turned, (P, Q)).adapter == 1


def test_the_slowest_layer_decides() -> None:
    """q with one column: 4 x 4 turns over 16 and 4 features; the second layer 4 x 4 x 9 / 16 ..."""
    slow = replace(Q, h=1, w=1, c=(1, 1, 1), k=(1, 1, 1))
    assert score_contest(GRAPH, (P, slow)).time == 16 * 4 * 4 * 9
    assert kernel_facts(GRAPH, (P, slow))["q"][0] == 16 * 4 * 4 * 9
    assert kernel_facts(GRAPH, (P, slow))["p"] == (144.0, 86.0)


def test_a_downsampling_block_halves_its_third_layer() -> None:
    node = KernelNode(0, "b", "cblock", H=8, W=6, F=16)
    graph = KernelGraph("g", 99, 99, 10**6, Weights(Fraction(1), Fraction(0), Fraction(0)), (node,), ())
    ranges = [(8, 4), (4, 4), (4, 16), (8, 16)]
    full = PlacedKernel("b", 0, 0, 0, 1, 1, tuple(c for c, _ in ranges), (1, 1, 1, 1))
    assert words(full, graph=graph) == []
    over = replace(full, c=tuple(c + 1 for c, _ in ranges), k=tuple(k + 1 for _, k in ranges))
    assert [(found, most) for _, _, found, most in words(over, graph=graph)] == [
        (f"{name}{i} = {value + 1}", f"1 to {value}")
        for i, pair in enumerate(ranges, 1) for name, value in zip("ck", pair, strict=True)
    ]  # fmt: skip
