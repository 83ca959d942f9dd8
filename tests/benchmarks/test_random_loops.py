"""Random loop bodies on random grids: the short form of the campaign, and that its checks can fail."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mapper.backends.cgra.kernel import KernelResult

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import random_loops


def test_every_mapping_is_legal_and_no_worse_with_moves() -> None:
    found = [random_loops.tried(seed, "fast", None) for seed in range(100, 112)]
    assert [trial for trial in found if trial.faults] == []
    assert sum(trial.routed_ii is not None for trial in found) >= 11


def test_grids_of_every_kind_are_drawn() -> None:
    grids = [random_loops.grid(seed) for seed in range(120)]
    assert {grid.topology for grid in grids} == {"torus", "mesh", "king", "onehop"}
    assert {grid.registers for grid in grids} >= {0, 1, 2, 4}
    assert any(grid.dead for grid in grids) and any(grid.memory_ports for grid in grids)
    assert any(one.latency_cycles for grid in grids for one in grid.classes)


def test_a_wrong_mapping_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = random_loops.map_kernel

    def wrong(dfg, fabric, request):  # type: ignore[no-untyped-def]
        result = honest(dfg, fabric, request)
        assert isinstance(result, KernelResult)
        late = tuple(replace(p, cycle=p.cycle + 7 * (p.node == 0)) for p in result.mapping.placed)
        return replace(result, mapping=replace(result.mapping, placed=late))

    monkeypatch.setattr(random_loops, "map_kernel", wrong)
    assert random_loops.tried(100, "fast", None).faults
