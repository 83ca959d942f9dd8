"""The checker can fail: a short run of the fault injection, and the words of some findings."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def faults(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("faults")


def test_every_fault_is_found_or_proved_equivalent(faults: ModuleType) -> None:
    found = list(faults.faults(faults.legal_mappings(20), 130, seed=1))
    assert [verdict for verdict in found if verdict.outcome == "missed"] == []
    assert {verdict.fault for verdict in found} >= set(faults.FATAL) - {"ordered_side_by_side"}


def test_most_fatal_faults_are_found_by_the_checker_alone(faults: ModuleType) -> None:
    found = list(faults.faults(faults.legal_mappings(12), 2 * len(faults.FATAL), seed=2))
    fatal = [verdict for verdict in found if verdict.fault in faults.FATAL]
    assert {verdict.outcome for verdict in fatal} == {"check"}
