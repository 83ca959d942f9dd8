"""Golden costs: the kept figures cover every small model on every target, and a sample of them still holds."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from mapper import registry


@pytest.fixture(scope="module")
def golden(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("golden")


def test_every_small_model_on_every_target_is_kept(golden: ModuleType) -> None:
    built_in = sorted(registry.BACKENDS)
    assert set(golden.kept()) == {f"{model} {target}" for model in golden.MODELS for target in built_in}


@pytest.mark.parametrize("target", sorted(registry.BACKENDS))
def test_a_small_network_costs_what_it_did(golden: ModuleType, target: str) -> None:
    found = golden.differences(
        "resnet-tiny", golden.measured("resnet-tiny", target), golden.kept()[f"resnet-tiny {target}"]
    )
    assert [words for _, words in found] == [], "python benchmarks/golden.py --update, with the reason in CHANGELOG.md"


def test_figures_outside_the_band_are_told_with_their_direction(golden: ModuleType) -> None:
    now, kept = (
        {"cycles": 103.0, "movement_pj": 90.0, "outer_bytes": 101.0},
        dict.fromkeys(("cycles", "movement_pj", "outer_bytes"), 100.0),
    )
    assert list(golden.differences("m", now, kept)) == [
        (True, "m: cycles 103, kept 100 (+3.0%)"),
        (False, "m: movement_pj 90, kept 100 (-10.0%)"),
    ]
