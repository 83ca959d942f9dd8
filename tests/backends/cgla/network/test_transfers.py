"""Transfers of a stage against a count that lists every address of every fill."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil

import pytest

from mapper import machines
from mapper.backends.cgla.network import transfers as module
from mapper.backends.cgla.network.runs import runs_of
from mapper.backends.cgla.network.transfers import Transfers, dma_cycles, transfers
from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor, View
from mapper.mapping import WRITTEN, Axis, Buffer, TileLoop
from mapper.scalar import Acc, Arg, Call

AXES = (Axis("lane", 8, multicast=False), Axis("replica", 64), Axis("row", 64), Axis("column", 4))


# ---- the slow count


@dataclass(frozen=True)
class Step:
    """One position of the tile loops before a buffer: counters of all of them, and the iterations left of each loop."""

    at: tuple[int, ...]
    ranges: dict[str, range]


def steps(op: Op, loops: tuple[TileLoop, ...]) -> Iterator[Step]:
    def cut(rest: tuple[TileLoop, ...], at: tuple[int, ...], ranges: dict[str, range]) -> Iterator[Step]:
        if not rest:
            yield Step(at, ranges)
            return
        tile, whole = rest[0], ranges[rest[0].loop]
        for number, start in enumerate(range(whole.start, whole.stop, tile.step)):
            part = range(start, min(start + tile.step, whole.stop))
            yield from cut(rest[1:], (*at, number), ranges | {tile.loop: part})

    yield from cut(loops, (), {each.name: range(each.extent) for each in op.loops})


def touched(index: tuple[Index, ...], shape: tuple[int, ...], ranges: dict[str, range]) -> frozenset[int]:
    """Addresses, in elements, of what an access touches inside the tensor."""
    names = sorted({name for each in index for name in each.loops})
    found = set()
    for values in product(*(ranges[name] for name in names)):
        place = [each.at(dict(zip(names, values, strict=True))) for each in index]
        if all(0 <= at < size for at, size in zip(place, shape, strict=True)):
            address = 0
            for at, size in zip(place, shape, strict=True):
                address = address * size + at
            found.add(address)
    return frozenset(found)


def carried(addresses: frozenset[int], width: int, most_bytes: int) -> int:
    ordered = sorted(addresses)
    count = length = 0
    for at, address in enumerate(ordered):
        length += 1
        if at + 1 == len(ordered) or ordered[at + 1] != address + 1:
            count += ceil(length * width / most_bytes)
            length = 0
    return count


def listed(
    op: Op, access: Access, shape: tuple[int, ...], loops: tuple[TileLoop, ...], width: int, most_bytes: int, once: bool
) -> tuple[int, int]:
    """(coalesced, one by one) by listing: what each step of the loops that refill sends over each port."""
    depends = access.loops
    refills = [i for i, t in enumerate(loops) if t.axis is None and t.loop in depends and t.trips > 1]
    last = refills[-1] if refills else -1
    stands = {name for name in op.extents if once and name not in op.output_loops}
    sent: dict[tuple[int, ...], dict[tuple[int, ...], dict[str, range]]] = {}
    for step in steps(op, loops):
        key, who, skip = [], [], False
        for i, (tile, number) in enumerate(zip(loops, step.at, strict=True)):
            if tile.loop in stands:
                skip |= number > 0
            elif tile.axis == "lane" or (tile.axis is None and i <= last):
                key.append(number)
            elif tile.axis and tile.loop in depends:
                who.append(number)
            else:
                skip |= number > 0
        if not skip:
            sent.setdefault(tuple(key), {})[tuple(who)] = step.ranges
    spatial = [t.loop for t in loops if t.axis not in (None, "lane") and t.loop in depends and t.loop not in stands]
    single = sum(carried(touched(access.index, shape, r), width, most_bytes) for f in sent.values() for r in f.values())
    return sum(coalesced(access, shape, spatial, f, width, most_bytes) for f in sent.values()), single


def coalesced(
    access: Access, shape: tuple[int, ...], spatial: list[str], fill: dict[tuple[int, ...], dict[str, range]],
    width: int, most_bytes: int,
) -> int:  # fmt: skip
    """Instances join unless what they touch in dimensions of shared loops overlaps."""
    kin = {name: frozenset().union(*(i.loops for i in access.index if name in i.loops)) for name in spatial}
    for _ in spatial:
        kin = {name: frozenset().union(*(kin.get(n, {n}) for n in loops)) for name, loops in kin.items()}
    apart = []
    for loops in sorted(set(kin.values()), key=sorted):
        dims = [d for d, i in enumerate(access.index) if i.loops & loops]
        slices = {}
        for who, ranges in fill.items():
            own = tuple(w for w, name in zip(who, spatial, strict=True) if name in loops)
            slices[own] = touched(tuple(access.index[d] for d in dims), tuple(shape[d] for d in dims), ranges)
        if sum(map(len, slices.values())) != len(frozenset().union(*slices.values())):
            apart += [at for at, name in enumerate(spatial) if name in loops]
    sent: dict[tuple[int, ...], set[int]] = {}
    for who, ranges in fill.items():
        sent.setdefault(tuple(who[at] for at in apart), set()).update(touched(access.index, shape, ranges))
    return sum(carried(frozenset(each), width, most_bytes) for each in sent.values())


def slow(graph: Graph, op: Op, loops: tuple[TileLoop, ...], buffers: tuple[Buffer, ...], most_bytes: int) -> Transfers:
    total = Transfers()
    for buffer in buffers:
        access = op.write if buffer.operand == WRITTEN else op.reads[buffer.operand]
        shape, before = graph.tensor(access.tensor).shape, loops[: buffer.depth]
        once = buffer.operand != WRITTEN and buffer.operand not in op.body_reads
        if buffer.operand != WRITTEN:
            loads, single = listed(op, access, shape, before, 4, most_bytes, once)
            total += Transfers(loads, 0, single, 0)
            continue
        every, final = (listed(op, access, shape, before, 4, most_bytes, each) for each in (False, True))
        back, alone = every[0] - final[0], every[1] - final[1]
        total += Transfers(back, every[0], alone, every[1])
    return total


# ---- drawn stages


def nest(kind: str, draw: random.Random) -> tuple[Graph, Op]:
    """A small operator whose operands lie in memory in different ways."""
    n = {name: draw.randint(1, 6) for name in "bmnkhwcij"}
    m_, n_, k_, h, w, c, i, j = (loop(name) for name in "mnkhwcij")
    stride = draw.choice((1, 1, 2, 3))
    kinds: dict[str, tuple[str, list[tuple[Index, ...]], tuple[Index, ...]]] = {
        "product": ("mnk", [(m_, k_), (k_, n_)], (m_, n_)),
        "turned": ("mnk", [(k_, m_), (n_, k_)], (n_, m_)),
        "window": ("hwcij", [(c, stride * h + i, stride * w + j), (c, i, j)], (h, w)),
        "padded": ("hwcij", [(c, h + i - 1, w + j - 1), (c, i, j)], (h, w)),
        "backwards": ("mnk", [(m_, n["k"] - 1 - k_), (constant(0), k_, n_)], (m_, n_)),
        "flat": ("mnk", [((m_ * n["k"] + k_) // 3, (m_ * n["k"] + k_) % 3), (k_, n_)], (m_ * n["n"] + n_,)),
        "between": ("mnk", [(m_, k_, m_ + k_), (k_, n_)], (m_, n_)),
    }
    names, reads, write = kinds[kind]
    extents = {name: n[name] for name in names}
    shapes = []
    for index in (*reads, write):
        reach = {name: extent - 1 for name, extent in extents.items()}
        corners = [each.at(reach) for each in index]
        if kind == "backwards":
            corners = [max(each.at(reach), each.at(dict.fromkeys(reach, 0))) for each in index]
        shape = [corner + 1 + draw.choice((0, 0, 2)) for corner in corners]
        if kind == "flat" and len(index) == 2 and index[1].terms and not index[1].is_affine:
            shape = [(n["m"] * n["k"] - 1) // 3 + 1, 3]
        if kind == "padded" and len(index) == 3 and index[1].const:
            shape = [extents["c"], max(1, corners[1]), max(1, corners[2])]
        shapes.append(tuple(shape))
    guards = tuple(g for at, each in enumerate(reads[0]) for g in (each, shapes[0][at] - 1 - each))
    accesses = [Access(f"t{at}", index, guards if at == 0 else ()) for at, index in enumerate(reads)]
    tail = Access("t2", write)
    out = Access("y", write)
    op = Op("op", kind, tuple(Loop(name, extents[name]) for name in names), (*accesses, tail), out,
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"), Call("add", (Acc(), Arg(2))))  # fmt: skip
    tensors = [Tensor(f"t{at}", shape, "float32", "input") for at, shape in enumerate((*shapes[:2], shapes[2]))]
    tensors.append(Tensor("y", shapes[2], "float32"))
    return Graph("g", tuple(tensors), (op,), ("t0", "t1", "t2"), ("y",)), op


def tiled(op: Op, draw: random.Random) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
    """Loops cut at random, some of them side by side; a buffer of every operand at some depth."""
    size, loops = dict(op.extents), []
    for _ in range(draw.randint(2, 7)):
        name = draw.choice(sorted(size))
        if size[name] > 1:
            step = draw.randint(1, size[name] - 1)
            axis = draw.choice((None, None, "lane", "replica", "row", "row"))
            if axis == "lane" and name not in op.output_loops:
                axis = None
            loops.append(TileLoop(name, step, -(-size[name] // step), axis))
            size[name] = step
    depths = [draw.randint(0, len(loops)) for _ in range(4)]
    buffers = tuple(
        Buffer(at, "lmm", depth, 4) for at, depth in zip((0, 1, 2, WRITTEN), depths, strict=True)
    )  # fmt: skip
    return tuple(loops), buffers


KINDS = ("product", "turned", "window", "padded", "backwards", "flat", "between")


@pytest.mark.parametrize("kind", KINDS)
def test_every_transfer_of_drawn_stages_is_counted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 20)  # five words: long runs are cut here too
    module._Slices.count.cache_clear()
    for seed in range(40):
        draw = random.Random(f"{kind} {seed}")
        graph, op = nest(kind, draw)
        loops, buffers = tiled(op, draw)
        found = transfers(graph, op, loops, buffers, AXES, lambda _: "dram")
        assert found == slow(graph, op, loops, buffers, 20), (seed, loops, buffers)
    module._Slices.count.cache_clear()


# ---- by hand


def square(m: int, n: int, k: int) -> tuple[Graph, Op]:
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    op = Op("mm", "MatMul", (Loop("m", m), Loop("n", n), Loop("k", k)), reads, Access("c", (loop("m"), loop("n"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    tensors = (Tensor("a", (m, k), "float32", "input"), Tensor("b", (k, n), "float32", "input"),
               Tensor("c", (m, n), "float32"))  # fmt: skip
    return Graph("g", tensors, (op,), ("a", "b"), ("c",)), op


def weighted(graph: Graph) -> Graph:
    """The same with a weight for b."""
    return replace(graph, tensors=tuple(replace(t, role="weight") if t.name == "b" else t for t in graph.tensors))


def counted(graph: Graph, op: Op, loops: list[tuple], depths: tuple[int, int, int], home: str = "dram") -> Transfers:
    tiles = tuple(TileLoop(*each) for each in loops)
    buffers = tuple(Buffer(at, "lmm", depth, 4) for at, depth in zip((0, 1, WRITTEN), depths, strict=True))
    return transfers(graph, op, tiles, buffers, AXES, lambda _: home)


def test_neighbouring_rows_share_a_transfer() -> None:
    """Eight rows keep two weight rows each, 16 in a row; the activation goes to all of them at once."""
    graph, op = square(16, 1, 64)
    found = counted(graph, op, [("m", 2, 8, "replica")], (1, 1, 1))
    assert found == Transfers(loads=1 + 1, drains=1, single_loads=8 + 1, single_drains=8)


def test_lanes_have_ports_of_their_own() -> None:
    graph, op = square(16, 1, 64)
    found = counted(graph, op, [("m", 2, 8, "lane")], (1, 1, 1))
    assert found == Transfers(loads=8 + 8, drains=8, single_loads=8 + 8, single_drains=8)


def test_a_transfer_ends_after_8192_words() -> None:
    graph, op = square(1, 1, 2 * 8192 + 1)
    assert counted(graph, op, [], (0, 0, 0)) == Transfers(3 + 3, 1, 3 + 3, 1)


def test_partial_results_leave_and_come_back() -> None:
    """Three stretches of k outside two of m: the drains of the first two stretches are partial, each comes back."""
    graph, op = square(4, 8, 12)
    found = counted(graph, op, [("k", 4, 3), ("m", 2, 2)], (2, 2, 2))
    assert found == Transfers(loads=6 * 2 + 3 + 4, drains=6, single_loads=6 * 2 + 3 + 4, single_drains=6)


def test_what_lives_on_the_array_needs_no_transfer() -> None:
    graph, op = square(4, 8, 12)
    assert counted(graph, op, [], (0, 0, 0), "lmm") == Transfers()
    resident = tuple(Buffer(at, "lmm", 0, 4, resident=at == 1) for at in (0, 1, WRITTEN))
    assert transfers(graph, op, (), resident, AXES, lambda _: "dram") == Transfers(1, 1, 1, 1)


def test_weights_are_packed_in_the_order_of_their_fills() -> None:
    """Four parts of n in turn, two rows for k: each part of b is 12 short runs as it lies, one if packed."""
    graph, op = square(1, 64, 12)
    loops, depths = [("n", 16, 4), ("k", 6, 2, "row")], (2, 2, 1)
    assert counted(graph, op, loops, depths) == Transfers(1 + 4 * 12, 4, 2 + 4 * 12, 4)
    assert counted(weighted(graph), op, loops, depths) == Transfers(1 + 4, 4, 2 + 4 * 2, 4)


def test_packed_weights_still_end_after_8192_words() -> None:
    graph, op = square(1, 2 * 8192, 3)
    assert counted(weighted(graph), op, [("n", 8192, 2)], (1, 1, 1)).loads == 1 + 2 * 3


def test_weights_of_two_readers_stay_as_they_are() -> None:
    graph, op = square(1, 64, 12)
    again = replace(op, name="again", write=replace(op.write, tensor="d"))
    both = replace(
        weighted(graph), ops=(op, again), tensors=(*weighted(graph).tensors, Tensor("d", (1, 64), "float32"))
    )
    loops, depths = [("n", 16, 4), ("k", 6, 2, "row")], (2, 2, 1)
    assert counted(both, op, loops, depths) == counted(graph, op, loops, depths)


def test_views_of_a_weight_count_as_readers() -> None:
    graph, op = square(1, 64, 12)
    view = View("v", "Reshape", "b", "flat")
    other = Op("o", "Neg", (Loop("x", 768),), (Access("flat", (loop("x"),)),), Access("d", (loop("x"),)), Arg(0))
    tensors = (*weighted(graph).tensors, Tensor("flat", (768,), "float32"), Tensor("d", (768,), "float32"))
    both = replace(weighted(graph), ops=(op, view, other), tensors=tensors)
    loops, depths = [("n", 16, 4), ("k", 6, 2, "row")], (2, 2, 1)
    assert counted(both, op, loops, depths) == counted(graph, op, loops, depths)


def test_half_the_width_fills_half_the_transfers() -> None:
    graph, op = square(1, 1, 4 * 8192)
    narrow = tuple(replace(each, dtype="float16") for each in graph.tensors)
    found = counted(replace(graph, tensors=narrow), op, [], (0, 0, 0))
    assert found.loads == 2 * 2


def test_gathered_rows_are_transfers_of_their_own() -> None:
    """Ids choose rows of a table: each id's row is a run, at most all of them."""
    table, ids, out = Tensor("t", (50, 32), "float32", "weight"), Tensor("i", (7,), "int32", "input"), "y"
    reads = (Access("t", (Index(((Gathered(1, 50), 1),)), loop("d"))), Access("i", (loop("s"),)))
    op = Op("g", "Gather", (Loop("s", 7), Loop("d", 32)), reads, Access(out, (loop("s"), loop("d"))), Arg(0))
    graph = Graph("g", (table, ids, Tensor(out, (7, 32), "float32")), (op,), ("i",), (out,))
    assert counted(graph, op, [], (0, 0, 0)) == Transfers(7 + 1, 1, 7 + 1, 1)
    assert counted(graph, op, [("d", 16, 2)], (1, 1, 1)).loads == 2 * 7 + 1


def test_what_is_too_large_to_list_counts_every_element(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a flat index by division: never fewer transfers than there are."""
    flat = (loop("m") * 10 + loop("k")) // 4, (loop("m") * 10 + loop("k")) % 4
    op = Op(
        "o", "Neg", (Loop("m", 6), Loop("k", 10)), (Access("a", flat),), Access("c", (loop("m"), loop("k"))), Arg(0)
    )
    tensors = Tensor("a", (15, 4), "float32", "input"), Tensor("c", (6, 10), "float32")
    graph = Graph("g", tensors, (op,), ("a",), ("c",))
    loops = [("m", 2, 3), ("m", 1, 2, "row")]
    assert counted(graph, op, loops, (2, 0, 0)) == Transfers(3, 1, 6, 1)
    assert counted(graph, op, [("k", 5, 2)], (1, 0, 0)).loads == 12
    for limit, loads in ((60, 12), (59, 60)):
        monkeypatch.setattr("mapper.backends.cgla.network.runs.ENUMERATION_LIMIT", limit)
        module._Slices.count.cache_clear()
        runs_of.cache_clear()
        assert counted(graph, op, [("k", 5, 2)], (1, 0, 0)).loads == loads
    module._Slices.count.cache_clear()
    runs_of.cache_clear()


def test_loops_without_iterations_need_no_transfer() -> None:
    op = Op("o", "Neg", (Loop("m", 0),), (Access("a", (loop("m"),)),), Access("c", (loop("m"),)), Arg(0))
    graph = Graph("g", (Tensor("a", (0,), "float32", "input"), Tensor("c", (0,), "float32")), (op,), ("a",), ("c",))
    assert counted(graph, op, [], (0, 0, 0)) == Transfers()


def test_fills_that_touch_nothing_need_no_transfer() -> None:
    """Windows that lie in padding: of six positions only the third and fourth read the two elements there are."""
    read = Access("a", (loop("m") - 2,), (loop("m") - 2, 3 - loop("m")))
    op = Op("o", "Pad", (Loop("m", 6),), (read,), Access("c", (loop("m"),)), Arg(0))
    graph = Graph("g", (Tensor("a", (2,), "float32", "input"), Tensor("c", (6,), "float32")), (op,), ("a",), ("c",))
    assert counted(graph, op, [("m", 1, 6)], (1, 0, 0)) == Transfers(2, 1, 2, 1)
    assert counted(graph, op, [("m", 1, 6, "row")], (1, 0, 0)) == Transfers(1, 1, 2, 1)


def test_a_machine_without_figures_has_a_full_bus_and_no_set_up() -> None:
    machine = machines.resolve("imax3")
    assert dma_cycles(320, 9, 1, replace(machine, settings={})) == 10


def test_cycles_are_bytes_and_set_ups_shared_by_the_lanes() -> None:
    machine = machines.resolve("imax3:dma_bytes_per_cycle=2,dma_setup_cycles=10")
    assert dma_cycles(100, 7, 2, machine) == (50 + 70) / 2
    assert dma_cycles(1, 0, 1, machine) == 1
    assert dma_cycles(64, 5, 1, machines.resolve("imax3:dma_bytes_per_cycle=32,dma_setup_cycles=0")) == 2
