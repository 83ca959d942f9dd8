"""The checker can fail: a short run of the fault injection, and the words of some findings."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kinds = _module("fault_kinds")
faults = _module("faults")


def test_every_fault_is_found_or_proved_equivalent() -> None:
    found = list(faults.faults(faults.legal_mappings(20), 130, seed=1))
    assert [verdict for verdict in found if verdict.outcome == "missed"] == []
    assert {verdict.fault for verdict in found} >= set(kinds.FATAL) - {"ordered_side_by_side"}


def test_most_fatal_faults_are_found_by_the_checker_alone() -> None:
    found = list(faults.faults(faults.legal_mappings(12), 2 * len(kinds.FATAL), seed=2))
    fatal = [verdict for verdict in found if verdict.fault in kinds.FATAL]
    assert {verdict.outcome for verdict in fatal} == {"check"}
