"""A short form of the campaign against brute force, and that it can fail."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def optima(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("optima")


def test_the_engine_equals_brute_force_on_odd_shapes(optima: ModuleType) -> None:
    draw = random.Random(7)
    assert [words for words in (optima.shortfall(optima.drawn(draw)) for _ in range(12)) if words] == []


def test_published_optimum_of_divisor_tiles(optima: ModuleType) -> None:
    assert optima.brute(optima.Case((("m", 128), ("n", 128), ("k", 128)), 1024)) == 212_992


def test_a_worse_engine_is_noticed(
    optima: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = optima.least_words
    monkeypatch.setattr(optima, "least_words", lambda *a, **k: (real(*a, **k) or 0) + 1)
    assert optima.main(["--count", "1"]) == 5
    assert "brute force" in capsys.readouterr().out
