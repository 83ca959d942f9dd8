"""The smallest part of a failing model that still fails.

Greedy, until nothing more can go: keep one output of the model; ask for an earlier value instead of the last; make a
computed value an input, so that what computed it goes. What no output needs is dropped at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from onnx import ModelProto, ValueInfoProto

__all__ = ["shrunk"]


def shrunk(model: ModelProto, fails: Callable[[ModelProto], bool]) -> ModelProto:
    """The last of a row of ever smaller models that all fail; `model` itself if none of the smaller does."""
    while True:
        smaller = next((m for m in _smaller(model) if _size(m) < _size(model) and fails(m)), None)
        if smaller is None:
            return model
        model = smaller


def _size(model: ModelProto) -> tuple[int, int]:
    return len(model.graph.node), len(model.graph.output)


def _smaller(model: ModelProto) -> Iterator[ModelProto]:
    try:
        known = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # it raises whatever its C++ throws
        return
    infos = {v.name: v for v in (*known.value_info, *known.output, *known.input)}
    computed = [name for node in model.graph.node for name in node.output if name in infos]
    for output in model.graph.output:
        yield _with(model, [output], {})
    for name in computed:
        yield _with(model, [infos[name]], {})
    for name in reversed(computed):
        yield _with(model, list(model.graph.output), {name: infos[name]})


def _with(model: ModelProto, outputs: list[ValueInfoProto], given: dict[str, ValueInfoProto]) -> ModelProto:
    """The part of `model` that `outputs` need, with the values `given` as inputs."""
    needed = {v.name for v in outputs}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output) - given.keys():
            kept.append(node)
            needed |= set(node.input) | _outer(node)
    part = ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.initializer[:], part.graph.input[:]
    part.graph.node.extend(reversed(kept))
    part.graph.output.extend(outputs)
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in needed)
    inputs = [v for v in model.graph.input if v.name in needed]
    part.graph.input.extend([*inputs, *(v for n, v in given.items() if n in needed)])
    return part


def _outer(node: onnx.NodeProto) -> set[str]:
    """Every name that the bodies of a node mention."""
    bodies = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return {name for body in bodies for inner in body.node for name in {*inner.input} | _outer(inner)} | {
        output.name for body in bodies for output in body.output
    }
