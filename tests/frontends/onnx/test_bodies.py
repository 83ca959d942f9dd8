"""Functions, branches, loops, scans and sequences: bodies walked in place, compared with the reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mapper.frontends.onnx import ModelError, load_model
from mapper.interpret import run

from .making import FLOAT, assert_equals_reference, model, node

BOOL, INT64 = TensorProto.BOOL, TensorProto.INT64


def body(nodes, inputs, outputs, initializers=()):
    ins = [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs]
    outs = [helper.make_tensor_value_info(n, t, s) for n, t, s in outputs]
    return helper.make_graph(
        nodes, "body", ins, outs, [numpy_helper.from_array(a, n) for n, a in dict(initializers).items()]
    )


def branches():
    return {
        "then_branch": body([node("Add", ["x", "w"], ["t"])], [], [("t", FLOAT, None)], {"w": np.float32([1, 2, 3])}),
        "else_branch": body([node("Mul", ["x", "x"], ["e"])], [], [("e", FLOAT, None)]),
    }


@pytest.mark.parametrize("choice", [True, False])
def test_a_known_condition_walks_one_branch(choice) -> None:
    proto = model([node("If", "p", **branches())], {"x": (2, 3)}, ["y"], {"p": np.array(choice)})
    assert_equals_reference(proto)
    assert [op.op_type for op in load_model(proto).nests] == ["Add" if choice else "Mul"]


def test_an_unknown_condition_computes_both_and_chooses() -> None:
    proto = model([node("If", "p", **branches())], {"x": (2, 3), "p": (BOOL, ())}, ["y"])
    graph = load_model(proto)
    assert [op.op_type for op in graph.nests] == ["Add", "Mul", "If"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for p, want in ((True, x + np.float32([1, 2, 3])), (False, x * x)):
        np.testing.assert_array_equal(run(graph, {"x": x, "p": np.array(p)})["y"], want)


def test_a_branch_may_hand_on_what_it_was_given() -> None:
    attributes = branches() | {"then_branch": body([], [], [("x", FLOAT, None)])}
    proto = model(
        [node("If", "p", outputs=["z"], **attributes), node("Neg", "z")], {"x": (2, 3)}, ["y"], {"p": np.array(True)}
    )
    assert_equals_reference(proto)


def loop_proto(trips):
    turn = body(
        [
            node("Add", ["s", "x"], ["next"]),
            node("Identity", ["c"], ["again"]),
            node("Mul", ["next", "next"], ["square"]),
        ],
        [("i", INT64, ()), ("c", BOOL, ()), ("s", FLOAT, None)],
        [("again", BOOL, ()), ("next", FLOAT, None), ("square", FLOAT, None)],
    )
    return model(
        [node("Loop", ["m", "go", "x"], ["y", "squares"], body=turn)],
        {"x": (2, 3)},
        ["y", "squares"],
        {"m": np.array(trips), "go": np.array(True)},
    )


def test_a_loop_of_known_length_is_walked_turn_by_turn() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    values = run(load_model(loop_proto(4)), {"x": x})
    np.testing.assert_array_equal(values["y"], 5 * x)
    np.testing.assert_array_equal(values["squares"], np.stack([(n * x) ** 2 for n in (2, 3, 4, 5)]))
    assert [n.op_type for n in load_model(loop_proto(4)).nodes] == ["Loop"]


def test_a_loop_whose_end_only_run_time_knows_is_refused() -> None:
    proto = loop_proto(3)
    del proto.graph.initializer[0]
    proto.graph.input.append(helper.make_tensor_value_info("m", INT64, ()))
    with pytest.raises(ModelError, match="trip count from 'm', which is known at run time only"):
        load_model(proto)


def test_scan_carries_state_and_collects_slices() -> None:
    turn = body([node("Add", ["s", "e"], ["t"]), node("Neg", ["t"], ["out"])],
                [("s", FLOAT, (3,)), ("e", FLOAT, (3,))], [("t", FLOAT, (3,)), ("out", FLOAT, (3,))])  # fmt: skip
    proto = model([node("Scan", ["init", "x"], ["last", "y"], body=turn, num_scan_inputs=1)],
                  {"init": (3,), "x": (5, 3)}, ["last", "y"])  # fmt: skip
    assert_equals_reference(proto)


def test_nested_functions_keep_their_names_apart_and_count_for_the_caller() -> None:
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    inner = helper.make_function(
        "f", "inner", ["a"], ["b"], [node("MatMul", ["a", "a"], ["t"]), node("Relu", ["t"], ["b"])], imports
    )
    twice = [node("inner", ["a"], ["t"], domain="f"), node("inner", ["t"], ["b"], domain="f")]
    outer = helper.make_function("f", "outer", ["a"], ["b"], twice, imports)
    proto = model([node("outer", ["x"], ["y"], domain="f", name="call")], {"x": (4, 4)}, ["y"],
                  functions=[inner, outer], domains=["f"])  # fmt: skip
    assert_equals_reference(proto)
    graph = load_model(proto)
    assert [(n.name, n.macs) for n in graph.nodes] == [("call", 2 * 4 * 4 * 4)]
    assert all(op.sources == ("call",) for op in graph.ops)


def test_attribute_references_take_the_calls_value_or_the_default() -> None:
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    attribute = leaky.attribute.add(name="alpha", type=1)
    attribute.ref_attr_name = "slope"
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function("f", "leaky", ["a"], ["b"], [leaky], imports, attributes=["slope"])
    x = np.float32([[-2, 3]])
    for slope, want in (({}, 0.01), ({"slope": 0.5}, 0.5)):
        call = node("leaky", ["x"], domain="f", **slope)
        graph = load_model(model([call], {"x": (1, 2)}, ["y"], functions=[function], domains=["f"]))
        np.testing.assert_allclose(run(graph, {"x": x})["y"], [[-2 * want, 3]], rtol=1e-6)


def test_a_sequence_of_known_parts_costs_slices_and_one_join() -> None:
    nodes = [
        node("SplitToSequence", ["x"], ["parts"], axis=0, keepdims=0),
        node("SequenceAt", ["parts", "one"], ["second"]),
        node("SequenceInsert", ["parts", "second", "zero"], ["more"]),
        node("ConcatFromSequence", ["more"], ["y"], axis=0, new_axis=1),
    ]
    proto = model(nodes, {"x": (3, 4)}, ["y"], {"one": np.array(1), "zero": np.array(0)})
    assert_equals_reference(proto)


def test_attention_of_opset_23_counts_both_products() -> None:
    proto = model([node("Attention", "qkv", q_num_heads=2, kv_num_heads=2, is_causal=1)],
                  {"q": (1, 4, 16), "k": (1, 6, 16), "v": (1, 6, 16)}, ["y"], opset=23)  # fmt: skip
    assert_equals_reference(proto)
    assert load_model(proto).macs == 2 * (2 * 4 * 6 * 8)


def test_long_sequences_are_collected_in_groups_that_a_body_can_hold() -> None:
    shapes = {"w": (2, 16, 3), "r": (2, 16, 4), "b": (2, 32)}
    weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    lstm = node("LSTM", ["x", "w", "r", "b"], ["y", "h"], hidden_size=4, direction="bidirectional")
    proto = model([lstm], {"x": (21, 2, 3)}, ["y", "h"], weights)
    assert max(len(op.reads) for op in load_model(proto).nests) <= 8
    assert_equals_reference(proto)


def test_a_concatenation_of_many_is_joined_in_groups() -> None:
    names = [f"x{i}" for i in range(40)]
    proto = model([node("Concat", names, axis=1)], {name: (2, 1 + i % 3) for i, name in enumerate(names)}, ["y"])
    assert [len(op.reads) for op in load_model(proto).nests] == [13, 13, 14, 3]
    assert_equals_reference(proto)
