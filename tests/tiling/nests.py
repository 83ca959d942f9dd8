"""Small graphs of one operator, and a machine, for tests of the tiling engine."""

from __future__ import annotations

from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.machine import Energy, Fabric, Links, Machine, Memory
from mapper.scalar import Arg, Call
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis


def matmul(m: int, n: int, k: int, dtype: str = "int8", wide: str = "int8", names: str = "mnk") -> Graph:
    i, j, r = names
    tensors = (Tensor("a", (m, k), dtype, "input"), Tensor("b", (k, n), dtype, "weight"), Tensor("c", (m, n), dtype))
    reads = (Access("a", (loop(i), loop(r))), Access("b", (loop(r), loop(j))))
    op = Op("mm", "MatMul", (Loop(i, m), Loop(j, n), Loop(r, k)), reads, Access("c", (loop(i), loop(j))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", wide))  # fmt: skip
    return Graph("g", tensors, (op,), ("a",), ("c",))


def conv(k: int, c: int, y: int, x: int, f: int, stride: int = 1, pad: int = 0, dtype: str = "int8") -> Graph:
    size = [(extent - 1) * stride + f - 2 * pad for extent in (y, x)]
    tensors = (Tensor("i", (c, *size), dtype, "input"), Tensor("w", (k, c, f, f), dtype, "weight"),
               Tensor("o", (k, y, x), dtype))  # fmt: skip
    at = [loop(o) * stride + loop(t) - pad for o, t in (("y", "fy"), ("x", "fx"))]
    guards = tuple(g for index, extent in zip(at, size, strict=True) for g in (index, index * -1 + (extent - 1)))
    reads = (Access("i", (loop("c"), *at), guards if pad else ()),
             Access("w", (loop("k"), loop("c"), loop("fy"), loop("fx"))))  # fmt: skip
    loops = tuple(Loop(*pair) for pair in (("k", k), ("c", c), ("y", y), ("x", x), ("fy", f), ("fx", f)))
    op = Op("conv", "Conv", loops, reads, Access("o", (loop("k"), loop("y"), loop("x"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", dtype))  # fmt: skip
    return Graph("g", tensors, (op,), ("i",), ("o",))


def recurrence(steps: int, width: int) -> Graph:
    """h[t] = sum over j of h[t - 1, j] u[j, i]: an ordered loop that reads its own earlier output."""
    tensors = (Tensor("u", (width, width), "int8", "weight"), Tensor("h", (steps, width), "int8"))
    before = Access("h", (loop("t") - 1, loop("j")), (loop("t") - 1,))
    op = Op("rnn", "RNN", (Loop("t", steps, True), Loop("i", width), Loop("j", width)),
            (before, Access("u", (loop("j"), loop("i")))), Access("h", (loop("t"), loop("i"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "int8"))  # fmt: skip
    return Graph("g", tensors, (op,), (), ("h",))


def two_level(capacity_bytes: int) -> Hierarchy:
    return Hierarchy((Level("dram", None, 1.0, 1.0), Level("lmm", capacity_bytes, 0.0, 0.0)))


def machine(lmm: int, reg: int) -> Machine:
    memories = (
        Memory("dram", None, 1, 100.0, 90.0),
        Memory("lmm", lmm, 8, 3.0, 4.0),
        Memory("reg", reg, 64, 0.5, 0.25),
    )
    return Machine("m", "test", Fabric("mesh", 8, 8), memories, Links(4, 1.0), Energy("t", (("int8", 1.0),)), 1e9)


def three_level(found: Machine, axes: tuple[SpatialAxis, ...]) -> Hierarchy:
    levels = tuple(Level(m.name, m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte) for m in found.memories)
    return Hierarchy(levels, axes, found.links.pj_per_byte_hop)
