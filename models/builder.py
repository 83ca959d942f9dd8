"""Grows one ONNX graph, layer by layer, without a single trained weight in the file.

Three kinds of constant, kept apart so that counting is plain:

- a *parameter* is a ConstantOfShape node: a few bytes however large the tensor, and the only such node in a model.
  It averages its inputs (value 1 / fan-in), so activations of any depth stay of order one;
- an *index vector* (shape, axes, positions) is an int64 initializer, shared by everyone who needs that value;
- any other constant (epsilon, rotary table, mask, running statistics) is a Constant node: a buffer, no parameter.

Tensors are handled by name. A node's name is its path in the architecture, `layer.3/attn/q_proj`, and its output
carries the same name, so that reports read like the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = ["GraphBuilder"]

OPSET = 18
IR_VERSION = 8  # the one that came with opset 18, so that older readers take the file


class GraphBuilder:
    """One graph under construction; `dtype` is the element type of weights and activations."""

    def __init__(self, name: str, *, dtype: npt.DTypeLike = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self._name = name
        self._path: list[str] = []
        self._nodes: list[NodeProto] = []
        self._taken: set[str] = set()
        self._ints: dict[tuple[int, ...], TensorProto] = {}
        self._scalars: dict[tuple[float, str], str] = {}
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._renamed: dict[str, str] = {}

    # Names, nodes and constants ------------------------------------------------------------------------------------

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Everything built inside is named below `name`."""
        self._path.append(name)
        yield
        self._path.pop()

    def ops(self, op_type: str, inputs: Sequence[str], outputs: int, *, name: str = "", **attributes: Any) -> list[str]:
        """Adds a node of several outputs and returns their names."""
        path = self._unique(name or op_type.lower())
        results = [path] if outputs == 1 else [f"{path}.{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op_type, list(inputs), results, name=path, **attributes))
        return results

    def op(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Adds a node of one output and returns its name."""
        return self.ops(op_type, inputs, 1, name=name, **attributes)[0]

    def ints(self, *values: int) -> str:
        """The int64 vector of these values: a shape, axes, starts, positions."""
        if values not in self._ints:
            label = "x".join(map(str, values)) if len(values) <= 8 else f"vector{len(self._ints)}"
            self._ints[values] = numpy_helper.from_array(np.array(values, dtype=np.int64), f"int64.{label}")
        return self._ints[values].name

    def weight(self, name: str, shape: Sequence[int], value: float = 0.02) -> str:
        """A parameter of the model: every element is `value`, so the file holds the shape and nothing else."""
        fill = numpy_helper.from_array(np.array([value], dtype=self.dtype))
        return self.op("ConstantOfShape", self.ints(*shape), name=name, value=fill)

    def table(self, name: str, values: npt.NDArray[Any]) -> str:
        """A buffer that is no parameter: rotary table, causal mask, running statistics."""
        return self.op("Constant", name=name, value=numpy_helper.from_array(values))

    def scalar(self, value: float, dtype: npt.DTypeLike | None = None) -> str:
        """A constant of rank 0, one node a value and type."""
        kind = np.dtype(dtype or self.dtype)
        key = (value, kind.name)
        if key not in self._scalars:
            path, self._path = self._path, []
            self._scalars[key] = self.table(f"const/{value:g}.{kind.name}", np.array(value, dtype=kind))
            self._path = path
        return self._scalars[key]

    # Boundary of the graph -----------------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike | None = None) -> str:
        """A graph input of static shape."""
        self._taken.add(name)
        self._inputs.append(self._value_info(name, shape, dtype))
        return name

    def output(self, tensor: str, name: str, shape: Sequence[int]) -> None:
        """Declares `tensor` a graph output under its public name; its shape is stated, and the checker compares it."""
        self._renamed[tensor] = name
        self._outputs.append(self._value_info(name, shape, None))

    def model(self, description: str) -> ModelProto:
        """The finished model."""
        for node in self._nodes:
            node.input[:] = [self._renamed.get(tensor, tensor) for tensor in node.input]
            node.output[:] = [self._renamed.get(tensor, tensor) for tensor in node.output]
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, list(self._ints.values()), doc_string=description
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="dataflow-mapper")

    def _unique(self, name: str) -> str:
        stem = path = "/".join([*self._path, name])
        count = 0
        while path in self._taken:
            count += 1
            path = f"{stem}_{count}"
        self._taken.add(path)
        return path

    def _value_info(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike | None) -> ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        return helper.make_tensor_value_info(name, kind, list(shape))

    # Layers with parameters ----------------------------------------------------------------------------------------

    def linear(self, x: str, fan_in: int, fan_out: int, *, name: str, bias: bool = False) -> str:
        """y = x W + b with W [in, out], for x of any rank."""
        weight = self.weight(f"{name}.weight", (fan_in, fan_out), 1 / fan_in)
        if not bias:
            return self.op("MatMul", x, weight, name=name)
        product = self.op("MatMul", x, weight, name=f"{name}/matmul")
        return self.op("Add", product, self.weight(f"{name}.bias", (fan_out,)), name=name)

    def embedding(self, indices: str, rows: int, width: int, *, name: str) -> tuple[str, str]:
        """Rows of a table by index; returns them and the table, which a tied head reads again."""
        table = self.weight(f"{name}.weight", (rows, width))
        return self.op("Gather", table, indices, name=name, axis=0), table

    def tied_head(self, x: str, table: str, tokens: int, width: int, rows: int) -> str:
        """Logits [1, tokens, rows] = x table^T: the embedding read transposed, never stored or moved so."""
        flat = self.reshape(x, tokens, width, name="lm_head/flatten")
        logits = self.op("Gemm", flat, table, name="lm_head/gemm", transB=1)
        return self.reshape(logits, 1, tokens, rows, name="lm_head")

    def conv(
        self,
        x: str,
        fan_in: int,
        fan_out: int,
        kernel: Sequence[int],
        *,
        name: str,
        stride: int = 1,
        pads: Sequence[int] | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> str:
        """Convolution with W [out, in / groups, *kernel]; `pads` are ONNX's, all begins before all ends."""
        shape = (fan_out, fan_in // groups, *kernel)
        inputs = [x, self.weight(f"{name}.weight", shape, 1 / int(np.prod(shape[1:])))]
        if bias:
            inputs.append(self.weight(f"{name}.bias", (fan_out,)))
        rank = len(kernel)
        attributes = {"kernel_shape": list(kernel), "strides": [stride] * rank, "pads": list(pads or [0] * 2 * rank)}
        return self.op("Conv", *inputs, name=name, group=groups, **attributes)

    def batch_norm(self, x: str, channels: int, *, name: str) -> str:
        """Inference-time batch normalisation; its running statistics are buffers, near 0 and 1, unlike by channel."""
        channel = np.arange(channels)
        scale = self.weight(f"{name}.weight", (channels,), 0.5)
        shift = self.weight(f"{name}.bias", (channels,))
        mean = self.table(f"{name}.running_mean", ((channel % 7 - 3) / 32).astype(self.dtype))
        variance = self.table(f"{name}.running_var", (1 + (channel % 5 - 2) / 16).astype(self.dtype))
        return self.op("BatchNormalization", x, scale, shift, mean, variance, name=name, epsilon=1e-5)

    def layer_norm(self, x: str, width: int, *, name: str, epsilon: float = 1e-5) -> str:
        """Layer normalisation over the last axis."""
        scale = self.weight(f"{name}.weight", (width,), 0.98)
        shift = self.weight(f"{name}.bias", (width,))
        return self.op("LayerNormalization", x, scale, shift, name=name, axis=-1, epsilon=epsilon)

    def rms_norm(self, x: str, width: int, *, name: str, epsilon: float) -> str:
        """x / sqrt(mean(x^2) + epsilon) * w over the last axis; the mean is taken in float32 whatever x is."""
        with self.scope(name):
            wide = self.cast(x, np.float32)
            square = self.op("Pow", wide, self.scalar(2.0, np.float32))
            mean = self.op("ReduceMean", square, self.ints(-1), name="mean", keepdims=1)
            root = self.op("Sqrt", self.op("Add", mean, self.scalar(epsilon, np.float32)))
            normed = self.cast(self.op("Mul", wide, self.op("Reciprocal", root), name="normalise"), self.dtype)
            return self.op("Mul", self.weight("weight", (width,), 0.98), normed, name="scale")

    # Layers without ------------------------------------------------------------------------------------------------

    def reshape(self, x: str, *shape: int, name: str = "reshape") -> str:
        """The same elements in the same order under another shape."""
        return self.op("Reshape", x, self.ints(*shape), name=name)

    def cast(self, x: str, dtype: npt.DTypeLike) -> str:
        """x in another type; in a model of float32 there is nothing to do."""
        if self.dtype == np.float32:
            return x
        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def softmax(self, x: str) -> str:
        """Softmax over the last axis, in float32 as transformers do it."""
        return self.cast(self.op("Softmax", self.cast(x, np.float32), axis=-1), self.dtype)

    def gelu(self, x: str) -> str:
        """x / 2 (1 + erf(x / sqrt 2)), exact."""
        with self.scope("gelu"):
            bell = self.op("Erf", self.op("Div", x, self.scalar(2.0**0.5)))
            gate = self.op("Add", bell, self.scalar(1.0))
            return self.op("Mul", self.op("Mul", x, gate), self.scalar(0.5), name="half")

    def gelu_tanh(self, x: str) -> str:
        """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the approximation that GPT-2 was trained with."""
        with self.scope("gelu"):
            cube = self.op("Mul", self.op("Pow", x, self.scalar(3.0)), self.scalar(0.044715), name="cube")
            inner = self.op("Mul", self.op("Add", x, cube), self.scalar((2 / np.pi) ** 0.5), name="inner")
            gate = self.op("Add", self.op("Tanh", inner), self.scalar(1.0), name="gate")
            return self.op("Mul", self.op("Mul", x, self.scalar(0.5)), gate, name="apply")
