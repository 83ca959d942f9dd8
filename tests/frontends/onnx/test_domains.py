"""Operators of ai.onnx.ml and ai.onnx.preview.training that are loop nests."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.frontends.onnx import ModelError, load_model
from mapper.ir import Op, Opaque

from .making import assert_equals_reference, model, node

TRAINING, CLASSICAL = "ai.onnx.preview.training", "ai.onnx.ml"


@pytest.mark.parametrize("time", [0, 7])
@pytest.mark.parametrize(("op_type", "states", "attributes"), [
    ("Adagrad", 1, {"decay_factor": 0.1, "epsilon": 1e-3, "norm_coefficient": 0.01}),
    ("Momentum", 1, {"alpha": 0.9, "beta": 0.1, "mode": "nesterov", "norm_coefficient": 0.01}),
    ("Momentum", 1, {"alpha": 0.9, "beta": 0.1, "mode": "standard", "norm_coefficient": 0.01}),
    ("Adam", 2, {"norm_coefficient": 0.01, "norm_coefficient_post": 0.1}),
])  # fmt: skip
def test_a_step_of_two_parameters(op_type: str, states: int, attributes: dict, time: int) -> None:
    groups = ["x", "g", *"uv"[:states]]
    names = [f"{group}{each}" for group in groups for each in (0, 1)]
    outputs = [f"new_{group}{each}" for group in ("x", *"uv"[:states]) for each in (0, 1)]
    states_of = [name for name in names if name[0] in "uv"]  # sums of squares are not negative
    nodes = [node("Abs", [f"raw_{name}"], [name]) for name in states_of]
    nodes.append(node(op_type, ["r", "t", *names], outputs, domain=TRAINING, **attributes))
    shapes = {f"raw_{name}" if name in states_of else name: (3, 2) if name.endswith("0") else (4,) for name in names}
    proto = model(nodes, shapes, outputs, {"r": np.float32(0.1), "t": np.int64(time)}, domains=(TRAINING,))
    assert len([op for op in load_model(proto).ops if isinstance(op, Op)]) == len(states_of) + 2 * (states + 1)
    assert_equals_reference(proto)


def test_a_step_without_a_state_for_each_parameter_is_refused() -> None:
    op = node(
        "Momentum",
        ["r", "t", "x", "g"],
        ["y", "z"],
        domain=TRAINING,
        alpha=0.9,
        beta=0.1,
        mode="standard",
        norm_coefficient=0.0,
    )
    with pytest.raises(ModelError, match="3 tensors and 2 outputs for each parameter"):
        load_model(model([op], {"r": (), "t": (), "x": (2,), "g": (2,)}, ["y", "z"], domains=(TRAINING,)))


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_columns_are_picked_and_binarised(shape: tuple[int, ...]) -> None:
    nodes = [
        node("ArrayFeatureExtractor", ["x", "picks"], ["p"], domain=CLASSICAL),
        node("Binarizer", ["p"], ["y"], domain=CLASSICAL, threshold=0.1),
    ]
    proto = model(nodes, {"x": shape}, ["y"], {"picks": np.array([4, 0, 2])}, domains=(CLASSICAL,))
    assert not any(isinstance(op, Opaque) for op in load_model(proto).ops)
    assert_equals_reference(proto)
