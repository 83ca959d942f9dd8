"""Copies stacked on a line of rows: the checker counts the rows of each and the turns of tails."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest

import mapper
from mapper.check import check
from mapper.check_rows import rows_used
from mapper.cost import iterations, outputs_per_copy
from mapper.mapping import Mapping, Phase, Stage
from mapper.proof.stacked import stacked_bodies, turns


@cache
def legal() -> Mapping:
    """Two layers of BERT, whose gelu is a tail higher than the product's body."""
    found = mapper.compile("zoo:bert-tiny", "cgla").mapping
    assert isinstance(found, Mapping)
    return found


def replicas(stage: Stage) -> int:
    return math.prod(loop.trips for loop in stage.loops if loop.axis == "replica")


def stacked() -> Stage:
    """A stage of several replicas."""
    return next(stage for stage in legal().stages if replicas(stage) > 1)


def with_stage(stage: Stage) -> Mapping:
    return replace(legal(), stages=tuple(stage if each.name == stage.name else each for each in legal().stages))


def test_what_the_target_stacks_is_legal() -> None:
    assert list(stacked_bodies(legal())) == []


def test_rows_of_their_own_are_asked_for_every_copy() -> None:
    """The rectangle shrinks to the least height at which all copies have rows, and then by one more."""
    stage = stacked()
    assert stage.body is not None
    body, copies = legal().bodies[stage.body], replicas(stage)
    need = rows_used(body) + any(use.row == 63 and use.value.startswith("h") for use in body.registers)
    fits, short = (replace(stage, rect=replace(stage.rect, height=copies * need - less)) for less in (0, 1))
    assert list(stacked_bodies(with_stage(fits))) == []
    (violation,) = stacked_bodies(with_stage(short))
    assert violation.rule == "stacked" and violation.subject == f"stage {stage.name!r}"
    assert violation.found == f"{copies} copies of body {body.dfg.name!r} on {copies * need - 1} rows"
    assert violation.expected == f"{need} rows for each"


def tall() -> Stage:
    """A stage whose tails do not fit at once."""
    return next(stage for stage in legal().stages if turns(legal(), stage) > 1)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_tails_that_do_not_fit_at_once_take_turns(times: int) -> None:
    """On a line of one row less than `times` tails take, one fewer runs at once."""
    stage = tall()
    assert stage.tail is not None
    need = rows_used(legal().bodies[stage.tail])
    fabric = replace(legal().machine.fabric, rows=times * need - 1)
    line = replace(legal(), machine=replace(legal().machine, fabric=fabric))
    assert turns(line, stage) == math.ceil(replicas(stage) / max(times - 1, 1))


def test_time_for_one_turn_is_too_little() -> None:
    stage, ops = tall(), {op.name: op for op in legal().graph.nests}
    assert stage.body is not None and stage.tail is not None
    body, tail = legal().bodies[stage.body].ii, legal().bodies[stage.tail].ii
    runs, outputs = iterations(stage, ops[stage.op]), outputs_per_copy(stage, ops[stage.op])
    least = body * runs + tail * outputs * turns(legal(), stage)

    def expected(cycles: int) -> list[str]:
        others = tuple(phase for phase in stage.phases if phase.resource != "array")
        short = replace(stage, phases=(Phase("EXEC", "array", cycles), *others))
        return [v.expected for v in check(with_stage(short)) if v.subject == f"stage {stage.name!r}"]

    assert expected(least) == []
    assert expected(least - 1) == [f"{least} cycles: initiation interval x iterations"]
