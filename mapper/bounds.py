"""Provable lower bounds on what moves across a memory boundary, on time and on energy.

Setting: everything is computed inside; `capacity_bytes` is the room inside the boundary *in total* (over all PEs and
shared buffers there); the traffic is what is read from plus written to the memory outside it. Every point of a nest is
evaluated on its own (no Strassen-like reassociation), each input lies outside at first and each output at last.

Two arguments, and the larger one holds:

* *compulsory*: each element that some iteration needs is read once, each element of the output is written once;
* *segments* (Hong & Kung 1981; Irony, Toledo & Tiskin 2004; with this constant Smith, Lowery, Langou & van de Geijn,
  arXiv 1702.02017): cut a schedule into segments of 2S bytes read. In one segment at most 3S bytes of operands can be
  used, so if n points need |A|, |B|, |C| elements of three arrays and every loop moves at least two of them, Loomis &
  Whitney give  n <= sqrt(R |A| |B| |C|) <= sqrt(R / (wA wB wC)) S^1.5,  where R is the number of points of the loops of
  an access that touch one element (1 for a matmul, ceil(FY/sy) ceil(FX/sx) for a convolution; Chen, Han & Wang, HPCA
  2020 and Demmel & Dinh, arXiv 1802.06905 have the same leading term). Charging the first use of an accumulator as a
  read costs wC per output element, its last write gives wO back:

      bytes >= 2 points sqrt(wA wB wC / (R S)) - 2S - |C| (wC - wO)

Nothing here depends on a mapping; every figure may be compared with any mapping's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from mapper.dtypes import BITS, bytes_of
from mapper.footprint import Component, Pieces, components, dependencies, slice_sum
from mapper.index import Index, interval
from mapper.ir import Access, Graph, Op, Opaque

__all__ = [
    "Attainable",
    "Bound",
    "attainable",
    "bisection_bound_cycles",
    "chain_bound_bytes",
    "energy_bound_pj",
    "external_bytes",
    "graph_bound_bytes",
    "hop_bound_byte_hops",
    "latency_bound_cycles",
    "op_bound_bytes",
    "pe_bound_bytes",
    "reference_line_conv",
    "reference_line_matmul",
    "touched_elements",
    "units_bound_bytes",
]

ENUMERATED = 2_000_000  # points of a component that are looked at one by one; beyond, less is claimed
Nothing = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Bound:
    """`bytes` = max(compulsory, segment); `formula` says which of them holds it up."""

    compulsory_bytes: int
    segment_bytes: int
    bytes: int
    formula: str


def op_bound_bytes(graph: Graph, op: Op, capacity_bytes: int, inside: frozenset[str] = Nothing) -> Bound:
    """Bound for one operator. `inside` names tensors that live inside the boundary: they need not cross it.

    Formula: max(compulsory, segments) of the module. Holds for every schedule, order, tiling and placement of the
    operator alone, with any contents of the memory at the start.
    """
    compulsory = _compulsory_bytes(graph, op, inside)
    segment = segment_bytes(graph, op, capacity_bytes, graph.root(op.write.tensor) in inside)
    formula = "compulsory" if compulsory >= segment else "2 points sqrt(wA wB wC / (R S)) - 2S - |C| (wC - wO)"
    return Bound(compulsory, segment, max(compulsory, segment), formula)


def _compulsory_bytes(graph: Graph, op: Op, inside: frozenset[str]) -> int:
    """sum over distinct inputs of the bytes that are needed + bytes of the elements written."""
    needed: dict[str, int] = {}
    for read in op.reads:
        root = graph.root(read.tensor)
        if root not in inside and read.tensor != op.write.tensor:
            elements = touched_elements(graph, op, read)
            needed[root] = max(needed.get(root, 0), bytes_of(elements, graph.tensor(read.tensor).dtype))
    written = 0
    if graph.root(op.write.tensor) not in inside:
        written = bytes_of(touched_elements(graph, op, op.write), graph.tensor(op.write.tensor).dtype)
    return sum(needed.values()) + written


def touched_elements(graph: Graph, op: Op, access: Access) -> int:
    """Elements that some iteration touches: never too many.

    Where data decides (gathers) one element is certain. Guards other than the tensor's own bounds are enumerated with
    the loops they mention; where that is too long nothing is claimed.
    """
    if op.points == 0:
        return 0
    shape = graph.tensor(access.tensor).shape
    guards = [guard for guard in access.guards if not _is_bound(guard, access, shape) and not _always(guard, op)]
    if guards:
        return _enumerated(op, access, shape, guards)
    found = 1
    for part in components(op, access, shape):
        found *= 1 if part.gathered else _elements(part, tuple(op.extents[name] for name in part.loops))
    return found


@lru_cache(maxsize=1 << 14)
def _elements(part: Component, extents: tuple[int, ...]) -> int:
    """Elements of a component over whole loops; layers of one shape ask once."""
    if math.prod(extents) > ENUMERATED and not (len(part.dimensions) == 1 and part.dimensions[0][0].is_affine):
        return 1  # an upper count
    zero = np.zeros(1, np.int64)
    whole = (Pieces(zero, np.array([extent], np.int64), zero) for extent in extents)
    return slice_sum(part, dict(zip(part.loops, whole, strict=True)))


def _is_bound(guard: Index, access: Access, shape: Sequence[int]) -> bool:
    """Is it one of the tensor's own bounds, index >= 0 or index <= extent - 1?"""
    return any(guard in (index, index * -1 + (extent - 1)) for index, extent in zip(access.index, shape, strict=True))


def _always(guard: Index, op: Op) -> bool:
    return not guard.gathered and interval(guard, {n: (0, e - 1) for n, e in op.extents.items()})[0] >= 0


def _enumerated(op: Op, access: Access, shape: Sequence[int], guards: Sequence[Index]) -> int:
    """Distinct elements inside the tensor for which every guard holds somewhere."""
    names = sorted(access.loops.union(*(guard.loops for guard in guards)))
    if any(i.gathered for i in (*access.index, *guards)) or math.prod(op.extents[n] for n in names) > ENUMERATED:
        return 0
    grids = np.meshgrid(*(np.arange(op.extents[n]) for n in names), indexing="ij", sparse=True)
    values = dict(zip(names, grids, strict=True))
    holds, flat = np.ones((), bool), np.zeros((), np.int64)
    for guard in guards:
        holds = holds & (np.asarray(guard.at(values)) >= 0)
    for index, extent in zip(access.index, shape, strict=True):
        at = np.asarray(index.at(values))
        holds = holds & (at >= 0) & (at < extent)
        flat = flat * extent + np.clip(at, 0, extent - 1)
    flat, holds = np.broadcast_arrays(flat, holds)
    return int(np.unique(flat[holds]).size)


def segment_bytes(graph: Graph, op: Op, capacity_bytes: int, stays: bool = False) -> int:
    """The segment bound of the module, 0 where it does not apply; `stays`: the output is not written outside.

    Holds if two reads that every iteration needs and the output cover each loop at least twice, and data decides
    neither of their elements. Points that a guard excludes are not counted.
    """
    if capacity_bytes <= 0:
        return 0
    best = max((_segments(graph, op, found, capacity_bytes, stays) for found in _products(graph, op)), default=0.0)
    return max(0, math.ceil(best - 1e-6))


def units_bound_bytes(graph: Graph, op: Op, units: int) -> int:
    """Least bytes between memories and `units` arithmetic units that hold nothing from one step to the next.

    Formula: max(compulsory, 3 points (wA wB wC / (R units))^(1/3)). In a step of n <= units points, |A|, |B|, |C|
    elements are taken or given, one access serving all units that share it; n <= sqrt(R |A| |B| |C|) as in the module,
    so the step moves at least 3 (wA wB wC n^2 / R)^(1/3) bytes (arithmetic and geometric mean), least per point for
    full steps. wC is the narrower of accumulator and output. Holds where every operand comes from a memory at every
    step and results go to one, as in `mapper.mapping`.
    """
    best = 0.0
    for found in _products(graph, op):
        wide = math.prod(found.widths[:2]) * min(found.widths[2], BITS[graph.tensor(op.write.tensor).dtype] / 8)
        best = max(best, 3 * op.points * found.share * (wide / (found.repeated * units)) ** (1 / 3))
    return max(_compulsory_bytes(graph, op, Nothing), math.ceil(best * (1 - 1e-9)))


@dataclass(frozen=True, slots=True)
class _Product:
    """Two reads and the output of a sum of products: bytes of an element of each, R, and the share of points that no
    guard excludes."""

    widths: tuple[float, ...]
    repeated: int
    share: float


def _products(graph: Graph, op: Op) -> Iterator[_Product]:
    """Pairs of reads that, with the output, cover each loop at least twice."""
    if op.combiner is None or op.points == 0:
        return
    reads = [op.reads[at] for at in sorted(op.body_reads) if op.reads[at].tensor != op.write.tensor]
    for a, b in combinations(reads, 2):
        if graph.root(a.tensor) != graph.root(b.tensor) and _covers(op, (a, b, op.write)):
            found = _product(graph, op, (a, b, op.write))
            if found is not None:
                yield found


def _covers(op: Op, three: Sequence[Access]) -> bool:
    """Does every loop move at least two of the three accesses, none of them decided by data?"""
    if any(index.gathered for access in three for index in access.index):
        return False
    moved = [dependencies(op, access) for access in three]
    return all(sum(name in loops for loops in moved) >= 2 for name, extent in op.extents.items() if extent > 1)


def _segments(graph: Graph, op: Op, found: _Product, capacity_bytes: int, stays: bool) -> float:
    written = touched_elements(graph, op, op.write)
    given_back = 0.0 if stays else BITS[graph.tensor(op.write.tensor).dtype] / 8
    leading = 2 * op.points * found.share * math.sqrt(math.prod(found.widths) / (found.repeated * capacity_bytes))
    return leading - 2 * capacity_bytes - written * (found.widths[2] - given_back)


def _product(graph: Graph, op: Op, three: Sequence[Access]) -> _Product | None:
    """None where guards leave nothing to prove."""
    widths, repeated, share = [], 1, 1.0
    partly: set[str] = set()
    for access in three:
        tensor = graph.tensor(access.tensor)
        wide = op.combiner.accumulator if access is op.write and op.combiner else tensor.dtype
        widths.append(BITS[wide] / 8)
        if any(not _is_bound(g, access, tensor.shape) and not _always(g, op) for g in access.guards):
            return None
        for part in components(op, access, tensor.shape):
            together, inside = _multiplicity(part, op)
            if inside < 1 and partly & set(part.loops):
                return None
            if inside < 1:
                partly |= set(part.loops)
            repeated, share = repeated * together, share * inside
    return _Product(tuple(widths), repeated, share)


def _multiplicity(part: Component, op: Op) -> tuple[int, float]:
    """R of a component: most points of its loops that touch one element; and the share of points inside the tensor."""
    points = math.prod(op.extents[name] for name in part.loops)
    if len(part.dimensions) == len(part.loops) == 1 and part.dimensions[0][0].is_affine:
        index, extent = part.dimensions[0]
        low, high = interval(index, {name: (0, op.extents[name] - 1) for name in part.loops})
        if low >= 0 and high < extent:
            return 1, 1.0
    if points > ENUMERATED:
        return points, 0.0
    grids = np.meshgrid(*(np.arange(op.extents[n]) for n in part.loops), indexing="ij", sparse=True)
    values = dict(zip(part.loops, grids, strict=True))
    flat, inside = np.zeros((), np.int64), np.ones((), bool)
    for index, extent in part.dimensions:
        at = np.asarray(index.at(values))
        inside = inside & (at >= 0) & (at < extent)
        flat = flat * extent + np.clip(at, 0, extent - 1)
    flat, inside = np.broadcast_arrays(flat, inside)
    touched = flat[inside]
    return (int(np.unique(touched, return_counts=True)[1].max()), touched.size / points) if touched.size else (1, 0.0)


def graph_bound_bytes(
    graph: Graph, capacity_bytes: int, inside: frozenset[str] = Nothing, weights_stay: bool = False, host: bool = True
) -> int:
    """Bound for the whole graph: every needed element of external inputs and weights read once, outputs written once,
    and both for whatever opaque operators exchange with the backing store.

    Holds for any mapping: intermediates may stay inside, operators may be fused, values computed twice. `inside` names
    tensors that live inside the boundary; with `weights_stay`, weights may stay there from one inference to the next,
    at most `capacity_bytes` of them. Without `host`, for a boundary further in, which opaque operators do not cross.
    """
    weights = outside = 0
    for root, size in _external_bytes(graph).items():
        if root in inside:
            continue
        if graph.tensor(root).role in ("weight", "constant"):
            weights += size
        else:
            outside += size
    if weights_stay:
        weights = max(0, weights - capacity_bytes)
    return weights + outside + _leaving_bytes(graph, inside) + (_host_bytes(graph) if host else 0)


def external_bytes(graph: Graph) -> int:
    """Bytes of inputs, weights and constants that every schedule of the graph reads at least once."""
    return sum(_external_bytes(graph).values())


def _external_bytes(graph: Graph) -> dict[str, int]:
    """Per tensor that no nest produces: bytes that the nests need of it, the most that one of them needs."""
    needed: dict[str, int] = {}
    made = {op.write.tensor for op in graph.nests}
    for op in graph.nests:
        for read in op.reads:
            root = graph.root(read.tensor)
            if root not in made:
                size = bytes_of(touched_elements(graph, op, read), graph.tensor(read.tensor).dtype)
                needed[root] = max(needed.get(root, 0), size)
    return needed


def _leaving_bytes(graph: Graph, inside: frozenset[str]) -> int:
    """Bytes that nests must write outside: graph outputs and what opaque operators read."""
    wanted = {graph.root(name) for name in graph.outputs}
    wanted |= {graph.root(name) for op in graph.ops if isinstance(op, Opaque) for name in op.inputs}
    return sum(
        bytes_of(touched_elements(graph, op, op.write), graph.tensor(op.write.tensor).dtype)
        for op in graph.nests
        if op.write.tensor in wanted and op.write.tensor not in inside
    )


def _host_bytes(graph: Graph) -> int:
    """Opaque operators read their inputs and write their outputs outside."""
    return sum(graph.tensor(n).bytes for op in graph.ops if isinstance(op, Opaque) for n in (*op.inputs, *op.outputs))


def chain_bound_bytes(external_bytes: int, op_bounds_bytes: Iterable[int], intermediates_bytes: Iterable[int]) -> int:
    """Fused chain without recomputation: max(external, sum_i LB_i - 2 sum_j |T_j|).

    Elango et al., POPL 2015 (arXiv 1411.2286): a schedule of the chain becomes one of the single operators when each
    element of an intermediate is stored once and loaded once. With recomputation only the first term is proven.
    """
    return max(external_bytes, sum(op_bounds_bytes) - 2 * sum(intermediates_bytes))


def pe_bound_bytes(graph: Graph, op: Op, pes: int, bytes_per_pe: int) -> int:
    """What enters plus leaves the busiest of `pes` PEs with `bytes_per_pe` of memory each.

    That PE evaluates at least 1/pes of the points (Irony, Toledo & Tiskin 2004), so the segment bound holds for these
    with S = bytes_per_pe; its results leave in either width. All PEs together move at least the sum over their shares.
    """
    whole = segment_bytes(graph, op, bytes_per_pe) + 2 * bytes_per_pe
    if whole <= 2 * bytes_per_pe or op.combiner is None:
        return 0
    final = graph.tensor(op.write.tensor).dtype
    lost = max(0, BITS[op.combiner.accumulator] - BITS[final]) / 8 * touched_elements(graph, op, op.write)
    return max(0, math.ceil((whole + lost) / pes - 2 * bytes_per_pe - lost))


def hop_bound_byte_hops(transfers: Iterable[tuple[int, int]]) -> int:
    """sum of bytes x Manhattan distance over (bytes, distance) of transfers between places already chosen."""
    return sum(size * distance for size, distance in transfers)


def bisection_bound_cycles(crossing_bytes: int, bytes_per_cycle: float) -> int:
    """Cycles to carry what must cross a cut of the fabric: bytes / width of the cut."""
    return math.ceil(crossing_bytes / bytes_per_cycle)


def latency_bound_cycles(macs: int, macs_per_cycle: float, traffic: Iterable[tuple[int, float]]) -> int:
    """max(MACs / peak, bytes / bandwidth per boundary): holds however computation and transfers overlap.

    `traffic` holds (bound in bytes, bytes per cycle) of boundaries. Roofline: Williams, Waterman & Patterson 2009.
    """
    return max([math.ceil(macs / macs_per_cycle), *(math.ceil(size / rate) for size, rate in traffic if rate > 0)])


def energy_bound_pj(traffic: Iterable[tuple[int, float]], macs: int, mac_pj: float) -> float:
    """sum of bound x cheapest pJ per byte at that boundary + MACs x pJ: boundaries are charged apart, so it adds up."""
    return sum(size * pj for size, pj in traffic) + macs * mac_pj


@dataclass(frozen=True, slots=True)
class Attainable:
    """Least bytes across the boundary found; `exact_in` names the space of mappings searched whole, "" if none was."""

    bytes: int
    exact_in: str


def attainable(
    graph: Graph, op: Op, capacity_bytes: int, effort: str = "default", inside: frozenset[str] = Nothing
) -> Attainable | None:
    """Least traffic of any tiling of `op` with one buffer of `capacity_bytes` over the backing store, all ragged tiles
    and loop orders: the curve of Gilbert et al. (Snowcat, ISCA 2024). `inside` names tensors that live in the buffer.
    None if single points do not fit.

    A tight floor for that space of mappings, not for all schedules: fusion, residency and uneven splits go below it.
    """
    from mapper.tiling.engine import Tiling, tile  # the engine itself asks for bounds
    from mapper.tiling.hierarchy import Hierarchy, Level

    levels = (Level("outside", None, 1.0, 1.0), Level("inside", capacity_bytes, 0.0, 0.0))
    home = {name: "inside" for name in inside}
    found = tile(graph, op, Hierarchy(levels), spatial=(), effort=effort, homes=lambda n: home.get(n, "outside"))
    return Attainable(found.bytes("outside"), found.exact_in) if isinstance(found, Tiling) else None


def reference_line_matmul(m: int, n: int, k: int, capacity_words: int) -> float | None:
    """2MNK / sqrt(S) + MN (Kwasniewski et al., SC 2019): a reference line, NOT a bound.

    It is the cost of schedules whose partial sums stay inside; with a short reduction others move less (M = N = 2048,
    K = 128, S = 270 000 words moves 4 718 592 against 6 260 721). None where K < 2 sqrt(S), where it misleads.
    """
    if k < 2 * math.sqrt(capacity_words):
        return None
    return 2 * m * n * k / math.sqrt(capacity_words) + m * n


def reference_line_conv(macs: int, outputs: int, reuse: int, capacity_words: int) -> float:
    """2 MACs / sqrt(R S) + |O| (Chen, Han & Wang, HPCA 2020, their practical form): a reference line, NOT a bound."""
    return 2 * macs / math.sqrt(reuse * capacity_words) + outputs
