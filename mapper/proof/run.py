"""The whole mapping on values: stages in their order, views and host calls when somebody needs them."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.interpret import Host, evaluate_op, viewed
from mapper.ir import Graph, Op, Opaque, View
from mapper.mapping import Mapping
from mapper.violation import Violation

from .held import Held, poison
from .values import run_stage

__all__ = ["run_mapping"]

Array = np.ndarray[Any, Any]


class _Store:
    """Tensors at home. A tensor that no stage has produced yet is not there."""

    def __init__(self, graph: Graph, feeds: Dict[str, Array], host: Host | None) -> None:
        self.graph, self.host = graph, host
        self.held: dict[str, Held] = {}
        for tensor in graph.tensors:
            if tensor.name in feeds:
                self.put(tensor.name, np.asarray(feeds[tensor.name]))
            elif tensor.data is not None:
                self.put(tensor.name, tensor.array())
        for op in graph.prepare:
            self._prepare(op)

    def put(self, name: str, values: Array) -> None:
        self.held[name] = Held((0,) * values.ndim, values, np.ones(values.shape, bool))

    def _prepare(self, op: Any) -> None:
        """Operators on weights run before deployment, by their definition."""
        if isinstance(op, Op):
            target = self.graph.tensor(op.write.tensor)
            arrays = {name: self.get(name).values for name in op.inputs if name != target.name}
            self.put(target.name, evaluate_op(op, arrays, target.shape, target.dtype))

    def get(self, name: str) -> Held:
        """The tensor as it stands now."""
        if name in self.held:
            return self.held[name]
        tensor, producer = self.graph.tensor(name), self.graph.producer.get(name)
        if isinstance(producer, View):
            source = self.get(producer.input)
            return Held((0,) * len(tensor.shape), viewed(source.values, tensor), source.there.reshape(tensor.shape))
        if isinstance(producer, Opaque):
            return self._call(producer, name)
        missing = np.full(tensor.shape, poison(tensor.dtype)).astype(dtypes.numpy_type(tensor.dtype))
        return Held((0,) * len(tensor.shape), missing, np.zeros(tensor.shape, bool))

    def _call(self, op: Opaque, wanted: str) -> Held:
        """Run a host operator once all its inputs are there."""
        inputs = [self.get(name) for name in op.inputs]
        if self.host is None or not all(held.there.all() for held in inputs):
            shape = self.graph.tensor(wanted).shape
            blank = np.zeros(shape, dtypes.numpy_type(self.graph.tensor(wanted).dtype))
            return Held((0,) * len(shape), blank, np.zeros(shape, bool))
        for name, values in zip(op.outputs, self.host(op, [held.values for held in inputs]), strict=True):
            self.put(name, np.asarray(values))
        return self.held[wanted]


def run_mapping(
    mapping: Mapping, feeds: Dict[str, Array], host: Host | None, windows: int
) -> tuple[dict[str, Array], tuple[Violation, ...]]:
    """Values of all tensors, and what was read or asked for that was not there."""
    store = _Store(mapping.graph, feeds, host)
    ops = {op.name: op for op in mapping.graph.nests}
    found: list[Violation] = []
    for stage in mapping.stages:
        op = ops[stage.op]
        homes = {name: store.get(name) for name in op.inputs if name != op.write.tensor}
        store.held[op.write.tensor], missing = run_stage(mapping, stage, op, homes, windows)
        found += missing
    for name in mapping.graph.outputs:
        absent = int((~store.get(name).there).sum())
        if absent:
            found.append(Violation("outputs", f"tensor {name!r}", f"{absent} elements never finished", "all of them"))
    return {tensor.name: store.get(tensor.name).values for tensor in mapping.graph.tensors}, tuple(found)
