"""Walks a model's nodes in order and hands each to its lowering.

Bodies (functions, branches, loop iterations) are entered through an explicit stack of frames, so depth costs no
recursion. A frame runs `start` when it is entered and `finish` when its nodes are done.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto

from .context import Context
from .errors import ModelError
from .node import Node, Scope, subgraphs

__all__ = ["Frame", "Walk", "ordered"]

FunctionKey = tuple[str, str, str]
MOST_NODES = 400_000


def _nothing() -> None:
    return None


@dataclass(slots=True)
class Frame:
    """A body to walk: its nodes in order, the names it sees, the model's node it belongs to ("" for the model)."""

    nodes: Sequence[NodeProto]
    scope: Scope
    source: str = ""
    start: Callable[[], None] = _nothing
    finish: Callable[[], None] = _nothing
    iterator: Iterator[NodeProto] | None = None


@dataclass(slots=True)
class Walk:
    """The stack of frames, the local functions of the model, and how many nodes were met so far."""

    context: Context
    functions: Mapping[FunctionKey, FunctionProto]
    lower: Callable[[Walk, Node], None]
    stack: list[Frame]
    met: int = 0

    def push(self, *frames: Frame) -> None:
        """Frames to walk next, in the given order."""
        self.stack.extend(reversed(frames))

    def run(self) -> None:
        while self.stack:
            frame = self.stack[-1]
            if frame.iterator is None:
                frame.start()
                frame.iterator = iter(frame.nodes)
                continue
            proto = next(frame.iterator, None)
            if proto is None:
                self.stack.pop()
                frame.finish()
            else:
                self._visit(proto, frame)

    def _visit(self, proto: NodeProto, frame: Frame) -> None:
        self.met += 1
        if self.met > MOST_NODES:
            raise ModelError(
                f"more than {MOST_NODES} nodes after expanding functions and loops",
                frame.source or "graph",
                "shorten the loops or split the model",
            )
        node = self.decoded(proto, frame)
        self.context.where = node.name
        self.lower(self, node)

    def decoded(self, proto: NodeProto, frame: Frame) -> Node:
        """The node with model-wide names and attributes resolved. Raises ModelError for unknown inputs."""
        scope, context = frame.scope, self.context
        label = proto.name or f"{proto.op_type}_{self.met - 1}"
        name = context.fresh(scope.prefix + label)
        inputs = tuple(self._resolved(local, scope, name, proto) for local in proto.input)
        outputs = tuple(scope.define(local) if local else "" for local in proto.output)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        version = scope.opsets.get(domain, 1 if domain else 0)
        attributes = dict(_attributes(proto, scope, name))
        return Node(
            name, proto.op_type, domain, version, inputs, outputs, attributes, frame.source or name, scope, proto
        )

    def _resolved(self, local: str, scope: Scope, name: str, proto: NodeProto) -> str:
        if not local:
            return ""
        found = scope.find(local)
        if found is None:
            raise ModelError(f"{proto.op_type} reads {local!r}, which nothing produces", name, "is the graph complete?")
        while found in self.context.alias:
            found = self.context.alias[found]
        return found


def _attributes(proto: NodeProto, scope: Scope, name: str) -> Iterator[tuple[str, AttributeProto]]:
    """Attributes by name, references to the function call's attributes replaced by what the call gives."""
    for attribute in proto.attribute:
        if not attribute.ref_attr_name:
            yield attribute.name, attribute
        elif attribute.ref_attr_name in scope.attributes:
            copy = AttributeProto()
            copy.CopyFrom(scope.attributes[attribute.ref_attr_name])
            copy.name = attribute.name
            yield attribute.name, copy


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node needs from its own graph or from outside: inputs, and captures of its bodies."""
    yield from node.input
    pending = list(subgraphs(node))
    while pending:
        graph = pending.pop()
        inside = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        inside |= {out for n in graph.node for out in n.output}
        for inner in graph.node:
            yield from (name for name in inner.input if name not in inside)
            pending.extend(subgraphs(inner))
        yield from (v.name for v in graph.output if v.name not in inside)


def ordered(graph: GraphProto) -> list[NodeProto]:
    """Nodes with producers first, in file order if that is already so. Raises ModelError naming a node on a cycle."""
    makers = {out: i for i, node in enumerate(graph.node) for out in node.output if out}
    waits = [{makers[name] for name in _reads(node) if name in makers} for node in graph.node]
    if all(not w or max(w) < i for i, w in enumerate(waits)):
        return list(graph.node)
    users: list[list[int]] = [[] for _ in graph.node]
    for i, wait in enumerate(waits):
        for j in wait:
            users[j].append(i)
    left = [len(w) for w in waits]
    ready = [i for i, n in enumerate(left) if n == 0]
    done: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        done.append(i)
        for j in users[i]:
            left[j] -= 1
            if left[j] == 0:
                heapq.heappush(ready, j)
    if len(done) < len(waits):
        culprit = graph.node[next(i for i, n in enumerate(left) if n)]
        raise ModelError(f"the graph has a cycle through {culprit.op_type}", culprit.name or culprit.op_type)
    return [graph.node[i] for i in done]
