"""The wafer benchmark prints its contract, and its exit code follows the published score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

CONV = {"type": "conv", "H": 8, "W": 8, "R": 3, "S": 3, "C": 8, "K": 8, "T": 1, "U": 1}


@pytest.fixture(scope="module")
def wafer(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("wafer")


def folder(tmp_path: Path, best: float) -> Path:
    nodes = [{"id": i, "name": f"k{i}", **CONV} for i in range(3)]
    edges = [{"src": i, "dst": i + 1, "shape": [8, 8, 8]} for i in range(2)]
    weights = {"time": 1, "wirelength": 1, "adapter": 0}
    graph = {"name": "t", "width": 60, "height": 60, "memory_limit": 24576, "weights": weights}
    (tmp_path / "t.json").write_text(json.dumps({**graph, "nodes": nodes, "edges": edges}))
    header = "benchmark,tool,kind,time,wirelength,adapter,score,source,note\n"
    (tmp_path / "results.csv").write_text(
        f"{header}t,tool,published,1,1,0,{best},nowhere,\nt,worse,published,1,1,0,1e12,x,\n"
    )
    return tmp_path


@pytest.mark.parametrize(("best", "code"), [(1.0, 5), (1e9, 0)])
def test_exit_code_and_rows(
    wafer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], best: float, code: int
) -> None:
    assert wafer.main([str(folder(tmp_path, best)), "--effort", "fast", "--unit", "--json"]) == code
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert set(row) == {"id", "ours", "reference", "cpu_s"} and row["id"] == "t"
    assert row["ours"]["legal"] and row["reference"]["score"] == best
    assert row["ours"]["time"] + row["ours"]["wirelength"] == row["ours"]["score"] == row["ours"]["unit_score"]
    assert row["ours"]["score_bound"] <= row["ours"]["score"]


def test_solutions_beside_instances_are_no_instances(wafer: ModuleType, tmp_path: Path) -> None:
    (folder(tmp_path, 1.0) / "solution_t.json").write_text('{"kernels": []}')
    assert [path.name for path in wafer.instances([tmp_path])] == ["t.json"]
