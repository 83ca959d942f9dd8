"""What flows between the operators of a graph: who gives what to whom, how long it waits, and where it lives.

Stages are the graph's loop nests in their order, tensors are taken by their roots (views share bytes). In a pipeline
the inputs of successive inferences follow each other, one stage further per interval, so a tensor that is read d levels
after it was written (levels: longest path from the inputs) must stand d + 1 times: d = 1 is the double buffer, a
residual branch waits longer. What comes from off the wafer is fetched when it is needed and double-buffered; weights
stay in one copy. A table that is gathered from by data stays off the wafer: only the rows asked for come in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mapper import dtypes
from mapper.footprint import Pieces, components, slice_sum
from mapper.ir import Graph, Op, Opaque

from .program import Reads

__all__ = ["Edge", "Flow"]


@dataclass(frozen=True, slots=True)
class Edge:
    """Tensor `tensor` goes from stage `source` to stages `targets`, each of which needs so many bytes of it (`sizes`);
    None is off the wafer."""

    tensor: str
    source: int | None
    targets: tuple[int | None, ...]
    sizes: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """What the most demanding reader needs."""
        return max(self.sizes)

    def bytes_to(self, target: int | None) -> int:
        return self.sizes[self.targets.index(target)]


@dataclass(frozen=True)
class Flow:
    """The graph seen as stages and tensors between them; `pipelined` tells whether inferences overlap."""

    graph: Graph
    pipelined: bool

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        return tuple(self.graph.nests)

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Stage number of each operator."""
        return {op.name: number for number, op in enumerate(self.ops)}

    @cached_property
    def writer(self) -> Mapping[str, int]:
        """The stage that writes each root tensor."""
        return {op.write.tensor: number for number, op in enumerate(self.ops)}

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Stages before each stage on the longest path."""
        found: list[int] = []
        for givers in self.givers:
            found.append(max((found[giver] + 1 for giver in givers), default=0))
        return tuple(found)

    @cached_property
    def givers(self) -> tuple[tuple[int, ...], ...]:
        """Per stage the stages whose results it needs, seen through views and host calls."""
        return tuple(tuple(sorted(self._givers(op))) for op in self.ops)

    def _givers(self, op: Op) -> set[int]:
        found: set[int] = set()
        open_, seen = [*op.inputs], set(op.inputs)
        while open_:
            root = self.graph.root(open_.pop())
            giver = self.graph.producer.get(root)
            if root in self.writer and self.writer[root] != self.position[op.name]:
                found.add(self.writer[root])
            elif isinstance(giver, Opaque):
                open_ += [name for name in giver.inputs if name not in seen]
                seen.update(giver.inputs)
        return found

    @cached_property
    def leaving(self) -> frozenset[str]:
        """Roots that the host wants: outputs of the model and inputs of host operators."""
        wanted = {self.graph.root(name) for name in self.graph.outputs}
        for op in self.graph.ops:
            if isinstance(op, Opaque):
                wanted |= {self.graph.root(name) for name in op.inputs}
        return frozenset(wanted)

    def stays(self, op: Op, read: int) -> bool:
        """Is the read a weight or constant, of which each core keeps its slice?"""
        access = op.reads[read]
        root = self.graph.root(access.tensor)
        gathered = any(index.gathered for index in access.index)
        return root not in self.writer and self.graph.tensor(root).role in ("weight", "constant") and not gathered

    def home(self, root: str) -> str | None:
        """ "sram" for what is made and used on the wafer, None for what lives off it."""
        return "sram" if root in self.writer and root not in self.leaving else None

    def reads(self, number: int) -> Reads:
        """Copies and residency of each read of a stage."""
        op = self.ops[number]
        resident = tuple(self.pipelined and self.stays(op, read) for read in range(len(op.reads)))
        copies = tuple(1 if stays else self._copies(number, read) for read, stays in enumerate(resident))
        return Reads(copies, resident)

    def _copies(self, number: int, read: int) -> int:
        root = self.graph.root(self.ops[number].reads[read].tensor)
        giver = self.writer.get(root)
        if not self.pipelined or giver == number:
            return 1
        if giver is None or root in self.leaving:
            return 2
        return self.levels[number] - self.levels[giver] + 1

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every tensor that crosses the mesh at each inference, in the order of first use."""
        takers: dict[str, dict[int, int]] = {}
        for number, op in enumerate(self.ops):
            for read, access in enumerate(op.reads):
                root = self.graph.root(access.tensor)
                if not self.stays(op, read) and self.writer.get(root) != number:
                    users = takers.setdefault(root, {})
                    users[number] = max(users.get(number, 0), self._touched(op, read))
        found = []
        for root, users in takers.items():
            source = self.writer[root] if self.home(root) else None
            found.append(Edge(root, source, tuple(users), tuple(users.values())))
        for root, number in self.writer.items():
            if root in self.leaving:
                found.append(Edge(root, number, (None,), (self.graph.tensor(root).bytes,)))
        return tuple(found)

    def _touched(self, op: Op, read: int) -> int:
        """Bytes that an operator reads at least once."""
        access = op.reads[read]
        tensor = self.graph.tensor(access.tensor)
        zero = np.zeros(1, np.int64)
        whole = {name: Pieces(zero, np.array([extent]), zero) for name, extent in op.extents.items()}
        elements = math.prod(slice_sum(part, whole) for part in components(op, access, tensor.shape))
        return dtypes.bytes_of(elements, tensor.dtype)

    @cached_property
    def readers(self) -> Mapping[str, int]:
        """How many stages (and the host) take each root tensor."""
        return {edge.tensor: len(edge.targets) for edge in self.edges}

    @cached_property
    def live_bytes(self) -> int:
        """Tensors between stages that live on the wafer."""
        return sum(self.graph.tensor(root).bytes for root in self.writer if self.home(root))

    @cached_property
    def off_wafer_bytes(self) -> tuple[int, int]:
        """Bytes that come in and go out at each inference, each tensor once per reader."""
        into = sum(sum(edge.sizes) for edge in self.edges if edge.source is None)
        out = sum(edge.bytes for edge in self.edges if edge.targets == (None,))
        return into, out
