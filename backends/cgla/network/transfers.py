"""LOAD and DRAIN of a stage: bytes over the lanes' ports, and the transfers that carry them.

A *transfer* is one run of addresses in the backing store. Each costs a set-up by the host, whatever its length:

    cycles of a lane = bytes / rate + transfers x set-up

A fill of a buffer sends a slice to every local memory that has one of its own. One by one, each run of each slice is
a transfer. *Coalesced*, slices of rows and replicas that do not overlap are sent as if they were one: units capture
what falls into their address ranges, so a run goes on through the memories of neighbours (and copies of one slice are
captured from one transfer in any case). It ends after 8192 words. Windows that overlap are sent one by one, and lanes
have ports of their own, so nothing joins across lanes. Results leave the same way at the end of a fill; partial ones
come back before the next and are loads then.

Weights that one read of one operator alone uses are *packed*: laid out in the order of their fills before deployment,
as whatever depends on weights alone is done then. What a fill sends of them is one run.

The vendor's run-time library (`emax7lib.c`) joins the slice of a row to that of the next row and column if it is one
run and the addresses follow each other, until there are 8192 words; strided slices go block by block. We let the host
join whatever follows in address, in whichever rows it lies; that is what sets us apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

from mapper import dtypes
from mapper.footprint import Component, dependencies
from mapper.ir import Access, Graph, Op, Opaque, View
from mapper.machine import Machine
from mapper.mapping import WRITTEN, Axis, Buffer, TileLoop

from .runs import Cut, Runs, fills, groups, runs_of

__all__ = ["BUS_BYTES", "MOST_BYTES", "Transfers", "dma_cycles", "transfers"]

MOST_BYTES = 4 * 8192  # of one transfer: the vendor's library ends it there
BUS_BYTES = 32  # width of the bus that carries data and configuration (IMAX2 handbook)
STORE = "dram"


@dataclass(frozen=True, slots=True)
class Transfers:
    """Transfers of all lanes: as made, and as they would be one by one."""

    loads: int = 0
    drains: int = 0
    single_loads: int = 0
    single_drains: int = 0

    def __add__(self, other: Transfers) -> Transfers:
        return Transfers(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def dma_cycles(moved_bytes: int, count: int, lanes: int, machine: Machine) -> int:
    """Cycles in which `lanes` ports move `moved_bytes` in `count` transfers, evenly shared."""
    rate = float(machine.settings.get("dma_bytes_per_cycle", BUS_BYTES))
    set_up = float(machine.settings.get("dma_setup_cycles", 0))
    return math.ceil((moved_bytes / rate + count * set_up) / lanes)


def transfers(
    graph: Graph,
    op: Op,
    loops: tuple[TileLoop, ...],
    buffers: Sequence[Buffer],
    axes: Sequence[Axis],
    home: Callable[[str], str],
) -> Transfers:
    """Transfers of a stage; `home` gives the memory in which a tensor lives between stages. Operands that live on the
    array, and residents, need none."""
    total = Transfers()
    ports = frozenset(axis.name for axis in axes if not axis.multicast)
    for operand in (*range(len(op.reads)), WRITTEN):
        access = op.write if operand == WRITTEN else op.reads[operand]
        chain = sorted((b for b in buffers if b.operand == operand), key=lambda b: b.depth)
        outer = chain[0] if chain else Buffer(operand, "", len(loops), 0, streamed=True)
        if home(access.tensor) != STORE or outer.resident:
            continue
        tensor = graph.tensor(access.tensor)
        slices = _Slices(
            tuple(op.extents.items()),
            op.output_loops,
            groups(op, access, tensor.shape),
            dependencies(op, access),
            operand != WRITTEN and operand not in op.body_reads,
            loops[: outer.depth],
            outer.streamed,
            ports,
            operand != WRITTEN and _packed(graph, access),
        )
        total += _inward(slices, tensor.dtype) if operand != WRITTEN else _outward(slices, op, tensor.dtype)
    return total


def _packed(graph: Graph, access: Access) -> bool:
    """May the host lay the tensor out for this read? Data must not choose among its elements."""
    root = graph.root(access.tensor)
    fixed = graph.tensor(root).role in ("weight", "constant") and root not in graph.outputs
    return fixed and _reads(graph, root) == 1 and not any(index.gathered for index in access.index)


def _reads(graph: Graph, tensor: str) -> int:
    """Reads of a tensor and of its views."""
    users = graph.consumers[tensor]
    views = sum(_reads(graph, user.output) for user in users if isinstance(user, View))
    return views + sum(_reads_of(user, tensor) for user in users if not isinstance(user, View))


def _reads_of(user: Op | Opaque, tensor: str) -> int:
    return sum(read.tensor == tensor for read in user.reads) if isinstance(user, Op) else user.inputs.count(tensor)


def _inward(slices: _Slices, dtype: str) -> Transfers:
    """Fills of an operand; one that the tail reads is filled once per output."""
    coalesced, single = (slices.count(dtype, joined, slices.once) for joined in (True, False))
    return Transfers(loads=coalesced, single_loads=single)


def _outward(slices: _Slices, op: Op, dtype: str) -> Transfers:
    """Drains of a result, of which all but the last carry partial results, and the loads that bring these back."""
    wide = op.combiner.accumulator if op.combiner is not None else dtype
    counts = []
    for joined in (True, False):
        last = slices.count(dtype, joined, once=True)
        back = slices.count(wide, joined, once=False) - slices.count(wide, joined, once=True)
        counts += [back, last + back]
    return Transfers(*counts)


@dataclass(frozen=True)
class _Slices:
    """The slices of an operand that its outermost buffer takes: `domain` (loop, extent), `groups` of its dimensions,
    the loops it depends on, and the tile `loops` that stand while a slice does; the axes in `ports` have ports of their
    own. `once`: the tail reads it; `packed`: what a fill sends lies together."""

    domain: tuple[tuple[str, int], ...]
    output_loops: frozenset[str]
    groups: tuple[Component, ...]
    depends: frozenset[str]
    once: bool
    loops: tuple[TileLoop, ...]
    streamed: bool
    ports: frozenset[str]
    packed: bool = False

    @lru_cache(maxsize=1 << 14)  # noqa: B019 - slices are values without names: layers of one shape are counted once
    def count(self, dtype: str, joined: bool, once: bool) -> int:
        """Transfers over all fills; `joined` coalesces, `once` counts reducing loops at their first step only."""
        extents = dict(self.domain)
        cuts = {name: (extent, self._cuts(name, joined, once)) for name, extent in self.domain}
        again = math.prod(fills(extents[name], cuts[name][1]) for name in extents if name not in self.depends)
        found = Counter({Runs(1, ((1, 1),), 1, 1): 1})
        for group in reversed(self.groups):
            outer = runs_of(group, tuple(cuts[name] for name in group.loops))
            product = Counter[Runs]()
            for inner, times in found.items():
                for runs, number in outer:
                    product[runs.over(inner)] += times * number
            found = product
        return again * sum(number * _carried(runs, dtype, self.packed) for runs, number in found.items())

    def _cuts(self, name: str, joined: bool, once: bool) -> tuple[Cut, ...]:
        """How a loop is cut: by steps that refill and by ports one after the other, side by side by other axes."""
        relevant, last = name in self.depends, self._last_fill_loop()
        stands = once and name not in self.output_loops
        found: list[Cut] = []
        for position, tile in enumerate(self.loops):
            if tile.loop != name:
                continue
            own = tile.axis in self.ports or (relevant and not joined) if tile.axis else position <= last
            if own and not stands:
                found.append((tile.step, "each"))
            else:
                found.append((tile.step, "together" if tile.axis and relevant else "first"))
        return tuple(found)

    def _last_fill_loop(self) -> int:
        """Position of the innermost temporal loop whose step refills the buffer, -1 if none does."""
        refills = (
            at
            for at, tile in enumerate(self.loops)
            if tile.axis is None and (self.streamed or (tile.loop in self.depends and tile.trips > 1))
        )
        return max(refills, default=-1)


def _carried(runs: Runs, dtype: str, packed: bool) -> int:
    """Transfers that carry the runs of one fill."""
    lengths = ((runs.elements, 1),) if packed else runs.lengths
    return sum(count * math.ceil(dtypes.bytes_of(length, dtype) / MOST_BYTES) for length, count in lengths)
