"""Random small operators and random legal mappings of them: the programs on which checker, simulator and cost meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from mapper import dtypes
from mapper.dfg import Dfg, Edge, Node
from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Opaque, Tensor, View
from mapper.machine import Energy, Fabric, Links, Machine, Memory
from mapper.mapping import WRITTEN, Axis, Buffer, HostCall, Mapping, Phase, Rect, Route, Stage, TileLoop
from mapper.placement import KernelMapping, Placed
from mapper.proof.replay import iterations
from mapper.scalar import Acc, Arg, Call, Cast, Const, Counter
from mapper.simulate import simulate
from mapper.traffic import buffer_elements

MACHINE = Machine(
    "toy", "toy", Fabric("mesh", 8, 8),
    (Memory("dram", None), Memory("sram", 1 << 22), Memory("lmm", 1 << 22, instances=64, at="pe")),
    Links(4.0, 1.0, colours=24), Energy("none", ()), 1e9,
)  # fmt: skip


FAST = replace(MACHINE, memories=(replace(MACHINE.memories[0], bytes_per_cycle=16.0), *MACHINE.memories[1:]))


def bounds(index: Index, extent: int) -> tuple[Index, Index]:
    """Guards that keep `index` inside a dimension."""
    return index, extent - 1 - index


def one_op(op: Op, tensors: list[Tensor]) -> Graph:
    inputs = tuple(t.name for t in tensors if t.role == "input")
    return Graph("g", tuple(tensors), (op,), inputs, (op.write.tensor,))


def small(draw, low: int = 1, high: int = 6) -> int:
    return draw(st.integers(low, high))


def matmul(draw) -> Graph:
    m, n, k = (small(draw) for _ in range(3))
    tensors = [Tensor("a", (m, k), "float32", "input"), Tensor("b", (k, n), "float32", "weight"),
               Tensor("c", (m, n), "float32")]  # fmt: skip
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    loops = (Loop("m", m), Loop("n", n), Loop("k", k))
    op = Op("mm", "MatMul", loops, reads, Access("c", (loop("m"), loop("n"))), Call("mul", (Arg(0), Arg(1))),
            Combiner("sum", "float32"), macs=m * n * k)  # fmt: skip
    return one_op(op, tensors)


def quantised(draw) -> Graph:
    """Integer matmul with bias and a narrow result: partial results are wider than the output."""
    m, n, k = (small(draw, 1, 5) for _ in range(3))
    tensors = [Tensor("a", (m, k), "int8", "input"), Tensor("b", (k, n), "int4", "weight"),
               Tensor("bias", (n,), "int32", "weight"), Tensor("c", (m, n), "int8")]  # fmt: skip
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))), Access("bias", (loop("n"),)))
    body = Call("mul", (Cast("int32", Arg(0)), Cast("int32", Arg(1))))
    tail = Cast("int8", Call("add", (Acc(), Arg(2))), saturate=True)
    op = Op("qmm", "MatMulInteger", (Loop("m", m), Loop("n", n), Loop("k", k)), reads,
            Access("c", (loop("m"), loop("n"))), body, Combiner("sum", "int32"), tail)  # fmt: skip
    return one_op(op, tensors)


def conv(draw) -> Graph:
    """Convolution with groups, padding, stride and dilation; or max pooling over the same windows."""
    width, taps, stride = small(draw, 3, 8), small(draw, 1, 3), small(draw, 1, 3)
    dilation, pad = small(draw, 1, 2), draw(st.integers(0, 2))
    out = (width + 2 * pad - dilation * (taps - 1) - 1) // stride + 1
    if out < 1:
        return matmul(draw)
    groups, cin, cout = small(draw, 1, 2), small(draw, 1, 2), small(draw, 1, 3)
    at = loop("x") * stride + loop("r") * dilation - pad
    pooling = draw(st.booleans())
    fill = float("-inf") if pooling else 0.0
    channel = loop("g") * cin + loop("i")
    image = Access("a", (channel, at), bounds(at, width) if pad else (), fill)
    written = Access("c", (loop("g") * cout + loop("o"), loop("x")))
    loops = [Loop("g", groups), Loop("o", cout), Loop("x", out), Loop("i", cin), Loop("r", taps)]
    tensors = [Tensor("a", (groups * cin, width), "float32", "input"), Tensor("c", (groups * cout, out), "float32")]
    if pooling:
        op = Op("pool", "MaxPool", tuple(loops), (image,), written, Arg(0), Combiner("max", "float32"))
        return one_op(op, tensors)
    weight = Access("w", (loop("g") * cout + loop("o"), loop("i"), loop("r")))
    bias = Access("bias", (loop("g") * cout + loop("o"),))
    tensors += [Tensor("w", (groups * cout, cin, taps), "float32", "weight"),
                Tensor("bias", (groups * cout,), "float32", "weight")]  # fmt: skip
    tail = Call("max", (Call("add", (Acc(), Arg(2))), Const(0.0)))
    op = Op("conv", "Conv", tuple(loops), (image, weight, bias), written, Call("mul", (Arg(0), Arg(1))),
            Combiner("sum", "float32"), tail)  # fmt: skip
    return one_op(op, tensors)


def transposed(draw) -> Graph:
    """Transposed convolution: a scatter that crops what falls outside."""
    width, taps, stride, pad = small(draw, 1, 5), small(draw, 1, 4), small(draw, 1, 2), draw(st.integers(0, 1))
    out = (width - 1) * stride + taps - 2 * pad
    if out < 1:
        return matmul(draw)
    at = loop("x") * stride + loop("r") - pad
    tensors = [Tensor("a", (2, width), "float32", "input"), Tensor("w", (2, taps), "float32", "weight"),
               Tensor("c", (out,), "float32")]  # fmt: skip
    op = Op("up", "ConvTranspose", (Loop("i", 2), Loop("x", width), Loop("r", taps)),
            (Access("a", (loop("i"), loop("x"))), Access("w", (loop("i"), loop("r")))),
            Access("c", (at,), bounds(at, out) if pad else ()), Call("mul", (Arg(0), Arg(1))),
            Combiner("sum", "float32"))  # fmt: skip
    return one_op(op, tensors)


def elementwise(draw) -> Graph:
    m, n = small(draw, 1, 8), small(draw, 1, 8)
    tensors = [Tensor("a", (m, n), "float32", "input"), Tensor("b", (n,), "float32", "input"),
               Tensor("s", (1, 1), "float32", "weight"), Tensor("c", (n, m), "float32")]  # fmt: skip
    reads = (Access("a", (loop("m"), loop("n"))), Access("b", (loop("n"),)), Access("s", (constant(0), constant(0))))
    body = Call("mul", (Call("add", (Arg(0), Arg(1))), Arg(2)))
    op = Op("ew", "AddMul", (Loop("m", m), Loop("n", n)), reads, Access("c", (loop("n"), loop("m"))), body)
    return one_op(op, tensors)


def reduction(draw) -> Graph:
    m, n, kind = small(draw, 1, 5), small(draw, 1, 8), draw(st.sampled_from(["sum", "max", "min", "argmax"]))
    arg = kind.startswith("arg")
    tensors = [Tensor("a", (m, n), "float32", "input"), Tensor("c", (m,), "int64" if arg else "float32")]
    combiner = Combiner(kind, "int64" if arg else "float32", "n" if arg else None)  # type: ignore[arg-type]
    op = Op("reduce", "Reduce", (Loop("m", m), Loop("n", n)), (Access("a", (loop("m"), loop("n"))),),
            Access("c", (loop("m"),)), Arg(0), combiner)  # fmt: skip
    return one_op(op, tensors)


def gather(draw) -> Graph:
    rows, picks, n = small(draw, 1, 5), small(draw, 1, 6), small(draw, 1, 4)
    tensors = [Tensor("i", (picks,), "int64", "input"), Tensor("a", (rows, n), "float32", "weight"),
               Tensor("c", (picks, n), "float32")]  # fmt: skip
    reads = (Access("i", (loop("p"),)), Access("a", (Index(((Gathered(0, rows), 1),)), loop("n"))))
    op = Op("gather", "Gather", (Loop("p", picks), Loop("n", n)), reads, Access("c", (loop("p"), loop("n"))), Arg(1))
    return one_op(op, tensors)


def concat(draw) -> Graph:
    a, b, n = small(draw, 1, 4), small(draw, 1, 4), small(draw, 1, 3)
    tensors = [Tensor("a", (a, n), "float32", "input"), Tensor("b", (b, n), "float32", "input"),
               Tensor("c", (a + b, n), "float32")]  # fmt: skip
    second = loop("m") - a
    reads = (Access("a", (loop("m"), loop("n")), (a - 1 - loop("m"),)), Access("b", (second, loop("n")), (second,)))
    body = Call("where", (Call("less", (Counter("m"), Const(a))), Arg(0), Arg(1)))
    op = Op("concat", "Concat", (Loop("m", a + b), Loop("n", n)), reads, Access("c", (loop("m"), loop("n"))), body)
    return one_op(op, tensors)


def shuffle(draw) -> Graph:
    """Resize and depth-to-space in one: floor divisions and modulos that share a loop."""
    block, width = small(draw, 1, 3), small(draw, 1, 4)
    tensors = [Tensor("a", (block, width), "uint8", "input"), Tensor("c", (2 * width * block,), "uint8")]
    x = loop("x")
    read = Access("a", (x % block, (x // block) // 2))
    op = Op("shuffle", "Resize", (Loop("x", 2 * width * block),), (read,), Access("c", (x,)), Arg(0))
    return one_op(op, tensors)


def running_sum(draw) -> Graph:
    """An ordered loop that reads what it wrote a step before."""
    m, t = small(draw, 1, 4), small(draw, 1, 6)
    before = loop("t") - 1
    tensors = [Tensor("a", (m, t), "float32", "input"), Tensor("c", (m, t), "float32")]
    reads = (Access("a", (loop("m"), loop("t"))), Access("c", (loop("m"), before), (before,)))
    op = Op("scan", "CumSum", (Loop("m", m), Loop("t", t, ordered=True)), reads, Access("c", (loop("m"), loop("t"))),
            Call("add", (Arg(0), Arg(1))))  # fmt: skip
    return one_op(op, tensors)


KINDS = (matmul, quantised, conv, transposed, elementwise, reduction, gather, concat, shuffle, running_sum)


@st.composite
def graphs(draw) -> Graph:
    return draw(st.sampled_from(KINDS))(draw)


def tile_loops(draw, op: Op, axes: tuple[Axis, ...]) -> tuple[TileLoop, ...]:
    """Random steps per loop, shuffled together; ordered loops stay temporal and outside of what they cross."""
    chains: dict[str, list[int]] = {}
    for each in op.loops:
        cuts = draw(st.lists(st.integers(1, max(each.extent, 1)), max_size=2))
        if each.extent > 1 or cuts:
            chains[each.name] = [*sorted(cuts, reverse=True), 1]
    labels = draw(st.permutations([name for name, steps in chains.items() for _ in steps]))
    size, room, found = dict(op.extents), {axis.name: axis.extent for axis in axes}, []
    ordered = {each.name for each in op.loops if each.ordered}
    arg = op.combiner is not None and op.combiner.kind.startswith("arg")
    for name in labels:
        step = chains[name].pop(0)
        trips = -(-size[name] // step)
        fitting = [axis for axis in room if room[axis] >= trips]
        fixed = name in ordered or (arg and name not in op.output_loops)
        axis = draw(st.sampled_from([None, None, *fitting])) if not fixed else None
        if axis is not None:
            room[axis] //= trips
        found.append(TileLoop(name, step, trips, axis))
        size[name] = min(size[name], step)
    return tuple(found)


def buffers(
    draw, graph: Graph, stage: Stage, op: Op, home: dict[str, str], end: dict[str, int] | None = None
) -> tuple[Buffer, ...]:
    """Random chains: one buffer in some of the memories inside the home, depths rising inwards, laid side by side
    from `end` on."""
    memories = [memory.name for memory in MACHINE.memories]
    found: list[Buffer] = []
    end = dict.fromkeys(memories, 0) if end is None else end
    for operand in (*range(len(op.reads)), WRITTEN):
        access = op.write if operand == WRITTEN else op.reads[operand]
        inside = memories[memories.index(home.get(graph.root(access.tensor), "dram")) + 1 :]
        chosen = [name for name in inside if draw(st.booleans())]
        depths = sorted(draw(st.integers(0, len(stage.loops))) for _ in chosen)
        wide = op.combiner.accumulator if operand == WRITTEN and op.combiner else graph.tensor(access.tensor).dtype
        for memory, depth in zip(chosen, depths, strict=True):
            copies, streamed = draw(st.integers(1, 2)), draw(st.booleans())
            buffer = Buffer(operand, memory, depth, 0, end[memory], copies, streamed)
            bytes_ = dtypes.bytes_of(buffer_elements(graph, stage, op, buffer), wide)
            found.append(replace(buffer, bytes=bytes_))
            end[memory] += bytes_ * copies
    return tuple(found)


@st.composite
def mappings(draw) -> Mapping:
    """A legal mapping of one random operator."""
    graph = draw(graphs())
    op = next(graph.nests)
    axes = tuple(Axis(name, draw(st.integers(1, 12)), draw(st.booleans()), draw(st.booleans())) for name in "xy")
    home = {t.name: draw(st.sampled_from(["dram", "dram", "sram"])) for t in graph.tensors}
    stage = Stage("s0", op.name, tile_loops(draw, op, axes), (), Rect(0, 0, 8, 8))
    stage = replace(stage, buffers=buffers(draw, graph, stage, op, home))
    homes = tuple((name, memory) for name, memory in home.items() if memory != "dram")
    return Mapping("toy", MACHINE, graph, axes, (stage,), homes=homes)


BODY = KernelMapping(
    Dfg("double", (Node(0, "add"), Node(1, "mul"), Node(2, "add")), (Edge(0, 1), Edge(1, 2))), 2,
    (Placed(0, 0, 0), Placed(1, 1, 1), Placed(2, 9, 2)),
)  # fmt: skip
ROW, STRIP = 3, 2
BODIES = tuple(  # in the strip of each stage
    replace(BODY, placed=tuple(replace(p, pe=p.pe + STRIP * number) for p in BODY.placed)) for number in range(3)
)


def network(draw) -> Graph:
    """A matmul, an activation, a host call, a view and a reduction, one after the other."""
    m, n, k = small(draw, 2, 4), small(draw, 2, 4), small(draw, 2, 4)
    tensors = (
        Tensor("a", (m, k), "float32", "input"), Tensor("b", (k, n), "float32", "weight"),
        Tensor("c", (m, n), "float32"), Tensor("d", (m, n), "float32"), Tensor("e", (m * n,), "float32"),
        Tensor("f", (m,), "float32"), Tensor("g", (m,), "float32"),
    )  # fmt: skip
    product = Op("mm", "MatMul", (Loop("m", m), Loop("n", n), Loop("k", k)),
                 (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n")))),
                 Access("c", (loop("m"), loop("n"))), Call("mul", (Arg(0), Arg(1))),
                 Combiner("sum", "float32"))  # fmt: skip
    relu = Op("relu", "Relu", (Loop("x", m), Loop("y", n)), (Access("c", (loop("x"), loop("y"))),),
              Access("d", (loop("x"), loop("y"))), Call("max", (Arg(0), Const(0.0))))  # fmt: skip
    total = Op("sum", "ReduceSum", (Loop("i", m), Loop("j", n)), (Access("e", (loop("i") * n + loop("j"),)),),
               Access("f", (loop("i"),)), Arg(0), Combiner("sum", "float32"))  # fmt: skip
    ops = (product, relu, View("flat", "Reshape", "d", "e"), total, Opaque("host", "NonZero", ("f",), ("g",), "opaque"))
    return Graph("net", tensors, ops, ("a",), ("g",))


def host(op: Opaque, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What the opaque operator of :func:`network` computes."""
    return [inputs[0] * 2 + 1]


@st.composite
def networks(draw) -> Mapping:
    """A legal mapping of a small network: several stages with bodies, routes between strips of the fabric, phases."""
    graph, pipeline = network(draw), draw(st.booleans())
    axes = tuple(Axis(name, draw(st.integers(1, 6)), draw(st.booleans()), draw(st.booleans())) for name in "xy")
    home = {name: draw(st.sampled_from(["dram", "dram", "sram"])) for name in "abcd"}
    end = {"dram": 0, "sram": 0, "lmm": 0}
    stages: list[Stage] = []
    for number, op in enumerate(graph.nests):
        after = (stages[-1].name,) if stages and (pipeline or draw(st.booleans())) else ()
        stage = Stage(f"s{number}", op.name, tile_loops(draw, op, axes), (), Rect(0, STRIP * number, 8, STRIP),
                      body=draw(st.sampled_from([None, number])), after=after, overlap=draw(st.booleans()),
                      configuration_bytes=draw(st.integers(0, 64)))  # fmt: skip
        stages.append(replace(stage, buffers=buffers(draw, graph, stage, op, home, end)))
    if pipeline:
        stages[0] = _with_residents(draw, graph, stages[0])
    homes = tuple((name, memory) for name, memory in home.items() if memory != "dram")
    mapping = Mapping("toy", FAST, graph, axes, tuple(stages), BODIES, _routes(draw, graph), homes,
                      (HostCall("host", "opaque"),), "pipeline" if pipeline else "sequence")  # fmt: skip
    return replace(mapping, stages=tuple(_timed(mapping, stage) for stage in stages))


def _with_residents(draw, graph: Graph, stage: Stage) -> Stage:
    """Slices of the weight that are filled once may stay from one inference to the next."""
    last = {at for at, tile in enumerate(stage.loops) if tile.axis is None and tile.trips > 1 and tile.loop in "nk"}
    once = [b.operand == 1 and not b.streamed and not any(at < b.depth for at in last) for b in stage.buffers]
    return replace(stage, buffers=tuple(
        replace(b, resident=draw(st.booleans())) if stays else b for b, stays in zip(stage.buffers, once, strict=True)
    ))  # fmt: skip


def _routes(draw, graph: Graph) -> tuple[Route, ...]:
    """From strip to strip: along one row, a step down, and into the next strip; in from the edge, out to it."""
    found = [Route("a", "", "s0", graph.tensor("a").bytes, (((0, 0), (1, 0)),), 0)]
    for number, tensor in enumerate("cd"):
        column = STRIP * number
        links = (((ROW, column), (ROW, column + 1)), ((ROW, column + 1), (ROW + 1, column + 1)),
                 ((ROW + 1, column + 1), (ROW + 1, column + 2)))  # fmt: skip
        extra = (((ROW, column + 1), (ROW - 1, column + 1)),) if draw(st.booleans()) else ()
        route = Route(tensor, f"s{number}", f"s{number + 1}", graph.tensor(tensor).bytes, links + extra, number + 1)
        found.append(route)
    return tuple(found)


def _timed(mapping: Mapping, stage: Stage) -> Stage:
    """Phases that are just long enough."""
    op = next(op for op in mapping.graph.nests if op.name == stage.op)
    moved = next(count for count in simulate(mapping).ops if count.stage == stage.name).memories[0]
    dma = -(-max(moved.read_bytes, moved.write_bytes) // 16)
    exec_ = BODY.ii * iterations(stage, op, frozenset(op.extents)) if stage.body is not None else 0
    if not stage.overlap:
        dma = max(0, dma - exec_)
    return replace(stage, phases=(Phase("exec", "fabric", exec_), Phase("dma", "dram", dma)))


seeds = st.integers(0, 1000)


def feeds(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Random inputs and weights; integers that a gather reads stay in range."""
    rng = np.random.default_rng(seed)
    extents = {r.tensor: r for op in graph.nests for r in op.reads}
    positions = {
        op.reads[g.read].tensor: g.extent for op in graph.nests for r in op.reads for i in r.index for g in i.gathered
    }
    found = {}
    for tensor in graph.tensors:
        if tensor.role == "activation" or tensor.name not in extents:
            continue
        high = positions.get(tensor.name)
        if dtypes.is_float(tensor.dtype):
            values = rng.normal(size=tensor.shape)
        else:
            values = rng.integers(0, high if high else 7, tensor.shape)
        found[tensor.name] = np.asarray(values).astype(dtypes.numpy_type(tensor.dtype))
    return found
