"""What an exporter's model is judged by, and (where PyTorch is installed) one model from PyTorch to the wafer."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture
def exporters(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("exporters")
    for name in [n for n in sys.modules if n == "exporters" or n.split(".")[0] == "minis"]:
        del sys.modules[name]


def saved(path: Path, op_type: str) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "g", [value], [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_a_row_says_what_failed_and_what_was_compared(exporters, tmp_path) -> None:
    passed = exporters.judged(saved(tmp_path / "good.onnx", "Softplus"), {"n": 3}, "wafer")
    assert passed.fault == "" and "with the ONNX reference" in passed.compared
    unbound = exporters.judged(tmp_path / "good.onnx", {}, "wafer")
    assert unbound.fault.startswith("dimension 'n' has no value")
    assert exporters.finish([passed], as_json=False) == 0 and exporters.finish([passed, unbound], as_json=False) == 5


def test_only_files_that_were_exported_are_judged(exporters, tmp_path) -> None:
    (tmp_path / exporters.INDEX).write_text(json.dumps({"b": {"n": 2}, "a": {}, "refused": "the tool said no"}))
    found = list(exporters.models(tmp_path, ""))
    assert found == [(tmp_path / "a.onnx", {}), (tmp_path / "b.onnx", {"n": 2})]


def test_both_exporters_of_pytorch(exporters, tmp_path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    exporters.export_all(tmp_path, "picked")
    rows = [exporters.judged(path, dims, "wafer") for path, dims in exporters.models(tmp_path, "picked")]
    assert [(row.model, row.fault, row.host) for row in rows] == [
        ("picked.dynamo", "", ("TopK",)), ("picked.torchscript", "", ("TopK",))
    ]  # fmt: skip
    assert all(np.isfinite(row.cpu_s) for row in rows)
