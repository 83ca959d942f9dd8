"""The kernel level end to end: known optima, brute force on small bodies, every machine feature, determinism."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from mapper.backends.cgra.kernel import DoesNotFit, KernelRequest, KernelResult, map_kernel
from mapper.backends.cgra.search import Budget, Search
from mapper.backends.cgra.solution import solution_json
from mapper.check_kernel import check_kernel
from mapper.dfg import Dfg, Edge, Node
from mapper.errors import CheckFailed
from mapper.frontends.dfg import load
from mapper.machine import Fabric, MemoryPorts, PeClass
from mapper.placement import KernelMapping, Placed
from mapper.simulate_kernel import simulate_kernel
from mapper.solver import Limits

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "cgra"


def kernel(name: str) -> Dfg:
    return load(DATA / f"{name}.json")


def mapped(dfg: Dfg, fabric: Fabric, variant: str = "routed", effort: str = "fast") -> KernelResult:
    """A result that checker and simulation accept."""
    result = map_kernel(dfg, fabric, KernelRequest(variant, effort))  # type: ignore[arg-type]
    assert isinstance(result, KernelResult), result
    assert check_kernel(result.mapping, fabric) == ()
    assert simulate_kernel(result.mapping, fabric).violations == ()
    assert result.ii_bound <= result.mapping.ii == result.outcome.objective
    return result


@pytest.mark.parametrize(
    ("name", "side", "direct", "routed"),
    [
        ("bitcount", 2, 3, 3),
        ("gsm", 2, 5, 4),
        ("gsm", 3, 3, 3),
        ("gsm", 4, 4, 3),
        ("sha2", 2, 8, 8),
        ("cme_conv2", 4, 5, 2),
        ("cme_accumulate", 3, 5, 3),
        ("el_fft", 2, 7, 7),
        ("el_stencil", 4, 1, 1),
        ("rv_gemm", 4, 6, 5),
    ],
)
def test_known_optima(name: str, side: int, direct: int, routed: int) -> None:
    fabric = Fabric("torus", side, side)
    found = mapped(kernel(name), fabric, "direct")
    assert (found.mapping.ii, found.ii_bound, found.mapping.moves) == (direct, direct, ())
    assert mapped(kernel(name), fabric, "routed").mapping.ii == routed


def test_lifetime_bound_closes_a_direct_kernel_without_search() -> None:
    result = mapped(kernel("cme_conv3"), Fabric("torus", 4, 4), "direct")
    assert (result.mapping.ii, result.outcome.proof, result.outcome.status) == (6, "bound", "optimal")
    assert result.why_not_lower.startswith("lifetime: ")


def test_exhausted_is_not_called_optimal() -> None:
    result = mapped(kernel("gsm"), Fabric("torus", 4, 4), "direct")
    assert (result.outcome.proof, result.outcome.status) == ("exhausted", "feasible")


def test_exhausted_in_two_ways_is_optimal() -> None:
    result = mapped(kernel("el_fft"), Fabric("torus", 2, 2), "direct", "default")
    assert (result.mapping.ii, result.outcome.proof, result.outcome.status) == (7, "exhausted-twice", "optimal")


def test_two_searches_that_disagree_are_an_error() -> None:
    limits, budget = Limits(), Budget(0.5, 0.5, 4.0, 4.0, 4.0)
    search = Search(kernel("gsm"), Fabric("torus", 3, 3), "direct", budget, limits)
    search.climb(3, 20)
    assert search.best is not None and search.best.ii == 3
    search.best = replace(search.best, schedule=replace(search.best.schedule, ii=4))
    search.refuted[3] = "exhausted"
    with pytest.raises(CheckFailed, match="two searches disagree: II 3 was refuted by one and found by the other"):
        search.confirm()


def test_recurrence_names_its_nodes() -> None:
    result = mapped(kernel("bitcount"), Fabric("torus", 4, 4))
    assert result.why_not_lower.startswith("recurrence: ") and "3, 4, 0" in result.why_not_lower


def test_fewest_moves_meet_their_bound() -> None:
    result = mapped(kernel("cme_conv2"), Fabric("torus", 4, 4))
    assert (len(result.mapping.moves), result.moves_bound) == (2, 2)


def tiny_body(seed: int) -> Dfg:
    """Three or four nodes, a random DAG and a recurrence."""
    generator = random.Random(seed)
    count = generator.choice((3, 4))
    edges = {(a, b, 0) for a, b in itertools.combinations(range(count), 2) if generator.random() < 0.45}
    if generator.random() < 0.7:
        edges.add((count - 1, 0, 1))
    return Dfg(f"tiny{seed}", tuple(Node(i, "op") for i in range(count)), tuple(Edge(*e) for e in sorted(edges)))


def brute_force_ii(dfg: Dfg, fabric: Fabric, most: int) -> int | None:
    """The smallest direct II by trying every placement and every start time, judged by nothing of the backend."""
    count = len(dfg.nodes)
    for ii in range(1, most + 1):
        for times in itertools.product(range(2 * ii + 1), repeat=count):
            if any(not 1 <= times[e.dst] + e.distance * ii - times[e.src] <= ii for e in dfg.edges):
                continue
            for pes in itertools.product(range(fabric.size), repeat=count):
                placed = tuple(Placed(i, pe, t) for i, (pe, t) in enumerate(zip(pes, times, strict=True)))
                found = check_kernel(KernelMapping(dfg, ii, placed), fabric)
                if all(v.rule == "registers" for v in found):
                    return ii
    return None


@pytest.mark.parametrize("seed", range(6))
def test_brute_force_agrees_on_tiny_bodies(seed: int) -> None:
    dfg, fabric = tiny_body(seed), Fabric("mesh", 1, 2)
    best = brute_force_ii(dfg, fabric, 3)
    found = map_kernel(dfg, fabric, KernelRequest("direct", "fast"))
    ii = found.mapping.ii if isinstance(found, KernelResult) else None
    assert ii == best or (best is None and (ii is None or ii > 3))


@pytest.mark.parametrize("topology", ["torus", "mesh", "king", "onehop"])
@pytest.mark.parametrize("registers", [0, 1, 4])
def test_every_topology_and_register_file(topology: str, registers: int) -> None:
    fabric = Fabric(topology, 3, 3, registers=registers)  # type: ignore[arg-type]
    result = mapped(kernel("cme_mac"), fabric)
    assert result.mapping.ii == 2
    assert all(use.index < registers for use in result.mapping.registers)


def test_one_by_one_array() -> None:
    chain = Dfg("chain", tuple(Node(i, "add") for i in range(4)), (Edge(0, 1), Edge(1, 2), Edge(2, 3), Edge(3, 0, 1)))
    assert mapped(chain, Fabric("torus", 1, 1)).mapping.ii == 4


def test_self_edge_and_distance_two() -> None:
    body = Dfg("acc", (Node(0, "add"), Node(1, "add")), (Edge(0, 0, 1), Edge(0, 1, 0), Edge(0, 1, 2)))
    refused = map_kernel(body, Fabric("torus", 2, 2), KernelRequest("direct"))
    assert isinstance(refused, DoesNotFit) and "variant=routed" in str(refused)
    assert len(mapped(body, Fabric("torus", 2, 2)).mapping.moves) >= 1


def test_heterogeneous_pes_and_latency() -> None:
    memory = PeClass("memory", frozenset({"load", "loadb", "ostore", "add"}), (), "column 0")
    alu = PeClass("alu", frozenset({"add", "mul", "cmp", "phi"}), (("mul", 3),))
    fabric = Fabric("torus", 4, 4, classes=(alu, memory))
    result = mapped(kernel("cme_mac2"), fabric)
    assert result.mapping.ii >= 3, "a multiplication occupies its PE for three cycles"
    columns = {p.pe % 4 for p in result.mapping.placed if kernel("cme_mac2")[p.node].op == "load"}
    assert columns == {0}


def test_memory_ports_bind() -> None:
    loads = Dfg("loads", tuple(Node(i, "load", "load") for i in range(6)), ())
    result = mapped(loads, Fabric("torus", 2, 2, memory_ports=MemoryPorts(1, "fabric")))
    assert result.mapping.ii == 6 and result.why_not_lower.startswith("memory ports: 6 loads and stores through 1")


def test_no_pe_runs_the_operation() -> None:
    fabric = Fabric("torus", 2, 2, classes=(PeClass("alu", frozenset({"add"})),))
    refused = map_kernel(Dfg("x", (Node(7, "mul"),), ()), fabric)
    assert isinstance(refused, DoesNotFit) and "'mul' (node 7)" in str(refused)


@pytest.mark.parametrize("name", ["gsm", "el_latnrm"])
def test_larger_arrays_are_never_worse(name: str) -> None:
    """Guaranteed pairs: 2x2 torus in larger ones, mesh in torus of the same size, mesh in larger mesh."""

    def ii(topology: str, side: int) -> int:
        return mapped(kernel(name), Fabric(topology, side, side)).mapping.ii  # type: ignore[arg-type]

    small = ii("torus", 2)
    assert ii("torus", 3) <= small and ii("torus", 4) <= small
    assert ii("mesh", 3) <= ii("mesh", 2) and ii("torus", 3) <= ii("mesh", 3)


@pytest.mark.parametrize(("name", "side"), [("gm_dct4", 3), ("gsm", 2), ("cme_mults1", 2), ("fix_fft", 3)])
def test_with_moves_is_never_worse_than_without(name: str, side: int) -> None:
    fabric = Fabric("torus", side, side)
    direct, routed = (mapped(kernel(name), fabric, variant).mapping for variant in ("direct", "routed"))
    assert routed.ii < direct.ii or (routed.ii == direct.ii and not routed.moves)


def test_same_seed_same_bytes() -> None:
    fabric = Fabric("torus", 4, 4)
    first, second = (mapped(kernel("rv_gemm"), fabric) for _ in range(2))
    assert first == second and repr(first) == repr(second)


def test_large_fabric_is_quick_and_reaches_the_bound() -> None:
    result = mapped(kernel("viterbi"), Fabric("torus", 20, 20))
    assert (result.mapping.ii, result.outcome.proof) == (6, "bound")


def test_solution_file_has_the_documented_shape() -> None:
    fabric = Fabric("torus", 4, 4)
    solution = solution_json(mapped(kernel("cme_conv2"), fabric).mapping, fabric)
    assert solution["benchmark"] == "cme_conv2" and solution["grid"] == [4, 4] and solution["ii"] == 2
    assert {move["id"] for move in solution["moves"]} == {"m0", "m1"}  # type: ignore[attr-defined]
    for edge in solution["edges"]:  # type: ignore[attr-defined]
        assert len(edge["distances"]) == len(edge["via"]) + 1 and sum(edge["distances"]) == edge["distance"]
