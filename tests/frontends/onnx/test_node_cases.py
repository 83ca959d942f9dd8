"""A sample of onnx's node cases; benchmarks/node_cases.py judges all of them."""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
node_cases = pytest.importorskip("node_cases")
EVERY = 3


def test_no_sampled_case_is_wrong_and_most_are_supported() -> None:
    verdicts = [node_cases.judge(case) for case in node_cases.collect()[::EVERY]]
    bad = [v for v in verdicts if v.kind in ("wrong", "crash")]
    assert bad == []
    count = collections.Counter(v.kind for v in verdicts)
    assert count["supported"] >= 0.85 * len(verdicts)
    assert all(v.note for v in verdicts if v.kind in ("host", "refused"))
