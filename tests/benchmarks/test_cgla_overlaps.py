"""Overlaps of windows, by hand."""

from collections.abc import Callable
from types import ModuleType

import pytest

from mapper.backends.cgla.network.runs import groups
from mapper.index import loop
from mapper.ir import Access, Combiner, Loop, Op
from mapper.mapping import TileLoop
from mapper.scalar import Arg


@pytest.fixture(scope="module")
def command(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("cgla_overlaps")


@pytest.mark.parametrize(("loops", "expected"), [
    ([("y", 1, 8, None), ("f", 1, 3, "row")], (24, 24, 10)),  # three lines a step, all but one of them kept
    ([("f", 1, 3, "row")], (24, 10, 10)),  # three rows with eight lines each
    ([("y", 4, 2, "lane"), ("f", 1, 3, "row")], (24, 12, 12)),  # each lane needs six lines
    ([], (10, 10, 10)),
])  # fmt: skip
def test_lines_of_a_window(command: ModuleType, loops: list[tuple], expected: tuple[int, int, int]) -> None:
    read = Access("x", (loop("y") + loop("f"),))
    op = Op("pool", "MaxPool", (Loop("y", 8), Loop("f", 3)), (read,), Access("o", (loop("y"),)), Arg(0),
            Combiner("max", "float32"))  # fmt: skip
    (group,) = groups(op, read, (10,))
    assert command.windows(op, group)
    assert command.window_counts(op, [TileLoop(*each) for each in loops], group) == expected
