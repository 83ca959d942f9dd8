"""The second count of exported models: shapes met at run time, and no guess where products are hidden."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

pytest.importorskip("onnxruntime")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from exporter_counts import counted


def model(op_type: str, shapes: dict[str, list[int | str]], **attributes: int | str) -> ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    node = helper.make_node(op_type, [value.name for value in values], ["y"], **attributes)
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_products_by_the_shapes_of_the_run() -> None:
    assert counted(model("MatMul", {"a": ["n", 3], "b": [3, 4]}), {"n": 5}) == 5 * 4 * 3
    assert counted(model("Gemm", {"a": [3, 2], "b": [3, 4]}, transA=1), {}) == 2 * 4 * 3
    assert counted(model("Conv", {"x": [1, 4, 5, 5], "w": [6, 2, 3, 3]}, group=2), {}) == 6 * 3 * 3 * 2 * 9
    lstm = {"x": [7, 1, 3], "w": [1, 8, 3], "r": [1, 8, 2]}
    assert counted(model("LSTM", lstm, hidden_size=2), {}) == 7 * 8 * (3 + 2)


def test_hidden_products_are_not_guessed() -> None:
    assert counted(model("Einsum", {"a": [2, 3], "b": [3, 4]}, equation="ij,jk->ik"), {}) is None
