"""The model of the row array against published figures: what is demanded holds, and other sections of the page stay."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def command(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("cgla_validation")


def test_the_published_launches_and_cycles_are_counted_again(command: ModuleType) -> None:
    prefill, rest = command.qwen3_products()
    found = command.counts([*prefill, *rest])
    # 768 chunks a layer and token in prefill, 192 in decode, 2374 of the head: 28 layers, 32 and 15 tokens, 16 heads
    assert found.launches == 768 * 28 * 32 + 192 * 28 * 15 + 2374 * 16 == 806_752
    assert found.cycles == 695_420_928
    assert found.drain_bytes == 4 * (16 * 768 * 28 * 32 + 64 * (192 * 28 * 15 + 2374 * 16))


def test_every_demanded_phase_is_within_its_error(command: ModuleType) -> None:
    lines = list(command.qwen3_lines())
    assert not [line.what for line in lines if line.missed]
    kinds = {line.what: line.kind for line in lines}
    assert (kinds["LOAD"], kinds["DRAIN"]) == ("calibrated", "predicted")


def test_an_error_above_the_demand_is_a_miss(command: ModuleType) -> None:
    assert command.Line("x", "predicted", 2.0, 2.5, "s", 0.2).missed
    assert not command.Line("x", "predicted", 2.0, 2.5, "s", 0.25).missed
    assert not command.Line("x", "predicted", 2.0, 9.0, "s").missed
    assert command.Line("x", "predicted", 60.0, 64.0, "%", 3.0, absolute=True).missed


def test_coverage_grows_with_local_memory(command: ModuleType) -> None:
    graph = command.load("zoo:whisper-tiny-mini").value
    shares = [command.coverage(graph, size) for size in (0, 1024, 2048, 4096, 1 << 20)]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 100


def test_the_section_replaces_itself_and_nothing_else(command: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "validation.md"
    page.write_text("# Validation\n\n## Another\n\nkept\n")
    for _ in range(2):
        command.write(f"{command.HEADING}\n\nnew\n", page)
        assert page.read_text() == f"# Validation\n\n## Another\n\nkept\n\n{command.HEADING}\n\nnew\n"


def test_the_section_stays_where_it_is(command: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "validation.md"
    page.write_text(f"# Validation\n\n{command.HEADING}\n\nold\n\n### Part\n\nold\n\n## Another\n\nkept\n")
    command.write(f"{command.HEADING}\n\nnew\n", page)
    assert page.read_text() == f"# Validation\n\n{command.HEADING}\n\nnew\n\n## Another\n\nkept\n"


def test_constants_of_transfers_are_those_that_the_published_load_asks_for(command: ModuleType) -> None:
    """The machine files round what the fit gives; the projection keeps the seconds of a set-up."""
    prefill, rest = command.qwen3_products()
    rate, set_up = command.fitted(command.counts([*prefill, *rest]), 2, 5.31, 1.2)
    fpga, projected = command.resolve("imax3"), command.resolve("imax3-28nm")
    assert fpga.settings["dma_bytes_per_cycle"] * fpga.clock_hz == pytest.approx(rate, rel=1e-3)
    assert fpga.settings["dma_setup_cycles"] / fpga.clock_hz == pytest.approx(set_up, rel=1e-3)
    assert projected.settings["dma_setup_cycles"] / projected.clock_hz == pytest.approx(set_up, rel=2e-3)
    assert projected.settings["dma_bytes_per_cycle"] == fpga.settings["dma_bytes_per_cycle"]
