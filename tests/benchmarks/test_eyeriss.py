"""The cost model meets the published Eyeriss and TPU figures, and says so when it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ARCH = {"pe": [16, 16], "rf_bytes_per_pe": 512, "glb_KB": 128, "batch": 16}


@pytest.fixture(scope="module")
def eyeriss(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("eyeriss")


def anchors(rows: dict[str, list[float]], buffer_mb: float = 37.4) -> dict[str, Any]:
    table = {"layer": "conv4", "macs_M": 448.6, "glb_access_MB": buffer_mb, "dram_access_MB": 2.1}
    return {
        "eyeriss_isca2016_fig10": {"arch": ARCH, "columns": ["alu", "dram", "rf"], "rows": rows},
        "eyeriss_jssc2017_table5": {"rows": [table]},
        "tpu_v1_roofline": {"rows": [{"app": "MLP1", "macs_per_weight_byte": 168, "measured_TOPS": 9.7}]},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "anchors.json"


def test_published_layers_beyond_those_shipped(eyeriss: ModuleType) -> None:
    rows = {"conv4": [1.79, 1.57, 7.18], "conv2": [3.58, 2.27, 14.33], "fc3": [0.07, 0.84, 0.26]}
    assert [row.shortfall for row in eyeriss.rows_in(anchors(rows))] == [""] * 5


def test_what_is_off_is_named(eyeriss: ModuleType, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps(anchors({"fc3": [0.07, 0.5, 0.26]}, buffer_mb=30.0)))
    assert eyeriss.main([str(file)]) == 5
    printed = capsys.readouterr().out
    assert "dram off by more than 0.1e9" in printed and "buffer accesses off by more than 10 %" in printed


def test_every_access_of_arithmetic_is_counted_once(eyeriss: ModuleType) -> None:
    """Three reads and a write a multiply-accumulate; an output's first partial sum is not read."""
    shape = eyeriss.Shape(4, 6, 5, 3, 2, 1)
    plan = eyeriss.least(shape, 2, (6, 4), 700, 40)
    found = eyeriss.counts(shape, 2, plan)
    outputs = 2 * 6 * 5 * 5
    assert found.macs == outputs * 4 * 9 and found.rf == 4 * found.macs - outputs


def test_the_section_of_the_page_is_replaced(eyeriss: ModuleType) -> None:
    page = f"# Validation\n\n{eyeriss.HEADING}\n\nold\n\n## Another\n\nkept\n"
    text = f"{eyeriss.HEADING}\n\nnew\n"
    assert eyeriss.replaced(page, text) == f"# Validation\n\n{text}\n## Another\n\nkept\n"
