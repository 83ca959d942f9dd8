"""The table's command: rows in the promised form, and exit status 5 when a kernel falls short of its reference."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
HEADER = "name,vendor_rows,vendor_own_rows,best_known_rows,best_known_share_rows,best_known_hops,lower_bound_rows\n"


@pytest.fixture(scope="module")
def command(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("cgla")


def folder_with(tmp_path: Path, line: str) -> Path:
    (tmp_path / "jacobi.json").write_bytes((ROOT / "benchmarks" / "data" / "cgla" / "jacobi.json").read_bytes())
    (tmp_path / "notes.json").write_text('{"name": "no kernel"}')
    (tmp_path / "results.csv").write_text(HEADER + line)
    return tmp_path


def test_rows_as_json(command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_with(tmp_path, "jacobi,13,9,9,9,30,9\n")
    assert command.main([str(folder), "--json", "--effort", "fast"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["id"] == "jacobi" and row["cpu_s"] >= 0
    assert (row["ours"]["rows"], row["ours"]["rows_bound"], row["ours"]["legal"]) == (9, 9, True)
    assert row["reference"]["vendor_own_rows"] == 9


def test_a_shortfall_is_exit_status_5(command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_with(tmp_path, "jacobi,13,8,8,8,30,8\n")
    assert command.main([str(folder), "--effort", "fast"]) == 5
    assert "9 rows, above 8" in capsys.readouterr().out


def test_an_unreadable_kernel_is_one_line(
    command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"loop_levels": 1')
    assert command.main([str(broken)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
