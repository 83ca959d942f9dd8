"""List scheduling: legal by the independent checker wherever it answers, and it answers where it should."""

import random
from pathlib import Path

import pytest

from mapper import machines
from mapper.backends.cgra.attempt import registers_of
from mapper.backends.cgra.kernel import KernelRequest, KernelResult, map_kernel
from mapper.backends.cgra.listing import listed
from mapper.backends.cgra.solution import mapping_of
from mapper.check_kernel import check_kernel
from mapper.dfg import Dfg, Edge, Node
from mapper.frontends import dfg as frontend
from mapper.machine import Fabric, MemoryPorts
from mapper.placement import KernelMapping

DATA = Path(__file__).parents[3] / "benchmarks/data/cgra"


def mapped(dfg: Dfg, fabric: Fabric, moves: bool = True) -> KernelMapping | None:
    found = listed(dfg, fabric, 1, 200, moves)
    if found is None:
        return None
    registers = registers_of(*found)
    assert registers is not None
    return mapping_of(dfg, *found, registers)


def drawn(seed: int, nodes: int) -> Dfg:
    """A random loop body: one to two operands a node, some values of earlier iterations into phis."""
    draw = random.Random(seed)
    ops = ["phi" if n < 3 else draw.choice(["add", "mul", "load", "store"]) for n in range(nodes)]
    edges = {(draw.randrange(max(0, n - 9), n), n, 0) for n in range(3, nodes) for _ in range(draw.randint(1, 2))}
    edges |= {(draw.randrange(3, nodes), phi, draw.randint(1, 2)) for phi in range(3)}
    return Dfg(f"drawn{seed}", tuple(Node(n, op) for n, op in enumerate(ops)), tuple(Edge(*e) for e in sorted(edges)))


@pytest.mark.parametrize("name", ["taylor", "aes_encrypt", "adpcm_decoder", "viterbi", "nw"])
def test_large_bodies_get_a_legal_answer_on_4x4(name: str) -> None:
    fabric = machines.resolve("torus4x4").fabric
    mapping = mapped(frontend.load(DATA / f"{name}.json"), fabric)
    assert mapping is not None
    assert check_kernel(mapping, fabric) == ()


@pytest.mark.parametrize("fabric", [
    Fabric("torus", 4, 4), Fabric("mesh", 3, 5), Fabric("king", 3, 3), Fabric("onehop", 4, 4),
    Fabric("mesh", 4, 4, dead=frozenset({(1, 1)})), Fabric("torus", 4, 4, memory_ports=MemoryPorts(1, "column")),
    Fabric("torus", 4, 4, registers=1),
])  # fmt: skip
def test_random_bodies_are_legal_on_every_kind_of_fabric(fabric: Fabric) -> None:
    answered = 0
    for seed in range(6):
        mapping = mapped(drawn(seed, 12 + 6 * seed), fabric)
        if mapping is not None:
            answered += 1
            assert check_kernel(mapping, fabric) == ()
    assert answered >= 4


def test_without_moves_none_is_made() -> None:
    fabric = Fabric("torus", 4, 4)
    mapping = mapped(drawn(1, 20), fabric, moves=False)
    assert mapping is None or (mapping.moves == () and check_kernel(mapping, fabric) == ())


def test_the_search_starts_from_the_listed_answer_where_it_finds_none() -> None:
    fabric = machines.resolve("torus4x4").fabric
    found = map_kernel(frontend.load(DATA / "taylor.json"), fabric, KernelRequest("routed", "quick"))
    assert isinstance(found, KernelResult)
    assert found.mapping.ii <= 20 and check_kernel(found.mapping, fabric) == ()
