"""The checker must name each kind of fault, and the simulation must see the wrong value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mapper.check_kernel import check_kernel
from mapper.dfg import Dfg, Edge, Node
from mapper.machine import Fabric, MemoryPorts, PeClass
from mapper.placement import KernelMapping, Move, Path, Placed, RegisterUse
from mapper.simulate_kernel import interpret_body, simulate_kernel

MESH = Fabric("mesh", 1, 3)
BODY = Dfg("body", (Node(0, "a"), Node(1, "b"), Node(2, "c")), (Edge(0, 1), Edge(1, 2), Edge(0, 2), Edge(2, 0, 1)))
# PE 0 runs 0, 1 and 2 in turn; the value of 0 is read by 2 after 1 executed, so it is kept in a register
GOOD = KernelMapping(
    BODY, 3, (Placed(0, 0, 0), Placed(1, 0, 1), Placed(2, 0, 2)), registers=(RegisterUse("0", 0, 0, 0),)
)


def rules(mapping: KernelMapping, fabric: Fabric = MESH) -> set[str]:
    return {violation.rule for violation in check_kernel(mapping, fabric)}


def test_a_legal_mapping_passes_both() -> None:
    assert check_kernel(GOOD, MESH) == ()
    report = simulate_kernel(GOOD, MESH)
    assert report.violations == () and report.iterations == 3 and report.register_reads > 0


def placed(*where: tuple[int, int]) -> tuple[Placed, ...]:
    return tuple(Placed(node, pe, cycle) for node, (pe, cycle) in enumerate(where))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"placed": GOOD.placed[:2]}, "nodes"),
        ({"placed": placed((0, 0), (0, 1), (9, 2))}, "nodes"),
        ({"placed": placed((0, 0), (0, 3), (0, 2))}, "resource"),
        ({"placed": placed((0, 0), (0, 1), (0, 5))}, "time"),
        ({"placed": placed((0, 0), (2, 1), (1, 2))}, "space"),
        ({"placed": placed((0, 0), (0, 1), (1, 2))}, "output register"),
        ({"registers": ()}, "registers"),
        ({"registers": (RegisterUse("0", 0, 1, 0),)}, "registers"),
        ({"registers": (RegisterUse("0", 0, 0, 4),)}, "registers"),
        ({"moves": (Move("m0", 1, 1, 0),)}, "moves"),
        ({"paths": (Path(0, 1, 0, ("m7",), (0, 0)),)}, "moves"),
        ({"paths": (Path(2, 1, 0, (), (0,)),)}, "moves"),
        ({"ii": 0}, "ii"),
    ],
)
def test_each_fault_is_named(change: dict[str, object], rule: str) -> None:
    assert rule in rules(replace(GOOD, **change))  # type: ignore[arg-type]


def test_operation_sets_latency_and_ports() -> None:
    no_b = Fabric("mesh", 1, 3, classes=(PeClass("x", frozenset({"a", "c"})),))
    assert rules(GOOD, no_b) == {"nodes"}
    slow = Fabric("mesh", 1, 3, classes=(PeClass("x", frozenset(), (("a", 2),)),))
    assert {"resource", "time"} <= rules(GOOD, slow)
    loads = Dfg("l", (Node(0, "load", "load"), Node(1, "load", "load")), ())
    two = KernelMapping(loads, 2, (Placed(0, 0, 0), Placed(1, 1, 2)))
    assert rules(two, Fabric("mesh", 1, 3, memory_ports=MemoryPorts(1, "row"))) == {"memory ports"}
    assert rules(two, Fabric("mesh", 1, 3, memory_ports=MemoryPorts(2, "row"))) == set()


def test_simulation_sees_an_overwritten_output_register() -> None:
    broken = replace(GOOD, placed=placed((0, 0), (0, 1), (1, 2)))
    assert {v.rule for v in simulate_kernel(broken, MESH).violations} == {"value"}


def test_simulation_sees_a_shared_register() -> None:
    """Without its register the value of 0 is read from the output register, where 1 has written."""
    assert simulate_kernel(replace(GOOD, registers=()), MESH).violations[0].subject.startswith("node 2 iteration 0")


def test_moves_carry_values_over_two_hops() -> None:
    body = Dfg("far", (Node(0, "a"), Node(1, "b")), (Edge(0, 1, 1),))
    via = KernelMapping(
        body, 2, (Placed(0, 0, 0), Placed(1, 2, 1)), (Move("m0", 1, 1, 0),), (Path(0, 1, 1, ("m0",), (0, 1)),)
    )
    assert check_kernel(via, MESH) == () and simulate_kernel(via, MESH).violations == ()
    wrong = replace(via, paths=(), moves=())
    assert rules(wrong) == {"space", "time"} and simulate_kernel(wrong, MESH).violations != ()


def test_interpretation_tags_operands_and_iterations() -> None:
    swapped = Dfg("s", BODY.nodes, (Edge(0, 1), Edge(1, 2, 0, 1), Edge(0, 2, 0, 0), Edge(2, 0, 1)))
    first, second = interpret_body(BODY, 2), interpret_body(swapped, 2)
    assert first[1, 0] == second[1, 0] and first[2, 0] != second[2, 0] and first[0, 0] != first[0, 1]
