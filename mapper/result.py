"""What a compile gives back: the decision, its proof, its cost, and ways to look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mapper import documents, outputs
from mapper.cost import Cost
from mapper.inputs import Loaded
from mapper.kgraph import PlacedKernel
from mapper.machine import Machine
from mapper.mapping import Mapping as FabricMapping
from mapper.placement import KernelMapping
from mapper.report import data, page, picture, tables, terminal, text, trace
from mapper.request import Request
from mapper.solver import Outcome
from mapper.violation import Violation

__all__ = ["ContestResult", "KernelResult", "ModelResult", "Result"]


@dataclass(frozen=True)
class Result:
    """Common to all results: what was asked and how well the answer is proven."""

    loaded: Loaded
    target: str
    machine: Machine
    request: Request
    outcome: Outcome
    facts: Mapping[str, Any]

    @property
    def decision(self) -> documents.Decision:
        """What `mapping.json` holds."""
        raise NotImplementedError

    @cached_property
    def report(self) -> dict[str, Any]:
        """The contents of `report.json`."""
        raise NotImplementedError

    def check(self) -> tuple[Violation, ...]:
        """Every violation that an independent checker finds; () for a legal mapping."""
        return documents.check_decision(self.decision)

    def summary(self) -> str:
        """The text that the command line prints."""
        return text.summary(self.report)

    def map(self, colour: bool = False) -> str:
        """The fabric as a few lines of text."""
        return terminal.fabric_map(self.decision, colour)

    def svg(self) -> str:
        """The mapping as a picture."""
        return picture.svg(self.decision, self.report)

    def html(self) -> str:
        """The self-contained report page."""
        return page.html_page(self.decision, self.report)

    def to_html(self, path: str | Path) -> Path:
        """Write the report page to `path`."""
        target = Path(path)
        outputs.write_file(target, self.html())
        return target

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return f"<pre>{tables.escaped(self.summary())}</pre>{self.svg()}"

    def files(self) -> dict[str, str | bytes]:
        """The deterministic set of output files by name."""
        header = {
            "version": self.report["version"],
            "input": self.report["input"],
            "target": self.target,
            "objective": self.report["objective"],
            "seed": self.request.seed,
        }
        return {
            "mapping.json": documents.text(self.decision, header),
            "report.json": data.dump(self.report),
            "mapping.svg": self.svg(),
            "report.html": self.html(),
        }

    def files_of_run(self, run: Mapping[str, Any]) -> dict[str, str | bytes]:
        """All output files: the deterministic set, and the facts of one `run` (paths, times)."""
        return {**self.files(), "run.json": data.dump(dict(run))}

    def save(self, folder: str | Path, run: Mapping[str, Any] | None = None) -> Path:
        """Write all outputs to `folder`, whole or not at all. Raises InputError if that place cannot be used."""
        return outputs.write_set(Path(folder), self.files_of_run(run or {}))


@dataclass(frozen=True)
class ModelResult(Result):
    """A mapped model."""

    mapping: FabricMapping
    cost: Cost

    @property
    def decision(self) -> documents.Decision:
        return self.mapping

    @cached_property
    def report(self) -> dict[str, Any]:
        return data.model_report(self)

    def simulate(self, seed: int = 0) -> Any:
        """Run the mapping on values against the model's reference; see `mapper.verify.simulate_model`."""
        from mapper.verify import simulate_model

        return simulate_model(self.mapping, self.loaded.source, seed)

    def files(self) -> dict[str, str | bytes]:
        found = super().files()
        found["layers.csv"] = tables.layers_csv(self.report)
        found["trace.json"] = trace.model_trace(self.mapping)
        annotated = outputs.annotated(self.loaded, self.report)
        return found if annotated is None else {**found, "annotated.onnx": annotated}


@dataclass(frozen=True)
class KernelResult(Result):
    """A mapped loop kernel."""

    mapping: KernelMapping
    solution: Mapping[str, Any]

    @property
    def decision(self) -> documents.Decision:
        return documents.KernelDecision(self.machine, self.mapping)

    @cached_property
    def report(self) -> dict[str, Any]:
        return data.kernel_report(self)

    def files(self) -> dict[str, str | bytes]:
        return {
            **super().files(),
            "solution.json": data.dump(dict(self.solution)),
            "trace.json": trace.kernel_trace(self.mapping),
        }


@dataclass(frozen=True)
class ContestResult(Result):
    """A placed contest graph."""

    places: tuple[PlacedKernel, ...]
    solution: Mapping[str, Any]

    @property
    def decision(self) -> documents.Decision:
        return documents.ContestDecision(self.machine, self.loaded.value, self.places)

    @cached_property
    def report(self) -> dict[str, Any]:
        return data.contest_report(self)

    def files(self) -> dict[str, str | bytes]:
        return {**super().files(), "solution.json": data.dump(dict(self.solution))}
