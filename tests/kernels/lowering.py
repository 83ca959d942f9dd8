"""Runs lowered bodies on arrays, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mapper import dtypes
from mapper.index import loop
from mapper.ir import Access, Graph, Loop, Op, Tensor
from mapper.kernels.body import lower_main, lower_tail
from mapper.kernels.emit import Lowered
from mapper.kernels.run import execute, from_words, to_words
from mapper.kernels.style import CGLA_STYLE, CGRA_STYLE, Style
from mapper.scalar import Scalar

STYLES = {"cgra": CGRA_STYLE, "cgla": CGLA_STYLE}


def pointwise(body: Scalar, dtypes: tuple[str, ...], out: str, elements: int) -> tuple[Graph, Op]:
    """An operator y[i] = body(x0[i], x1[i], …)."""
    i = loop("i")
    reads = tuple(Access(f"x{n}", (i,)) for n in range(len(dtypes)))
    op = Op("op", "Test", (Loop("i", elements),), reads, Access("y", (i,)), body)
    inputs = tuple(Tensor(f"x{n}", (elements,), dtype, "input") for n, dtype in enumerate(dtypes))
    names = tuple(t.name for t in inputs)
    return Graph("g", (*inputs, Tensor("y", (elements,), out)), (op,), names, ("y",)), op


def run_pointwise(
    body: Scalar, arrays: tuple[np.ndarray, ...], dtypes: tuple[str, ...], out: str, style: Style
) -> np.ndarray:
    """The body on all elements at once (one iteration, elements as a batch)."""
    graph, op = pointwise(body, dtypes, out, arrays[0].size)
    lowered = lower_main(graph, op, style)
    words = execute(lowered.dfg, loads_of(lowered, {f"x{n}": a for n, a in enumerate(arrays)}, dtypes), 1)
    (stored,) = words.values()
    return from_words(np.broadcast_to(stored[0], arrays[0].shape).copy(), out)


def loads_of(lowered: Lowered, arrays: Mapping[str, np.ndarray], dtypes: tuple[str, ...]) -> dict[int, np.ndarray]:
    kinds = dict(zip(arrays, dtypes, strict=True))
    return {
        site.node: to_words(arrays[site.access.tensor], kinds[site.access.tensor])[None]
        for site in lowered.sites
        if lowered.dfg[site.node].kind == "load"
    }


def run_op(
    graph: Graph, op: Op, values: Mapping[str, np.ndarray], style: Style, copies: Mapping[str, int]
) -> np.ndarray:
    """The operator's output by its main and tail bodies: an accumulator run per output element (all side by side, or
    one after the other where writes collide or loops are ordered)."""
    target = graph.tensor(op.write.tensor)
    main, tail = lower_main(graph, op, style, copies), lower_tail(graph, op, style, copies)
    memory = {(name, "in"): array for name, array in values.items()}
    identity = op.combiner.identity if op.combiner else 0
    accumulator = op.combiner.accumulator if op.combiner else target.dtype
    with np.errstate(invalid="ignore"):
        memory[target.name, "partial"] = np.full(target.shape, identity).astype(dtypes.numpy_type(accumulator))
    memory[target.name, "out"] = np.zeros(target.shape, dtypes.numpy_type(target.dtype))
    memory.setdefault((target.name, "in"), memory[target.name, "out"])
    kinds = {**{t.name: t.dtype for t in graph.tensors}, (target.name, "partial"): accumulator}
    kept = [loop for loop in op.loops if loop.name in op.output_loops or op.combiner is None]
    reducing = [loop for loop in op.loops if loop not in kept]
    serial = any(loop.ordered for loop in op.loops) or any(len(i.terms) > 1 or i.gathered for i in op.write.index)
    _run(op, main, memory, kinds, kept, reducing, copies, serial)
    if tail is not None:
        _run(op, tail, memory, kinds, [loop for loop in op.loops if loop.name in op.output_loops], [], copies, serial)
    written = {site.role for site in (tail or main).sites if (tail or main).dfg[site.node].kind == "store"}
    return memory[target.name, written.pop()]


def _grid(loops: list[Loop], copies: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Counter of the first copy of each loop at every iteration, flattened in order of the loops."""
    axes = [np.arange(0, loop.extent, copies.get(loop.name, 1)) for loop in loops]
    mesh = np.meshgrid(*axes, indexing="ij") if axes else []
    return {loop.name: m.ravel() for loop, m in zip(loops, mesh, strict=True)}


def _run(op, lowered, memory, kinds, kept, reducing, copies, serial) -> None:
    outer, inner = _grid(kept, copies), _grid(reducing, copies)
    lanes = len(next(iter(outer.values()))) if outer else 1
    times = len(next(iter(inner.values()))) if inner else 1
    for chosen in [slice(i, i + 1) for i in range(lanes)] if serial else [slice(None)]:
        counters = {n: v[chosen][None, :] for n, v in outer.items()} | {n: v[:, None] for n, v in inner.items()}
        _run_lanes(op, lowered, memory, kinds, counters, times, lanes if not serial else 1)


def _run_lanes(op, lowered, memory, kinds, counters, times, lanes) -> None:
    shape = (times, lanes)
    given = {n: np.broadcast_to(to_words(counters[name], "int32"), shape) for n, name in lowered.counters}
    for site in lowered.sites:
        if lowered.dfg[site.node].kind == "load":
            found, _ = _element(op, site, site.access, memory, counters, shape)
            given[site.node] = to_words(found, _kind(kinds, site))
    stored = execute(lowered.dfg, given, times)
    for site in lowered.sites:
        if lowered.dfg[site.node].kind == "store":
            words = np.broadcast_to(stored[site.node].reshape(times, -1), shape)
            array = memory[site.access.tensor, site.role.split("|")[0]]
            where, inside = _position(op, site, site.access, memory, counters, shape, array.shape)
            last = tuple(i[-1][inside[-1]] for i in where)
            found = from_words(words[-1][inside[-1]].copy(), _kind(kinds, site))
            array[last] = found if last else found.reshape(())


def _kind(kinds, site) -> str:
    return kinds.get((site.access.tensor, site.role.split("|")[0]), kinds[site.access.tensor])


def _element(op, site, access, memory, counters, shape):
    array = memory[access.tensor, site.role.split("|")[0]]
    where, inside = _position(op, site, access, memory, counters, shape, array.shape)
    clipped = tuple(np.clip(i, 0, extent - 1) for i, extent in zip(where, array.shape, strict=True))
    return np.where(inside, array[clipped], np.asarray(access.fill).astype(array.dtype)), inside


def _position(op, site, access, memory, counters, shape, extents):
    """Index arrays and where the guards hold; a gathered index is resolved at the site's copy."""

    def gathered(atom):
        read = op.reads[atom.read]
        moved = {**counters, **{n: counters[n] + offset for n, offset in site.point}}
        index = tuple(np.broadcast_to(i.at(moved), shape) for i in read.index)
        found = memory[read.tensor, "in"][index].astype(np.int64)
        return np.where(found < 0, found + atom.extent, found)

    where = tuple(np.broadcast_to(i.at(counters, gathered), shape) for i in access.index)
    inside = np.ones(shape, bool)
    for guard in access.guards:
        inside &= guard.at(counters, gathered) >= 0
    return where, inside
