"""Backward and weight-gradient nests: against finite differences, and on a wafer."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mapper import inputs, passes
from mapper.backends.wafer.network.derivative import derivative, from_output
from mapper.backends.wafer.network.flow import Flow
from mapper.backends.wafer.network.solve import solve_network
from mapper.backends.wafer.network.training import gradient_name, target_name, training_graph
from mapper.check import check
from mapper.cost import cost
from mapper.errors import Unsupported
from mapper.frontends.onnx.reference import random_feeds
from mapper.index import loop
from mapper.interpret import run
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.machine import Machine
from mapper.request import Request, Solved
from mapper.scalar import Acc, Arg, Call, Const, Scalar, evaluate
from mapper.simulate import compare_counts, simulate

Wafer = Callable[..., Machine]
SLOPED = ("neg", "abs", "reciprocal", "square", "sqrt", "exp", "log", "log1p", "erf", "sigmoid", "tanh", "softplus",
          "sin", "cos")  # fmt: skip


def double(graph: Graph) -> Graph:
    """The graph in double precision, so that differences are exact to many digits."""

    def wide(dtype: str) -> str:
        return "float64" if dtype == "float32" else dtype

    tensors = tuple(
        replace(t, dtype="float64", data=None, role="weight" if t.data else t.role) if t.dtype == "float32" else t
        for t in graph.tensors
    )
    ops = tuple(
        replace(op, combiner=Combiner(op.combiner.kind, wide(op.combiner.accumulator), op.combiner.over))
        if isinstance(op, Op) and op.combiner
        else op
        for op in graph.ops
    )
    return replace(graph, tensors=tensors, ops=ops)


def doubled_feeds(graph: Graph) -> dict[str, np.ndarray]:
    feeds = {t.name: t.array() for t in graph.tensors if t.data is not None} | random_feeds(graph, 1)
    return {name: v.astype(np.float64) if v.dtype == np.float32 else v for name, v in feeds.items()}


@pytest.mark.parametrize("model", ["zoo:resnet-tiny", "zoo:bert-tiny"])
def test_gradients_of_weights_equal_finite_differences(model: str) -> None:
    """Weights that are prepared before deployment (folded scales) count as weights of their own."""
    forward = replace(passes.optimise(inputs.load(model).value), prepare=())
    graph = training_graph(forward)
    feeds = doubled_feeds(graph)
    values, wide = run(double(graph), feeds), double(forward)

    def loss(changed: dict[str, np.ndarray]) -> float:
        found = run(wide, changed)
        return sum(float(((found[o] - feeds[target_name(o)]) ** 2).sum()) / 2 for o in forward.outputs)

    weights = [t.name for t in graph.tensors if t.role == "weight"]
    trained = [name for name in weights if gradient_name(name) in values]
    assert len(trained) > 8
    random, step = np.random.default_rng(0), 1e-5
    for name in trained[:: len(trained) // 6]:
        way = random.standard_normal(feeds[name].shape)
        up, down = (loss({**feeds, name: feeds[name] + sign * step * way}) for sign in (1, -1))
        total = values.get(f"{gradient_name(name)}@total", values[gradient_name(name)])
        assert float((total * way).sum()) == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("function", SLOPED)
def test_slopes_of_functions_equal_finite_differences(function: str) -> None:
    body: Scalar = Call("mul", (Call(function, (Call("mul", (Arg(0), Const(1.5))),)), Arg(1)))
    at = [np.array([0.3, 0.7, 1.9]), np.array([2.0, -1.0, 0.5])]
    up, down = (evaluate(body, [at[0] + d, at[1]]) for d in (1e-6, -1e-6))
    slope = np.broadcast_to(evaluate(derivative(body, Arg(0)), at), 3)
    assert slope == pytest.approx((up - down) / 2e-6, rel=1e-5)


@pytest.mark.parametrize(
    "body", [Call("max", (Arg(0), Const(0.0))), *(Call(f, (Arg(0),)) for f in ("sigmoid", "tanh", "exp"))]
)
def test_slopes_by_the_result_equal_slopes_by_the_operand(body: Scalar) -> None:
    x = np.array([-1.5, -0.1, 0.4, 2.0])
    known = from_output(body, Arg(0))
    assert known is not None and known[1] == Arg(0)
    assert evaluate(known[0], [evaluate(body, [x])]) == pytest.approx(evaluate(derivative(body, Arg(0)), [x]))


def test_functions_without_a_derivative_are_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="'bit_and' has no derivative"):
        derivative(Call("bit_and", (Arg(0), Const(3))), Arg(0))
    assert derivative(Call("max", (Acc(), Const(0.0))), Arg(0)) == Const(0.0)


def test_operators_in_an_order_of_time_are_refused_by_name(residual: Graph) -> None:
    first, *rest = residual.ops
    assert isinstance(first, Op)
    ordered = replace(first, loops=(*first.loops, Loop("t", 1, ordered=True)))
    with pytest.raises(Unsupported, match="no backward form"):
        training_graph(replace(residual, ops=(ordered, *rest)))


def test_a_convolution_has_forward_backward_and_weight_kernels(residual: Graph) -> None:
    """a, b, c (+ a): c's tail stands alone; c and b send gradients back, a has the input before it."""
    graph = training_graph(residual)
    names = [op.name for op in graph.nests]
    assert names[:4] == ["a", "b", "c@sum", "c"]
    back = ["c@sum/grad(b)", "c@sum/grad(c.weight)", "b/grad(a)#1", "b/grad(b.weight)", "grad(a)@total"]
    assert names[4:] == ["loss(c)", *back, "a/grad(a.weight)"]
    assert graph.macs == sum(op.macs for op in residual.nests) * 2 + sum(op.macs for op in list(residual.nests)[1:])
    assert graph.inputs == ("x", "target(c)")


def test_backward_convolutions_gather_and_can_be_split(residual: Graph) -> None:
    back = next(op for op in training_graph(residual).nests if op.name == "c@sum/grad(b)")
    assert {loop.name for loop in back.loops} == {"o", "h*", "w*", "i", "r", "s"}
    assert back.output_loops == {"i", "h*", "w*"}


def test_training_runs_as_a_pipeline_and_moves_what_it_charges(residual: Graph, wafer: Wafer) -> None:
    solved = solve_network(training_graph(residual), wafer(60, 60), Request(effort="fast"))
    assert isinstance(solved, Solved) and solved.mapping.schedule == "pipeline"
    assert check(solved.mapping) == ()
    assert not compare_counts(simulate(solved.mapping), cost(solved.mapping))


def test_stashed_activations_wait_in_many_copies(residual: Graph) -> None:
    flow = Flow(training_graph(residual), True)
    number = flow.position["a/grad(a.weight)"]
    assert flow.reads(number).copies[0] == 2  # x comes from outside, fetched again
    back = flow.position["b/grad(b.weight)"]
    assert flow.reads(back).copies[0] == flow.levels[back] - flow.levels[flow.position["a"]] + 1 > 4


def test_a_part_of_a_concatenation_gets_its_own_share(residual: Graph) -> None:
    """y[d, k] = a[k] where d = 0 (else the fill): the guard depends on a loop that grad(a) does not have."""
    at, k = loop("d"), loop("k")
    tensors = (Tensor("a", (3,), "float32", "weight"), Tensor("y", (2, 3), "float32"))
    op = Op(
        "pick", "Concat", (Loop("d", 2), Loop("k", 3)), (Access("a", (k,), (at * -1,)),), Access("y", (at, k)), Arg(0)
    )
    graph = training_graph(Graph("part", tensors, (op,), (), ("y",)))
    feeds = {"a": np.array([1.0, 2.0, 3.0], np.float32), "target(y)": np.full((2, 3), 0.5, np.float32)}
    values = run(graph, feeds)
    total = next(values[t.name] for t in reversed(graph.tensors) if t.name.startswith("grad(a)"))
    assert total == pytest.approx([0.5, 1.5, 2.5])


def test_integers_have_no_gradient() -> None:
    tensors = (Tensor("x", (2,), "float32", "input"), Tensor("n", (2,), "int64", "weight"))
    graph = Graph("plain", tensors, (), ("x",), ())
    assert training_graph(graph).ops == ()
