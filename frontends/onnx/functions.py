"""Function bodies: local functions of the model and those by which ONNX defines an operator.

The number of nodes after expansion is computed from the calls alone, before anything is expanded: a file of 4 kB can
ask for a billion nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, TypeProto, defs
from onnx.helper import make_tensor_type_proto

from .context import Context
from .errors import ModelError
from .node import Node, Scope, subgraphs
from .validity import require_valid, schema_of
from .walk import MOST_NODES, Frame, FunctionKey

__all__ = ["call_frame", "check_expansion", "onnx_type", "schema_body"]

DEEPEST_NESTING = 16


def check_expansion(model: ModelProto, functions: Mapping[FunctionKey, FunctionProto]) -> None:
    """Raise ModelError for recursive functions, bodies nested too deep, and expansions beyond the node limit."""
    costs: dict[FunctionKey, int] = {}
    for key in functions:
        _cost(key, functions, costs)
    total = sum(costs.get(_key(node), 0) + 1 for node in _all_nodes(model.graph.node))
    if total > MOST_NODES:
        hint = f"at most {MOST_NODES} nodes are taken"
        raise ModelError(f"the model has {_rough(total)} nodes once functions are expanded", "graph", hint)


def _rough(count: int) -> str:
    return str(count) if count < 10**12 else f"more than 10^{len(str(count)) - 1}"


def _key(node: NodeProto) -> FunctionKey:
    return (node.domain, node.op_type, node.overload)


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes and those of their bodies. Raises ModelError for bodies in bodies in bodies ..."""
    pending = [(node, 0) for node in nodes]
    while pending:
        node, depth = pending.pop()
        yield node
        if depth > DEEPEST_NESTING:
            raise ModelError(f"bodies are nested deeper than {DEEPEST_NESTING}", node.name or node.op_type)
        for graph in subgraphs(node):
            pending.extend((inner, depth + 1) for inner in graph.node)


def _cost(start: FunctionKey, functions: Mapping[FunctionKey, FunctionProto], costs: dict[FunctionKey, int]) -> None:
    """Nodes of a function after expansion, callees first (an explicit stack: chains of calls may be long)."""
    stack = [start]
    entered: dict[FunctionKey, list[FunctionKey]] = {}
    while stack:
        key = stack[-1]
        if key not in entered:
            entered[key] = [_key(node) for node in _all_nodes(functions[key].node)]
            callees = [call for call in dict.fromkeys(entered[key]) if call in functions and call not in costs]
            if any(call in entered for call in callees):
                raise ModelError(f"function {key[1]!r} calls itself", key[1], "ONNX functions may not be recursive")
            stack.extend(callees)
            continue
        stack.pop()
        if key not in costs:
            calls = entered[key]
            costs[key] = len(calls) + sum(costs.get(call, 0) for call in calls)


def call_frame(c: Context, node: Node, function: FunctionProto) -> Frame:
    """The body of `function` with the call's inputs, outputs and attributes bound."""
    attributes = {a.name: a for a in function.attribute_proto} | dict(node.attributes)
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in function.opset_import}
    newest = {"": defs.onnx_opset_version()}  # for bodies that forget to say
    scope = Scope(f"{node.name}/", newest | dict(node.scope.opsets) | opsets, None, attributes)
    if len(node.inputs) > len(function.input) or len(node.outputs) > len(function.output):
        raise ModelError(f"the call of function {node.op_type!r} has too many inputs or outputs", node.name)
    for i, local in enumerate(function.input):
        scope.names[local] = node.input(i)
    returned = [(local, outer) for local, outer in zip(function.output, node.outputs, strict=False) if outer]
    for local, outer in returned:
        scope.names.setdefault(local, outer)

    def finish() -> None:
        for position, (local, outer) in enumerate(zip(function.output, node.outputs, strict=False)):
            if outer and outer not in c.tensors and outer not in c.alias and outer not in c.sequences:
                c.rename(node, _produced(scope, local, node), position)

    return Frame(function.node, scope, node.source, finish=finish)


def _produced(scope: Scope, local: str, node: Node) -> str:
    found = scope.names.get(local)
    if not found or found in node.outputs:
        raise ModelError(f"the body of {node.op_type!r} never produces {local!r}", node.name)
    return found


def schema_body(c: Context, node: Node) -> FunctionProto | None:
    """The function by which ONNX defines the operator, with the schema's default attributes; None if it has none."""
    schema = schema_of(node)
    if schema is None or not (schema.has_function or schema.has_context_dependent_function):
        return None
    require_valid(node)
    encoded = _body_bytes(c, node, schema)
    if not encoded:
        return None
    body: FunctionProto = FunctionProto.FromString(encoded)
    given = {a.name for a in body.attribute_proto}
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.name:
            body.attribute_proto.append(attribute.default_value)
    return body


def _body_bytes(c: Context, node: Node, schema: Any) -> bytes:
    if schema.has_function:
        return bytes(schema.get_function_with_opset_version(max(schema.function_opset_versions)))
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= node.version]
    version = max(versions, default=min(schema.context_dependent_function_opset_versions))
    types = [_type(c, name).SerializeToString() for name in node.inputs]
    copy = NodeProto()
    copy.CopyFrom(node.proto)
    del copy.attribute[:]
    copy.attribute.extend(node.attributes.values())
    return bytes(schema.get_context_dependent_function_with_opset_version(version, copy.SerializeToString(), types))


def _type(c: Context, name: str) -> TypeProto:
    if not name:
        return TypeProto()
    return make_tensor_type_proto(onnx_type(c.dtype(name)), c.shape(name))


def onnx_type(dtype: str) -> int:
    """ONNX's number of an element type of the IR."""
    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())
    return int(TensorProto.DataType.Value(name))
