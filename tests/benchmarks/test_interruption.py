"""Interruption: a short form of the campaign; and the words and codes of what it found."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from mapper import outputs, signals


@pytest.fixture(scope="module")
def campaign(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("interruption")


def test_a_writer_killed_at_any_line_leaves_the_older_set_or_the_new_one(campaign: ModuleType) -> None:
    trials = list(campaign.writing(every=7))
    assert [trial for trial in trials if trial.fault] == []
    assert {trial.outcome for trial in trials} == {"as before", "new"} and len(trials) > 40


def test_what_stands_in_the_place_is_replaced_or_left_alone(campaign: ModuleType) -> None:
    assert [trial for trial in campaign.places() if trial.fault] == []


def test_whole_runs_that_are_killed_or_interrupted(campaign: ModuleType, tmp_path: Path) -> None:
    case = next(campaign._cases(tmp_path))
    rng = random.Random(1)
    trials = [*campaign.kill(case, 2, rng), *campaign.signals(case, 2, rng)]
    assert [trial for trial in trials if trial.fault] == []


def test_the_next_run_clears_what_a_dead_run_left_and_nothing_else(tmp_path: Path) -> None:
    dead, alive, foreign = (tmp_path / name for name in (".out.partial-dead", ".out.partial-alive", ".out-mine"))
    for folder in (dead, alive, foreign):
        folder.mkdir()
    lock = os.open(alive, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    outputs.write_set(tmp_path / "out", {"run.json": "{}"})
    os.close(lock)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out-mine", ".out.partial-alive", "out"]


def test_work_aside_returns_raises_and_is_left_when_an_end_is_asked_for() -> None:
    assert signals.aside(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        signals.aside(lambda: 1 // 0)
    stopped: list[bool] = []
    with signals.interruptible() as stop:
        os.kill(os.getpid(), 2)
        assert stop.is_set()
        assert signals.aside(lambda: time.sleep(0.5)) is None
        assert signals.aside(lambda: time.sleep(0.5), lambda: stopped.append(True)) is None
    assert stopped and not signals.asked.is_set()


def test_a_run_that_does_not_end_by_itself_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05)
    with pytest.raises(KeyboardInterrupt), signals.interruptible():
        os.kill(os.getpid(), 15)
        time.sleep(5)


def test_a_finished_answer_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05)
    with signals.interruptible() as stop:
        stop.finish()
        os.kill(os.getpid(), 15)
        time.sleep(0.2)
        assert stop.is_set()


def test_too_little_address_space_is_refused_in_one_line(campaign: ModuleType, tmp_path: Path) -> None:
    """Under 150 MB, libraries in C once tried to allocate for ever."""
    case = campaign.Case("wafer", campaign.CASES["wafer"] + ("--target", "wafer"), tmp_path / "case", {}, {}, 1.0)
    trial = campaign._limited(case, "150 MiB", resource.RLIMIT_AS, 150 << 20)
    assert trial.outcome == "older, exit 3" and trial.fault == ""
