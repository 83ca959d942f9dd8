"""The Python face of the commands: `mapper.compile`, `mapper.load`, `mapper.machine`, `mapper.compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mapper import compiler, inputs, machines
from mapper.machine import Machine
from mapper.request import Effort, Objective, Request
from mapper.result import Result

__all__ = ["compare", "compile", "load", "machine"]


def compile(
    source: str | Path,
    target: str,
    machine: str | Path | Machine | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    options: Mapping[str, str] | None = None,
    objective: Objective = "movement",
    effort: Effort = "default",
    seed: int = 0,
    time_limit_seconds: float | None = None,
    strict: bool = False,
) -> Result:
    """Map a model file, a loop kernel, a contest graph or `zoo:NAME` onto `target`; mirrors `mapper compile`.

    `dims` binds symbolic dimensions, `options` are the target's own (`--set`). Raises the errors of `mapper.errors`.
    """
    request = Request(objective, effort, seed, time_limit_seconds, dict(options or {}))
    machine = str(machine) if isinstance(machine, Path) else machine
    return compiler.compile(source, target, machine, request=request, dims=dims, strict=strict)


def load(source: str | Path, dims: Mapping[str, int] | None = None) -> Any:
    """The input as a value of ours: `mapper.ir.Graph`, `mapper.dfg.Dfg` or `mapper.kgraph.KernelGraph`."""
    return inputs.load(source, dims).value


def machine(name: str | Path) -> Machine:
    """A machine by name, parametric name or YAML file."""
    return machines.resolve(str(name))


def compare(source: str | Path, targets: Sequence[str] = (), dims: Mapping[str, int] | None = None) -> Any:
    """The model on mapped targets beside roofline baselines; mirrors `mapper compare`."""
    from mapper.compare import compare as run

    return run(source, tuple(targets), dims=dims)
