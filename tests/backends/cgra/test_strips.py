"""The grid cut into strips: which cuts there are, what a strip offers, and that a body in one fits all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import mapper
from mapper import machines
from mapper.arrays import Part
from mapper.backends.cgra.network.strips import corners, parts, strip
from mapper.check import check
from mapper.machine import Fabric, MemoryPorts, PeClass
from mapper.mapping import Mapping


@pytest.mark.parametrize(
    ("fabric", "cuts"),
    [
        (Fabric("torus", 4, 4), []),
        (Fabric("mesh", 8, 8), [(1, 2), (2, 1), (2, 2)]),
        (Fabric("mesh", 8, 8, memory_ports=MemoryPorts(1)), [(1, 2)]),
        (Fabric("mesh", 8, 8, memory_ports=MemoryPorts(1, "row")), [(2, 1)]),
        (Fabric("mesh", 8, 8, memory_ports=MemoryPorts(3, "fabric")), [(1, 2), (2, 1)]),
        (Fabric("king", 11, 5), [(2, 1)]),
        (Fabric("mesh", 8, 8, dead=frozenset({(7, 7)})), []),
        (Fabric("mesh", 8, 8, classes=(PeClass("a", where="row 0-3"), PeClass("b", where="row 4-7"))), []),
    ],
)
def test_cuts(fabric: Fabric, cuts: list[tuple[int, int]]) -> None:
    found = list(parts(fabric))
    assert [part.cuts for part in found] == cuts
    assert all(
        part.rows * part.cuts[0] <= fabric.rows and part.columns * part.cuts[1] <= fabric.columns for part in found
    )


def test_a_strip_is_a_mesh_with_its_share_of_the_ports() -> None:
    fabric = Fabric("torus", 8, 8, memory_ports=MemoryPorts(2))
    assert strip(fabric, None) == fabric
    offered = strip(fabric, Part(4, 4, (2, 2)))
    assert (offered.topology, offered.rows, offered.columns) == ("mesh", 4, 4)
    assert offered.memory_ports == MemoryPorts(1)
    assert [(each.rows, each.columns) for each in corners(replace(fabric, columns=16))] == [
        (4, 4),
        (4, 8),
        (8, 8),
        (8, 16),
    ]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strips") / "product.onnx"
    shapes = {"x": (32, 24), "w": (24, 64), "y": (32, 64)}
    x, w, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x, w], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("machine", "replicas", "busiest"), [("grid8x8", 2, "ports_busy"), ("mesh8x8", 4, "slots_busy")]
)
def test_products_fill_a_large_grid(product: Path, machine: str, replicas: int, busiest: str) -> None:
    result = mapper.compile(product, target="cgra", machine=machine)
    (row,) = result.facts["loops"]
    assert row["replicas"] == replicas and row["ii"] == row["ii_bound"] and row[busiest] >= 0.65
    assert result.simulate(seed=1).violations == ()
    assert check(result.mapping) == ()
    assert {v.rule for v in check(_narrower(result.mapping))} == {"displaced"}


def _narrower(mapping: Mapping) -> Mapping:
    """The stage's rectangle a column short."""
    (stage,) = mapping.stages
    return replace(mapping, stages=(replace(stage, rect=replace(stage.rect, width=stage.rect.width - 1)),))


def test_plain_grids_have_a_word_of_the_scratchpad_per_column() -> None:
    machine = machines.resolve("mesh6x10")
    assert machine.memory("spm").bytes_per_cycle == 40 and machine.memory("reg").instances == 60
