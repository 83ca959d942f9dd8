"""Machine files: YAML to :class:`mapper.machine.Machine`, with file, line and key in every error.

Top-level scalars beside the structural keys are the target's settings (`lanes: 8`); a structural value may name one
(`capacity: lmm`). Parametric names change top-level keys of a built-in file (`imax3:lanes=8,lmm=64KiB`), and
`torus4x4`, `mesh8x8`, `king4x4`, `onehop4x4` build plain grids of any size.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mapper.errors import InputError
from mapper.machine import Energy, Fabric, Links, Machine, MachineError, Memory, MemoryPorts, PeClass
from mapper.registry import backend_modules, target_with
from mapper.units import quantity

__all__ = ["baseline_names", "builtin_names", "file_text", "json_schema", "load", "resolve"]

SIZE_LIMIT_BYTES = 1 << 20
GRID = re.compile(r"(torus|mesh|king|onehop)(\d+)x(\d+)$")
GRID_LIMIT = 64
FABRIC_LIMIT = 4_000_000

Bytes = Annotated[int, BeforeValidator(lambda v: int(quantity(v, "B")))]
Hertz = Annotated[float, BeforeValidator(lambda v: quantity(v, "Hz"))]
PjPerByte = Annotated[float, BeforeValidator(lambda v: quantity(v, "pJ/B")), Field(ge=0)]
Pj = Annotated[float, BeforeValidator(lambda v: quantity(v, "pJ")), Field(ge=0)]
PerCycle = Annotated[float, BeforeValidator(lambda v: quantity(v, "B/cycle")), Field(gt=0)]
Count = Annotated[int, BeforeValidator(lambda v: int(quantity(v, ""))), Field(ge=1, le=FABRIC_LIMIT)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MemoryForm(_Form):
    name: str
    capacity: Bytes | None
    instances: Count = 1
    read: PjPerByte
    write: PjPerByte
    bandwidth: PerCycle | None = None
    at: Literal["off", "fabric", "row", "column", "pe"] = "off"
    source: str


class LinksForm(_Form):
    width: Annotated[int, BeforeValidator(lambda v: int(quantity(v, "B"))), Field(ge=1)]
    energy: PjPerByte
    cycles_per_hop: Count = 1
    colours: Count | None = None
    source: str


class PeForm(_Form):
    name: str
    ops: list[str] = []
    latency: dict[str, Count] = {}
    where: str = "all"


class PortsForm(_Form):
    count: Count
    per: Literal["column", "row", "fabric"] = "column"


class FabricForm(_Form):
    topology: Literal["line", "torus", "mesh", "king", "onehop"]
    rows: Count
    columns: Count
    registers: Annotated[int, Field(ge=0, le=1024)] = 4
    pes: list[PeForm] = [PeForm(name="pe")]
    dead: list[tuple[int, int]] = []
    memory_ports: PortsForm | None = None


class EnergyForm(_Form):
    technology: str
    mac: dict[str, Pj]
    op: dict[str, Pj] = {}
    source: str


class MachineForm(BaseModel):
    """The structural keys of a machine file; further top-level scalars are settings of the target."""

    model_config = ConfigDict(extra="allow")
    schema_: Literal[1] = Field(alias="schema")
    name: str
    target: str
    description: str = ""
    clock: Hertz
    fabric: FabricForm
    memories: Annotated[list[MemoryForm], Field(min_length=1, max_length=8)]
    links: LinksForm
    energy: EnergyForm
    sources: dict[str, str] = {}


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of machine files."""
    return MachineForm.model_json_schema()


def builtin_names() -> dict[str, Path]:
    """Built-in machine names and their files, sorted by name."""
    found = {}
    for module in backend_modules():
        for path in target_with(module).glob("*.yaml"):
            found[path.stem] = path
    return dict(sorted(found.items()))


def baseline_names() -> dict[str, Path]:
    """Systems that `mapper compare` bounds and nothing is mapped onto; their files have a schema of their own."""
    return {path.stem: path for path in sorted((target_with("mapper.backends.roofline") / "systems").glob("*.yaml"))}


def file_text(name: str) -> str:
    """The YAML text of a built-in machine, to copy and edit, or of a baseline."""
    return (baseline_names().get(name) or _builtin(name)).read_text(encoding="utf-8")


def resolve(text: str) -> Machine:
    """A machine by file, built-in name or parametric name. Raises InputError."""
    if text.endswith((".yaml", ".yml")) or "/" in text:
        return load(Path(text))
    if grid := GRID.match(text):
        return _grid(text, grid[1], int(grid[2]), int(grid[3]))
    name, _, changes = text.partition(":")
    path = _builtin(name)
    document, lines = _read(path)
    for change in filter(None, changes.split(",")):
        key, equals, value = change.partition("=")
        if not equals or key not in document or isinstance(document[key], (dict, list)):
            scalars = ", ".join(k for k, v in document.items() if not isinstance(v, (dict, list)))
            raise InputError(f"machine {name!r} has no parameter {key!r}", f"--machine {text}", f"it has: {scalars}")
        document[key] = yaml.safe_load(value) if len(value) < 64 else value
    document["name"] = text
    return _machine(document, lines, text)


def load(path: Path) -> Machine:
    """Read a machine file. Raises InputError with file, line, key and what was expected."""
    document, lines = _read(path)
    return _machine(document, lines, str(path))


def _builtin(name: str) -> Path:
    known = builtin_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}, torusRxC, meshRxC, kingRxC"
        raise InputError(f"unknown machine {name!r}", "--machine", hint)
    return known[name]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The document and the line of each key path."""
    if not path.is_file():
        raise InputError("machine file does not exist or is not a regular file", str(path), "see 'mapper machines'")
    if path.stat().st_size > SIZE_LIMIT_BYTES:
        raise InputError(f"machine file is larger than {SIZE_LIMIT_BYTES} bytes", str(path))
    try:
        text = path.read_text(encoding="utf-8")
        if re.search(r"^[^#'\"]*[\s\[{:,-][&*][A-Za-z0-9_]+", text, re.MULTILINE):
            raise InputError("machine file uses YAML anchors or aliases", str(path), "write the values out")
        node = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise InputError("not a YAML file", where, str(getattr(error, "problem", error))) from error
    if not isinstance(document, dict) or node is None:
        raise InputError(
            "a machine file is a mapping of keys", str(path), "see 'mapper machines imax3' for one to copy"
        )
    lines: dict[str, int] = {}
    _collect_lines(node, "", lines)
    return document, lines


def _collect_lines(node: yaml.Node, path: str, lines: dict[str, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            lines[below] = key.start_mark.line + 1
            _collect_lines(value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _collect_lines(item, f"{path}.{position}", lines)


def _machine(document: dict[str, Any], lines: Mapping[str, int], where: str) -> Machine:
    settings = {k: v for k, v in document.items() if k not in MachineForm.model_fields and k != "schema"}
    for key, value in settings.items():
        if not isinstance(value, (int, float, str, bool)):
            line = f", line {lines[key]}" if key in lines else ""
            raise InputError(
                f"unknown key {key!r}", f"{where}{line}", "settings of a target are plain numbers or words"
            )
    try:
        form = MachineForm.model_validate(_resolved(document, settings))
        return _built(form, settings)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        at = next((lines[k] for k in _prefixes(key) if k in lines), 0)
        place = f"{where}, line {at}" if at else where
        raise InputError(f"machine key {key!r} is wrong", place, fault["msg"].removeprefix("Value error, ")) from error
    except MachineError as error:
        raise InputError(str(error), where) from error


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _resolved(value: Any, settings: Mapping[str, Any]) -> Any:
    """Structural values that name a setting are replaced by it (`capacity: lmm`)."""
    if isinstance(value, dict):
        return {k: _resolved(v, settings) if isinstance(v, (dict, list)) or k not in settings else v
                for k, v in ((k, _named(k, v, settings)) for k, v in value.items())}  # fmt: skip
    if isinstance(value, list):
        return [_resolved(item, settings) for item in value]
    return value


def _named(key: str, value: Any, settings: Mapping[str, Any]) -> Any:
    replaceable = key in ("capacity", "instances", "rows", "columns", "bandwidth", "registers", "width")
    return settings[value] if replaceable and isinstance(value, str) and value in settings else value


def _built(form: MachineForm, settings: Mapping[str, Any]) -> Machine:
    f = form.fabric
    if f.rows * f.columns > FABRIC_LIMIT:
        raise MachineError(f"fabric of {f.rows} x {f.columns} PEs is larger than {FABRIC_LIMIT}")
    classes = tuple(PeClass(p.name, frozenset(p.ops), tuple(sorted(p.latency.items())), p.where) for p in f.pes)
    ports = MemoryPorts(f.memory_ports.count, f.memory_ports.per) if f.memory_ports else None
    fabric = Fabric(f.topology, f.rows, f.columns, f.registers, classes, frozenset(f.dead), ports)
    memories = tuple(
        Memory(m.name, m.capacity, m.instances, m.read, m.write, m.bandwidth, m.at, m.source) for m in form.memories
    )
    links = Links(form.links.width, form.links.energy, form.links.cycles_per_hop, form.links.colours, form.links.source)
    e = form.energy
    energy = Energy(e.technology, tuple(sorted(e.mac.items())), tuple(sorted(e.op.items())), e.source)
    return Machine(form.name, form.target, fabric, memories, links, energy, form.clock, _plain(settings),
                   form.description, form.sources)  # fmt: skip


def _plain(settings: Mapping[str, Any]) -> dict[str, int | float | str | bool]:
    """Settings with units resolved: `64KiB` becomes 65536."""
    plain: dict[str, int | float | str | bool] = {}
    for key, value in settings.items():
        plain[key] = value
        if isinstance(value, str):
            for unit in ("B", "Hz", "B/s", ""):
                try:
                    number = quantity(value, unit)
                except ValueError:
                    continue
                plain[key] = int(number) if number == int(number) else number
                break
    return plain


def _grid(name: str, topology: str, rows: int, columns: int) -> Machine:
    """A plain grid with the energies and memories of the default CGRA machine, and as it a word a cycle and column."""
    if not (1 <= rows <= GRID_LIMIT and 1 <= columns <= GRID_LIMIT):
        raise InputError(f"grid {name!r} is out of range", "--machine", f"rows and columns go from 1 to {GRID_LIMIT}")
    document, lines = _read(_builtin("openedge4x4"))
    document["name"] = name
    document["fabric"] = {"topology": topology, "rows": rows, "columns": columns, "registers": 4}
    document["spm_banks"] = 2 * columns
    sizes = {"spm": {"bandwidth": 4 * columns}, "reg": {"instances": rows * columns}}
    document["memories"] = [memory | sizes.get(memory["name"], {}) for memory in document["memories"]]
    return _machine(document, lines, name)
