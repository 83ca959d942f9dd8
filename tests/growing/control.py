"""If, Loop and Scan, with bodies of a node or two."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from .growth import FLOAT, Growth, Value, element_type


def _info(name: str, shape, dtype: str = FLOAT):
    return helper.make_tensor_value_info(name, element_type(dtype), shape)


def _branch(g: Growth, x: Value, kind: str) -> GraphProto:
    name = f"b{len(g.nodes)}_{kind}"
    return helper.make_graph([helper.make_node(kind, [x.name], [name])], name, [], [_info(name, x.shape)])


def if_(g: Growth) -> None:
    x = g.pick(filled=True)
    if not x:
        return
    known = [v for v in g.values if v.dtype == "bool" and v.shape == ()]
    condition = g.rng.choice(known) if known else g.constant(np.array(g.chance(0.5)))
    first, second = g.rng.sample(("Tanh", "Neg", "Relu", "Abs"), 2)
    g.op("If", [condition], x.shape, then_branch=_branch(g, x, first), else_branch=_branch(g, x, second))


def asked(g: Growth) -> None:
    """A branch on a truth value that only run time knows."""
    x = g.pick(filled=True, exact=True)
    if x:
        most = g.op("ReduceMax", [x], (), exact=True, keepdims=0)
        g.op("Greater", [most, g.constant(np.float32(1.5))], (), "bool", True)
        if_(g)


def loop(g: Growth) -> None:
    x = g.pick(filled=True, most=60)
    if not x:
        return
    turns, at = g.rng.randint(1, 3), len(g.nodes)
    i, go, state = f"i{at}", f"go{at}", f"s{at}"
    nodes = [
        helper.make_node("Identity", [go], [go + "o"]),
        helper.make_node("Add", [state, x.name], [state + "a"]),
        helper.make_node("Tanh", [state + "a"], [state + "o"]),
        helper.make_node("Neg", [state], [state + "n"]),
    ]
    body = helper.make_graph(
        nodes, f"body{at}",
        [_info(i, (), "int64"), _info(go, (), "bool"), _info(state, x.shape)],
        [_info(go + "o", (), "bool"), _info(state + "o", x.shape), _info(state + "n", x.shape)],
    )  # fmt: skip
    trips, condition = g.constant(np.array(turns, np.int64)), g.constant(np.array(True))
    g.ops("Loop", [trips, condition, x], [(x.shape, FLOAT), ((turns, *x.shape), FLOAT)], body=body)


def scan(g: Growth) -> None:
    x = g.pick(least=2, filled=True, most=60)
    if not x or x.shape[0] > 4:
        return
    at, inner = len(g.nodes), x.shape[1:]
    state, item = f"s{at}", f"e{at}"
    nodes = [
        helper.make_node("Add", [state, item], [state + "a"]),
        helper.make_node("Tanh", [state + "a"], [state + "o"]),
        helper.make_node("Mul", [state + "o", item], [item + "o"]),
    ]
    body = helper.make_graph(nodes, f"body{at}", [_info(state, inner), _info(item, inner)],
                             [_info(state + "o", inner), _info(item + "o", inner)])  # fmt: skip
    way = g.rng.randint(0, 1)
    g.ops("Scan", [g.weight(*inner), x], [(inner, FLOAT), (x.shape, FLOAT)], body=body, num_scan_inputs=1,
          scan_input_directions=[way], scan_output_directions=[g.rng.randint(0, 1)])  # fmt: skip


def constant(g: Growth) -> None:
    x = g.pick()
    if x:
        value: TensorProto = numpy_helper.from_array(g.arrays.standard_normal(x.shape).astype(np.float32))
        made = g.op("Constant", [], x.shape, value=value)
        g.op("Add", [x, made], x.shape)


STEPS = (if_, asked, loop, scan, constant)
