"""Where every operator goes and how every tensor travels: the value at which all backends and all judges meet.

A :class:`Mapping` is a DAG of stages on one machine. A :class:`Stage` runs one operator of the legalised graph as a
*tile program*: a list of :class:`TileLoop`, outermost first, that covers the operator's iteration domain down to single
points. A loop with an `axis` is spatial: its trips run side by side on that axis. Nothing is unrolled: counts are
products of trips. Everything else a stage holds is explicit: the placed loop body, the rectangle of the fabric, routed
tensors, configuration, and phases of time.

Tile semantics. Each tile loop cuts the enclosing tile of its operator loop (at first the whole extent) into pieces of
`step`, the last one ragged; `trips = ceil(largest enclosing tile / step)`. The steps of one operator loop fall
(weakly) from outside to inside and end at 1. Operator loops of extent 1 may be left out.

Slices. A :class:`Buffer` keeps, in `memory`, the slice of one operand (read number, or -1 for the written tensor): the
elements inside the tensor that the loops from `depth` on touch while the first `depth` loops stand still (guards other
than the tensor's own bounds do not shrink a slice; a gathered dimension counts one element per point, at most all).
An operand *depends* on the loops of its access and, where it is gathered, on those of the gathering read; a tail read
never depends on reducing loops. Buffers of an operand form a chain from its home inwards, `depth` never falling; the
arithmetic units are its implicit last link: they take one element per point (`depth` = all loops, streamed).

Fills. Let j be the innermost temporal loop before `depth` with more than one trip on which the operand depends (of a
streamed buffer: the innermost temporal loop before `depth`). The buffer is filled once per step of the temporal loops
up to j; inner ones leave it standing. A tail read is filled once per output element: reducing loops count as standing
at their first step. Spatial loops before `depth` that the operand depends on give instances with slices of their own;
those it does not depend on give copies. Every copy is written; between the feeding buffer's depth and this one the
source is read once for all copies along a multicasting axis, else once per copy. A *resident* buffer keeps its slice
from one inference to the next: it is filled before the first, and no inference is charged for that.

Results flow the other way. A written slice is drained when its fill ends; all but the last drain of an element carry
partial results in the accumulator's type and are read back before the next fill, the last one carries the output's
type. Copies along a reducing spatial loop are combined on the way out: each copy is read, all but one of them as a
partial result, and on a multicasting axis the receiver is written once (and its read-back serves one copy). On one link
every element has exactly one last drain, also where several points of the output loops, or points chosen by data,
write it (a scatter). Elements are packed; each link's bytes are rounded up once.

Hops. On a `hop` axis instances form a line of PEs entered (and left) at position 0: a slice for position p crosses p
links, its copies are handed on from neighbour to neighbour. Loops that share an axis nest, the outer one with the
larger stride. What is handed between copies that are combined is partial. A partial result that is read back crosses
the links between position 0 and its first copy again; a scatter's hops are all partial.

Displaced bodies. Along an axis that `displaces` rows (columns) each instance runs the stage's bodies on PEs of its own:
n instances cut the rectangle into n strips of equal height (width); bodies are placed in the first strip, and instance
k runs them displaced by k strips. On a line, whose rows close to a ring, rows may be left over, and a tail higher than
a strip runs in turns: in each as many instances as tails fit on the whole line. A tail is displaced so that it loads
partial results in the row that stored them. On other axes it is the target's business where copies run.

Tensors at home in rows. On a line, instances along an axis that displaces or does not multicast have local memories of
their own, and copies along the others are operations of one body. A tensor whose home is the rows' local memory lies
where it was written: the instance of its only writer's loops along those axes keeps, in the row of its stores, every
element that it writes. A reader touches in each instance only elements of that instance, and its loads of the tensor
stand in that row: its rectangle starts as many rows further down as that takes.

Order. Ordered loops run temporally, in the order of the operator. A read of the operator's own output sees every
element that is finished, in whichever memory it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mapper.ir import Graph
from mapper.machine import Machine
from mapper.placement import KernelMapping

__all__ = ["Axis", "Buffer", "HostCall", "Infeasible", "Mapping", "Phase", "Rect", "Route", "Stage", "TileLoop"]

SCHEMA = 1
WRITTEN = -1


@dataclass(frozen=True, slots=True)
class Axis:
    """A direction in which the fabric runs copies of a tile side by side.

    `multicast`: one read of the source serves all copies along this axis; `hop`: instances are a line of PEs, and
    what they get or give crosses its links. `displaces`: each instance runs displaced bodies.
    """

    name: str
    extent: int
    multicast: bool = True
    hop: bool = False
    displaces: Literal["", "rows", "columns"] = ""


@dataclass(frozen=True, slots=True)
class TileLoop:
    """`trips` pieces of `step` iterations of operator loop `loop`; `axis` names the spatial direction, if any."""

    loop: str
    step: int
    trips: int
    axis: str | None = None


@dataclass(frozen=True, slots=True)
class Buffer:
    """Slice of operand `operand` (-1: the written tensor) in `memory`, standing while the first `depth` loops do.

    `bytes` is the largest slice (partial results in the accumulator's type), `copies` 2 where it is double-buffered,
    `address` the byte offset in each instance of the memory. `streamed` buffers are refilled at every iteration,
    whether the slice changed or not. `resident` ones (a weight's slice in a pipeline, never refilled) stay between
    inferences.
    """

    operand: int
    memory: str
    depth: int
    bytes: int
    address: int = 0
    copies: int = 1
    streamed: bool = False
    resident: bool = False


@dataclass(frozen=True, slots=True)
class Rect:
    """`height` x `width` PEs from (row, column) on; lanes, where a machine has several, from `lane` on."""

    row: int
    column: int
    height: int
    width: int
    lane: int = 0
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Route:
    """`bytes` of tensor `tensor` from stage `source` ("" = off the fabric) to stage `target` along `links`.

    `links` are hops between neighbouring PEs ((row, column), (row, column)); together they form a tree rooted in the
    source. `colour` is the routing colour that the tree holds in every router it passes. `also` names further stages
    that the same tree serves. A route of several `lanes` is a bundle: lane i is the tree displaced by i x `stride`
    (rows, columns) and carries its share of the bytes; `links` are those of lane 0.
    """

    tensor: str
    source: str
    target: str
    bytes: int
    links: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    colour: int = 0
    also: tuple[str, ...] = ()
    lanes: int = 1
    stride: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Phase:
    """`times` occurrences of `cycles` on `resource`; phases of different resources of a stage overlap if it says so."""

    name: str
    resource: str
    cycles: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """One operator on the fabric; `after` names stages that must end first.

    `body` indexes `Mapping.bodies`: the loop body that runs at every iteration; `tail` the one that finishes outputs
    and runs once per output element and copy. `launches` counts how often the host starts the fabric for this stage,
    each time sending `configuration_bytes`.
    """

    name: str
    op: str
    loops: tuple[TileLoop, ...]
    buffers: tuple[Buffer, ...]
    rect: Rect
    body: int | None = None
    tail: int | None = None
    after: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    overlap: bool = False
    configuration_bytes: int = 0
    launches: int = 1


@dataclass(frozen=True, slots=True)
class HostCall:
    """An operator left to the host: its bytes in and out are charged to the backing store."""

    op: str
    reason: str


@dataclass(frozen=True)
class Mapping:
    """Everything that was decided. `homes` gives the memory in which a tensor lives between stages (default: the
    machine's outermost); `schedule` says whether stages follow each other or all run as a pipeline."""

    target: str
    machine: Machine
    graph: Graph
    axes: tuple[Axis, ...]
    stages: tuple[Stage, ...]
    bodies: tuple[KernelMapping, ...] = ()
    routes: tuple[Route, ...] = ()
    homes: tuple[tuple[str, str], ...] = ()
    host: tuple[HostCall, ...] = ()
    schedule: Literal["sequence", "pipeline"] = "sequence"
    schema: int = SCHEMA

    def home(self, tensor: str) -> str:
        """The memory in which `tensor` lives between stages."""
        return dict(self.homes).get(tensor, self.machine.memories[0].name)

    def axis(self, name: str) -> Axis:
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(f"mapping has no axis {name!r}")


@dataclass(frozen=True, slots=True)
class Infeasible:
    """ "Does not fit" as data: which resource, how much is asked, what there is, and what would help."""

    resource: str
    demand: float
    limit: float
    unit: str
    culprit: str
    levers: tuple[str, ...] = ()

    def __str__(self) -> str:
        help_ = f": {'; '.join(self.levers)}" if self.levers else ""
        return f"{self.culprit} needs {self.demand:g} {self.unit} of {self.resource}, there are {self.limit:g}{help_}"
