"""The words of the checker about the fabric: bodies and their time, links, and routes that lead nowhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mapper.check import check
from mapper.cost import body_hops
from mapper.dfg import Dfg, Edge, Node
from mapper.machine import Fabric
from mapper.mapping import Phase, Rect, Route
from mapper.placement import KernelMapping, Placed, RegisterUse
from mapper.proof.crossings import body_crossings

sys.path.insert(0, str(Path(__file__).parent))
from test_check import FIRST, LEGAL, MACHINE, SECOND, first, found

BODY = KernelMapping(Dfg("body", (Node(0, "a"), Node(1, "b")), (Edge(0, 1),)), 2, (Placed(0, 0, 0), Placed(1, 1, 1)))
RUNS = 6 * 4 * 8  # points of the product; its 24 results are finished by the tail


def run_by(cycles: int, times: int = 1, **changes: object) -> list[str]:
    phases = (Phase("EXEC", "grid", cycles, times), Phase("DMA", "dma", 10**6))
    return found(replace(first(body=0, phases=phases, **changes), bodies=(BODY,)))


def test_a_body_takes_its_interval_at_every_run_and_the_tail_too() -> None:
    words = (
        "time: stage 's0': found at most {} cycles of execution, expected {} cycles: initiation interval x iterations"
    )
    assert run_by(2 * RUNS) == run_by(RUNS, 2) == []
    assert run_by(2 * RUNS - 1) == [words.format(2 * RUNS - 1, 2 * RUNS)]
    assert run_by(2 * RUNS + 48, tail=0) == []
    assert run_by(2 * RUNS + 47, tail=0) == [words.format(2 * RUNS + 47, 2 * RUNS + 48)]


def test_time_is_not_negative() -> None:
    phases = (Phase("EXEC", "grid", 5, -1), Phase("DMA", "dma", -3))
    assert found(first(phases=phases)) == [
        "time: stage 's0', phase 'EXEC': found -1 x 5, expected no negatives",
        "time: stage 's0', phase 'DMA': found 1 x -3, expected no negatives",
    ]


@pytest.mark.parametrize("overlap", [False, True])
def test_phases_of_two_resources_add_up_unless_they_overlap(overlap: bool) -> None:
    slow = replace(MACHINE, memories=(replace(MACHINE.memories[0], bytes_per_cycle=1.0), MACHINE.memories[1]))
    both = (Phase("dma", "dram", 60), Phase("exec", "grid", 52), Phase("drain", "dram", 0))
    second = replace(SECOND, phases=(Phase("dma", "dram", 24),))
    mapping = replace(LEGAL, machine=slow, stages=(replace(FIRST, phases=both, overlap=overlap), second))
    assert [v.found for v in check(mapping)] == (["60 cycles"] if overlap else [])


def test_bodies_exist_are_legal_and_lie_in_their_rectangle() -> None:
    assert run_by(10**4, rect=Rect(0, 0, 1, 2)) == []
    assert run_by(10**4, rect=Rect(0, 0, 2, 1)) == [
        "displaced: stage 's0': found body 'body' on PE 1, expected inside the first strip"
    ]
    assert run_by(10**4, tail=1) == ["bodies: stage 's0': found tail 1, expected 0 to 0"]
    assert run_by(10**4, tail=-1) == ["bodies: stage 's0': found tail -1, expected 0 to 0"]
    far = replace(BODY, placed=(Placed(0, 0, 0), Placed(1, 10, 1)))
    assert found(replace(LEGAL, bodies=(BODY, far))) == [
        "space: body 1, read 0->1: found PE 10, expected PE 0 or one that reads it"
    ]


@pytest.mark.parametrize(
    ("topology", "there", "joined"),
    [
        ("mesh", (1, 2), True), ("mesh", (2, 2), False), ("mesh", (0, 2), False), ("mesh", (1, 1), False),
        ("king", (2, 2), True), ("king", (3, 1), False), ("onehop", (1, 3), True), ("onehop", (3, 1), True),
        ("onehop", (2, 2), False), ("line", (2, 1), True), ("line", (0, 1), False), ("line", (1, 2), False),
        ("torus", (1, 0), True), ("mesh", (1, 4), False), ("mesh", (-1, 1), False),
    ],
)  # fmt: skip
def test_which_pes_a_link_joins(topology: str, there: tuple[int, int], joined: bool) -> None:
    machine = replace(MACHINE, fabric=Fabric(topology, 4, 4))  # type: ignore[arg-type]
    stages = (replace(FIRST, rect=Rect(1, 1, 1, 1)), replace(SECOND, rect=Rect(3, 3, 1, 1)))
    route = Route("c", "s0", "", 24, (((1, 1), there),))
    words = [str(v) for v in check(replace(LEGAL, machine=machine, stages=stages, routes=(route,)))]
    assert any("a link of the fabric" in each for each in words) is not joined


def test_a_torus_has_links_round_its_ends_and_none_to_dead_pes() -> None:
    def links(*dead: tuple[int, int]) -> list[str]:
        machine = replace(MACHINE, fabric=Fabric("torus", 4, 4, dead=frozenset(dead)))
        stages = (replace(FIRST, rect=Rect(0, 0, 1, 1)), replace(SECOND, rect=Rect(3, 3, 1, 1)))
        there = Route("c", "s0", "s1", 24, (((0, 0), (3, 0)), ((3, 0), (3, 3))))
        return [v.expected for v in check(replace(LEGAL, machine=machine, stages=stages, routes=(there,)))]

    assert links() == [] and links((3, 0)) == 2 * ["a link of the fabric between working PEs"]


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (Route("c", "s0", "s1", 24, ()), "found no links, expected a path to stage 's1'"),
        (Route("c", "s0", "s9", 24, ()), "found stage 's9', expected a stage of the mapping"),
        (Route("c", "s0", "s1", 24, (((1, 1), (1, 2)),), also=("s1",)),
         "found targets s1, s1, expected each stage once"),
        (Route("c", "s0", "s1", 24, (((1, 1), (1, 2)),), lanes=0),
         "found 0 lanes, displaced by (0, 0), expected at least one lane, each in a place of its own"),
        (Route("c", "s0", "s1", 24, (((1, 1), (1, 2)),), lanes=2),
         "found 2 lanes, displaced by (0, 0), expected at least one lane, each in a place of its own"),
        (Route("a", "", "s0", 47, (((0, 0), (0, 1)),)), "found 47 bytes, expected 48, what the consumer reads once"),
        (Route("a", "", "s0", 48, (((1, 1), (1, 0)),)),
         "found link (1, 1) to (1, 0) starts nowhere, expected a path from the edge"),
    ],
)  # fmt: skip
def test_routes_that_lead_nowhere(route: Route, words: str) -> None:
    assert words in " | ".join(found(replace(LEGAL, schedule="pipeline", routes=(route,))))


def test_a_result_that_leaves_goes_over_the_edge() -> None:
    inner = replace(SECOND, rect=Rect(1, 2, 1, 1))
    out = Route("d", "s1", "", 24, (((1, 2), (1, 3)),))
    mapping = replace(LEGAL, schedule="pipeline", stages=(FIRST, inner), routes=(out,))
    assert found(mapping) == []
    stays = replace(out, links=(((1, 2), (2, 2)),))
    assert found(replace(mapping, routes=(stays,))) == [
        "routes: route 0 ('d'): found ends at (2, 2), expected a path to the edge of 4 x 4 PEs"
    ]
    assert found(replace(mapping, routes=(replace(out, links=()),))) == [
        "routes: route 0 ('d'): found no links, expected a path to the edge of 4 x 4 PEs"
    ]
    at_edge = replace(mapping, stages=(FIRST, SECOND), routes=(replace(out, links=()),))
    assert found(at_edge) == []


@pytest.mark.parametrize(
    ("rect", "apart"),
    [
        (Rect(2, 0, 2, 2), True), (Rect(1, 0, 2, 2), False), (Rect(0, 2, 2, 2), True), (Rect(0, 1, 2, 2), False),
        (Rect(0, 0, 2, 2, 1, 1), True), (Rect(0, 0, 2, 2, 0, 2), False), (Rect(1, 1, 1, 1), False),
        (Rect(2, 2, 2, 2), True),
    ],
)  # fmt: skip
def test_stages_that_run_at_once_touch_but_share_no_pe(rect: Rect, apart: bool) -> None:
    lanes = replace(MACHINE, settings={"lanes": 2})
    for stages in ((FIRST, replace(SECOND, rect=rect)), (replace(FIRST, rect=rect), replace(SECOND, rect=FIRST.rect))):
        words = [v.expected for v in check(replace(LEGAL, machine=lanes, stages=stages, schedule="pipeline"))]
        assert words == ([] if apart else ["no PE in both"])
        assert check(replace(LEGAL, machine=lanes, stages=stages)) == ()


def test_words_that_pass_between_pes_of_a_grid_and_rows_of_a_line() -> None:
    """A register of a grid belongs to its PE; one of a line has been reached over the rows before it."""
    held = replace(BODY, registers=(RegisterUse("0", 0, 0, 0), RegisterUse("h0", 1, 0, 0), RegisterUse("0", 1, 0, 0)))
    line = replace(MACHINE, fabric=Fabric("line", 4, 4))
    assert body_crossings(BODY, False) == body_crossings(held, False) == body_hops(held, MACHINE) == 1
    assert body_crossings(held, True) == body_hops(held, line) == 2
    assert body_crossings(BODY, True) == body_hops(BODY, line) == 0
