"""The checkers can fail: short runs of the fault injection on every level, and the words of some findings."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def campaign(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("faults")


def test_every_fault_is_found_or_proved_equivalent(campaign: ModuleType) -> None:
    attempts = campaign.network_attempts("drawn", campaign.drawn_mappings(20), 1)
    found = list(campaign.faults(attempts, 130, seed=1))
    assert [verdict for verdict in found if verdict.outcome == "missed"] == []
    assert {verdict.fault for verdict in found} >= set(campaign.FATAL) - {"ordered_side_by_side"}


def test_most_fatal_faults_are_found_by_the_checker_alone(campaign: ModuleType) -> None:
    attempts = campaign.network_attempts("drawn", campaign.drawn_mappings(12), 2)
    found = list(campaign.faults(attempts, 2 * len(campaign.FATAL), seed=2))
    fatal = [verdict for verdict in found if verdict.fault in campaign.FATAL]
    assert {verdict.outcome for verdict in fatal} == {"check"}


def test_faults_of_compiled_networks(campaign: ModuleType) -> None:
    attempts = campaign.network_attempts("networks", campaign.compiled_mappings(1), 3)
    found = list(campaign.faults(attempts, 40, seed=3))
    assert [verdict for verdict in found if verdict.outcome == "missed"] == [] and len(found) == 40


@pytest.mark.parametrize(("level", "kernel"), [("grids", "gsm"), ("rows", "jacobi")])
def test_faults_of_placed_kernels(
    campaign: ModuleType, monkeypatch: pytest.MonkeyPatch, level: str, kernel: str
) -> None:
    monkeypatch.setitem(campaign.KERNELS, level, (campaign.KERNELS[level][0], (kernel,)))
    found = list(campaign.faults(campaign.LEVELS[level](0), 60, seed=4))
    assert [verdict for verdict in found if verdict.outcome == "missed"] == [] and len(found) == 60


def test_faults_of_contest_placements(campaign: ModuleType) -> None:
    found = list(campaign.faults(campaign.contest_attempts(campaign.placed_contests(6)), 60, seed=5))
    assert [verdict for verdict in found if verdict.outcome == "missed"] == [] and len(found) == 60
    assert {verdict.outcome for verdict in found} == {"check", "equivalent"}


def test_a_checker_that_sees_nothing_is_found_out(campaign: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = campaign.contest_attempts(campaign.placed_contests(4))
    monkeypatch.setattr(campaign, "check_contest", lambda graph, places: ())
    attempt = dict(zip(campaign.PLACES, attempts, strict=True))["half_turned"]
    assert attempt(random.Random(0)).outcome == "missed"
