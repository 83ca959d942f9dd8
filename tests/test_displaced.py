"""Bodies side by side on a grid: the checker names what is wrong with the copies, not only with the first one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mapper.dfg import Dfg, Edge, Node
from mapper.ir import Graph
from mapper.machine import Energy, Fabric, Links, Machine, Memory, MemoryPorts, PeClass
from mapper.mapping import Axis, Mapping, Rect, Stage, TileLoop
from mapper.placement import KernelMapping, Placed, RegisterUse
from mapper.proof.displaced import displaced_bodies

# PE 1 loads, adds in PE 0 and keeps the value there
BODY = Dfg(
    "body", (Node(0, "load", "load"), Node(1, "add"), Node(2, "store", "store")), (Edge(0, 1), Edge(1, 2), Edge(0, 2))
)
PLACED = KernelMapping(
    BODY, 3, (Placed(0, 0, 0), Placed(1, 0, 1), Placed(2, 0, 2)), registers=(RegisterUse("0", 0, 0, 0),)
)
TWO_KINDS = (PeClass("a"), PeClass("b", frozenset({"add"}), (), "column 2"))
AXES = (Axis("down", 4, displaces="rows"), Axis("across", 4, displaces="columns"), Axis("unroll", 4))


def mapping(down: int, across: int, rect: Rect, fabric: Fabric, body: KernelMapping = PLACED) -> Mapping:
    machine = Machine("toy", "toy", fabric, (Memory("dram", None),), Links(4.0, 1.0), Energy("none", ()), 1e9)
    loops = (TileLoop("m", 1, down, "down"), TileLoop("n", 1, across, "across"), TileLoop("k", 1, 4, "unroll"))
    stage = Stage("s0", "op", loops, (), rect, body=0)
    return Mapping("toy", machine, Graph("g", (), (), (), ()), AXES, (stage, replace(stage, name="s1")), (body,))


def words(*given: object) -> list[str]:
    return [str(violation) for violation in displaced_bodies(mapping(*given))]  # type: ignore[arg-type]


def test_copies_in_their_strips_are_legal() -> None:
    assert words(2, 2, Rect(0, 0, 4, 4), Fabric("mesh", 4, 4)) == []
    assert words(1, 4, Rect(0, 0, 4, 4), Fabric("mesh", 4, 4, memory_ports=MemoryPorts(1))) == []
    assert words(2, 1, Rect(0, 0, 2, 1), Fabric("mesh", 4, 4, memory_ports=MemoryPorts(2))) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((2, 2, Rect(0, 0, 3, 4), Fabric("mesh", 4, 4)),
         "displaced: stage 's0': found 3 x 4 PEs for 2 x 2 copies, expected strips of equal size"),
        ((2, 2, Rect(0, 2, 4, 2), Fabric("mesh", 4, 4)),
         "displaced: stage 's0': found body 'body' on PE 0, expected inside the first strip"),
        ((4, 1, Rect(0, 0, 4, 4), Fabric("mesh", 4, 4, memory_ports=MemoryPorts(3))),
         "memory ports: stage 's0', port group 0, slot 0: found 4 loads and stores of 4 copies, expected at most 3"),
        ((1, 2, Rect(0, 0, 4, 4), Fabric("mesh", 4, 4, classes=TWO_KINDS)),
         "nodes: stage 's0', copy 1, node 0: found PE 2, expected a PE that runs 'load'"),
        ((2, 2, Rect(0, 0, 4, 4), Fabric("mesh", 4, 4, dead=frozenset({(2, 2)}))),
         "nodes: stage 's0', copy 3, 0: found PE 10, expected a live PE of 0..15"),
    ],
)  # fmt: skip
def test_each_fault_is_named_once(given: tuple[object, ...], expected: str) -> None:
    found = words(*given)
    assert found[0] == expected
    assert not any("'s1'" in each for each in found)


def test_links_around_the_torus_leave_the_strip() -> None:
    """A body that reads around the rim in the first column finds no link there from the second."""
    chain = Dfg("body", BODY.nodes, (Edge(0, 1), Edge(1, 2)))
    around = KernelMapping(chain, 3, (Placed(0, 0, 0), Placed(1, 0, 1), Placed(2, 3, 2)))
    torus = Fabric("torus", 4, 4)
    assert words(1, 1, Rect(0, 0, 4, 4), torus, around) == []
    assert words(2, 1, Rect(0, 0, 4, 4), torus, around) == []
    assert words(1, 2, Rect(0, 0, 4, 4), torus, around) == [
        "displaced: stage 's0': found body 'body' on PE 3, expected inside the first strip"
    ]
