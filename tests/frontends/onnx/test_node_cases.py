"""A sample of onnx's node cases, each judged as recorded; benchmarks/node_cases.py judges all of them."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

EVERY, CHUNKS = 3, 40
RECORDED = json.loads((Path(__file__).parents[2] / "data" / "node_cases.json").read_text())


@pytest.fixture(scope="module")
def commands(benchmark_named):
    return benchmark_named("node_cases")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_sampled_case_is_judged_as_recorded(commands, chunk: int) -> None:
    """Nothing is wrong, and what was supported still is; another version of onnx may have cases that we refuse."""
    for case in commands.collect()[chunk * EVERY :: EVERY * CHUNKS]:
        verdict = commands.judge(case)
        expected = next((kind for kind in ("host", "refused") if case.name in RECORDED[kind]), "supported")
        assert verdict.kind == expected or (
            RECORDED["onnx"] != onnx.__version__ and verdict.kind not in ("wrong", "crash")
        ), verdict
        assert verdict.note or verdict.kind == "supported"


def test_most_cases_are_supported(commands) -> None:
    assert len(RECORDED["host"]) + len(RECORDED["refused"]) <= 0.08 * len(commands.collect())
