"""One attempt at one II: windows, symmetry, model, solve, and registers checked afterwards.

The register file is left out of the first model, because it rarely binds. If the schedule found does not colour with
the registers of a PE, the same attempt is repeated with values counted, and if that still does not colour, coloured in
the model. A refutation without registers is a refutation with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mapper.solver import Limits, solve

from .formulation import Formulation, Registers, Schedule, build
from .problem import Problem
from .registers import colouring, lives
from .symmetry import confine
from .windows import Difference, Window, components, differences, earliest, horizon_windows, rooted_windows

__all__ = ["Attempt", "Trial", "attempt", "registers_of"]

EFFORT_PER_CONSTRAINT = 1e-5  # about what building one costs, in seconds of a core
MODES: tuple[Registers, ...] = ("ignored", "counted", "coloured")
FAST: tuple[tuple[str, Any], ...] = (
    ("linearization_level", 0),
    ("cp_model_probing_level", 0),
    ("symmetry_level", 0),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What to try. `slack` None: schedules of every length, so that a refutation is one for good.

    `within`: PEs to which operations are confined (None: no such limit, and symmetry is broken); `most_moves`: a limit
    on MOVEs; `tight`: registers are known to bind, so the first model counts them.
    """

    problem: Problem
    ii: int
    slack: int | None
    limits: Limits
    within: Mapping[int, tuple[int, ...]] | None = None
    most_moves: int | None = None
    tight: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a trial of `problem`; `spent` is deterministic solver time and a charge for building the model;
    `tight`: a schedule was found that needs more registers than there are."""

    problem: Problem
    verdict: Literal["found", "refuted", "unknown"]
    schedule: Schedule | None = None
    spent: float = 0.0
    interrupted: bool = False
    wall_limited: bool = False
    tight: bool = False


def attempt(trial: Trial) -> Attempt:
    """Try it. Deterministic for the same trial."""
    problem = trial.problem
    windows = _windows(problem, trial.ii, trial.slack)
    if windows is None:
        return Attempt(problem, "refuted")
    confined = confine(problem, _by_degree(problem)) if trial.within is None else trial.within
    spent, tight = 0.0, False
    for registers in MODES[1:] if trial.tight and not _mixed(problem) else MODES:
        form = build(problem, trial.ii, windows, confined, registers, trial.most_moves)
        result = _solved(form, trial.limits, registers)
        spent += result.spent
        fits = result.schedule is not None and registers_of(problem, result.schedule) is not None
        if result.verdict != "found" or fits:
            break
        tight = True
    verdict = "unknown" if result.verdict == "found" and not fits else result.verdict
    schedule = result.schedule if verdict == "found" else None
    return replace(result, verdict=verdict, schedule=schedule, spent=spent, tight=tight)


def _mixed(problem: Problem) -> bool:
    """Do latencies differ from PE to PE? Then a model with registers is stricter than need be and refutes nothing."""
    return any(len(set(operation.latency_cycles)) > 1 for operation in problem.operations)


def _solved(form: Formulation, limits: Limits, registers: Registers) -> Attempt:
    solution = solve(form.model, replace(limits, parameters=(*FAST, *limits.parameters)))
    verdict: Literal["found", "refuted", "unknown"] = "found" if solution else "unknown"
    if solution.status == "infeasible" and not (registers != "ignored" and _mixed(form.problem)):
        verdict = "refuted"
    schedule = form.read(solution) if solution else None
    spent = solution.deterministic_time + EFFORT_PER_CONSTRAINT * len(form.model.proto.constraints)
    return Attempt(form.problem, verdict, schedule, spent, solution.interrupted, solution.wall_limited)


def registers_of(problem: Problem, schedule: Schedule) -> dict[int, int] | None:
    """The fixed register of every value kept in one, per operation index; None when some PE has too few."""
    found: dict[int, int] = {}
    arcs = lives(problem, schedule)
    for pe in sorted({life.pe for life in arcs}):
        colours = colouring([life for life in arcs if life.pe == pe], schedule.ii, problem.fabric.registers)
        if colours is None:
            return None
        found |= colours
    return found


def _windows(problem: Problem, ii: int, slack: int | None) -> Sequence[Window] | None:
    count = len(problem.operations)
    constraints = differences(problem, ii)
    if earliest(count, constraints) is None:
        return None
    if slack is not None:
        return horizon_windows(count, constraints, slack)
    return rooted_windows(count, constraints, ii, _roots(problem, constraints))


def _degrees(problem: Problem) -> list[int]:
    degree = [0] * len(problem.operations)
    for read in problem.reads:
        degree[read.reader] += 1
        degree[read.sources[0]] += 1
    return degree


def _by_degree(problem: Problem) -> list[int]:
    """The busiest node first, then its partners: the operations that symmetry confines."""
    degree = _degrees(problem)
    fixed = [i for i, operation in enumerate(problem.operations) if not operation.optional]
    if not fixed:
        return []
    root = max(fixed, key=lambda i: (degree[i], -i))
    partners = {r.reader for r in problem.reads if r.sources[0] == root}
    return [root, *(i for i in sorted(partners - {root}) if not problem.operations[i].optional)]


def _roots(problem: Problem, constraints: Sequence[Difference]) -> list[int]:
    """One operation per component: the busiest overall first, then the busiest of every other component."""
    degree = _degrees(problem)
    first = _by_degree(problem)[0]
    groups = components(len(problem.operations), constraints)
    return [first, *(max(group, key=lambda i: (degree[i], -i)) for group in groups if first not in group)]
