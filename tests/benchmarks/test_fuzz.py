"""A short form of the campaign over random models, and that it and its shrinking can fail."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper


@pytest.mark.parametrize("target", ["cgla", "cgra", "wafer"])
def test_random_models_keep_the_invariants(benchmark_named, target) -> None:
    fuzz = benchmark_named("fuzz")
    for case in fuzz.grown_cases(7, 2, most=3):
        assert fuzz.fault(target, case.model, case.dims) == ""


def test_a_wrong_model_is_reported(benchmark_named, monkeypatch) -> None:
    fuzz = benchmark_named("fuzz")
    model = _chain("Relu", "Tanh", "Neg")
    assert fuzz.graph_fault(model, {}) == ""
    import mapper.scalar

    monkeypatch.setitem(mapper.scalar.FUNCTIONS, "tanh", lambda x: x + 1)
    assert fuzz.graph_fault(model, {}).startswith("values: tensor 'v3'")


def test_a_failure_is_shrunk_to_the_operator_that_fails(benchmark_named) -> None:
    model = _chain("Relu", "Tanh", "Neg", "Abs")
    small = benchmark_named("shrinking").shrunk(model, lambda m: any(n.op_type == "Tanh" for n in m.graph.node))
    assert [node.op_type for node in small.graph.node] == ["Tanh"]
    onnx.checker.check_model(small, full_check=True)


def _chain(*kinds: str) -> onnx.ModelProto:
    nodes = [helper.make_node(kind, [f"v{i}"], [f"v{i + 1}"]) for i, kind in enumerate(kinds)]
    first, last = (helper.make_tensor_value_info(f"v{i}", 1, [2, 3]) for i in (0, len(kinds)))
    return helper.make_model(helper.make_graph(nodes, "chain", [first], [last]), ir_version=10)
