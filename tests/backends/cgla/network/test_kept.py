"""Results that stay in the rows: what is saved, that more memory never moves more, and that the checker agrees."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mapper import machines
from mapper.arrays import Bodies, StagePlan, backing_bytes
from mapper.backends.cgla.network.account import array_facts
from mapper.backends.cgla.network.kept import kept_plans
from mapper.backends.cgla.network.rules import LaneRules
from mapper.check import check
from mapper.index import loop
from mapper.interpret import run
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import Infeasible, Mapping, Rect, TileLoop
from mapper.networks import map_network
from mapper.planning import Planner
from mapper.proof.left_in_rows import left_in_rows
from mapper.proof.run import run_mapping
from mapper.request import Request
from mapper.scalar import Acc, Arg, Call

F = "float32"


def softmax_like(batch: int, rows: int, columns: int, depth: int, tail: bool) -> Graph:
    """t = x w (negated in a tail), s = max of its rows, y = t - s: a product and two readers."""
    b, m, n, k = (loop(name) for name in "bmnk")
    extents = {"b": batch, "m": rows, "n": columns, "k": depth}

    def loops(names: str) -> tuple[Loop, ...]:
        return tuple(Loop(name, extents[name]) for name in names)

    t, s = Access("t", (b, m, n)), Access("s", (b, m))
    ops = (
        Op("product", "MatMul", loops("bmnk"), (Access("x", (b, m, k)), Access("w", (b, k, n))), t,
           Call("mul", (Arg(0), Arg(1))), Combiner("sum", F), Call("neg", (Acc(),)) if tail else None, macs=1),
        Op("max", "Max", loops("bmn"), (t,), s, Arg(0), Combiner("max", F)),
        Op("shift", "Sub", loops("bmn"), (t, s), Access("y", (b, m, n)), Call("sub", (Arg(0), Arg(1)))),
    )  # fmt: skip
    shapes = {"x": (batch, rows, depth), "w": (batch, depth, columns), "t": (batch, rows, columns), "s": (batch, rows),
              "y": (batch, rows, columns)}  # fmt: skip
    tensors = tuple(Tensor(name, shape, F, "input" if name in "xw" else "activation") for name, shape in shapes.items())
    return Graph("g", tensors, ops, ("x", "w"), ("y",))


def mapped(graph: Graph, machine: str) -> Mapping:
    resolved = machines.resolve(machine)
    found = map_network(graph, resolved, Request(), "cgla", LaneRules(resolved))
    assert isinstance(found, Mapping)
    return found


@cache
def legal() -> Mapping:
    found = mapped(softmax_like(4, 12, 16, 8, True), "imax3:lanes=2")
    assert dict(found.homes) == {"t": "lmm"}
    return found


def faults(mapping: Mapping) -> list[str]:
    return [str(violation) for violation in left_in_rows(mapping)]


def with_stage(number: int, **changes: object) -> Mapping:
    stages = list(legal().stages)
    stages[number] = replace(stages[number], **changes)  # type: ignore[arg-type]
    return replace(legal(), stages=tuple(stages))


@pytest.mark.parametrize("seed", range(4))
def test_kept_results_are_legal_and_right(seed: int) -> None:
    draw = random.Random(seed)
    sizes = [draw.randint(1, 6), draw.randint(2, 20), draw.randint(2, 20), draw.randint(1, 12)]
    graph = softmax_like(*sizes, tail=bool(seed % 2))
    mapping = mapped(graph, f"imax3:lanes={draw.choice((1, 2, 8))}")
    assert check(mapping) == ()
    noise = np.random.default_rng(seed)
    feeds = {name: noise.integers(-9, 9, graph.tensor(name).shape).astype(F) for name in ("x", "w")}
    values, missing = run_mapping(mapping, feeds, None, 10**6)
    assert missing == ()
    np.testing.assert_array_equal(values["y"], run(graph, feeds)["y"])


def test_what_stays_is_neither_drained_nor_loaded() -> None:
    """The product writes t nowhere, its two readers load it from nowhere: three times its bytes, if else nothing moves
    more than once."""
    graph = legal().graph
    rules = LaneRules(machines.resolve("imax3:lanes=2"))
    moved = [
        sum(backing_bytes(graph, plan, rules.axes)) for plan in kept_plans(graph, Request(), rules, plain(graph, rules))
    ]
    once = {name: graph.tensor(name).bytes for name in ("x", "w", "s", "y")}
    assert moved == [once["x"] + once["w"], once["s"], once["s"] + once["y"]]


def test_the_account_tells_what_stays() -> None:
    """t of 4 x 12 x 16 floats; its part in a unit stands beside the buffers of every stage."""
    facts = array_facts(legal())
    assert (facts["kept_tensors"], facts["kept_bytes"]) == (1, 4 * 12 * 16 * 4)
    units = 1
    for each in legal().stages[0].loops:
        units *= each.trips if each.axis in ("lane", "replica") else 1
    beside = [sum(b.bytes * b.copies for b in s.buffers if b.memory == "lmm") for s in legal().stages]
    assert facts["lmm_most_bytes"] - max(beside) >= facts["kept_bytes"] / units


def plain(graph: Graph, rules: LaneRules) -> list[StagePlan]:
    """Each operator's own plan, nothing kept."""
    planner, found = Planner(graph, Request(), rules, Bodies(rules)), []
    for op in graph.nests:
        plans = planner.plans(op)
        assert not isinstance(plans, Infeasible)
        found.append(plans[0])
    return found


@pytest.mark.parametrize("shape", [(6, 40, 48, 16)])
def test_more_local_memory_never_moves_more(shape: tuple[int, ...]) -> None:
    graph = softmax_like(*shape, tail=False)
    moved = []
    for kib in (8, 512):
        rules = LaneRules(machines.resolve(f"imax3:lanes=2,lmm={kib}KiB"))
        plans = kept_plans(graph, Request(), rules, plain(graph, rules))
        moved.append(sum(sum(backing_bytes(graph, plan, rules.axes)) for plan in plans))
    assert moved == sorted(moved, reverse=True)


def test_readers_start_where_their_loads_meet_the_stores() -> None:
    assert faults(legal()) == []
    rect = legal().stages[1].rect
    down = replace(rect, row=rect.row + 1, height=rect.height)
    (fault,) = faults(with_stage(1, rect=down))
    assert fault.startswith("left in rows: tensor 't', stage 's1', place (0, 0): found loads in row")


def test_a_reader_that_is_cut_otherwise_asks_for_what_is_elsewhere() -> None:
    """The reader's replicas walk over its columns instead of its rows, in pieces of one."""
    stage = legal().stages[2]
    (replica,) = [each for each in stage.loops if each.axis == "replica"]
    columns = TileLoop("n", 4, 4, "replica")
    loops = (columns, *(each for each in stage.loops if each != replica and (each.loop != "n" or each.step < 4)))
    (fault,) = faults(with_stage(2, loops=loops))
    assert fault.startswith("left in rows: tensor 't', stage 's2', place (")
    assert fault.endswith("of dimension 1, expected what the same place wrote")


def test_only_results_may_stay() -> None:
    for name in ("x", "w"):
        assert faults(replace(legal(), homes=((name, "lmm"),))) == [
            f"left in rows: tensor {name!r}: found 0 stages that write it, expected one"
        ]


def test_other_lanes_hold_nothing() -> None:
    stage = legal().stages[1]
    machine = replace(legal().machine, settings={**legal().machine.settings, "lanes": 4})
    rect = Rect(stage.rect.row, 0, stage.rect.height, 4, stage.rect.lane + 1, stage.rect.lanes)
    (fault,) = faults(replace(with_stage(1, rect=rect), machine=machine))
    assert fault.endswith("found a read, expected stage 's0' there")


def test_what_stays_takes_room_in_every_stage() -> None:
    memories = tuple(replace(m, capacity_bytes=256) if m.name == "lmm" else m for m in legal().machine.memories)
    found = faults(replace(legal(), machine=replace(legal().machine, memories=memories)))
    assert all("bytes beside" in fault and fault.endswith("expected at most 256") for fault in found)


def test_loads_in_several_rows_read_what_is_not_there() -> None:
    """One of the loads of the tensor moves to the row below."""
    body = legal().bodies[legal().stages[2].body or 0]
    tied = {region.id for region in body.dfg.regions if region.tensor == "t"}
    load = next(n.id for n in body.dfg.nodes if n.kind == "load" and n.memory is not None and n.memory.region in tied)
    placed = tuple(replace(p, cycle=p.cycle + 1) if p.node == load else p for p in body.placed)
    bodies = tuple(replace(each, placed=placed) if each is body else each for each in legal().bodies)
    (fault,) = faults(replace(legal(), bodies=bodies))
    assert (
        "stage 's2': found loads of 't' in rows [" in fault or "stage 's2', place (0, 0): found loads in row" in fault
    )
