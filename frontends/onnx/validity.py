"""Whether a node fits its operator: ONNX's own schema, asked where it matters.

ONNX's checker passes over some faults and its inference crashes the process on others, so nodes are held against
their schema before they reach it. A lowering that trips over a malformed node gets the schema's words for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from onnx import IR_VERSION, GraphProto, ModelProto, NodeProto, checker, defs

from .context import Context
from .errors import ModelError
from .node import Node, subgraphs

__all__ = ["check_text", "check_types", "named_faults", "require_valid", "schema_of"]

_SINGLE = defs.OpSchema.FormalParameterOption.Single
_VARIADIC = defs.OpSchema.FormalParameterOption.Variadic


def check_text(model: ModelProto) -> None:
    """Raise ModelError for names that are not UTF-8: protobuf hands those out as bytes."""
    graphs: list[GraphProto] = [model.graph]
    nodes: list[NodeProto] = [node for function in model.functions for node in function.node]
    names: list[Any] = [x for f in model.functions for x in (f.name, f.domain, f.overload, *f.input, *f.output)]
    names += [o.domain for o in model.opset_import]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            values = (*graph.input, *graph.output)
            names += [graph.name, *(v.name for v in values), *(t.name for t in graph.initializer)]
            names += [d.dim_param for v in values for d in v.type.tensor_type.shape.dim]
            nodes += graph.node
            continue
        node = nodes.pop()
        names += [node.name, node.op_type, node.domain, node.overload, *node.input, *node.output]
        names += [text for a in node.attribute for text in (a.name, a.ref_attr_name)]
        graphs += subgraphs(node)
    bad = next((name for name in names if not isinstance(name, str)), None)
    if bad is not None:
        raise ModelError(f"a name is not text: {bad.decode('utf-8', 'backslashreplace')}", "model", "names are UTF-8")


@cache
def _schema(domain: str, op_type: str, version: int) -> Any:
    try:
        return defs.get_schema(op_type, max_inclusive_version=version, domain=domain)
    except defs.SchemaError:
        return None


def schema_of(node: Node) -> Any:
    """ONNX's own schema of the operator at the model's opset; None for what ONNX does not know."""
    return _schema(node.domain, node.op_type, node.version)


def _fault(node: Node) -> str:
    """What ONNX's checker has against the node alone; "" for nothing."""
    schema = schema_of(node)
    if schema is None:
        return ""
    context = checker.C.CheckerContext()
    opsets = {"": defs.onnx_opset_version()} | dict(node.scope.opsets) | {node.domain: node.version}
    context.ir_version, context.opset_imports = IR_VERSION, opsets
    try:
        checker.check_node(ModelProto.FromString(node.encoded()).graph.node[0], context)
    except checker.ValidationError as fault:
        return str(fault).strip().splitlines()[0]
    missing = [p.name for i, p in enumerate(schema.inputs) if p.option == _SINGLE and not node.input(i)]
    return f"input {missing[0]!r} is missing" if missing else ""


def require_valid(node: Node) -> None:
    """Raise ModelError if the node does not fit its operator's schema."""
    if fault := _fault(node):
        raise ModelError(f"{node.op_type} is not valid: {fault}", node.name)


@contextmanager
def named_faults(node: Node) -> Iterator[None]:
    """Turns what a malformed node makes of plain Python into one error that names it."""
    try:
        yield
    except ModelError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as fault:
        reason = _fault(node) or f"its inputs and attributes do not fit together ({type(fault).__name__})"
        raise ModelError(f"{node.op_type} is not valid: {reason}", node.name) from fault


@cache
def _type_letters(domain: str, op_type: str, version: int) -> tuple[tuple[str, ...], bool]:
    """The type parameter of each input by position, and whether the last stands for all that follow."""
    schema = _schema(domain, op_type, version)
    if schema is None or not schema.inputs:
        return (), False
    letters = tuple(p.type_str if p.is_homogeneous else "" for p in schema.inputs)
    return letters, schema.inputs[-1].option == _VARIADIC


def check_types(c: Context, node: Node) -> None:
    """Raise ModelError if inputs that must share an element type do not."""
    letters, variadic = _type_letters(node.domain, node.op_type, node.version)
    seen: dict[str, tuple[str, str]] = {}
    for position, name in enumerate(node.inputs):
        letter = letters[position] if position < len(letters) else letters[-1] if variadic else ""
        if not letter or "(" in letter or name not in c.tensors:
            continue
        first, dtype = seen.setdefault(letter, (name, c.dtype(name)))
        if c.dtype(name) != dtype:
            raise ModelError(f"{node.op_type} mixes {dtype} {first!r} with {c.dtype(name)} {name!r}", node.name)
