"""Executes programs of the ESL-CGRA simulator's format, from the texts of its two files alone.

Written from the format's description, without its code and without the writer's (`esl.py`), to test what that writes:
all PEs execute one instruction a cycle; neighbours are read as they were a cycle before; a branch goes for all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["run_esl"]

SIDE = 4
NEIGHBOUR = {"RCL": (0, -1), "RCR": (0, 1), "RCT": (-1, 0), "RCB": (1, 0)}
ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "SADD": lambda a, b: a + b, "SSUB": lambda a, b: a - b, "SMUL": lambda a, b: a * b,
    "LAND": lambda a, b: a & b, "LOR": lambda a, b: a | b, "LXOR": lambda a, b: a ^ b, "LNOR": lambda a, b: ~(a | b),
    "SLT": lambda a, b: a << b, "SRT": lambda a, b: (a & 0xFFFFFFFF) >> b, "SRA": lambda a, b: a >> b,
}  # fmt: skip
BRANCHES: dict[str, Callable[[int, int], bool]] = {
    "BEQ": lambda a, b: a == b, "BNE": lambda a, b: a != b, "BLT": lambda a, b: a < b, "BGE": lambda a, b: a >= b,
}  # fmt: skip


@dataclass
class _State:
    memory: dict[int, int]
    out: list[int] = field(default_factory=lambda: [0] * SIDE**2)
    registers: list[dict[str, int]] = field(
        default_factory=lambda: [dict.fromkeys(("R0", "R1", "R2", "R3"), 0) for _ in range(SIDE**2)]
    )
    target: int | None = None
    ended: bool = False


def run_esl(instructions: str, memory: str, limit: int = 1_000_000) -> tuple[dict[int, int], int]:
    """The memory after the program has exited, and the cycles before that. Raises ValueError for an unknown word or if
    `limit` cycles pass."""
    lines = list(csv.reader(io.StringIO(instructions)))
    program = [[cell for row in lines[at + 1 : at + 1 + SIDE] for cell in row] for at in range(0, len(lines), SIDE + 1)]
    state = _State({int(a): int(v) for a, v in list(csv.reader(io.StringIO(memory)))[1:]})
    counter = 0
    for cycle in range(limit):
        before = list(state.out)
        state.target = None
        for pe, cell in enumerate(program[counter]):
            _execute(state, before, pe, cell.replace(",", " ").split())
        if state.ended:
            return state.memory, cycle
        counter = counter + 1 if state.target is None else state.target
    raise ValueError(f"the program did not exit within {limit} cycles")


def _execute(state: _State, before: list[int], pe: int, words: list[str]) -> None:
    op, rest = words[0], words[1:]

    def value(word: str) -> int:
        return _value(state, before, pe, word)

    if op in ARITHMETIC:
        _write(state, pe, rest[0], ARITHMETIC[op](value(rest[1]), value(rest[2])))
    elif op in BRANCHES:
        if BRANCHES[op](value(rest[0]), value(rest[1])):
            state.target = value(rest[2])
        state.out[pe] = value(rest[2])
    elif op == "LWI":
        _write(state, pe, rest[0], state.memory[value(rest[1])])
    elif op == "SWI":
        state.memory[value(rest[0])] = value(rest[1])
    elif op == "EXIT":
        state.ended = True
    elif op != "NOP":
        raise ValueError(f"unknown instruction {op!r}")


def _value(state: _State, before: list[int], pe: int, word: str) -> int:
    if word.lstrip("-").isdigit():
        return int(word)
    if word in ("ROUT", "ZERO"):
        return before[pe] if word == "ROUT" else 0
    if word in state.registers[pe]:
        return state.registers[pe][word]
    if word not in NEIGHBOUR:
        raise ValueError(f"unknown operand {word!r}")
    down, right = NEIGHBOUR[word]
    return before[(pe // SIDE + down) % SIDE * SIDE + (pe % SIDE + right) % SIDE]


def _write(state: _State, pe: int, destination: str, value: int) -> None:
    """To the output register and, if it is named, a register: 32 bits, signed."""
    state.out[pe] = (value + 2**31) % 2**32 - 2**31
    if destination in state.registers[pe]:
        state.registers[pe][destination] = state.out[pe]
