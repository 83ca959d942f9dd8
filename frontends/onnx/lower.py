"""ModelProto -> Graph: declares inputs and weights, lowers every node, and accounts for each of them.

A node is, in this order: a call of a local function (its body is walked in its place); shape arithmetic on known
values (computed now); an operator with a lowering; an operator that ONNX itself defines by a function body; or an
opaque operator for the host. Anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, ValueInfoProto

from mapper.ir import Fate, Graph, GraphError, Opaque, SourceNode, View

from .context import Context
from .contrib import contrib_body
from .control import CONTROL
from .dims import extents_of
from .errors import ModelError
from .fold import fold
from .functions import call_frame, check_expansion, schema_body
from .node import Node, Scope, dtype_name
from .opaque import send_to_host
from .sequences import SEQUENCES
from .table import lowering_of
from .validity import check_text, check_types, named_faults
from .walk import Frame, Walk, ordered
from .weights import declare_weight

__all__ = ["graph_of"]


def graph_of(model: ModelProto, dims: Mapping[str, int]) -> Graph:
    """The checked graph of `model` with symbolic dimensions bound by `dims`. Raises ModelError."""
    check_text(model)
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    check_expansion(model, functions)
    context = Context(dims)
    scope = Scope("", {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import})
    if "" not in scope.opsets and any(n.domain in ("", "ai.onnx") for n in model.graph.node):
        raise ModelError("the model imports no opset of ai.onnx", "opset_import", "add opset_import { version: 18 }")
    _declare_boundary(context, model, scope)
    Walk(context, functions, lower_node, [Frame(ordered(model.graph), scope)]).run()
    outputs = _outputs(context, model, scope)
    _settle_fates(context)
    _check_declared(context, model, outputs)
    return _finished(context, model, outputs)


# Inputs and weights ------------------------------------------------------------------------------------------------


def _declare_boundary(c: Context, model: ModelProto, scope: Scope) -> None:
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise ModelError(f"sparse initializer {name!r} is not supported", name, "store it dense")
    for tensor in model.graph.initializer:
        if not tensor.name:
            raise ModelError("an initializer has no name", "graph")
        declare_weight(c, scope.define(tensor.name), tensor, model_level=True)
    for value in model.graph.input:
        if value.name not in scope.names:
            _declare_input(c, value, scope)


def _declare_input(c: Context, value: ValueInfoProto, scope: Scope) -> None:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(
            f"input {value.name!r} is a {(kind or 'value without type').removesuffix('_type')}", value.name
        )
    if not value.type.tensor_type.HasField("shape"):
        raise ModelError(f"input {value.name!r} has no shape", value.name, "give the model's inputs static ranks")
    shape = extents_of(value, c.dims)
    c.declare(scope.define(value.name), shape, dtype_name(value.type.tensor_type.elem_type, value.name), "input")


# Nodes -------------------------------------------------------------------------------------------------------------


def lower_node(walk: Walk, node: Node) -> None:
    """What becomes of one node; leaves its outputs declared or a frame pushed that will declare them."""
    c = walk.context
    c.fates.setdefault(node.source, "removed")
    if node.source == node.name:
        c.op_types[node.name] = node.op_type
    for name in node.inputs:
        if name in c.unclaimed:
            c.params[node.source] = c.params.get(node.source, 0) + c.unclaimed.pop(name)
    with named_faults(node):
        _lower(walk, node)


def _lower(walk: Walk, node: Node) -> None:
    c, key = walk.context, (node.proto.domain, node.op_type, node.proto.overload)
    if key in walk.functions:
        walk.push(call_frame(c, node, walk.functions[key]))
        return
    check_types(c, node)
    body_of = (CONTROL.get(node.op_type) or SEQUENCES.get(node.op_type)) if node.domain == "" else None
    if fold(c, node):
        c.fates[node.source] = "folded"
    elif body_of is not None:
        body_of(walk, node)
    elif (lowering := lowering_of(node)) is not None:
        lowering(c, node)
    elif (body := contrib_body(c, node) or schema_body(c, node)) is not None:
        walk.push(call_frame(c, node, body))
    else:
        send_to_host(c, node)


# The finished graph ------------------------------------------------------------------------------------------------


def _outputs(c: Context, model: ModelProto, scope: Scope) -> tuple[str, ...]:
    """Names of the outputs; those that share another tensor's name become views of it."""
    names = []
    for value in model.graph.output:
        name = scope.find(value.name)
        if name is None:
            raise ModelError(f"output {value.name!r} is never produced", value.name, "is the graph complete?")
        names.append(name)
        if name not in c.alias:
            if name not in c.tensors:
                raise ModelError(
                    f"output {value.name!r} is a sequence or an optional", value.name, "outputs must be tensors"
                )
            continue
        source = name
        while source in c.alias:
            source = c.alias[source]
        del c.alias[name]
        c.declare(name, c.shape(source), c.dtype(source))
        c.ops.append(View(c.op_name(f"output.{name}"), "Identity", source, name))
    return tuple(names)


def _check_declared(c: Context, model: ModelProto, outputs: tuple[str, ...]) -> None:
    """Raise ModelError where an output's stated extents contradict those that follow from the inputs.

    Extents behind a host operator may be upper bounds, and inputs whose fixed extents --dim replaced change them all.
    """
    resized = any(f"{v.name}.{axis}" in c.dims for v in model.graph.input for axis in range(16))
    if resized or "host" in c.fates.values():
        return
    for value, name in zip(model.graph.output, outputs, strict=True):
        kind, shape = value.type.tensor_type, c.shape(name)
        stated = [d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in kind.shape.dim]
        fits = len(stated) == len(shape) and all(s in (None, e) for s, e in zip(stated, shape, strict=True))
        if kind.HasField("shape") and not fits:
            text = f"output {value.name!r} is declared {stated} and computed {list(shape)}"
            raise ModelError(text, value.name, "correct the declaration or the node that makes it")


def _finished(c: Context, model: ModelProto, outputs: tuple[str, ...]) -> Graph:
    used = {name for op in c.ops for name in (*op.inputs, *op.outputs)} | set(outputs)
    tensors = tuple(t for t in c.tensors.values() if t.name in used or t.role == "input")
    inputs = tuple(t.name for t in tensors if t.role == "input")
    nodes = tuple(
        SourceNode(name, op_type, c.fates[name], c.macs.get(name, 0), c.params.get(name, 0))
        for name, op_type in c.op_types.items()
    )
    macs, params = sum(node.macs for node in nodes), c.params.get("", 0)
    name = model.graph.name or "model"
    try:
        return Graph(name, tensors, tuple(c.ops), inputs, tuple(dict.fromkeys(outputs)), nodes, macs, params)
    except GraphError as fault:
        raise ModelError(str(fault), "graph") from fault


def _settle_fates(c: Context) -> None:
    """What became of each node, read off the operators that carry its name."""
    for op in c.ops:
        fate: Fate = "host" if isinstance(op, Opaque) else "view" if isinstance(op, View) else "mapped"
        for source in op.sources:
            known = c.fates.get(source, "removed")
            if known != "host" and (known != "mapped" or fate == "host"):
                c.fates[source] = fate
