"""Models that random campaigns found and shrank: each once crashed, or gave other values than the reference."""

from __future__ import annotations

import numpy as np
import pytest

from .making import model, node

CASES = {
    "windows in padding alone": model(
        [node("Conv", ["x", "w"], dilations=[2], group=3, pads=[1, 1], strides=[2])],
        {"x": (4, 3, 1)}, ["y"], {"w": np.ones((9, 1, 2), np.float32)},
    ),
    "a product without rows": model([node("MatMul", ["x", "v"])], {"x": (2, 0), "v": (0, 3)}, ["y"]),
    "a draw without a seed": model(
        [node("RandomNormal", [], ["r"], shape=[2, 3]), node("RandomUniformLike", "x", "b"),
         node("Add", "xr", "s"), node("Mul", "sb")], {"x": (2, 3)}, ["y"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("target", ["cgla", "cgra", "wafer"])
def test_it_keeps_the_invariants(benchmark_named, name, target) -> None:
    assert benchmark_named("fuzz").fault(target, CASES[name], {}) == ""
