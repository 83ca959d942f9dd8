"""`mapper simulate`: runs a decision on values and holds values and counts against independent sources.

Models: the reference is ONNX's own evaluator on the same seeded inputs and weights (onnxruntime where that lacks an
operator, a plain run of the graph where neither is at hand); where a model is too large to run on values, counts alone
are compared. The report says which. Loop kernels: operations are labels, so they are run as
uninterpreted functions against a plain interpretation of the loop body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from mapper.cost import cost
from mapper.documents import ContestDecision, Decision, KernelDecision, check_decision
from mapper.errors import clean
from mapper.interpret import run
from mapper.ir import Op
from mapper.mapping import Mapping
from mapper.simulate import compare_counts, compare_values, simulate
from mapper.violation import Violation

__all__ = ["Verification", "simulate_decision", "simulate_model"]

VALUE_POINTS = 400_000_000


@dataclass(frozen=True)
class Verification:
    """What was compared, and every difference."""

    what: str
    compared: tuple[str, ...]
    violations: tuple[Violation, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        found = [
            {"rule": v.rule, "subject": v.subject, "found": v.found, "expected": v.expected} for v in self.violations
        ]
        return {
            "what": self.what,
            "compared": list(self.compared),
            "equal": not found,
            "violations": found,
            **self.facts,
        }

    def text(self) -> str:
        lines = [f"{clean(self.what)}: {'equal' if not self.violations else f'{len(self.violations)} differences'}"]
        lines += [f"  compared {item}" for item in self.compared]
        lines += [f"  {clean(str(violation), 400)}" for violation in self.violations[:50]]
        return "\n".join(lines)


def simulate_decision(decision: Decision, source: Path | str, seed: int) -> Verification:
    """Run any kind of decision; `source` names the model for reference values."""
    if isinstance(decision, Mapping):
        return simulate_model(decision, source, seed)
    if isinstance(decision, KernelDecision):
        return _simulate_kernel(decision)
    return _recheck_contest(decision)


def simulate_model(mapping: Mapping, source: Path | str, seed: int = 0) -> Verification:
    """Counts of the played mapping against its cost; values against the ONNX reference where size permits."""
    priced = cost(mapping)
    if not _small(mapping) or not _available(source):
        why = "values not run: " + (
            f"{source} with the same bytes is not here, name the model with --model"
            if _small(mapping)
            else "the model is too large"
        )
        played = simulate(mapping)
        return Verification(
            mapping.graph.name, ("bytes per memory and link with the cost", why), compare_counts(played, priced)
        )
    frontend = import_module("mapper.frontends.onnx.reference")
    model = _model(source)
    feeds = frontend.random_feeds(mapping.graph, seed)
    host = import_module("mapper.frontends.onnx.host").run_opaque
    played = simulate(mapping, feeds, host)
    try:
        reference, source_of = frontend.reference_outputs(model, feeds)
    except frontend.NoReference as lack:
        reference, source_of = run(mapping.graph, feeds, host), f"a plain run of the graph ({lack})"
    outputs = {name: played.values[name] for name in mapping.graph.outputs if name in played.values}
    differences = (*played.violations, *compare_counts(played, priced), *compare_values(outputs, reference))
    return Verification(
        mapping.graph.name,
        ("bytes per memory and link with the cost", f"values of {len(outputs)} outputs with {source_of}"),
        differences,
    )


def _small(mapping: Mapping) -> bool:
    return sum(op.points for op in mapping.graph.ops if isinstance(op, Op)) <= VALUE_POINTS


def _available(source: Path | str) -> bool:
    return str(source).startswith("zoo:") or Path(source).is_file()


def _model(source: Path | str) -> Any:
    if str(source).startswith("zoo:"):
        return import_module("mapper.models.zoo").build(str(source).removeprefix("zoo:"))
    return Path(source)


def _simulate_kernel(decision: KernelDecision) -> Verification:
    name = decision.mapping.dfg.name
    if decision.machine.fabric.topology == "line":
        from mapper.simulate_rows import simulate_rows

        played: Any = simulate_rows(decision.mapping)
    else:
        from mapper.simulate_kernel import simulate_kernel

        played = simulate_kernel(decision.mapping, decision.machine.fabric)
    compared = ("values of every operation with a plain interpretation of the loop body",)
    return Verification(name, compared, tuple(played.violations))


def _recheck_contest(decision: ContestDecision) -> Verification:
    """A contest placement has nothing to execute: its score is recomputed exactly."""
    from mapper.check_contest import score_contest

    score = score_contest(decision.graph, decision.places)
    facts = {"time": float(score.time), "wirelength": float(score.wirelength), "score": float(score.score)}
    return Verification(decision.graph.name, ("legality and score, recomputed",), check_decision(decision), facts)
