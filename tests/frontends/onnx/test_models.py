"""Whole models: the onnx package's light models as shipped, and the zoo's small ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from mapper.frontends.onnx import load, load_model, recognises
from mapper.frontends.onnx.reference import random_feeds, reference_outputs
from mapper.interpret import run
from mapper.ir import Opaque
from mapper.models import build
from mapper.passes import optimise

from .making import assert_equals_reference

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# nodes as in the files; multiply-accumulates as `counted` below finds them from the shapes that ONNX itself infers
FIGURES = {
    "bvlc_alexnet": (40, 654_560_384), "densenet121": (1746, 2_834_161_664), "inception_v1": (237, 1_431_556_352),
    "inception_v2": (916, 2_018_851_840), "resnet50": (415, 4_089_184_256), "shufflenet": (446, 124_664_528),
    "squeezenet": (105, 349_151_936), "vgg19": (82, 19_632_062_464), "zfnet512": (38, 1_481_727_008),
}  # fmt: skip
TINY = ("resnet-tiny", "mobilenetv2-tiny", "bert-tiny", "gpt2-tiny", "lfm2-tiny-decode", "qwen3-tiny", "unet-tiny",
        "whisper-tiny-mini")  # fmt: skip


def counted(proto) -> int:
    """(elements that drive the sum) x (terms that each takes part in), from inferred shapes alone."""
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        elif node.op_type == "Gemm":
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]
    return total


@pytest.mark.parametrize("name", [*FIGURES, *TINY])
def test_counts_equal_those_from_inferred_shapes(name) -> None:
    if name in FIGURES:
        proto = onnx.load(LIGHT / f"light_{name}.onnx")
        assert counted(proto) == FIGURES[name][1]
    else:
        proto = build(name)
        assert counted(proto) == load_model(proto).macs


@pytest.mark.parametrize("name", FIGURES)
def test_a_light_model_loads_with_every_node_accounted_for(name) -> None:
    path = LIGHT / f"light_{name}.onnx"
    nodes, macs = FIGURES[name]
    graph = optimise(load(path))
    assert len(graph.nodes) == nodes == len(onnx.load(path).graph.node)
    assert graph.macs == macs == sum(op.macs for op in graph.ops) == sum(n.macs for n in graph.nodes)
    assert not any(isinstance(op, Opaque) for op in graph.ops)
    carried = {source for op in (*graph.ops, *graph.prepare) for source in op.sources}
    assert {n.name for n in graph.nodes if n.fate in ("mapped", "fused", "view")} <= carried


def test_squeezenet_equals_its_reference() -> None:
    path = LIGHT / "light_squeezenet.onnx"
    graph = load(path)
    feeds = random_feeds(graph, 1)
    (want,) = reference_outputs(path, feeds)[0].values()
    (got,) = (run(optimise(graph), feeds)[name] for name in graph.outputs)
    assert np.ptp(want) > 1e-3  # random weights tell the classes apart
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * want.max())


@pytest.mark.parametrize("name", TINY)
def test_a_small_zoo_model_equals_its_reference(name) -> None:
    assert_equals_reference(build(name))


def test_published_counts_of_the_zoo() -> None:
    graph = load_model(build("resnet50"))
    assert (graph.macs, graph.params) == (4_089_184_256, 25_557_032)


def test_weights_are_never_materialised() -> None:
    graph = load(LIGHT / "light_vgg19.onnx")
    assert graph.params == 143_667_240
    assert sum(len(t.data or b"") for t in graph.tensors) < 10_000
    assert {t.role for t in graph.tensors if t.elements > 4096 and t.name not in graph.inputs} == {
        "weight",
        "activation",
    }


def test_every_convolution_of_resnet_swallows_its_norm_and_activation() -> None:
    graph = optimise(load(LIGHT / "light_resnet50.onnx"))
    kinds = [op.op_type for op in graph.ops]
    assert kinds.count("Conv") == 53
    assert not {"BatchNormalization", "Relu", "Sum"} & set(kinds)
    assert {n.fate for n in graph.nodes if n.op_type in ("BatchNormalization", "Relu", "Sum")} == {"fused"}


def test_recognition_by_ending_or_first_byte() -> None:
    assert recognises(Path("a.onnx"), b"") and recognises(Path("a.bin"), b"\x08\x07")
    assert not recognises(Path("a.json"), b'{"nodes"')
