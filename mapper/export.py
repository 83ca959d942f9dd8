"""Placed loop bodies in formats of other programs: what `mapper export` writes.

A backend may have `EXPORTS`, the formats that it writes, and `export_body(format, body, machine, iterations, seed)`,
which gives the files of one body. Every body of a mapping becomes a folder of its own (`body0`, `body1`, …) or is
refused by name; `export.json` lists both. Loop kernels from files are refused as a whole: their operations are
labels, which compute nothing. If no body can be written, nothing is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mapper import registry
from mapper.documents import Decision, check_body
from mapper.errors import CheckFailed, InputError, MapperError
from mapper.machine import Machine
from mapper.mapping import Mapping as FabricMapping
from mapper.placement import KernelMapping

__all__ = ["Export", "Exported", "NotExportable", "Refused", "Written", "export"]


class NotExportable(MapperError):
    """The body needs something that the format or its instruction set does not have."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Exported:
    """The files of one body by name; a run of them takes `cycles` and leaves `words` words of memory."""

    files: Mapping[str, str]
    cycles: int
    words: int


@dataclass(frozen=True, slots=True)
class Written:
    """Body `number`, used by operators `ops`, in its folder."""

    number: int
    name: str
    ops: tuple[str, ...]
    ii: int
    exported: Exported

    @property
    def folder(self) -> str:
        return f"body{self.number}"


@dataclass(frozen=True, slots=True)
class Refused:
    """Body `number` and what the format lacks for it."""

    number: int
    name: str
    ops: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Export:
    """What became of every body; `facts` head `export.json`."""

    facts: Mapping[str, Any]
    written: tuple[Written, ...]
    refused: tuple[Refused, ...]

    def as_dict(self) -> dict[str, Any]:
        written = [
            {"body": w.number, "folder": w.folder, "name": w.name, "ops": list(w.ops), "ii": w.ii,
             "cycles": w.exported.cycles, "words": w.exported.words}
            for w in self.written
        ]  # fmt: skip
        refused = [{"body": r.number, "name": r.name, "ops": list(r.ops), "reason": r.reason} for r in self.refused]
        return {**self.facts, "bodies": written, "refused": refused}

    def files(self) -> dict[str, str]:
        """All files by their path in the output folder."""
        found = {"export.json": json.dumps(self.as_dict(), indent=1) + "\n"}
        return found | {f"{w.folder}/{name}": text for w in self.written for name, text in w.exported.files.items()}

    def text(self) -> str:
        lines = [
            f"{w.folder}  {w.name}: II {w.ii}, {w.exported.cycles} cycles, {w.exported.words} words, memory as expected"
            for w in self.written
        ]
        return "\n".join([*lines, *(f"refused  {r.name}: {r.reason}" for r in self.refused)])


def export(decision: Decision, header: Mapping[str, Any], format_: str, iterations: int, seed: int) -> Export:
    """Every body of a mapping in `format_`. Raises InputError for a format that the target lacks, NotExportable if no
    body can be written, CheckFailed if a mapping is illegal or a program does not do what its body means."""
    backend = registry.backend(decision.machine.target)
    formats = getattr(backend, "EXPORTS", ())
    if format_ not in formats:
        known = f"known are {', '.join(formats)}" if formats else "nothing of this target can be exported"
        raise InputError(f"target {decision.machine.target!r} has no format {format_!r}", "--format", known)
    if not isinstance(decision, FabricMapping):
        name = header.get("input", {}).get("name", "")
        raise NotExportable("operations of a loop kernel are labels", name, "only bodies lowered from ONNX compute")
    facts = {"schema": 1, "format": format_, "input": header.get("input", {}), "machine": decision.machine.name,
             "iterations": iterations, "seed": seed}  # fmt: skip
    found = list(_bodies(decision, backend, format_, iterations, seed))
    written = tuple(each for each in found if isinstance(each, Written))
    if not written:
        first = next(each for each in found if isinstance(each, Refused)) if found else None
        reason = f"{first.name}: {first.reason}" if first is not None else "the mapping has no loop bodies"
        what = f"none of {len(found)} bodies can be written as {format_}"
        raise NotExportable(what, str(header.get("input", {}).get("name", "")), reason)
    return Export(facts, written, tuple(each for each in found if isinstance(each, Refused)))


def _bodies(
    mapping: FabricMapping, backend: Any, format_: str, iterations: int, seed: int
) -> Iterator[Written | Refused]:
    for number, body in enumerate(mapping.bodies):
        ops = tuple(stage.op for stage in mapping.stages if number in (stage.body, stage.tail))
        _demand_legal(body, mapping.machine)
        try:
            exported = backend.export_body(format_, body, mapping.machine, iterations, seed)
        except NotExportable as refusal:
            yield Refused(number, body.dfg.name, ops, str(refusal))
        else:
            yield Written(number, body.dfg.name, ops, body.ii, exported)


def _demand_legal(body: KernelMapping, machine: Machine) -> None:
    violations = check_body(body, machine)
    if violations:
        raise CheckFailed(f"{len(violations)} violations, the first: {violations[0]}", body.dfg.name)
