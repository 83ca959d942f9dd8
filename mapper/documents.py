"""What `mapping.json` holds: the decision itself, self-contained, so that anyone can check it later.

Three kinds of decision: a model's :class:`mapper.mapping.Mapping`, a loop kernel on a fabric, a placed contest graph.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapper.check import check
from mapper.codec import CodecError, decode, encode
from mapper.errors import InputError
from mapper.inputs import digest_of
from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.machine import Machine
from mapper.mapping import Mapping
from mapper.placement import KernelMapping
from mapper.violation import Violation

__all__ = ["ContestDecision", "Decision", "KernelDecision", "check_decision", "read", "source_of", "text"]

SIZE_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class KernelDecision:
    """A loop body placed on a machine."""

    machine: Machine
    mapping: KernelMapping


@dataclass(frozen=True)
class ContestDecision:
    """A contest graph with every kernel's place."""

    machine: Machine
    graph: KernelGraph
    places: tuple[PlacedKernel, ...]


Decision = Mapping | KernelDecision | ContestDecision
KINDS: dict[str, type[Any]] = {cls.__name__: cls for cls in (Mapping, KernelDecision, ContestDecision)}


def text(decision: Decision, header: dict[str, Any]) -> str:
    """The document as JSON text, the same bytes for the same decision."""
    return json.dumps({"schema": 1, **header, "mapping": encode(decision)}, separators=(",", ":")) + "\n"


def read(folder: Path) -> tuple[Decision, dict[str, Any]]:
    """The decision in `folder/mapping.json` and the document's header. Raises InputError."""
    path = folder / "mapping.json" if folder.is_dir() else folder
    if not path.is_file():
        raise InputError("no mapping.json there", str(folder), "name a folder that 'mapper compile' wrote")
    if path.stat().st_size > SIZE_LIMIT_BYTES:
        raise InputError("mapping.json is larger than 1 GiB", str(path))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        body = document.pop("mapping")
        return decode(KINDS[body["$type"]], body, "mapping"), document
    except CodecError as error:
        raise InputError("mapping.json has a wrong value", str(path), str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("not a mapping document", str(path), "it must be JSON with a key 'mapping'") from error


def source_of(folder: Path, header: dict[str, Any]) -> Path | str:
    """The model that the mapping in `folder` was made from: its file here or beside `folder`, known by its digest.

    Without one, the recorded name.
    """
    name, digest = str(header["input"]["name"]), header["input"]["sha256"]
    beside = folder if folder.is_dir() else folder.parent
    found = (path for path in (Path(name), beside.resolve().parent / name) if path.is_file())
    return next((path for path in found if digest_of(path) == digest), name)


def check_decision(decision: Decision) -> tuple[Violation, ...]:
    """Every violation of a decision, whatever its kind."""
    if isinstance(decision, Mapping):
        return check(decision)
    if isinstance(decision, KernelDecision):
        return check_body(decision.mapping, decision.machine)
    from mapper.check_contest import check_contest

    return check_contest(decision.graph, decision.places)


def check_body(mapping: KernelMapping, machine: Machine) -> tuple[Violation, ...]:
    """Violations of a placed loop body on its fabric: rows of a line, or slots of a grid."""
    if machine.fabric.topology == "line":
        from mapper.check_rows import check_rows

        return check_rows(mapping)
    from mapper.check_kernel import check_kernel

    return check_kernel(mapping, machine.fabric)
