"""Short forms of the campaigns: brute force, mutants; how a campaign reports."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from mapper.check_contest import kernel_facts
from mapper.kgraph import KernelGraph, KernelNode, PlacedKernel, Weights
from mapper.solver import Outcome

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import brute_force
import campaign
import mutants
import mutation


@pytest.mark.parametrize("part", ["cgra", "wafer"])
def test_claims_equal_brute_force(part: str) -> None:
    found = list(brute_force.instances(part, 12, 5))
    assert [instance for instance in found if instance.fault] == []
    assert sum(instance.outcome in ("optimal", "exhausted") for instance in found) >= 5


def test_the_comparison_with_brute_force_can_fail() -> None:
    optimal = Outcome("optimal", 3.0, 3.0, "bound")
    assert brute_force.judged(optimal, 3.0) == ""
    assert "above the optimum" in brute_force.judged(optimal, 2.0)
    assert "below the optimum" in brute_force.judged(optimal, 4.0)
    assert "finds nothing" in brute_force.judged(optimal, None)
    exhausted = Outcome("feasible", 3.0, 1.0, "exhausted")
    assert "exhausted at 3.0" in brute_force.judged(exhausted, 2.0)


def test_a_campaign_counts_outcomes_by_row_and_tells_failures(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [
        campaign.Trial("a1", "new", row="a"),
        campaign.Trial("a2", "new", "lost", "a"),
        campaign.Trial("b", "old"),
    ]
    assert campaign.reported(trials, True) == 5
    out, err = capsys.readouterr()
    rows = [{"id": "a", "outcome": "new", "trials": 2}, {"id": "b", "outcome": "old", "trials": 1}]
    assert json.loads(out) == {"rows": rows, "trials": 3, "failed": 1} and err == "failed: a2: lost\n"
    assert campaign.reported(trials[::2], False) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 trials, 0 failed"


def test_a_campaign_takes_its_parts_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign.asked("words", ("x", "y"), "--count", 3, "each", []).parts == ["x", "y"]
    assert campaign.asked("words", ("x", "y"), "--count", 3, "each", ["y", "--count", "7"]).count == 7
    with pytest.raises(SystemExit):
        campaign.asked("words", ("x", "y"), "--count", 3, "each", ["z"])
    assert "unknown part 'z': x, y" in capsys.readouterr().err


def test_mutants_change_one_spot_and_are_seen() -> None:
    everything = mutants.mutants(mutation.GROUPS["checker of grids"].files)
    assert len(everything) > 100
    original = compile((mutants.ROOT / "mapper/check_kernel.py").read_text(), "x", "exec")
    assert all(mutants.mutated(mutant) != original for mutant in everything[:5])
    assert mutation.interval(8, 10)[0] < 0.8 < mutation.interval(8, 10)[1]


# H, W, R, S, C, K, T of each convolution, as the contest's text lists them
BLOCKS = {
    "dblock": ((8, 6, 1, 1, 16, 4, 1), (8, 6, 3, 3, 4, 4, 1), (8, 6, 1, 1, 4, 16, 1)),
    "cblock": ((8, 6, 1, 1, 8, 4, 1), (8, 6, 3, 3, 4, 4, 2), (4, 3, 1, 1, 4, 16, 1), (8, 6, 1, 1, 8, 16, 2)),
}


@pytest.mark.parametrize("kind", sorted(BLOCKS))
@pytest.mark.parametrize("slow", range(4))
@pytest.mark.parametrize(("h", "w"), [(1, 1), (3, 4)])
def test_blocks_take_the_time_and_memory_of_their_convolutions(kind: str, slow: int, h: int, w: int) -> None:
    """All convolutions but one are split as far as they go, so that one decides."""
    layers = BLOCKS[kind]
    c = tuple(1 if i == slow else layer[4] for i, layer in enumerate(layers))
    k = tuple(1 if i == slow else layer[5] for i, layer in enumerate(layers))
    node = KernelNode(0, "b", kind, H=8, W=6, F=16)  # type: ignore[arg-type]
    graph = KernelGraph("g", 99, 99, 10**6, Weights(Fraction(1), Fraction(0), Fraction(0)), (node,), ())
    times, words = [], []
    for (H, W, R, S, C, K, T), ci, ki in zip(layers, c, k, strict=True):
        times.append(-(-H // h) * -(-W // w) * -(-C // ci) * -(-K // ki) * R * S / T**2)
        words.append(C / ci * K / ki * R * S + (W + S - 1) / w * (H + R - 1) / h * K / ki)
    time, memory = kernel_facts(graph, (PlacedKernel("b", 0, 0, 0, h, w, c, k),))["b"]
    assert (time, memory) == (pytest.approx(max(times)), pytest.approx(max(words)))
