"""What stays on chip between operators: the choice against enumeration, its candidates, and what a compile gains."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import mapper
from mapper.index import loop
from mapper.ir import Access, Graph, Loop, Op, Tensor, View
from mapper.residency import Candidate, candidates, staying
from mapper.scalar import Arg, Call


@pytest.mark.parametrize("seed", range(12))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    draw = random.Random(seed)
    stages, room = 5, 20
    found = []
    for number in range(6):
        first = draw.randrange(stages)
        found.append(Candidate(f"t{number}", draw.randint(1, 15), first, draw.randrange(first, stages), 1))
    saved = [float(draw.randint(1, 50)) for _ in found]
    price = [float(draw.randint(0, 30)) for _ in range(stages)]

    def gain(taken: tuple[bool, ...]) -> float:
        alive = [
            sum(c.bytes for c, t in zip(found, taken, strict=True) if t and at in c.stages) for at in range(stages)
        ]
        if max(alive) > room:
            return float("-inf")
        return sum(s for s, t in zip(saved, taken, strict=True) if t) - sum(
            p for p, bytes_ in zip(price, alive, strict=True) if bytes_
        )

    kept = staying(found, room, saved, price, 0)
    best = max(gain(taken) for taken in product((False, True), repeat=len(found)))
    assert gain(tuple(item.tensor in kept for item in found)) == pytest.approx(best, rel=1e-4)


def relu(name: str, source: str, target: str, size: int) -> Op:
    at = (loop("i"),)
    return Op(
        name, "Relu", (Loop("i", size),), (Access(source, at),), Access(target, at), Call("max", (Arg(0), Arg(0)))
    )


def test_outputs_and_what_is_too_large_are_no_candidates_and_views_live_throughout() -> None:
    sizes = {"x": 8, "a": 8, "b": 8, "v": 8, "y": 8}
    tensors = tuple(Tensor(name, (size,), "float32", "input" if name == "x" else "activation")
                    for name, size in sizes.items())  # fmt: skip
    ops = (relu("first", "x", "a", 8), relu("second", "a", "b", 8), View("view", "Reshape", "b", "v"),
           relu("third", "v", "y", 8))  # fmt: skip
    graph = Graph("g", tensors, ops, ("x",), ("y",))
    assert candidates(graph, 32) == (Candidate("a", 32, 0, 1, 1), Candidate("b", 32, 0, 2, 1))
    assert candidates(graph, 31) == ()


def test_a_small_network_on_the_grid_moves_no_more_than_it_must(tmp_path: Path) -> None:
    """Activations stay in the scratchpad: the backing store gives input and weights once and takes the output once."""
    value, tensor = helper.make_tensor_value_info, helper.make_tensor
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("MatMul", ["h", "w2"], ["y"])]
    weights = [tensor(name, TensorProto.FLOAT, size, [1.0] * size[0] * size[1])
               for name, size in (("w1", (12, 16)), ("w2", (16, 5)))]  # fmt: skip
    graph = helper.make_graph(nodes, "mlp", [value("x", TensorProto.FLOAT, (4, 12))],
                              [value("y", TensorProto.FLOAT, (4, 5))], weights)  # fmt: skip
    model = tmp_path / "mlp.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), model)
    result = mapper.compile(model, target="cgra", effort="fast")
    dram = result.report["bounds"]["dram"]
    configured = sum(stage.configuration_bytes * stage.launches for stage in result.mapping.stages)
    assert dram["mapping_bytes"] == dram["provable_bytes"] + configured
    assert {memory for _, memory in result.mapping.homes} == {"spm"}
    assert result.check() == () and result.simulate(seed=2).violations == ()
