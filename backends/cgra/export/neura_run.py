"""Executes instruction files of neura's format, from their text and a memory alone.

Written from the format's description, without its code and without the writer's (`neura.py`), to test what that
writes. Every operation starts at its `time_step` and again every `compiled_ii` cycles. Sources are read as they were
at the end of the cycle before. What is sent to a direction can be taken from the neighbour's opposite port in the
next cycle and in no other one. A core executes one operation a cycle, beside any number of DATA_MOVs from a port into
registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

__all__ = ["NeuraRun", "run_neura"]

Cell = tuple[int, int]
STEPS = {"NORTH": (1, 0), "SOUTH": (-1, 0), "EAST": (0, 1), "WEST": (0, -1), "NORTHEAST": (1, 1), "NORTHWEST": (1, -1),
         "SOUTHEAST": (-1, 1), "SOUTHWEST": (-1, -1)}  # fmt: skip
INTEGER: dict[str, Callable[[int, int], int]] = {
    "ADD": lambda a, b: a + b, "SUB": lambda a, b: a - b, "MUL": lambda a, b: a * b, "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b, "SHL": lambda a, b: a << (b & 31),
    "ICMP_EQ": lambda a, b: int(a == b), "ICMP_SGT": lambda a, b: int(a > b), "ICMP_SGE": lambda a, b: int(a >= b),
    "ICMP_SLT": lambda a, b: int(a < b), "ICMP_SLE": lambda a, b: int(a <= b),
}  # fmt: skip
FLOAT: dict[str, Callable[..., Any]] = {
    "FADD": np.add, "FSUB": np.subtract, "FMUL": np.multiply, "FMAX": np.maximum, "FMIN": np.minimum,
    "FNEG": np.negative,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NeuraRun:
    """The memory after the run and the cycle after the last operation."""

    memory: tuple[int, ...]
    cycles: int


@dataclass(frozen=True, slots=True)
class _Operation:
    cell: Cell
    opcode: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    first: int

    @property
    def beside(self) -> bool:
        """Does it only take a value from a port into registers?"""
        kept = all(word.startswith("$") for word in self.destinations)
        return self.opcode == "DATA_MOV" and self.sources[0] in STEPS and kept


@dataclass
class _State:
    memory: list[int]
    registers: dict[tuple[Cell, str], int] = field(default_factory=dict)
    ports: dict[tuple[Cell, str], int] = field(default_factory=dict)


def run_neura(text: str, memory: Sequence[int], iterations: int) -> NeuraRun:
    """Execute `iterations` turns. Raises ValueError for what the format does not allow, such as an empty port."""
    config = yaml.safe_load(text)["array_config"]
    ii, operations = int(config["compiled_ii"]), _operations(config)
    state = _State(list(memory))
    end = max(operation.first for operation in operations) + (iterations - 1) * ii + 1
    for cycle in range(end):
        due = [o for o in operations if cycle >= o.first and (cycle - o.first) % ii == 0]
        started = [(o, (cycle - o.first) // ii) for o in due if (cycle - o.first) // ii < iterations]
        _one_each(started, cycle)
        results = [(o, _executed(state, o, turn)) for o, turn in started]
        _written(state, results, config)
    return NeuraRun(tuple(state.memory), end)


def _operations(config: Mapping[str, Any]) -> list[_Operation]:
    found = []
    for core in config["cores"]:
        if int(core["core_id"]) != core["row"] * config["columns"] + core["column"]:
            raise ValueError(f"core {core['core_id']} is not at row {core['row']}, column {core['column']}")
        for entry in core["entries"]:
            for instruction in entry["instructions"]:
                for operation in instruction["operations"]:
                    found.append(_operation(core, instruction, operation, config["compiled_ii"]))
    return found


def _operation(core: Mapping[str, Any], slot: Mapping[str, Any], operation: Mapping[str, Any], ii: int) -> _Operation:
    first = operation["time_step"]
    if (operation["invalid_iterations"], slot["index_per_ii"]) != divmod(first, ii):
        raise ValueError(f"{operation['opcode']} at {first} is not in slot {slot['index_per_ii']} of II {ii}")
    words = [tuple(o["operand"] for o in operation.get(key, ())) for key in ("src_operands", "dst_operands")]
    return _Operation((core["row"], core["column"]), operation["opcode"], words[0], words[1], first)


def _one_each(started: Sequence[tuple[_Operation, int]], cycle: int) -> None:
    busy: set[Cell] = set()
    for operation, _ in started:
        if not operation.beside and operation.cell in busy:
            raise ValueError(f"core {operation.cell} executes two operations in cycle {cycle}")
        busy |= set() if operation.beside else {operation.cell}


def _executed(state: _State, operation: _Operation, turn: int) -> int | None:
    """The word that an operation makes (None: a store). A PHI_START takes its first source once, then the other one."""
    cell, opcode, sources = operation.cell, operation.opcode, operation.sources
    if opcode == "PHI_START":
        return _read(state, cell, sources[0 if turn == 0 else 1])
    values = [_read(state, cell, word) for word in sources]
    if opcode == "STORE":
        state.memory[_inside(state, values[1])] = values[0]
        return None
    if opcode == "LOAD":
        return state.memory[_inside(state, values[0])]
    if opcode == "DATA_MOV":
        return values[0]
    if opcode == "SEL":
        return values[1] if values[0] else values[2]
    if opcode in INTEGER:
        return (INTEGER[opcode](*values) + 2**31) % 2**32 - 2**31
    if opcode in FLOAT:
        floats = [np.array(value, np.int32).view(np.float32) for value in values]
        with np.errstate(all="ignore"):
            return int(np.asarray(FLOAT[opcode](*floats), np.float32).view(np.int32))
    raise ValueError(f"unknown opcode {opcode!r}")


def _inside(state: _State, address: int) -> int:
    if not 0 <= address < len(state.memory):
        raise ValueError(f"address {address} of a memory of {len(state.memory)} words")
    return address


def _read(state: _State, cell: Cell, word: str) -> int:
    if word.startswith("#"):
        number = word[1:]
        return int(number) if number.lstrip("-").isdigit() else int(np.array(number, np.float32).view(np.int32))
    places = state.ports if word in STEPS else state.registers
    if (cell, word) not in places:
        raise ValueError(f"core {cell} reads {word}, where nothing is")
    return places[cell, word]


def _written(state: _State, results: Sequence[tuple[_Operation, int | None]], config: Mapping[str, Any]) -> None:
    """Registers take their words; ports hold what was sent in this cycle and nothing else."""
    state.ports = {}
    for operation, value in results:
        for word in operation.destinations:
            if value is None:
                raise ValueError(f"{operation.opcode} of core {operation.cell} has no result")
            if word.startswith("$"):
                state.registers[operation.cell, word] = value
                continue
            row, column = operation.cell[0] + STEPS[word][0], operation.cell[1] + STEPS[word][1]
            if not (0 <= row < config["rows"] and 0 <= column < config["columns"]):
                raise ValueError(f"core {operation.cell} sends {word}, out of the array")
            back = {step: name for name, step in STEPS.items()}[-STEPS[word][0], -STEPS[word][1]]
            if ((row, column), back) in state.ports:
                raise ValueError(f"two values meet at port {back} of core ({row}, {column})")
            state.ports[(row, column), back] = value
