"""A decoded ONNX node: names resolved to tensors of the whole model, attributes by name, the operator's version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from .errors import ModelError

__all__ = ["Node", "Scope", "dtype_name", "subgraphs"]

Array = np.ndarray[Any, Any]
Int: TypeAlias = int  # the class below has methods of these names
Float: TypeAlias = float


def dtype_name(data_type: int, where: str = "model") -> str:
    """The element type's name in the IR. Raises ModelError for numbers that ONNX does not define."""
    if data_type not in TensorProto.DataType.values() or data_type == 0:
        raise ModelError(f"element type {data_type} is not one of ONNX", where, "was the file cut or written by hand?")
    name = str(TensorProto.DataType.Name(data_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Bodies held by a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


@dataclass(slots=True)
class Scope:
    """Names visible inside one body. A subgraph sees its parent's names, a function body sees nothing outside.

    `prefix` makes local names unique in the whole model; `attributes` are those of the function call; `opsets` the
    operator versions by domain.
    """

    prefix: str
    opsets: Mapping[str, int]
    parent: Scope | None = None
    attributes: Mapping[str, AttributeProto] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def define(self, local: str) -> str:
        """The model-wide name of a tensor that this body produces."""
        if local not in self.names:
            self.names[local] = self.prefix + local
        return self.names[local]

    def find(self, local: str) -> str | None:
        """The model-wide name of a visible tensor."""
        scope: Scope | None = self
        while scope is not None:
            if local in scope.names:
                return scope.names[local]
            scope = scope.parent
        return None


@dataclass(frozen=True, slots=True)
class Node:
    """One node as a lowering sees it. `source` is the model's own node that it came from (itself, or the caller of
    the function body around it)."""

    name: str
    op_type: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeProto]
    source: str
    scope: Scope
    proto: NodeProto

    def input(self, position: int) -> str:
        """Name of an input, "" when it is absent."""
        return self.inputs[position] if position < len(self.inputs) else ""

    def output(self, position: int) -> str:
        """Name of an output, "" when nobody wants it."""
        return self.outputs[position] if position < len(self.outputs) else ""

    def has(self, name: str) -> bool:
        return name in self.attributes

    def int(self, name: str, default: int = 0) -> int:
        return int(self.attributes[name].i) if name in self.attributes else default

    def float(self, name: str, default: float = 0.0) -> float:
        return float(self.attributes[name].f) if name in self.attributes else default

    def text(self, name: str, default: str = "") -> str:
        return self.attributes[name].s.decode("utf-8", "replace") if name in self.attributes else default

    def ints(self, name: str) -> tuple[Int, ...] | None:
        return tuple(int(i) for i in self.attributes[name].ints) if name in self.attributes else None

    def floats(self, name: str) -> tuple[Float, ...] | None:
        return tuple(float(f) for f in self.attributes[name].floats) if name in self.attributes else None

    def texts(self, name: str) -> tuple[str, ...] | None:
        if name not in self.attributes:
            return None
        return tuple(s.decode("utf-8", "replace") for s in self.attributes[name].strings)

    def array(self, name: str) -> Array | None:
        return numpy_helper.to_array(self.attributes[name].t) if name in self.attributes else None

    def graph(self, name: str) -> GraphProto:
        if name not in self.attributes:
            raise ModelError(f"{self.op_type} lacks its body {name!r}", self.name)
        return self.attributes[name].g

    def encoded(self) -> bytes:
        """The node alone, inputs and outputs named i0, o0, ...: what the host executes."""
        copy = NodeProto(op_type=self.op_type, domain=self.domain, name=self.name)
        copy.input.extend(f"i{i}" if name else "" for i, name in enumerate(self.inputs))
        copy.output.extend(f"o{i}" if name else "" for i, name in enumerate(self.outputs))
        copy.attribute.extend(self.attributes.values())
        graph = helper.make_graph([copy], self.domain, [], [])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(self.domain, self.version)])
        return bytes(model.SerializeToString())
