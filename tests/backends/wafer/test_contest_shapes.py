"""Shapes and bounds against brute force over all arguments of small kernels."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mapper.backends.wafer.bounds import area_at, contest_bounds, shortage, time_bound
from mapper.backends.wafer.kernels import Arguments, convolutions, kernel_memory, kernel_time
from mapper.backends.wafer.shapes import FAR, FEATURE_SPLITS, Protocol, Split, curve, inverse, menu, protocol_areas
from mapper.frontends.kgraph import load
from mapper.kgraph import KernelNode

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "wafer"
CONV = KernelNode(1, "p", "conv", H=6, W=5, R=3, S=3, C=4, K=6, T=2)
BLOCK = KernelNode(2, "q", "dblock", H=3, W=2, F=8)


def every_argument(node: KernelNode) -> list[Arguments]:
    convs = convolutions(node)
    ranges = [range(1, conv.C + 1) for conv in convs] + [range(1, conv.K + 1) for conv in convs]
    return [
        Arguments(h, w, ck[: len(convs)], ck[len(convs) :])
        for h in range(1, node.H + 1)
        for w in range(1, node.W + 1)
        for ck in product(*ranges)
    ]


def front(rectangles: set[tuple[int, int]]) -> set[tuple[int, int]]:
    return {a for a in rectangles if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in rectangles)}


@pytest.mark.parametrize("node", [CONV, BLOCK])
@pytest.mark.parametrize(("target", "memory"), [(Fraction(30), 200), (Fraction(48), 24576), (Fraction(65, 4), 400)])
def test_menu_is_the_pareto_front_of_all_arguments(node: KernelNode, target: Fraction, memory: int) -> None:
    side = 60
    legal = {
        (a.tall, a.wide)
        for a in every_argument(node)
        if kernel_time(node, a) <= target and kernel_memory(node, a) <= memory and max(a.tall, a.wide) <= side
    }
    shapes = menu(node, Split(side, memory, target))
    assert set(zip(shapes.tall, shapes.wide, strict=True)) == front(legal)
    for tall, wide, a in zip(shapes.tall, shapes.wide, shapes.arguments, strict=True):
        assert (a.tall, a.wide) == (tall, wide)
        assert kernel_time(node, a) <= target and kernel_memory(node, a) <= memory


def test_protocol_areas_agree_with_protocol_menus() -> None:
    split = Split(60, 24576, Fraction(40))
    table = protocol_areas(BLOCK, split)
    checked = 0
    for i, (h, w) in enumerate(zip(table.h.tolist(), table.w.tolist(), strict=True)):
        for r, s in product(range(4), range(4)):
            shapes = menu(BLOCK, split, Protocol(h, w, FEATURE_SPLITS[r], FEATURE_SPLITS[s]))
            if shapes.tall:
                assert shapes.area == table.area[i, r, s]
                assert all(a.reads == FEATURE_SPLITS[r] for a in shapes.arguments if r)
                assert all(a.writes == FEATURE_SPLITS[s] for a in shapes.arguments if s)
                checked += 1
            else:
                assert np.isinf(table.area[i, r, s])
    assert checked > 10


def test_inverse_curve_is_the_least_width_at_each_height() -> None:
    shapes = menu(CONV, Split(60, 24576, Fraction(40)))
    low = curve(shapes, 60, 50)
    thin = inverse(low, 50)
    for h in range(51):
        fitting = [w for w in range(61) if low[w] <= h]
        assert thin[h] == (fitting[0] if fitting else FAR)


@pytest.mark.parametrize(("name", "bound"), [("A", 33152), ("K", 252)])
def test_time_bound_is_the_published_area_bound(name: str, bound: int) -> None:
    graph = load(DATA / f"{name}.json")
    assert time_bound(graph) == bound
    assert area_at(graph, Fraction(bound)) <= graph.width * graph.height < area_at(graph, Fraction(bound) - 1)


def test_score_bound_covers_time_and_wires() -> None:
    bounds = contest_bounds(load(DATA / "K.json"))
    assert bounds.score >= bounds.time + 4 * bounds.wirelength > 252


def test_too_small_a_fabric_names_the_resource() -> None:
    from dataclasses import replace

    graph = replace(load(DATA / "A.json"), width=60, height=60)
    short = shortage(graph)
    assert (
        short is not None and short.resource in ("elements", "memory per element", "side of the fabric") and short.hint
    )
