"""The pipeline, readable at one sitting.

    INPUT -frontend-> Graph -passes-> Graph -backend.legalise-> Graph
        + Machine -backend.solve-> (Mapping, Outcome) | Infeasible
        -check-> -cost-> Report

Every mapping that leaves here has passed the checker; a violation is a fault of ours and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mapper import inputs, machines, passes, registry
from mapper.check import check
from mapper.cost import cost
from mapper.dfg import Dfg
from mapper.errors import CheckFailed, DoesNotFit, InputError, Unsupported
from mapper.ir import Graph, Opaque
from mapper.machine import Machine
from mapper.mapping import Infeasible
from mapper.request import Request, read_options
from mapper.result import ContestResult, KernelResult, ModelResult, Result
from mapper.violation import Violation

__all__ = ["compile"]

MOST_OPERATORS = 10_000  # about 3 GiB and 7 minutes on the wafer


def compile(  # the command and the Python call have the same name on purpose
    source: str | Path,
    target: str,
    machine: str | Machine | None = None,
    *,
    request: Request | None = None,
    dims: Mapping[str, int] | None = None,
    strict: bool = False,
) -> Result:
    """Map `source` (a file or `zoo:NAME`) onto `target`.

    `machine` is a name, a YAML file or a Machine (default: the target's own). Raises InputError, Unsupported (only with
    `strict`), DoesNotFit, or CheckFailed if a mapping of ours turned out illegal.
    """
    backend = registry.backend(target)
    asked = request or Request()
    asked = replace(asked, options=read_options(backend.OPTIONS, asked.options, target))
    fabric = machine if isinstance(machine, Machine) else machines.resolve(machine or backend.DEFAULT_MACHINE)
    if fabric.target != target:
        raise InputError(
            f"machine {fabric.name!r} is made for target {fabric.target!r}", "--machine", f"not {target!r}"
        )
    asked.progress(f"reading {source}")
    loaded = inputs.load(source, dims)
    if isinstance(loaded.value, Graph):
        return _compile_model(loaded, backend, target, fabric, asked, strict)
    if isinstance(loaded.value, Dfg):
        return _compile_kernel(loaded, backend, target, fabric, asked)
    return _compile_contest(loaded, backend, target, fabric, asked)


def _bounded(graph: Graph) -> None:
    """Raises DoesNotFit for more operators than one mapping can hold in a few GiB and minutes."""
    count = len(graph.ops)
    if count > MOST_OPERATORS:
        text = f"{count} operators after fusion, {MOST_OPERATORS} at most in one mapping"
        raise DoesNotFit(text, graph.name, "map the model in parts")


def _compile_model(
    loaded: inputs.Loaded, backend: registry.Backend, target: str, machine: Machine, request: Request, strict: bool
) -> Result:
    optimised = passes.optimise(loaded.value)
    _bounded(optimised)
    graph = backend.legalise(optimised, machine, request)
    hosted = [op for op in graph.ops if isinstance(op, Opaque)]
    if strict and hosted:
        op = hosted[0]
        raise Unsupported(f"operator {op.op_type!r} has no form on the fabric", op.name, op.reason)
    request.progress(f"mapping {len(list(graph.nests))} operators onto {machine.name}")
    solved = backend.solve(graph, machine, request)
    if isinstance(solved, Infeasible):
        raise DoesNotFit(*_words(solved))
    request.progress("checking")
    _demand(check(solved.mapping))
    return ModelResult(
        loaded, target, machine, request, solved.outcome, solved.facts, solved.mapping, cost(solved.mapping)
    )


def _compile_kernel(
    loaded: inputs.Loaded, backend: registry.Backend, target: str, machine: Machine, request: Request
) -> Result:
    if not hasattr(backend, "solve_kernel"):
        raise InputError(f"target {target!r} does not take loop kernels", loaded.name, "use --target cgra or cgla")
    solved = backend.solve_kernel(loaded.value, machine, request)
    if isinstance(solved, Infeasible):
        raise DoesNotFit(*_words(solved))
    result = KernelResult(
        loaded, target, machine, request, solved.outcome, solved.facts, solved.mapping, solved.solution
    )
    _demand(result.check())
    return result


def _compile_contest(
    loaded: inputs.Loaded, backend: registry.Backend, target: str, machine: Machine, request: Request
) -> Result:
    if not hasattr(backend, "solve_contest"):
        raise InputError(f"target {target!r} does not take contest graphs", loaded.name, "use --target wafer")
    solved = backend.solve_contest(loaded.value, machine, request)
    if isinstance(solved, Infeasible):
        raise DoesNotFit(*_words(solved))
    result = ContestResult(
        loaded, target, machine, request, solved.outcome, solved.facts, solved.places, solved.solution
    )
    _demand(result.check())
    return result


def _words(short: Infeasible) -> tuple[str, str, str]:
    what = f"does not fit: {short.demand:g} {short.unit} of {short.resource} asked, {short.limit:g} there"
    return what, short.culprit, "; ".join(short.levers)


def _demand(violations: tuple[Violation, ...]) -> None:
    if violations:
        first = violations[0]
        raise CheckFailed(
            f"the mapping breaks rule {first.rule} ({len(violations)} violations); this is a fault of mapper",
            first.subject,
            f"found {first.found}, expected {first.expected}",
        )
