"""Multiply-accumulates of exported models, against the shapes that onnxruntime meets while it runs them.

    python benchmarks/exporter_counts.py FOLDER        # FOLDER as benchmarks/exporters.py --models made it

Every tensor that a product, convolution or recurrent layer reads or writes becomes an output of the model; onnxruntime
runs it, and the count is made of the shapes of what came out. Nothing here is shared with the frontend. Models with
operators that hide products (fused attention, experts, loops) are listed as not counted.
Exit 5 if a count differs.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import ModelProto, NodeProto, helper

from mapper import inputs

Shape = tuple[int, ...]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PRODUCTS = {"MatMul", "MatMulInteger", "MatMulNBits", "FusedMatMul"}  # first operand ends with the reduced dimension
CONVOLUTIONS = {"Conv", "FusedConv", "ConvInteger"}
HIDING = {"Attention", "MultiHeadAttention", "GroupQueryAttention", "Einsum", "Loop", "Scan", "If", "QMoE", "MoE",
          "QLinearConv", "QLinearMatMul", "DynamicQuantizeMatMul", "QAttention", "DynamicQuantizeLSTM",
          "QGemm", "FusedGemm", "PackedAttention", "TransposeMatMul", "NhwcConv",
          "EmbedLayerNormalization", "DecoderMaskedMultiHeadAttention"}  # fmt: skip


def node_macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """(Elements written) x (terms of each sum), padding taps included; 0 for everything else."""
    result = shapes.get(node.output[0], ())
    if node.op_type in CONVOLUTIONS:
        return math.prod(result) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in PRODUCTS:
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(result) * shapes[node.input[0]][-2 if transposed else -1]
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(result) * shapes[node.input[0]][0 if transposed else 1]
    if node.op_type in GATES:
        steps, batch, width = shapes[node.input[0]]
        directions, rows, _ = shapes[node.input[1]]
        return steps * batch * directions * rows * (width + rows // GATES[node.op_type])
    return 0


def counted(model: ModelProto, dims: Mapping[str, int]) -> int | None:
    """Multiply-accumulates at these extents; None if some operator hides products."""
    flat = onnx.inliner.inline_local_functions(model)
    if any(node.op_type in HIDING for node in flat.graph.node):
        return None
    shapes = _shapes(flat, dims)
    return sum(node_macs(node, shapes) for node in flat.graph.node)


def _shapes(model: ModelProto, dims: Mapping[str, int]) -> dict[str, Shape]:
    nodes = [n for n in model.graph.node if n.op_type in PRODUCTS | CONVOLUTIONS | {"ConvTranspose", "Gemm", *GATES}]
    wanted = {name for n in nodes for name in (*n.input, n.output[0]) if name}
    made = {name for n in model.graph.node for name in n.output}
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sorted(wanted & made - known))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {value.name: _feed(value, dims) for value in session.get_inputs()}
    values = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    given = feeds | {t.name: np.empty(tuple(t.dims), np.int8) for t in model.graph.initializer}
    return {name: np.shape(array) for name, array in (given | values).items()}


def _feed(value: onnxruntime.NodeArg, dims: Mapping[str, int]) -> np.ndarray:
    shape = [dims.get(d, 1) if isinstance(d, str) else d for d in value.shape]
    names = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    return np.ones(shape, names.get(kind, kind))


def rows(folder: Path) -> Iterator[tuple[str, int, int | None]]:
    """Each model of the folder: ours and the independent count."""
    for name, dims in sorted(json.loads((folder / "exported.json").read_text()).items()):
        path = folder / f"{name}.onnx"
        if path.exists():
            yield name, inputs.load(path, dims).value.macs, counted(onnx.load(path), dims)


def main() -> int:
    found = list(rows(Path(sys.argv[1])))
    for name, ours, other in found:
        word = "not counted" if other is None else "equal" if ours == other else f"DIFFERS: {other}"
        print(f"{name:36} {ours:>14} {word}")
    compared = [(ours, other) for _, ours, other in found if other is not None]
    wrong = sum(ours != other for ours, other in compared)
    print(f"{len(found)} models, {len(compared)} counted a second time, {wrong} differ")
    return 5 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
