"""The CGRA benchmark reads a folder as delivered, prints its contract; its exit code follows the references."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BODY = {
    "name": "pair",
    "nodes": [{"id": 0, "op": "load"}, {"id": 1, "op": "add"}],
    "edges": [{"src": 0, "dst": 1, "distance": 0}],
}
SOLUTION = {
    "benchmark": "pair", "grid": [2, 2], "topology": "torus", "ii": 1,
    "nodes": {"0": {"t": 0, "pe": 0}, "1": {"t": 1, "pe": 1}},
    "moves": [], "edges": [{"src": 0, "dst": 1, "distance": 0, "via": [], "distances": [0]}],
}  # fmt: skip
HEADER = "name,grid,MII,satmapit_ii,satmapit_time_s,satmapit_time_kind,best_direct_ii,best_routed_ii"


@pytest.mark.parametrize(("satmapit", "best", "code"), [(2, 1, 0), ("", 0, 5)])
def test_solutions_beside_kernels_are_passed_over(
    benchmark_named: Callable[[str], ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    satmapit: int | str,
    best: int,
    code: int,
) -> None:
    (tmp_path / "pair.json").write_text(json.dumps(BODY))
    (tmp_path / "example_solution_pair.json").write_text(json.dumps(SOLUTION))
    (tmp_path / "results.csv").write_text(f"{HEADER}\npair,2x2,1,{satmapit},0.5,cpu,{best},{best}\n")
    assert benchmark_named("cgra").main([str(tmp_path), "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in told["rows"]] == ["pair 2x2 direct", "pair 2x2 routed"]
    assert all(row["ours"]["ii"] == 1 and row["ours"]["legal"] for row in told["rows"])
    assert [row["reference"]["best_direct_ii"] for row in told["rows"]] == [best, best]
