"""Random valid models: our graph, before and after the passes, gives the reference's outputs."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest


@pytest.fixture(scope="module")
def fuzz(benchmark_named):
    return benchmark_named("fuzz")


def test_every_family_of_operators_occurs(fuzz) -> None:
    found = Counter(node.op_type for case in fuzz.grown_cases(0, 400) for node in case.model.graph.node)
    assert len(found) >= 120
    assert {"Conv", "ConvTranspose", "MaxPool", "MatMul", "Gemm", "LSTM", "ReduceSum", "Softmax", "Slice", "Pad",
            "Gather", "ScatterND", "Cast", "QLinearConv", "If", "Loop", "Scan"} <= found.keys()  # fmt: skip


def test_models_are_valid_and_the_same_each_time(fuzz) -> None:
    for first, again in zip(fuzz.grown_cases(0, 15), fuzz.grown_cases(0, 15), strict=True):
        onnx.checker.check_model(first.model, full_check=True)
        assert first.model == again.model


@pytest.mark.parametrize("number", range(150))
def test_a_random_model_equals_its_reference(fuzz, number) -> None:
    (case,) = fuzz.grown_cases(number, 1)
    assert fuzz.graph_fault(case.model, case.dims) == ""
