"""Layers on accelerators: the reference's own mappings give its own figures; the least chain equals enumeration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from itertools import permutations, product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mapper.tiling.accelerator import OPERANDS, Layer, Terms, architectures
from mapper.tiling.chains import least_chain
from mapper.tiling.latency import latency, settle
from mapper.tiling.orders import Order, _fits, energy_pj, outermost_bytes, quickest, realise

ROOT = Path(__file__).parents[2]
DATA = ROOT / "benchmarks" / "data" / "cost"
MACHINES = architectures(DATA / "architectures.json")


@pytest.fixture(scope="module")
def benchmark(benchmark_named: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_named("cost")


@cache
def cases() -> list[dict[str, Any]]:
    return list(json.loads((DATA / "zigzag_layers.json").read_text(encoding="utf-8"))["cases"])


@pytest.mark.parametrize("number", range(0, 136, 9))
def test_the_reference_mapping_has_the_reference_figures(benchmark: ModuleType, number: int) -> None:
    case = cases()[number]
    machine = MACHINES[case["arch"]]
    layer, drain = benchmark.layer_of(case, machine)
    splits = case["temporal_mapping_inner_to_outer"]
    assert energy_pj(layer, machine, splits) + layer.macs * machine.mac_pj == pytest.approx(case["energy_pJ"])
    assert latency(layer, machine, splits).cycles + drain == pytest.approx(case["latency_cycles"], abs=1)
    assert outermost_bytes(layer, machine, splits) == case["dram_bytes"]["total"]
    assert drain == (0 if case["arch"] != "tpu_like" else sum(f - 1 for _, _, f in layer.unrolled))


def test_word_accesses_agree_memory_by_memory(benchmark: ModuleType) -> None:
    case = next(c for c in cases() if c["arch"] == "eyeriss_like")
    machine = MACHINES[case["arch"]]
    layer, _ = benchmark.layer_of(case, machine)
    terms = Terms(layer, machine, "W")
    splits = case["temporal_mapping_inner_to_outer"]["W"]
    point = dict.fromkeys(layer.size, 1)
    for dimension, factor in settle("W", splits)[0]:
        point[dimension] *= factor
    found = {(terms.memories[m].name, d): int(words) for m, d, words in terms.accesses(0, point)}
    expected = case["word_accesses"]
    assert found["rf_64B_W", "fh"] == expected["rf_64B_W"]["W"]["wr_in_by_high"]
    assert found["sram_64KB", "tl"] == expected["sram_64KB"]["W"]["rd_out_to_low"]


def tiny(k: int, c: int, b: int, unrolled: tuple[tuple[str, str, int], ...]) -> Layer:
    return Layer((("B", b), ("K", k), ("C", c)), (), unrolled, 8, 8, 16, 8)


def enumerated_pj(layer: Layer, name: str) -> float:
    """Least energy over all orders of prime factors and all ends of memories that fit."""
    machine = MACHINES[name]
    terms = {o: Terms(layer, machine, o) for o in OPERANDS}
    loops = [(d, 2) for d, steps in layer.steps.items() for _ in range(int(math.log2(steps)))]
    best = math.inf
    for order in sorted(set(permutations(loops))):
        ends = [
            [e for e in product(range(len(loops) + 1), repeat=len(terms[o].memories) - 1) if list(e) == sorted(e)]
            for o in OPERANDS
        ]
        for chosen in product(*ends):
            found = Order(order, tuple(zip(OPERANDS, chosen, strict=True)))
            if _fits(layer, machine, terms, found):
                best = min(best, energy_pj(layer, machine, found.splits()))
    return best


@pytest.mark.parametrize(("k", "c", "b"), [(64, 64, 2), (32, 128, 2), (128, 32, 1)])
def test_the_least_chain_equals_enumeration(k: int, c: int, b: int) -> None:
    layer = tiny(k, c, b, (("D1", "K", 32), ("D2", "C", 32)))
    chain = least_chain(layer, MACHINES["tpu_like"])
    assert chain is not None
    assert chain.pj == pytest.approx(enumerated_pj(layer, "tpu_like"))
    order = realise(layer, chain, ["B", "K", "C"])
    assert energy_pj(layer, MACHINES["tpu_like"], order.splits()) == pytest.approx(chain.pj)


def test_shared_memories_are_divided_when_not_everything_fits() -> None:
    layer = tiny(4096, 4096, 4096, (("D1", "K", 32), ("D2", "C", 32)))
    machine = MACHINES["tpu_like"]
    chain = least_chain(layer, machine)
    assert chain is not None
    order = realise(layer, chain, ["B", "K", "C"])
    terms = {o: Terms(layer, machine, o) for o in OPERANDS}
    used = sum(
        float(terms[o].elements(level, terms_point)) * layer.bits(o)
        for o, level in (("I", 0), ("O", 1))
        for terms_point in [_end(layer, order.splits()[o], level)]
    )
    assert used <= 2**24


def _end(layer: Layer, splits: list[list[tuple[str, int]]], level: int) -> dict[str, int]:
    point = dict.fromkeys(layer.size, 1)
    for loops in splits[: level + 1]:
        for dimension, factor in loops:
            point[dimension] *= factor
    return point


def test_the_quickest_order_is_at_least_as_quick_as_the_least_energy() -> None:
    layer = tiny(256, 256, 256, (("D1", "K", 32), ("D2", "C", 32)))
    machine = MACHINES["tpu_like"]
    chain, found = least_chain(layer, machine), quickest(layer, machine)
    assert chain is not None and found is not None
    order, cycles = found
    assert cycles == latency(layer, machine, order.splits())
    assert layer.cycles <= cycles.cycles
    assert cycles.cycles <= latency(layer, machine, realise(layer, chain, ["B", "K", "C"]).splits()).cycles
