"""The zoo's table, and what holds for every model in it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from mapper.models import UnknownModelError, build, describe, names

from . import counting

SMALL = [name for name in names() if "tiny" in name and name != "whisper-tiny.en"]


@pytest.fixture(scope="module", params=names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return build(name)


def test_the_table_is_sorted_and_described():
    assert list(names()) == sorted(names())
    assert len({describe(name) for name in names()}) == len(names())
    assert all("\n" not in describe(name) for name in names())


def test_listing_does_not_import_onnx():
    code = "import sys, mapper.models as zoo; zoo.describe(zoo.names()[0]); sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("resnet5", "no model 'resnet5' in the zoo: did you mean resnet50"),
        ("lfm2.5", "lfm2.5-1.2b"),
        ("zzz", "there are bert-base, bert-tiny, gpt2"),
        ("a\nb", r"'a\nb'"),
    ],
)
@pytest.mark.parametrize("ask", [build, describe])
def test_an_unknown_name_gets_one_line_with_the_nearest(ask, wrong, words):
    with pytest.raises(UnknownModelError) as caught:
        ask(wrong)
    assert isinstance(caught.value, KeyError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_model_is_valid_and_its_shapes_follow(model):
    onnx.checker.check_model(model, full_check=True)
    shapes = counting.inferred_shapes(model)
    assert {tensor for node in model.graph.node for tensor in node.output} <= shapes.keys()


def test_the_file_is_small_and_holds_no_weights(model):
    assert model.ByteSize() < 400_000
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.INT64}
    values = [tuple(onnx.numpy_helper.to_array(t).tolist()) for t in model.graph.initializer]
    assert len(set(values)) == len(values), "an index vector is stored twice"
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            assert onnx.numpy_helper.to_array(node.attribute[0].t).item() not in (0.0, 1.0)


def test_names_are_unique_paths_and_nothing_is_dead(model):
    nodes = [node.name for node in model.graph.node]
    assert all(nodes) and len(set(nodes)) == len(nodes)
    read = {tensor for node in model.graph.node for tensor in node.input}
    read |= {value.name for value in model.graph.output}
    assert {t.name for t in model.graph.initializer} | {v.name for v in model.graph.input} <= read
    assert all(set(node.output) & read for node in model.graph.node)


def test_building_twice_gives_the_same_bytes(name, model):
    assert build(name).SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("small_name", SMALL)
@pytest.mark.parametrize("weights", ["constant", "random"])
def test_small_models_run(small_name, weights):
    small = build(small_name)
    if weights == "random":
        small = counting.with_random_weights(small, seed=1)
    results = ReferenceEvaluator(small).run(None, counting.random_inputs(small, seed=0))
    for value, result in zip(small.graph.output, results, strict=True):
        assert result.shape == counting.static_shape(value.type)
        assert np.isfinite(result).all()
        assert weights == "constant" or np.ptp(result) > 1e-3


def test_there_is_a_small_one_of_every_kind():
    assert {name.split("-")[0].rstrip("0123456789") for name in SMALL} == {
        "bert", "gpt", "lfm", "mobilenetv", "qwen", "resnet", "unet", "whisper",
    }  # fmt: skip
