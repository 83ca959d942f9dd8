"""What a user asks of a backend, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mapper.errors import InputError
from mapper.kgraph import PlacedKernel
from mapper.mapping import Mapping as FabricMapping
from mapper.placement import KernelMapping
from mapper.solver import Outcome

__all__ = [
    "ContestSolved",
    "Effort",
    "Incumbent",
    "KernelSolved",
    "Objective",
    "Option",
    "Progress",
    "Request",
    "Solved",
    "Watcher",
    "read_options",
    "unwatched",
]

Objective = Literal["movement", "energy", "latency", "edp"]
Effort = Literal["fast", "default", "max"]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The best legal answer so far: its `objective`, what is proven necessary, and what both count ("rows")."""

    counts: str
    objective: float
    bound: float

    def __str__(self) -> str:
        gap = max(0.0, self.objective - self.bound) / self.objective if self.objective else 0.0
        return f"{self.counts} {self.objective:g}, at least {self.bound:g}, gap {gap:.1%}"


Watcher = Callable[[Incumbent], None]


def silent(_message: str) -> None:
    """The progress receiver of quiet runs."""


def unwatched(_incumbent: Incumbent) -> None:
    """The incumbent receiver of quiet runs."""


@dataclass(frozen=True, slots=True)
class Option:
    """A backend's own option for `--set NAME=VALUE`; `choices` empty for free values."""

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """How to search. `effort` is a deterministic limit; `time_limit_seconds` a wall-clock net.

    `progress` is told each step, and may end the run by raising; `watch` is shown incumbents while one step searches.
    """

    objective: Objective = "movement"
    effort: Effort = "default"
    seed: int = 0
    time_limit_seconds: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = silent
    watch: Watcher = unwatched


@dataclass(frozen=True)
class Solved:
    """A mapping of a model and how well it is proven; `facts` go into the report's target section."""

    mapping: FabricMapping
    outcome: Outcome
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KernelSolved:
    """A mapped loop kernel; `facts` is the report's "kernel" section, `solution` the benchmark's own format."""

    mapping: KernelMapping
    outcome: Outcome
    facts: Mapping[str, Any]
    solution: Mapping[str, Any]


@dataclass(frozen=True)
class ContestSolved:
    """A placed contest graph; `facts` is the report's "contest" section, `solution` the contest's own format."""

    places: tuple[PlacedKernel, ...]
    outcome: Outcome
    facts: Mapping[str, Any]
    solution: Mapping[str, Any]


def read_options(known: tuple[Option, ...], given: Mapping[str, str], target: str) -> dict[str, str]:
    """Every option's value. Raises InputError for an unknown option or value."""
    names = {option.name: option for option in known}
    for name, value in given.items():
        if name not in names:
            listed = ", ".join(sorted(names)) or "none"
            raise InputError(f"target {target!r} has no option {name!r}", f"--set {name}={value}", f"it has: {listed}")
        choices = names[name].choices
        if choices and value not in choices:
            raise InputError(
                f"option {name!r} cannot be {value!r}", f"--set {name}={value}", f"one of {', '.join(choices)}"
            )
    return {option.name: given.get(option.name, option.default) for option in known}
