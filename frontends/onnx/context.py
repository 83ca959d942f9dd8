"""What a lowering may ask and do: shapes and types of tensors, values known before run time, new tensors, new nests.

Every extent is a Python int from the moment a file is read; no tensor of a weight's size is ever allocated. *Known*
values are integers and scalars that shape arithmetic needs; they become constants or `Const` leaves, weights do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.ir import Access, AnyOp, Combiner, Fate, Loop, Op, Opaque, Tensor, View
from mapper.scalar import Arg, Const, Scalar

from .errors import ModelError
from .node import Array, Node

__all__ = ["Context", "Reads"]

KNOWN_BYTES = 64 * 1024
LARGEST_TENSOR = 1 << 48
LARGEST_EXTENT = (1 << 63) - 1


@dataclass
class Context:
    """The graph under construction."""

    dims: Mapping[str, int] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    known: dict[str, Array] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    alias: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ops: list[AnyOp] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    op_names: dict[str, int] = field(default_factory=dict)
    unclaimed: dict[str, int] = field(default_factory=dict)
    op_types: dict[str, str] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)
    params: dict[str, int] = field(default_factory=dict)
    where: str = "model"

    # What is known -------------------------------------------------------------------------------------------------

    def tensor(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            if name in self.sequences:
                raise ModelError(f"{name!r} is a sequence, a tensor is wanted", self.where) from None
            raise ModelError(f"tensor {name!r} is not defined", self.where, "is the graph complete?") from None

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensor(name).shape

    def dtype(self, name: str) -> str:
        return self.tensor(name).dtype

    def value(self, name: str) -> Array | None:
        """The values of a small tensor that is known before run time, also of a small float initializer."""
        found = self.known.get(name)
        return self.parameters.get(name) if found is None else found

    def need(self, node: Node, position: int, what: str) -> Array:
        """As :meth:`value`, for an input that shapes depend on. Raises ModelError when only run time knows it."""
        name = node.input(position)
        found = self.value(name)
        if found is None:
            message = f"{node.op_type} takes its {what} from {name!r}, which is known at run time only"
            raise ModelError(message, node.name, f"make {what} a constant or bind the dimensions it depends on (--dim)")
        return found

    def ints(self, node: Node, position: int, what: str) -> tuple[int, ...]:
        return tuple(int(v) for v in self.need(node, position, what).reshape(-1))

    def scalar(self, name: str) -> Const | None:
        """A known one-element tensor as a leaf of a scalar body."""
        found = self.known.get(name)
        if found is None or found.size != 1 or found.dtype.kind in "OSUc":
            return None
        return Const(found.reshape(-1)[0].item())

    # New tensors ---------------------------------------------------------------------------------------------------

    def declare(self, name: str, shape: Sequence[int], dtype: str, role: Any = "activation") -> str:
        """A new tensor. Raises ModelError for impossible shapes and for a name that is taken."""
        extents = tuple(int(e) for e in shape)
        if any(e < 0 or e > LARGEST_EXTENT for e in extents) or math.prod(extents) > LARGEST_TENSOR:
            text = " x ".join(str(e) if len(str(e)) < 24 else "huge" for e in extents[:8])
            hint = f"extents are 0 or more, tensors at most 2^{LARGEST_TENSOR.bit_length() - 1} elements"
            raise ModelError(f"tensor {name!r} would be {text} elements", self.where, hint)
        if name in self.tensors or name in self.alias or name in self.sequences:
            raise ModelError(f"tensor {name!r} is produced twice", self.where, "ONNX graphs assign each name once")
        self.tensors[name] = Tensor(name, extents, dtype, role)
        return name

    def constant(self, name: str, array: Array, dtype: str) -> str:
        """A tensor whose values are known; small ones carry their bytes."""
        self.declare(name, array.shape, dtype, "constant")
        self.known[name] = array
        if array.dtype.kind not in "OSU":
            little = np.ascontiguousarray(array, dtypes.numpy_type(dtype))
            self.tensors[name] = Tensor(name, array.shape, dtype, "constant", little.tobytes())
        return name

    def output(self, node: Node, position: int, shape: Sequence[int], dtype: str) -> str:
        """Declares an output of `node`; an output nobody named gets a name of its own."""
        return self.declare(node.output(position) or self.fresh(f"{node.name}.o{position}"), shape, dtype)

    def temporary(self, node: Node, label: str, shape: Sequence[int], dtype: str) -> str:
        """A tensor between two nests of one node."""
        return self.declare(self.fresh(f"{node.outputs[0] or node.name}.{label}"), shape, dtype)

    def fresh(self, stem: str) -> str:
        """A name that no operator or tensor has, `stem` itself where possible."""
        name = stem
        while name in self.taken or name in self.tensors:
            self.taken[stem] = self.taken.get(stem, 0) + 1
            name = f"{stem}_{self.taken[stem]}"
        self.taken[name] = 0
        return name

    def op_name(self, stem: str) -> str:
        """A name for an operator: that of its node where it is still free."""
        name = stem
        while name in self.op_names:
            self.op_names[stem] += 1
            name = f"{stem}_{self.op_names[stem]}"
        self.op_names[name] = 0
        return name

    # New operators -------------------------------------------------------------------------------------------------

    def nest(
        self,
        node: Node,
        loops: Sequence[Loop],
        reads: Reads,
        write: Access,
        body: Scalar,
        combiner: Combiner | None = None,
        tail: Scalar | None = None,
        *,
        label: str = "",
        counted: bool = False,
    ) -> None:
        """One loop nest; with `counted`, each of its points is a multiply-accumulate.

        A single value is a loop of one turn: what is mapped onto a fabric is loops.
        """
        loops = loops or (Loop("one", 1),)
        name = self.op_name(f"{node.name}.{label}" if label else node.name)
        macs = math.prod(loop.extent for loop in loops) if counted else 0
        op_type = f"{node.op_type}.{label}" if label else node.op_type
        op = Op(name, op_type, tuple(loops), tuple(reads.accesses), write, body, combiner, tail, (node.source,), macs)
        self.ops.append(op)
        self.macs[node.source] = self.macs.get(node.source, 0) + macs

    def view(self, node: Node, source: str, target: str) -> None:
        """`target` (declared) is `source` under another shape."""
        self.ops.append(View(self.op_name(node.name), node.op_type, source, target, (node.source,)))

    def rename(self, node: Node, source: str, position: int = 0) -> None:
        """An output that is an input: no operator at all."""
        name = node.output(position)
        if not name:
            return
        if name in self.tensors or name in self.alias or name in self.sequences:
            raise ModelError(f"tensor {name!r} is produced twice", node.name, "ONNX graphs assign each name once")
        self.alias[name] = source

    def host(self, node: Node, reason: str, outputs: Sequence[tuple[Sequence[int], str]]) -> None:
        """An operator for the host, with the shapes and types of its outputs."""
        names = [self.output(node, i, shape, dtype) for i, (shape, dtype) in enumerate(outputs)]
        inputs = tuple(name for name in node.inputs if name)
        self.ops.append(
            Opaque(self.op_name(node.name), node.op_type, inputs, tuple(names), reason, (node.source,), node.encoded())
        )


class Reads:
    """Collects the reads of one nest: called with a tensor and an index, it gives the leaf that is the value."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.accesses: list[Access] = []

    def __call__(self, tensor: str, index: Sequence[Any], guards: Sequence[Any] = (), fill: float | int = 0) -> Scalar:
        if not guards and (leaf := self.context.scalar(tensor)) is not None:
            return leaf
        return Arg(self.position(tensor, index, guards, fill))

    def position(self, tensor: str, index: Sequence[Any], guards: Sequence[Any] = (), fill: float | int = 0) -> int:
        """The number of a new read (for gathers, which need the read itself)."""
        self.accesses.append(Access(tensor, tuple(index), tuple(guards), fill))
        return len(self.accesses) - 1
