"""The one door to OR-Tools: deterministic CP-SAT runs with incumbent, bound and gap.

A formulation is written against :class:`Model`, which *is* a CP-SAT model (nothing of the modelling
language is hidden) with the three things every formulation here repeats: one-hot choices, tables
and hints. :func:`solve` runs it under :class:`Limits` and answers with a :class:`Solution`.

Determinism: CP-SAT repeats its result for the same model, seed and parameters only when it runs
single-threaded or interleaves its workers, and only when it stops by *deterministic* time. So
`Limits.effort` is deterministic time, several subsolvers are interleaved on one core, and wall
clock (`Limits.wall_seconds`) is a safety net whose biting is reported in `Solution.wall_limited`.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from ortools.sat.python import cp_model

from mapper.signals import aside, asked

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Key = TypeVar("Key", bound=Hashable)
Variable = cp_model.IntVar
Expression = Any  # OR-Tools' linear expressions have no public common type

__all__ = ["Expression", "Limits", "Model", "Outcome", "Solution", "Variable", "solve"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how a search may run.

    `effort` is CP-SAT deterministic time (about a second of one core on small models); `workers` is the
    number of subsolvers interleaved on one core; `wall_seconds` a safety net that is not deterministic.
    """

    effort: float = 10.0
    workers: int = 1
    seed: int = 0
    wall_seconds: float | None = None
    presolve: bool = True
    parameters: tuple[tuple[str, Any], ...] = ()

    def scaled(self, factor: float) -> Limits:
        """The same limits with `factor` times the deterministic effort."""
        return replace(self, effort=self.effort * factor)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How well a mapping is proven: kept beside the mapping, never inside it.

    `proof`: "bound" (the objective meets a bound recomputed by other code), "exhausted" (search space
    exhausted once), "exhausted-twice" (again with another seed and without presolve) or "none".
    """

    status: Literal["optimal", "feasible"]
    objective: float
    bound: float
    proof: Literal["bound", "exhausted-twice", "exhausted", "none"]
    seed: int = 0
    interrupted: bool = False
    wall_limited: bool = False

    def __post_init__(self) -> None:
        if self.status == "optimal" and self.proof not in ("bound", "exhausted-twice"):
            raise ValueError(f"an outcome may be called optimal only with a proof, not with {self.proof!r}")

    @property
    def gap(self) -> float:
        """Relative distance (objective - bound) / objective, 0 when the objective meets the bound."""
        return max(0.0, (self.objective - self.bound) / self.objective) if self.objective else 0.0


@dataclass(frozen=True, slots=True)
class Solution:
    """What a run found. `value(x)` reads a variable or expression; it raises without an incumbent."""

    status: Status
    objective: float
    bound: float
    deterministic_time: float
    seconds: float
    interrupted: bool = False
    wall_limited: bool = False
    _solver: cp_model.CpSolver | None = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.status in ("optimal", "feasible")

    def value(self, expression: Expression) -> int:
        if self._solver is None or not self:
            raise ValueError(f"no incumbent to read: the search ended {self.status}")
        return int(self._solver.value(expression))

    def chosen(self, choice: Mapping[Key, Expression]) -> Key:
        """The key whose literal is true in a one-hot `choice`."""
        return next(key for key, literal in choice.items() if self.value(literal))


class Model(cp_model.CpModel):
    """A CP-SAT model with the house's shorthands."""

    def flag(self, name: str = "") -> Variable:
        return self.new_bool_var(name)

    def integer(self, low: int, high: int, name: str = "") -> Variable:
        return self.new_int_var(low, high, name)

    def one_of(self, keys: Iterable[Key], name: str = "") -> dict[Key, Variable]:
        """A one-hot choice: exactly one literal per key is true."""
        choice = {key: self.new_bool_var(f"{name}{key}") for key in keys}
        self.add_exactly_one(choice.values())
        return choice

    def picked(self, choice: Mapping[Key, Variable], value: Mapping[Key, int]) -> Expression:
        """The linear expression `value[chosen key]`."""
        return cp_model.LinearExpr.weighted_sum(list(choice.values()), [value[key] for key in choice])

    def hint(self, values: Iterable[tuple[Variable, int]]) -> None:
        for variable, value in values:
            self.add_hint(variable, value)


_STATUS: dict[Any, Status] = {
    cp_model.OPTIMAL: "optimal",
    cp_model.FEASIBLE: "feasible",
    cp_model.INFEASIBLE: "infeasible",
    cp_model.UNKNOWN: "unknown",
}


def _configured(limits: Limits) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.random_seed = limits.seed
    parameters.num_workers = limits.workers
    parameters.interleave_search = limits.workers > 1
    parameters.max_deterministic_time = limits.effort
    parameters.cp_model_presolve = limits.presolve
    parameters.catch_sigint_signal = False
    if limits.wall_seconds is not None:
        parameters.max_time_in_seconds = max(0.01, limits.wall_seconds)
    for name, value in limits.parameters:
        setattr(parameters, name, value)
    return solver


def solve(model: Model, limits: Limits) -> Solution:
    """Run CP-SAT on `model`. Raises ValueError if the model itself is malformed."""
    fault = model.validate()
    if fault:
        raise ValueError(f"malformed model: {fault}")
    solver = _configured(limits)
    started = time.monotonic()
    status = _STATUS[aside(lambda: solver.solve(model), solver.stop_search)]
    seconds = time.monotonic() - started
    deterministic = solver.response_proto.deterministic_time
    found = status in ("optimal", "feasible")
    decided = status in ("optimal", "infeasible")
    return Solution(
        status=status,
        objective=solver.objective_value if found else float("inf"),
        bound=solver.best_objective_bound if status != "unknown" else float("-inf"),
        deterministic_time=deterministic,
        seconds=seconds,
        interrupted=asked.is_set(),
        wall_limited=not decided and limits.wall_seconds is not None and deterministic < 0.98 * limits.effort,
        _solver=solver if found else None,
    )
