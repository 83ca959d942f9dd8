"""Whole networks: legal, counted alike by cost and simulator, right values, and refused with reasons."""

import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest

import mapper
from mapper import interpret
from mapper.backends import wafer as backend
from mapper.check import check
from mapper.cost import cost
from mapper.ir import Graph
from mapper.machine import Machine
from mapper.mapping import Infeasible, Mapping, Stage
from mapper.request import Request, Solved
from mapper.result import ModelResult
from mapper.simulate import compare_counts, compare_values, simulate

Wafer = Callable[..., Machine]


def solved(graph: Graph, machine: Machine, **options: str) -> Mapping:
    request = Request(options=options)
    answer = backend.solve(backend.legalise(graph, machine, request), machine, request)
    assert isinstance(answer, Solved), str(answer)
    return answer.mapping


def feeds_of(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    given = [t for t in graph.tensors if t.role in ("input", "weight")]
    return {t.name: rng.standard_normal(t.shape).astype(np.float32) for t in given}


@pytest.mark.parametrize("schedule", ["pipeline", "streamed"])
def test_a_residual_network_is_legal_counted_and_right(residual: Graph, wafer: Wafer, schedule: str) -> None:
    mapping = solved(residual, wafer(40, 30), schedule=schedule)
    assert check(mapping) == ()
    feeds = feeds_of(residual)
    played = simulate(mapping, feeds)
    assert played.violations == ()
    assert compare_counts(played, cost(mapping)) == ()
    reference = interpret.run(residual, feeds)
    assert compare_values(played.values, {"c": reference["c"]}) == ()


def test_stages_of_a_pipeline_stand_apart_and_off_dead_cores(residual: Graph, wafer: Wafer) -> None:
    dead = ((0, 0), (3, 2), (9, 17), (20, 5))
    mapping = solved(residual, wafer(24, 20, dead))
    assert mapping.schedule == "pipeline"
    assert check(mapping) == ()
    cores = [cores_of(stage) for stage in mapping.stages]
    assert all(one.isdisjoint(other) for one, other in combinations(cores, 2))
    assert set(dead).isdisjoint(set().union(*cores))
    assert set(dead).isdisjoint({place for route in mapping.routes for link in route.links for place in link})


@pytest.mark.parametrize("model", ["resnet-tiny", "gpt2-tiny"])
def test_no_kernel_and_no_lane_of_a_network_uses_a_core_that_a_machine_file_calls_dead(
    model: str, tmp_path: Path
) -> None:
    rng = Random(7)
    dead = {(rng.randrange(80), rng.randrange(60)) for _ in range(8)}
    text = (Path(backend.__file__).parent / "wse2.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^width: \d+", "width: 60", re.sub(r"(?m)^height: \d+", "height: 80", text))
    text = text.replace("instances: 745500", "instances: 4800")
    text = text.replace("rows: height,", f"dead: {sorted(map(list, dead))}, rows: height,")
    file = tmp_path / "holed.yaml"
    file.write_text(text, encoding="utf-8")
    result = mapper.compile(f"zoo:{model}", "wafer", str(file), effort="fast")
    assert isinstance(result, ModelResult)
    mapping = result.mapping
    assert mapping.machine.fabric.dead == dead and mapping.schedule == "pipeline" and check(mapping) == ()
    assert dead.isdisjoint(set().union(*(cores_of(stage) for stage in mapping.stages)))
    lanes = {(r + n * route.stride[0], c + n * route.stride[1]) for route in mapping.routes
             for link in route.links for r, c in link for n in range(route.lanes)}  # fmt: skip
    assert len(lanes) > 100 and dead.isdisjoint(lanes)


def cores_of(stage: Stage) -> set[tuple[int, int]]:
    r = stage.rect
    return {(row, column) for row in range(r.row, r.row + r.height) for column in range(r.column, r.column + r.width)}


def test_weights_stay_in_a_pipeline_and_are_charged_when_streamed(residual: Graph, wafer: Wafer) -> None:
    machine = wafer(40, 30)
    weights = sum(t.bytes for t in residual.tensors if t.role == "weight")
    x, c = residual.tensor("x").bytes, residual.tensor("c").bytes
    resident = cost(solved(residual, machine, schedule="pipeline")).level("dram")
    streamed = cost(solved(residual, machine, schedule="streamed")).level("dram")
    assert (resident.read_bytes, resident.write_bytes) == (x, c)
    assert (streamed.read_bytes, streamed.write_bytes) == (x + weights, c)


def test_a_waiting_tensor_stands_once_per_level_that_it_skips(residual: Graph, wafer: Wafer) -> None:
    mapping = solved(residual, wafer(40, 30))
    stage = next(s for s in mapping.stages if s.op == "c")
    copies = {b.operand: b.copies for b in stage.buffers if b.memory == "sram"}
    assert copies == {0: 2, 1: 1, 2: 3}  # b streams in, the weight stays, a is two levels older


def test_the_input_with_windows_comes_in_once(residual: Graph, wafer: Wafer) -> None:
    mapping = solved(residual, wafer(40, 30))
    assert [s.op for s in mapping.stages] == ["enter x", "a", "b", "c"]
    assert cost(mapping).level("dram").read_bytes == residual.tensor("x").bytes


def test_same_input_same_mapping(residual: Graph, wafer: Wafer) -> None:
    machine = wafer(40, 30)
    assert solved(residual, machine) == solved(residual, machine)


def test_what_is_larger_than_the_wafer_is_streamed(residual: Graph, wafer: Wafer) -> None:
    tiny = wafer(1, 3)
    forced = Request(options={"schedule": "pipeline"})
    refused = backend.solve(backend.legalise(residual, tiny, forced), tiny, forced)
    assert isinstance(refused, Infeasible)
    assert refused.resource == "cores for a pipeline" and refused.limit == 3
    assert "--set schedule=streamed" in str(refused)
    mapping = solved(residual, tiny)
    assert mapping.schedule == "sequence" and check(mapping) == ()


def test_a_core_without_room_is_named_with_its_operator(residual: Graph, wafer: Wafer) -> None:
    cramped = wafer(2, 2, sram_bytes=128)
    answer = backend.solve(residual, cramped, Request())
    assert isinstance(answer, Infeasible)
    assert answer.resource == "core memory" and answer.demand > answer.limit
    assert "operator 'a' (Conv)" in str(answer)


def test_more_cores_are_never_slower(residual: Graph, wafer: Wafer) -> None:
    intervals = [cost(solved(residual, wafer(n, n))).interval_cycles for n in (8, 16, 32)]
    assert intervals == sorted(intervals, reverse=True)
