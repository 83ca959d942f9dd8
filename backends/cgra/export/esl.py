"""A placed integer loop body as a program of the ESL-CGRA simulator (esl-epfl/ESL-CGRA-simulator), 4x4 torus.

`instructions.csv` holds one instruction of all 16 PEs after the other: a row with its number, then four rows of four
cells such as `SADD R1, RCL, 4`. An instruction reads neighbours' output registers as they were left a cycle before,
and writes the PE's output register and, where it names one, a register: the machine of `docs/cgra-kernel.md`, so
operations stay where and when they are. `memory.csv` gives a word for every element (`memory.py`). Floats are words
as well: they can be loaded, moved and stored, not computed with.

The program runs the loop a given number of times: prologue, kernel, epilogue. The kernel is a loop if some PE stands
idle to count and branch, else it is written out (the torus is turned so that it is the last PE, after whose branch
the simulator executes no other one in that cycle). Phis take their first values as immediates. What the instruction
set lacks (floating point, selection) is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mapper.dfg import Node
from mapper.export import NotExportable
from mapper.machine import Fabric
from mapper.placement import KernelMapping

from .memory import Layout, biased

__all__ = ["esl_program"]

SIDE = 4
COUNTER = SIDE * SIDE - 1
MNEMONICS = {
    "iadd": "SADD", "isub": "SSUB", "imul": "SMUL", "and": "LAND", "or": "LOR", "xor": "LXOR",
    "shl": "SLT", "shr": "SRT", "sra": "SRA",
}  # fmt: skip
SINGLE = {"mov": "SADD {}, ZERO", "phi": "SADD {}, ZERO", "not": "LNOR {}, ZERO"}
DIRECTIONS = {(0, -1): "RCL", (0, 1): "RCR", (-1, 0): "RCT", (1, 0): "RCB"}


def esl_program(mapping: KernelMapping, fabric: Fabric, iterations: int, layout: Layout) -> str:
    """The text of `instructions.csv`: `iterations` runs of a body on a memory. Raises :class:`NotExportable`."""
    if (fabric.topology, fabric.rows, fabric.columns) != ("torus", SIDE, SIDE) or fabric.registers > SIDE:
        raise NotExportable("a grid that is not the simulator's", mapping.dfg.name, "map it on torus4x4")
    _refuse(mapping, fabric)
    return _Writer(mapping, iterations, biased(mapping.dfg, layout.base), layout.standing).text()


@dataclass(frozen=True)
class _Writer:
    """Writes the instructions of one mapping; operations are named as in the mapping: nodes by number, MOVEs by id."""

    mapping: KernelMapping
    iterations: int
    constants: Mapping[int, int]
    standing: Mapping[int, int]

    @cached_property
    def start(self) -> dict[int | str, int]:
        return {p.node: p.cycle for p in self.mapping.placed} | {m.id: m.cycle for m in self.mapping.moves}

    @cached_property
    def idle(self) -> int | None:
        """A PE that executes nothing, to count iterations."""
        used = {p.pe for p in self.mapping.placed} | {m.pe for m in self.mapping.moves}
        return next((pe for pe in range(SIDE * SIDE) if pe not in used), None)

    @cached_property
    def pe(self) -> dict[int | str, int]:
        """Places, on a torus turned so that an idle PE is the last one."""
        row, column = divmod(COUNTER if self.idle is None else self.idle, SIDE)
        found: dict[int | str, int] = {p.node: p.pe for p in self.mapping.placed}
        found |= {m.id: m.pe for m in self.mapping.moves}
        return {
            name: (pe // SIDE - row - 1) % SIDE * SIDE + (pe % SIDE - column - 1) % SIDE for name, pe in found.items()
        }

    @cached_property
    def register(self) -> dict[str, int]:
        return {use.value: use.index for use in self.mapping.registers}

    @cached_property
    def via(self) -> dict[tuple[int, int, int], int | str]:
        """What each edge is read from: its source, or the last MOVE on its way."""
        found: dict[tuple[int, int, int], int | str] = {
            (e.src, e.dst, e.distance): e.src for e in self.mapping.dfg.edges
        }
        return found | {(p.src, p.dst, p.distance): p.via[-1] for p in self.mapping.paths if p.via}

    # ------------------------------------------------------------------ the program

    def text(self) -> str:
        """All instructions, as CSV."""
        ii, count = self.mapping.ii, self.iterations
        steady = ii * (
            -(-max(self.start.values()) // ii) + max((e.distance for e in self.mapping.dfg.edges), default=0)
        )
        runs = count - steady // ii
        end = max(self.start.values()) + (count - 1) * ii + 1
        if self.idle is None or runs < 2 or ii < 2 or steady == 0:
            cycles = [self.cells(cycle) for cycle in range(end)]
        else:
            cycles = [self.cells(cycle) for cycle in range(steady)]
            cycles[0][COUNTER] = f"SADD R0, ZERO, {runs}"
            kernel = [self.cells(cycle) for cycle in range(steady, steady + ii)]
            kernel[0][COUNTER], kernel[-1][COUNTER] = "SADD R0, R0, -1", f"BNE R0, ZERO, {steady}"
            cycles += [*kernel, *(self.cells(cycle) for cycle in range(steady + runs * ii, end))]
        cycles.append(["EXIT", *["NOP"] * COUNTER])
        return "".join(_instruction(number, cells) for number, cells in enumerate(cycles))

    def cells(self, cycle: int) -> list[str]:
        """What every PE executes in one cycle of the unrolled schedule."""
        found = ["NOP"] * (SIDE * SIDE)
        for name, start in self.start.items():
            iteration, rest = divmod(cycle - start, self.mapping.ii)
            if rest == 0 and 0 <= iteration < self.iterations:
                found[self.pe[name]] = self.operation(name, iteration)
        return found

    def operation(self, name: int | str, iteration: int) -> str:
        if isinstance(name, str):
            move = next(m for m in self.mapping.moves if m.id == name)
            return f"SADD {self.destination(name)}, {self.operand(name, move.source)}, ZERO"
        node = self.mapping.dfg[name]
        if node.kind in ("load", "store"):
            return self.access(node)
        operands = self.operands(node, iteration)
        if node.op in SINGLE:
            mnemonic, rest = SINGLE[node.op].split(" ", 1)
            return f"{mnemonic} {self.destination(name)}, {rest.format(*operands)}"
        return f"{MNEMONICS[node.op]} {self.destination(name)}, {', '.join(operands)}"

    def operands(self, node: Node, iteration: int) -> list[str]:
        """Operands in order; a phi takes its constant until its value has come round."""
        fed = {e.operand: e for e in self.mapping.dfg.predecessors[node.id]}
        if node.op == "phi" and iteration < fed[0].distance:
            return [str(self.constants[node.id])]
        arity = 1 if node.op in SINGLE else 2
        return [
            self.operand(node.id, self.via[e.src, e.dst, e.distance])
            if (e := fed.get(at)) is not None
            else str(self.constants[node.id])
            for at in range(arity)
        ]

    def access(self, node: Node) -> str:
        use = node.memory
        assert use is not None
        fed = {e.src: self.via[e.src, e.dst, e.distance] for e in self.mapping.dfg.predecessors[node.id]}
        offset = use.offset
        address = str(self.standing[node.id]) if offset is None else self.operand(node.id, fed[offset])
        if node.kind == "load":
            return f"LWI {self.destination(node.id)}, {address}"
        data = str(self.constants[node.id]) if use.data is None else self.operand(node.id, fed[use.data])
        return f"SWI {address}, {data}"

    def destination(self, name: int | str) -> str:
        return f"R{self.register[str(name)]}" if str(name) in self.register else "ROUT"

    def operand(self, reader: int | str, source: int | str) -> str:
        """Where `reader` finds the value of `source`: a register or the output register of its PE, or a neighbour's."""
        there, here = self.pe[source], self.pe[reader]
        if there == here:
            return self.destination(source)
        row, column = divmod(here, SIDE)
        at = {(row + down) % SIDE * SIDE + (column + right) % SIDE: name for (down, right), name in DIRECTIONS.items()}
        return at[there]


def _instruction(number: int, cells: Sequence[str]) -> str:
    lines = [f"{number}" + "," * (SIDE - 1)]
    lines += [",".join(f'"{cell}"' for cell in cells[row * SIDE : (row + 1) * SIDE]) for row in range(SIDE)]
    return "\n".join(lines) + "\n"


def _refuse(mapping: KernelMapping, fabric: Fabric) -> None:
    """Raise NotExportable for what the instruction set lacks."""
    for node in mapping.dfg.nodes:
        if node.memory is None and node.op not in MNEMONICS and node.op not in SINGLE:
            raise NotExportable(f"operation {node.op!r}", f"node {node.id}", "the instruction set computes on integers")
        if node.host:
            raise NotExportable("a constant of the host", f"node {node.id}", "the format has none")
    for placed in mapping.placed:
        if fabric.latency_cycles(placed.pe, mapping.dfg[placed.node].op) != 1:
            raise NotExportable("a latency above one cycle", f"node {placed.node}", "the simulator has none")
