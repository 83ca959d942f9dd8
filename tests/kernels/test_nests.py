"""Lowered nests of every kind against the interpreter, in both styles, plain and unrolled."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mapper.interpret import run

sys.path.insert(0, str(Path(__file__).parent))
from lowering import STYLES, run_op
from nests import CASES


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("name", "copies"), [(name, c) for name, (_, all_) in CASES.items() for c in all_])
def test_bodies_compute_the_operator(name: str, copies: dict[str, int], style: str) -> None:
    graph, values = CASES[name][0]()
    (op,) = graph.ops
    expected = run(graph, values)["y"]
    found = run_op(graph, op, values, STYLES[style], copies)
    if found.dtype.kind in "iub":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=2e-6, atol=1e-6)
