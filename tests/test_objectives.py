"""Objectives: the choice over a whole graph against enumeration, and what a compile makes of it."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import mapper
from mapper.objectives import Weight, chosen


def whole(options: list[list[Weight]], choice: tuple[int, ...]) -> tuple[float, int]:
    taken = [each[at] for each, at in zip(options, choice, strict=True)]
    return sum(w.pj for w in taken), sum(w.cycles for w in taken)


@pytest.mark.parametrize("seed", range(20))
def test_energy_and_latency_are_least_and_the_product_is_near(seed: int) -> None:
    draw = random.Random(seed)
    options = [
        [Weight(draw.uniform(1, 100), draw.randint(1, 100)) for _ in range(draw.randint(1, 4))] for _ in range(6)
    ]
    every = [whole(options, choice) for choice in product(*(range(len(each)) for each in options))]
    assert whole(options, chosen(options, "energy"))[0] == pytest.approx(min(pj for pj, _ in every))
    assert whole(options, chosen(options, "latency"))[1] == min(cycles for _, cycles in every)
    pj, cycles = whole(options, chosen(options, "edp"))
    assert pj * cycles <= 1.05 * min(pj * cycles for pj, cycles in every)


def test_equal_plans_leave_the_first() -> None:
    assert chosen([[Weight(1.0, 1)] * 3], "edp") == (0,)


def test_a_compile_serves_its_objective(tmp_path: Path) -> None:
    sizes = (("x", (24, 40)), ("y", (24, 56)))
    given, wanted = (helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes)
    weight = helper.make_tensor("w", TensorProto.FLOAT, (40, 56), [1.0] * 40 * 56)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [given], [wanted], [weight])
    model = tmp_path / "product.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), model)
    found = {goal: mapper.compile(model, target="cgla", effort="fast", objective=goal)
             for goal in ("movement", "energy", "latency", "edp")}  # fmt: skip
    totals = {goal: result.report["totals"] for goal, result in found.items()}
    product_of = {goal: t["energy_pj"] * t["seconds"] for goal, t in totals.items()}
    assert totals["latency"]["cycles"] == min(t["cycles"] for t in totals.values())
    assert product_of["edp"] == min(product_of.values())
    assert found["latency"].outcome.objective == totals["latency"]["cycles"]
    assert found["energy"].outcome.objective == pytest.approx(totals["energy"]["energy_pj"])
    assert found["edp"].outcome.objective == pytest.approx(product_of["edp"])
    for result in found.values():
        assert result.check() == () and result.outcome.bound <= result.outcome.objective
