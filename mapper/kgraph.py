"""A wafer contest graph: kernels to size and place, the streams between them, the fabric and the weights.

The statement is the ISPD 2020 contest "Wafer-Scale Deep Learning Accelerator Placement" (M. James, M. Tom,
P. Groeneveld, V. Kibardin, doi:10.1145/3372780.3380846). `docs/wafer-contest.md` repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["KernelEdge", "KernelGraph", "KernelNode", "NodeKind", "PlacedKernel", "Weights"]

NodeKind = Literal["input", "output", "conv", "dblock", "cblock"]


@dataclass(frozen=True, slots=True)
class Weights:
    """Score = time * slowest kernel + wirelength * centre distances + adapter * adapter units."""

    time: Fraction
    wirelength: Fraction
    adapter: Fraction


@dataclass(frozen=True, slots=True)
class KernelNode:
    """A kernel with its formal arguments in the contest's letters.

    conv: image H x W, C features, K filters of R x S, stride T. Blocks: image H x W, F features.
    input and output carry the `shape` of their tensor and are not placed.
    """

    id: int
    name: str
    kind: NodeKind
    H: int = 1
    W: int = 1
    R: int = 1
    S: int = 1
    C: int = 1
    K: int = 1
    T: int = 1
    F: int = 0
    shape: tuple[int, ...] = ()

    @property
    def placeable(self) -> bool:
        return self.kind in ("conv", "dblock", "cblock")


@dataclass(frozen=True, slots=True)
class KernelEdge:
    """A stream from node `src` to node `dst` (ids) carrying a tensor of `shape`."""

    src: int
    dst: int
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelGraph:
    """`width` x `height` elements, `memory_limit` words in each; nodes in file order."""

    name: str
    width: int
    height: int
    memory_limit: int
    weights: Weights
    nodes: tuple[KernelNode, ...]
    edges: tuple[KernelEdge, ...]

    @property
    def kernels(self) -> tuple[KernelNode, ...]:
        """The kernels that need a place, in file order."""
        return tuple(node for node in self.nodes if node.placeable)

    @property
    def wires(self) -> tuple[tuple[int, int], ...]:
        """Edges between placed kernels as pairs of positions in `kernels`; the others cost nothing."""
        position = {node.id: index for index, node in enumerate(self.kernels)}
        return tuple((position[e.src], position[e.dst]) for e in self.edges if e.src in position and e.dst in position)


@dataclass(frozen=True, slots=True)
class PlacedKernel:
    """Kernel `name` at corner (x, y), turned by 0 or 90 degrees, with its execution arguments."""

    name: str
    x: int
    y: int
    rotation: int
    h: int
    w: int
    c: tuple[int, ...]
    k: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Elements along x and y: height h * w * (c + 1), width 3 * k, swapped by a turn of 90 degrees."""
        tall, wide = self.h * self.w * (max(self.c) + 1), 3 * sum(self.k)
        return (wide, tall) if self.rotation == 0 else (tall, wide)
