"""A model under construction."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

__all__ = ["FLOAT", "Grown", "Growth", "Value", "element_type"]

FLOAT = "float32"
MOST_ELEMENTS = 600
OPSETS = (13, 16, 17, 18, 18, 19, 20, 21, 21, 22, 23)
INPUT_TYPES = (FLOAT, FLOAT, FLOAT, FLOAT, FLOAT, "int64", "int32", "int8", "uint8", "bool", "float64")


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the model; `exact` if no rounding lies between it and the inputs."""

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT
    exact: bool = True

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Grown:
    """A model, and the extents of its symbolic dimensions."""

    model: ModelProto
    dims: dict[str, int] = field(default_factory=dict)


def element_type(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


class Growth:
    """Nodes, weights and values so far, and the draws that extend them."""

    def __init__(self, number: int) -> None:
        self.rng, self.arrays = random.Random(number), np.random.default_rng(number)
        self.opset = self.rng.choice(OPSETS)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.steps = 0
        extents = (1, 2, 3, 4, 5, 7) if self.rng.random() < 0.95 else (0, 1, 3)
        self.inputs = [self._input(i, extents) for i in range(self.rng.randint(1, 3))]
        self.values = list(self.inputs)

    def _input(self, i: int, extents: Sequence[int]) -> Value:
        rank = self.rng.choice((0, 1, 2, 2, 3, 3, 4, 4, 4, 5)) if i else self.rng.choice((2, 3, 4, 4))
        shape = [self.rng.choice(extents) for _ in range(rank)]
        while prod(shape) > MOST_ELEMENTS:
            shape[self.rng.randrange(rank)] = 1
        return Value(f"x{i}", tuple(shape), self.rng.choice(INPUT_TYPES) if i else FLOAT)

    def try_step(self, step: Callable[[Growth], object]) -> None:
        """One more step, unless it finds nothing that fits it."""
        before = len(self.nodes)
        step(self)
        self.steps += len(self.nodes) > before

    def op(
        self,
        op_type: str,
        inputs: Sequence[Value | str],
        shape: Sequence[int],
        dtype: str = FLOAT,
        exact: bool = False,
        domain: str = "",
        **attributes: object,
    ) -> Value:
        """One more node; its only output."""
        return self.ops(op_type, inputs, [(shape, dtype)], exact, domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        inputs: Sequence[Value | str],
        outputs: Sequence[tuple[Sequence[int], str]],
        exact: bool = False,
        domain: str = "",
        **attributes: object,
    ) -> list[Value]:
        """One more node with several outputs."""
        at = len(self.nodes)
        made = [Value(f"t{at}_{i}", tuple(shape), dtype, exact) for i, (shape, dtype) in enumerate(outputs)]
        names = [v if isinstance(v, str) else v.name for v in inputs]
        self.nodes.append(helper.make_node(op_type, names, [v.name for v in made], domain=domain, **attributes))
        self.values += made
        return made

    def weight(self, *shape: int, dtype: str = FLOAT) -> Value:
        """A weight of small random values."""
        high = 4 if np.dtype(dtype).kind != "b" else 2
        whole = np.dtype(dtype).kind in "iub"
        array = self.arrays.integers(0, high, shape) if whole else self.arrays.standard_normal(shape)
        return self.constant(np.asarray(array).astype(dtype))

    def constant(self, array: np.ndarray) -> Value:
        name = f"w{len(self.weights)}"
        self.weights[name] = array
        return Value(name, array.shape, str(array.dtype))

    def ints(self, *values: int) -> Value:
        return self.constant(np.array(values, np.int64))

    def pick(
        self, *, rank: int | None = None, least: int = 0, dtypes: Sequence[str] = (FLOAT,), exact: bool = False,
        filled: bool = False, most: int = MOST_ELEMENTS,
    ) -> Value | None:  # fmt: skip
        """One of the newest values of a rank (or at least `least`), of a type, exact, with elements."""
        fitting = [
            v
            for v in self.values
            if (rank is None or v.rank == rank) and v.rank >= least and v.dtype in dtypes
            if (v.exact or not exact) and (v.elements > 0 or not filled) and v.elements <= most
        ]
        return self.rng.choice(fitting[-5:]) if fitting else None

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def axis(self, value: Value) -> int:
        """One of the axes, counted from either end."""
        return self.rng.randrange(-value.rank, value.rank)

    def some_axes(self, value: Value) -> list[int]:
        return sorted(self.rng.sample(range(value.rank), self.rng.randint(1, value.rank)))

    def finished(self) -> Grown:
        """The model with the last value and some others as outputs."""
        computed = self.values[len(self.inputs) :]
        if not computed:
            x = self.inputs[0]
            computed = [self.op("Identity", [x], x.shape, x.dtype, x.exact)]
        chosen = {computed[-1], *self.rng.sample(computed, min(len(computed), self.rng.randint(0, 2)))}
        dims = self._symbols()
        named = {extent: symbol for symbol, extent in dims.items()}
        infos = [
            helper.make_tensor_value_info(
                v.name, element_type(v.dtype),
                [named.get(e, e) if i == 0 and v is self.inputs[0] else e for i, e in enumerate(v.shape)],
            )
            for v in self.inputs
        ]  # fmt: skip
        outputs = [  # their ranks alone where an extent is a name
            helper.make_tensor_value_info(v.name, element_type(v.dtype), [None] * v.rank if dims else v.shape)
            for v in sorted(chosen, key=lambda v: v.name)
        ]
        weights = [numpy_helper.from_array(a, n) for n, a in self.weights.items()]
        imports = [helper.make_opsetid("", self.opset)]
        graph = helper.make_graph(self.nodes, "grown", infos, outputs, weights)
        return Grown(helper.make_model(graph, opset_imports=imports, ir_version=10), dims)

    def _symbols(self) -> dict[str, int]:
        """Now and then the first extent of the first input is a name."""
        first = self.inputs[0]
        return {"n": first.shape[0]} if first.shape[0] > 0 and self.chance(0.15) else {}
