"""The words of the checker: each broken rule says where, what was found and what was expected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mapper.check import check
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Opaque, Tensor, View
from mapper.machine import Energy, Fabric, Links, Machine, Memory
from mapper.mapping import WRITTEN, Axis, Buffer, HostCall, Mapping, Phase, Rect, Route, Stage, TileLoop
from mapper.scalar import Arg, Call

MACHINE = Machine("toy", "toy", Fabric("mesh", 4, 4), (Memory("dram", None), Memory("lmm", 1024)),
                  Links(4.0, 1.0, colours=2), Energy("none", ()), 1e9)  # fmt: skip
MATMUL = Op("mm", "MatMul", (Loop("m", 6), Loop("n", 4), Loop("k", 8)),
            (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n")))),
            Access("c", (loop("m"), loop("n"))), Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
RELU = Op("relu", "Relu", (Loop("i", 24),), (Access("v", (loop("i"),)),), Access("d", (loop("i"),)), Arg(0))
GRAPH = Graph(
    "g",
    (Tensor("a", (6, 8), "int8", "input"), Tensor("b", (8, 4), "int8", "weight"), Tensor("c", (6, 4), "int8"),
     Tensor("v", (24,), "int8"), Tensor("d", (24,), "int8")),
    (MATMUL, View("flat", "Reshape", "c", "v"), RELU), ("a",), ("d",),
)  # fmt: skip
LOOPS = (TileLoop("m", 4, 2), TileLoop("k", 4, 2), TileLoop("m", 1, 4), TileLoop("n", 1, 4), TileLoop("k", 1, 4))
BUFFERS = (Buffer(0, "lmm", 2, 16, 0), Buffer(1, "lmm", 2, 16, 16), Buffer(WRITTEN, "lmm", 2, 64, 32))
FIRST = Stage("s0", "mm", LOOPS, BUFFERS, Rect(0, 0, 2, 2))
SECOND = Stage("s1", "relu", (TileLoop("i", 1, 24),), (), Rect(0, 2, 2, 2), after=("s0",))
LEGAL = Mapping("toy", MACHINE, GRAPH, (Axis("row", 4),), (FIRST, SECOND))


def found(mapping: Mapping) -> list[str]:
    return [str(violation) for violation in check(mapping)]


def first(**changes: object) -> Mapping:
    return replace(LEGAL, stages=(replace(FIRST, **changes), SECOND))


def buffer(at: int, **changes: object) -> Mapping:
    return first(buffers=(*BUFFERS[:at], replace(BUFFERS[at], **changes), *BUFFERS[at + 1 :]))


def tile(at: int, **changes: object) -> Mapping:
    return first(loops=(*LOOPS[:at], replace(LOOPS[at], **changes), *LOOPS[at + 1 :]))


def test_a_legal_mapping_has_no_violations() -> None:
    assert check(LEGAL) == ()
    assert check(replace(LEGAL, schedule="pipeline")) == ()


SUBJECT = "stage 's0', buffer 2 (operand -1, 'lmm')"


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (replace(LEGAL, stages=(FIRST,)), "coverage: operator 'relu' (Relu): found 0 stages, expected 1"),
        (replace(LEGAL, host=(HostCall("flat", "x"),)),
         "coverage: operator 'flat' (Reshape): found 1 host calls, expected 0"),
        (replace(LEGAL, stages=(replace(SECOND, after=()), FIRST)),
         "data dependence: stage 's1': found operator 'mm' is not listed before it, "
         "expected its inputs to be complete"),
        (replace(LEGAL, schedule="pipeline", stages=(FIRST, replace(SECOND, after=()))),
         "data dependence: stage 's1': found operator 'mm' does not have to end before it, "
         "expected its inputs to be complete"),
        (tile(1, trips=3), "tile loops: stage 's0', tile loop 1 ('k'): found 3 trips, "
         "expected 2: the largest enclosing tile has 8 iterations, the step is 4"),
        (tile(0, step=7), "tile loops: stage 's0', tile loop 0 ('m'): found 2 trips, "
         "expected 1: the largest enclosing tile has 6 iterations, the step is 7"),
        (tile(4, step=2, trips=2), "tile loops: stage 's0', loop 'k': found innermost pieces of 2, "
         "expected single points"),
        (tile(4, step=5), "tile loops: stage 's0', tile loop 4 ('k'): found step 5, expected a step from 1 to 4"),
        (tile(3, axis="column"), "axes: stage 's0', axis 'column': found an axis that the mapping lacks, expected row"),
        (replace(tile(3, axis="row"), axes=(Axis("row", 3),)),
         "axes: stage 's0', axis 'row': found 4 pieces side by side, expected at most 3"),
        (buffer(2, bytes=63), f"slices: {SUBJECT}: found 63 bytes, expected 64 for its largest slice of 'c'"),
        (buffer(2, address=31), f"overlap: {SUBJECT}: found starts at byte 31, expected at least 32, "
         "where buffer 1 ends"),
        (buffer(2, address=961), f"capacity: {SUBJECT}: found ends at byte 1025, "
         "expected at most 1024, the capacity of 'lmm'"),
        (buffer(2, copies=0), f"buffers: {SUBJECT}: found 0 copies at 32, expected a place in memory"),
        (replace(LEGAL, homes=(("v", "lmm"),)),
         "homes: view 'v': found home 'lmm', expected 'dram', where its bytes are"),
        (first(rect=Rect(3, 0, 2, 2)),
         "rectangles: stage 's0': found 2 x 2 PEs from (3, 0), expected inside 4 x 4 PEs"),
        (replace(first(rect=Rect(0, 1, 2, 2)), schedule="pipeline"),
         "rectangles: stages 's0' and 's1': found 2 x 2 PEs from (0, 2) and 2 x 2 PEs from (0, 1), "
         "expected no PE in both"),
    ],
)  # fmt: skip
def test_each_rule_says_what_was_found_and_expected(mapping: Mapping, words: str) -> None:
    assert found(mapping)[0] == words


def test_results_that_are_finished_need_no_accumulator() -> None:
    """With the reduction inside the slice's inner loops alone, an outer copy holds finished results only."""
    outer = Buffer(WRITTEN, "lmm", 1, 16, 32)
    loops = (TileLoop("m", 4, 2), TileLoop("m", 1, 4), TileLoop("n", 1, 4), TileLoop("k", 1, 8))
    inner = replace(MACHINE, memories=(*MACHINE.memories, Memory("reg", 64)))
    stage = replace(FIRST, loops=loops, buffers=(outer, Buffer(WRITTEN, "reg", 3, 4)))
    assert found(replace(LEGAL, machine=inner, stages=(stage, SECOND))) == []
    without = replace(stage, buffers=(outer,))
    assert [v.rule for v in check(replace(LEGAL, machine=inner, stages=(without, SECOND)))] == ["slices"]


def test_largest_slice_lies_in_the_interior_of_a_padded_image() -> None:
    at = loop("x") + loop("r") - 1
    op = Op("conv", "Conv", (Loop("x", 8), Loop("r", 3)), (Access("a", (at,), (at, 7 - at)), Access("w", (loop("r"),))),
            Access("c", (loop("x"),)), Call("mul", (Arg(0), Arg(1))), Combiner("sum", "int8"))  # fmt: skip
    graph = Graph("g", (Tensor("a", (8,), "int8", "input"), Tensor("w", (3,), "int8", "weight"),
                        Tensor("c", (8,), "int8")), (op,), ("a",), ("c",))  # fmt: skip
    loops = (TileLoop("x", 2, 4), TileLoop("x", 1, 2), TileLoop("r", 1, 3))
    stage = Stage("s", "conv", loops, (Buffer(0, "lmm", 1, 3),), Rect(0, 0, 1, 1))
    words = "slices: stage 's', buffer 0 (operand 0, 'lmm'): found 3 bytes, expected 4 for its largest slice of 'a'"
    assert found(Mapping("toy", MACHINE, graph, (), (stage,))) == [words]


def recurrence(loops: tuple[TileLoop, ...]) -> Mapping:
    """h[t, j] = sum over k of h[t - 1, k] w[k, j]: each step needs the whole step before it."""
    before = loop("t") - 1
    op = Op("rnn", "RNN", (Loop("t", 4, ordered=True), Loop("j", 2), Loop("k", 2)),
            (Access("h", (before, loop("k")), (before,), 1), Access("w", (loop("k"), loop("j")))),
            Access("h", (loop("t"), loop("j"))), Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    graph = Graph("g", (Tensor("w", (2, 2), "float32", "weight"), Tensor("h", (4, 2), "float32")), (op,), (), ("h",))
    return Mapping("toy", MACHINE, graph, (Axis("row", 4),), (Stage("s", "rnn", loops, (), Rect(0, 0, 1, 1)),))


def test_ordered_loops_keep_their_order() -> None:
    t, j, k = TileLoop("t", 1, 4), TileLoop("j", 1, 2), TileLoop("k", 1, 2)
    assert found(recurrence((t, j, k))) == []
    outside = "outside an ordered loop whose results it needs, expected inside it"
    assert found(recurrence((j, t, k))) == [f"ordered loops: stage 's', tile loop 0 ('j'): found {outside}"]
    assert found(recurrence((k, t, j))) == [f"ordered loops: stage 's', tile loop 0 ('k'): found {outside}"]
    assert found(recurrence((replace(t, axis="row"), j, k))) == [
        "ordered loops: stage 's', tile loop 0 ('t'): found side by side on axis 'row', "
        "expected one step after the other"
    ]


ROUTE = Route("c", "s0", "s1", 24, (((0, 0), (0, 1)), ((0, 1), (0, 2))), 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"links": ROUTE.links[:1]}, "routes: route 0 ('c'): found ends at (0, 1), expected a path to stage 's1'"),
        ({"links": (*ROUTE.links, ((2, 2), (2, 3)))},
         "routes: route 0 ('c'): found link (2, 2) to (2, 3) starts nowhere, expected a path from stage 's0'"),
        ({"links": (((0, 0), (0, 2)),)},
         "routes: route 0 ('c'): found link (0, 0) to (0, 2), expected a link of the fabric between working PEs"),
        ({"links": (*ROUTE.links, ((1, 1), (0, 1)))},
         "routes: route 0 ('c'): found two links into (0, 1), expected a tree"),
        ({"bytes": 23}, "routes: route 0 ('c'): found 23 bytes, expected 24, what the consumer reads once"),
        ({"colour": 2}, "colours: route 0 ('c'): found colour 2, expected 0 to 1"),
        ({"source": ""}, None),
    ],
)  # fmt: skip
def test_routes(changes: dict[str, object], words: str | None) -> None:
    mapping = replace(LEGAL, schedule="pipeline", routes=(ROUTE,))
    assert found(mapping) == []
    assert found(replace(mapping, routes=(replace(ROUTE, **changes),))) == ([words] if words else [])
    both = found(replace(mapping, routes=(ROUTE, ROUTE)))
    assert (
        both[0] == "colours: route 1 ('c'): found colour 1 at (0, 0) held by route 0 too, expected a colour of its own"
    )


def routed(route: Route) -> list[str]:
    return found(replace(LEGAL, schedule="pipeline", routes=(route,)))


def test_what_leaves_the_fabric_leaves_whole() -> None:
    out = Route("d", "s1", "", 24, (((0, 2), (0, 3)),))
    assert routed(out) == []
    assert routed(replace(out, bytes=23)) == ["routes: route 0 ('d'): found 23 bytes, expected 24, the whole result"]


def test_every_lane_of_a_bundle_starts_in_its_source_and_arrives() -> None:
    bundle = replace(ROUTE, lanes=2, stride=(1, 0))
    assert routed(bundle) == []
    outlying = routed(replace(bundle, lanes=3))
    assert outlying == [
        "routes: route 0 ('c'), lane 2: found link (2, 0) to (2, 1) starts nowhere, expected a path from stage 's0'",
        "routes: route 0 ('c'), lane 2: found ends at (2, 2), expected a path to stage 's1'",
    ]


def test_residents_and_buffers_share_the_memory() -> None:
    """c lives in lmm (24 bytes) while both stages run; the buffers leave room for 23."""
    small = replace(MACHINE, memories=(MACHINE.memories[0], Memory("lmm", 96 + 23)))
    mapping = replace(LEGAL, machine=small, homes=(("c", "lmm"),))
    assert [v.rule for v in check(mapping)] == ["residents"]
    assert check(replace(mapping, machine=replace(small, memories=(small.memories[0], Memory("lmm", 96 + 24))))) == ()


def test_no_memory_delivers_faster_than_its_bandwidth() -> None:
    slow = replace(MACHINE, memories=(replace(MACHINE.memories[0], bytes_per_cycle=1.0), MACHINE.memories[1]))
    second = replace(SECOND, phases=(Phase("dma", "dram", 24),))
    mapping = replace(LEGAL, machine=slow, stages=(replace(FIRST, phases=(Phase("dma", "dram", 111),)), second))
    assert found(mapping) == [  # a once (48 bytes), b for either tile of m (2 x 32), 24 results
        "time: stage 's0', memory 'dram': found 111 cycles, "
        "expected 112, which its bandwidth needs for 112 bytes read and 24 written"
    ]
    enough = replace(mapping, stages=(replace(FIRST, phases=(Phase("dma", "dram", 112),)), second))
    assert found(enough) == []


def test_host_calls_pass_dependences_on() -> None:
    tensors = (Tensor("x", (4,), "float32", "input"), Tensor("y", (4,), "float32"), Tensor("z", (4,), "float32"),
               Tensor("o", (4,), "float32"))  # fmt: skip
    copy = [Op(name, "Copy", (Loop("i", 4),), (Access(a, (loop("i"),)),), Access(b, (loop("i"),)), Arg(0))
            for name, a, b in (("p", "x", "y"), ("q", "z", "o"))]  # fmt: skip
    graph = Graph("g", tensors, (copy[0], Opaque("h", "NonZero", ("y",), ("z",), "no form"), copy[1]), ("x",), ("o",))
    stages = tuple(Stage(op.name, op.name, (TileLoop("i", 1, 4),), (), Rect(0, n, 1, 1)) for n, op in enumerate(copy))
    mapping = Mapping("toy", MACHINE, graph, (), stages, host=(HostCall("h", "no form"),))
    assert check(mapping) == ()
    assert [v.rule for v in check(replace(mapping, stages=stages[::-1]))] == ["data dependence"]
    assert [v.rule for v in check(replace(mapping, schedule="pipeline"))] == ["data dependence"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axes": (Axis("row", 4), Axis("row", 2))},
         "unique names: axis 'row': found given 2 times, expected given once"),
        ({"axes": (Axis("row", 0),)}, "axes: axis 'row': found extent 0, expected an extent of at least 1"),
        ({"homes": (("c", "lmm"), ("c", "dram"))},
         "unique names: home of tensor 'c': found given 2 times, expected given once"),
        ({"homes": (("q", "lmm"),)}, "homes: tensor 'q': found a home, expected a tensor of the graph"),
        ({"homes": (("c", "l2"),)}, "homes: tensor 'c': found memory 'l2', expected dram, lmm"),
        ({"schedule": "at once"}, "schedule: mapping: found 'at once', expected 'sequence' or 'pipeline'"),
        ({"stages": (replace(FIRST, launches=0), SECOND)},
         "launches: stage 's0': found 0 launches of 0 configuration bytes, "
         "expected at least one launch of no negative size"),
        ({"stages": (replace(FIRST, configuration_bytes=-1), SECOND)},
         "launches: stage 's0': found 1 launches of -1 configuration bytes, "
         "expected at least one launch of no negative size"),
        ({"stages": (FIRST, SECOND, replace(SECOND, name="s2", op="x"))},
         "coverage: operator 'x': found a stage or host call, expected an operator of the graph"),
        ({"stages": (replace(FIRST, after=("s1",)), SECOND)},
         "stage order: stage 's0': found after 's1', which is listed later, expected stages listed earlier"),
        ({"stages": (replace(FIRST, after=("zz",)), SECOND)},
         "stage order: stage 's0': found after 'zz', which is no stage, expected stages listed earlier"),
        ({"stages": (replace(FIRST, rect=Rect(0, 0, 2, 0)), SECOND)},
         "rectangles: stage 's0': found 2 x 0 PEs from (0, 0), expected inside 4 x 4 PEs"),
        ({"stages": (replace(FIRST, rect=Rect(0, 0, 2, 2, 1, 1)), SECOND)},
         "rectangles: stage 's0': found lanes 1 to 1, expected 1 lanes"),
        ({"stages": (replace(FIRST, rect=Rect(0, 0, 4, 4)), replace(SECOND, rect=Rect(3, 3, 1, 1))),
          "machine": replace(MACHINE, fabric=Fabric("mesh", 4, 4, dead=frozenset({(3, 3)})))},
         "rectangles: stage 's0': found 4 x 4 PEs from (0, 0) with dead PE (3, 3), expected working PEs only"),
    ],
)  # fmt: skip
def test_plain_facts(changes: dict[str, object], words: str) -> None:
    assert found(replace(LEGAL, **changes))[0] == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (buffer(0, operand=2), "buffers: stage 's0', buffer 0 (operand 2, 'lmm'): found operand 2, expected -1 to 1"),
        (buffer(0, operand=-2), "buffers: stage 's0', buffer 0 (operand -2, 'lmm'): found operand -2, "
         "expected -1 to 1"),
        (buffer(0, memory="l2"), "buffers: stage 's0', buffer 0 (operand 0, 'l2'): found memory 'l2', "
         "expected dram, lmm"),
        (buffer(0, depth=6), "buffers: stage 's0', buffer 0 (operand 0, 'lmm'): found depth 6, expected 0 to 5"),
        (buffer(0, depth=-1), "buffers: stage 's0', buffer 0 (operand 0, 'lmm'): found depth -1, expected 0 to 5"),
        (buffer(0, address=-1), "buffers: stage 's0', buffer 0 (operand 0, 'lmm'): found 1 copies at -1, "
         "expected a place in memory"),
        (buffer(0, copies=2), "overlap: stage 's0', buffer 1 (operand 1, 'lmm'): found starts at byte 16, "
         "expected at least 32, where buffer 0 ends"),
        (replace(buffer(0, memory="dram"), homes=(("a", "lmm"),)),
         "chains: stage 's0', buffer 0 (operand 0, 'dram'): found fed from 'lmm', further in, "
         "expected memories from outside to inside"),
        (replace(buffer(1, depth=0, bytes=32, address=100, resident=True)),
         "residents: stage 's0', buffer 1 (operand 1, 'lmm'): found schedule 'sequence', "
         "expected a pipeline: PEs of its own"),
        (replace(buffer(1, resident=True), schedule="pipeline"),
         "residents: stage 's0', buffer 1 (operand 1, 'lmm'): found refilled by tile loop 1, expected filled once"),
        (replace(buffer(0, depth=0, bytes=48, address=100, resident=True), schedule="pipeline"),
         "residents: stage 's0', buffer 0 (operand 0, 'lmm'): found 'a' stays between inferences, "
         "expected only weights and constants"),
        (tile(3, loop="q"), "tile loops: stage 's0', tile loop 3 ('q'): found a loop that the operator lacks, "
         "expected m, n, k"),
        (tile(0, step=0), "tile loops: stage 's0', tile loop 0 ('m'): found step 0, expected a step from 1 to inf"),
    ],
)  # fmt: skip
def test_buffers_have_a_place_and_loops_a_meaning(mapping: Mapping, words: str) -> None:
    assert found(mapping)[0] == words


def test_a_weight_may_stay_where_a_pipeline_keeps_its_pes() -> None:
    assert found(replace(buffer(1, depth=0, bytes=32, address=100, resident=True), schedule="pipeline")) == []


def test_stages_that_run_at_once_share_what_the_fabric_has_once() -> None:
    shared = replace(MACHINE, memories=(MACHINE.memories[0], replace(MACHINE.memories[1], at="fabric")))
    held = Buffer(0, "lmm", 0, 24, 95)
    both = (FIRST, replace(SECOND, buffers=(held,)))
    assert found(replace(LEGAL, machine=shared, stages=both)) == []
    assert found(replace(LEGAL, machine=shared, stages=both, schedule="pipeline")) == [
        "overlap: memory 'lmm', stage 's1': found a buffer from byte 95, "
        "expected at least 96, where stage 's0', running beside it, ends"
    ]
    apart = (FIRST, replace(SECOND, buffers=(replace(held, address=96),)))
    assert found(replace(LEGAL, machine=shared, stages=apart, schedule="pipeline")) == []
    own = replace(shared, memories=(shared.memories[0], replace(shared.memories[1], instances=2)))
    assert found(replace(LEGAL, machine=own, stages=both, schedule="pipeline")) == []


def test_the_position_of_an_extreme_is_not_split_over_pes() -> None:
    op = Op("best", "ArgMax", (Loop("i", 3), Loop("j", 4)), (Access("x", (loop("i"), loop("j"))),),
            Access("y", (loop("i"),)), Arg(0), Combiner("argmax", "int64", over="j"))  # fmt: skip
    tensors = (Tensor("x", (3, 4), "float32", "input"), Tensor("y", (3,), "int64"))
    for axis, words in ((None, []), ("row", ["combination: stage 's', tile loop 1 ('j'): found argmax split over PEs, "
                                             "expected a temporal loop"])):  # fmt: skip
        stage = Stage("s", "best", (TileLoop("i", 1, 3), TileLoop("j", 1, 4, axis)), (), Rect(0, 0, 1, 1))
        mapping = Mapping("toy", MACHINE, Graph("g", tensors, (op,), ("x",), ("y",)), (Axis("row", 4),), (stage,))
        assert found(mapping) == words
