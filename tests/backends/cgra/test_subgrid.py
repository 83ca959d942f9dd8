"""Grids inside of grids: carried answers are legal, larger grids never worse, whatever the search on them does."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from mapper.backends.cgra import pair as pairs
from mapper.backends.cgra.attempt import registers_of
from mapper.backends.cgra.kernel import KernelRequest, KernelResult, map_kernel
from mapper.backends.cgra.listing import listed
from mapper.backends.cgra.solution import mapping_of
from mapper.backends.cgra.subgrid import carried, core, inside, smaller, turned
from mapper.backends.cgra.trials import Find
from mapper.check_kernel import check_kernel
from mapper.dfg import Dfg, Edge, Node
from mapper.frontends.dfg import load
from mapper.machine import Fabric, MemoryPorts, PeClass
from mapper.simulate_kernel import simulate_kernel

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "cgra"


def drawn(seed: int) -> Dfg:
    """A body of 6 to 16 nodes with a recurrence."""
    draw = random.Random(seed)
    count = draw.randint(6, 16)
    edges = {(draw.randrange(max(0, n - 6), n), n, 0) for n in range(1, count) for _ in range(draw.randint(1, 2))}
    edges |= {(draw.randrange(1, count), 0, 1)}
    return Dfg(f"drawn{seed}", tuple(Node(n, "add") for n in range(count)), tuple(Edge(*e) for e in sorted(edges)))


def ii_of(dfg: Dfg, fabric: Fabric, variant: str = "routed") -> int:
    found = map_kernel(dfg, fabric, KernelRequest(variant, "fast"))  # type: ignore[arg-type]
    assert isinstance(found, KernelResult)
    assert check_kernel(found.mapping, fabric) == () and simulate_kernel(found.mapping, fabric).violations == ()
    return found.mapping.ii


@pytest.mark.parametrize(("small", "large", "fits"), [
    (Fabric("mesh", 2, 3), Fabric("torus", 4, 4), True),
    (Fabric("mesh", 4, 4), Fabric("king", 4, 5), True),
    (Fabric("torus", 2, 2), Fabric("mesh", 3, 3), True),
    (Fabric("torus", 2, 3), Fabric("torus", 3, 3), True),
    (Fabric("torus", 3, 3), Fabric("torus", 4, 4), False),
    (Fabric("king", 3, 3), Fabric("torus", 4, 4), False),
    (Fabric("onehop", 3, 3), Fabric("onehop", 5, 3), True),
    (Fabric("mesh", 3, 3), Fabric("mesh", 4, 4, dead=frozenset({(1, 1)})), False),
    (Fabric("mesh", 2, 2), Fabric("mesh", 2, 2, classes=(PeClass("a", frozenset({"add"})),)), False),
])  # fmt: skip
def test_which_grids_lie_inside(small: Fabric, large: Fabric, fits: bool) -> None:
    assert inside(small, large) is fits


@pytest.mark.parametrize("seed", range(8))
def test_a_carried_answer_is_legal(seed: int) -> None:
    dfg, small = drawn(seed), Fabric("mesh", 2, 3)
    answer = listed(dfg, small, 1, 60, True)
    assert answer is not None
    for large in (Fabric("torus", 4, 4), Fabric("king", 3, 5), Fabric("onehop", 2, 4), Fabric("mesh", 6, 3)):
        found = carried(Find(*answer), large)
        registers = registers_of(found.problem, found.schedule)
        assert registers is not None
        mapping = mapping_of(dfg, found.problem, found.schedule, registers)
        assert check_kernel(mapping, large) == () and mapping.ii == answer[1].ii


@pytest.mark.parametrize("seed", range(10, 15))
@pytest.mark.parametrize("variant", ["direct", "routed"])
def test_larger_grids_are_never_worse_on_random_loops(seed: int, variant: str) -> None:
    dfg = drawn(seed)
    chain = [Fabric("mesh", 2, 2), Fabric("mesh", 3, 3), Fabric("torus", 3, 3)]
    found = [ii_of(dfg, fabric, variant) for fabric in chain]
    assert found == sorted(found, reverse=True)
    assert ii_of(dfg, Fabric("king", 3, 3), variant) <= found[1]


def test_a_poor_search_on_the_larger_grid_falls_back_on_the_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not closed on 3x3 is taken from 2x2, even if the search on 3x3 finds an II far too high."""
    dfg, honest = drawn(3), pairs._run
    small = ii_of(dfg, Fabric("mesh", 2, 2))

    def poor(pair: pairs.Pair, low: int, most: int | None = None) -> None:
        honest(pair, *((low, most) if pair.search.fabric.size == 4 else (small + 5,)))
        pair.direct.low = pair.search.low = low

    monkeypatch.setattr(pairs, "_run", poor)
    assert ii_of(dfg, Fabric("mesh", 3, 3)) == ii_of(dfg, Fabric("king", 3, 3)) == small


def test_smaller_grids_that_cannot_be_better_are_not_searched() -> None:
    dfg = Dfg("flat", tuple(Node(n, "add") for n in range(8)), ())
    found = list(smaller(dfg, Fabric("king", 3, 3), 100))
    assert [(f.topology, f.rows, f.columns) for f in found] == [("mesh", 3, 3), ("king", 2, 2)]
    assert [f.rows for f in smaller(dfg, Fabric("king", 3, 3), 2)] == [3]
    assert [f.topology for f in smaller(dfg, Fabric("torus", 4, 4), 100)] == ["mesh"]
    assert list(smaller(dfg, Fabric("mesh", 1, 1), 100)) == []


@pytest.mark.parametrize("variant", ["direct", "routed"])
def test_a_grid_that_stands_is_solved_lying_down(variant: str) -> None:
    standing = Fabric("torus", 4, 2)
    assert turned(standing) == Fabric("torus", 2, 4) and turned(Fabric("torus", 2, 4)) is None
    assert turned(replace(standing, memory_ports=MemoryPorts(1, "column"))) is None
    assert ii_of(drawn(5), standing, variant) == ii_of(drawn(5), Fabric("torus", 2, 4), variant)


def test_a_much_larger_grid_is_searched_in_its_core() -> None:
    dfg, torus = load(DATA / "compare_neighb.json"), Fabric("torus", 20, 20)
    found = core(dfg, torus, 4)
    assert found is not None and found.topology == "mesh" and found.rows == found.columns < 12
    assert core(dfg, Fabric("torus", 5, 5), 4) is None
    far = replace(torus, classes=(PeClass("a", frozenset({"add"})), PeClass("m", frozenset({"load"}), (), "column 19")))
    assert core(Dfg("x", (Node(0, "load"),), ()), far, 1) is None
    assert ii_of(load(DATA / "gsm.json"), torus) == 3
