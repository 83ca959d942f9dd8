"""The memory of an exported run: where every region lies, which words it holds before, and which after.

A program is a run of one body: its iterations along the innermost loop that turns, from address 0 of each region on.
The formats know one flat memory of words, so regions follow each other in it, each as long as the run reaches. An
access whose address stands still while the body runs (an accumulator's store) has a word of its own at the end of its
region. What a load finds is drawn from the seed: floats where floating point reads it, small indices where addresses
are made of it. What is there afterwards comes from the meaning of the body's operations
(`mapper.kernels.primitives`), iteration by iteration, knowing nothing of places and cycles.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mapper.dfg import Dfg, Node
from mapper.export import NotExportable
from mapper.kernels.primitives import PRIMITIVES, apply, literal_word

__all__ = ["Layout", "Played", "biased", "csv_of", "laid_out", "played", "word_of"]

MOST_WORDS = 1 << 16
INDICES = 8  # below which words are drawn of which addresses are made


@dataclass(frozen=True, slots=True)
class Layout:
    """`base`: the flat address of address 0 of each region; `standing`: that of each access that stands still, by node;
    `words`: the whole memory before the run, as signed 32-bit words."""

    base: Mapping[int, int]
    standing: Mapping[int, int]
    words: tuple[int, ...]

    def csv(self) -> str:
        return csv_of(self.words)


@dataclass(frozen=True, slots=True)
class Played:
    """A layout and the memory after the run."""

    layout: Layout
    after: tuple[int, ...]


def csv_of(words: Sequence[int]) -> str:
    """A memory as the text of `memory.csv`."""
    return "\n".join(["Address,Data", *(f"{address},{word}" for address, word in enumerate(words))]) + "\n"


def word_of(value: float | int) -> int:
    """A constant as a signed 32-bit word; floats by their bits."""
    return int(literal_word(value).view(np.int32))


def standing_of(dfg: Dfg) -> dict[int, list[int]]:
    """The accesses whose address stands still, by region."""
    found: dict[int, list[int]] = {region.id: [] for region in dfg.regions}
    for node in dfg.nodes:
        if node.memory is not None and node.memory.offset is None:
            found[node.memory.region].append(node.id)
    return found


def laid_out(dfg: Dfg, memory: Mapping[int, Sequence[int]]) -> Layout:
    """Given words per region, from its address 0 on; the last ones belong to accesses that stand still."""
    base, standing, words = dict[int, int](), dict[int, int](), list[int]()
    for region, still in standing_of(dfg).items():
        base[region] = len(words)
        words += memory[region]
        standing |= {node: len(words) - len(still) + at for at, node in enumerate(still)}
    return Layout(base, standing, tuple(words))


def played(dfg: Dfg, iterations: int, seed: int) -> Played:
    """A run on drawn words. Raises :class:`NotExportable` for bodies that no flat memory serves."""
    _refuse(dfg)
    run = _Run(dfg, random.Random(seed).getrandbits(64), _kinds(dfg))
    for _ in range(iterations):
        run.iterate()
    base, standing, size = dict[int, int](), dict[int, int](), 0
    for region, still in standing_of(dfg).items():
        reached = [address for (r, address) in run.memory if r == region and isinstance(address, int)]
        low, high = min(reached, default=0), max(reached, default=-1)
        base[region] = size - low
        size += high + 1 - low
        standing |= {node: size + at for at, node in enumerate(still)}
        size += len(still)
        if size > MOST_WORDS:
            raise NotExportable(f"a memory of {size} words", dfg.name, f"at most {MOST_WORDS}: fewer --iterations")
    place = {(dfg[n].memory.region, f"n{n}"): at for n, at in standing.items()}  # type: ignore[union-attr]
    before, after = [0] * size, [0] * size
    for (region, address), word in run.memory.items():
        at = base[region] + address if isinstance(address, int) else place[region, address]
        before[at], after[at] = run.before[region, address], word
    return Played(Layout(base, standing, tuple(before)), tuple(after))


def biased(dfg: Dfg, base: Mapping[int, int]) -> dict[int, int]:
    """The constant of every node as a word, with the base of a region added in the phis at which its addresses begin,
    because neither format adds one to an address."""
    owner: dict[int, int] = {}
    for node in dfg.nodes:
        if node.memory is not None and node.memory.offset is not None:
            _claim(dfg, node.memory.offset, node.memory.region, owner)
    for number, region in owner.items():
        _only_addresses(dfg, number, region, owner)
    begins = {number for number in owner if dfg[number].op == "phi"}
    return {n.id: word_of(n.constant or 0) + (base[owner[n.id]] if n.id in begins else 0) for n in dfg.nodes}


def _claim(dfg: Dfg, number: int, region: int, owner: dict[int, int]) -> None:
    """Number `number` has the base of `region` in it; follow it back to the phi at which that enters."""
    if number in owner and owner[number] == region:
        return
    if owner.setdefault(number, region) != region:
        raise NotExportable("two regions share an address", f"node {number}", "the format adds no base to it")
    if dfg[number].op not in ("phi", "iadd") or not dfg.predecessors[number]:
        raise NotExportable(
            "an address that is no sum of phis", f"node {number} {dfg[number].op}", "not written so far"
        )
    _claim(dfg, min(dfg.predecessors[number], key=lambda e: e.operand).src, region, owner)


def _only_addresses(dfg: Dfg, number: int, region: int, owner: Mapping[int, int]) -> None:
    """A number with a base in it is read by nothing but addresses of its region, and adds no second one."""
    if sum(e.src in owner for e in dfg.predecessors[number]) != 1:
        raise NotExportable("a sum of two addresses", f"node {number}", "the format adds no base to it")
    for reader in {e.dst for e in dfg.successors[number]}:
        use = dfg[reader].memory
        address = use is not None and use.region == region and use.offset == number and use.data != number
        if not address and owner.get(reader) != region:
            raise NotExportable("an address is used as a number", f"node {number}", "the format adds no base to it")


def _refuse(dfg: Dfg) -> None:
    """Raise NotExportable for what neither format has, operations without a meaning first."""
    uses = {True: set[int](), False: set[int]()}
    for node in dfg.nodes:
        use = node.memory
        if (use is None and node.op not in PRIMITIVES) or (use is None and node.kind != "exe"):
            raise NotExportable(f"operation {node.op!r} is a label", dfg.name, "only bodies lowered from ONNX compute")
        if use is not None and (use.predicate is not None or use.base is not None or use.pair is not None):
            raise NotExportable("a predicated or based access", f"node {node.id}", "the format has none")
        if node.stages or node.self_update:
            raise NotExportable("a fused operation", f"node {node.id}", "the format has none")
        if node.op != "phi" and any(e.distance for e in dfg.predecessors[node.id]):
            raise NotExportable("a value of an earlier iteration outside of a phi", f"node {node.id}", "use a phi")
        if use is not None:
            uses[node.kind == "load"].add(use.region)
    if uses[True] & uses[False]:
        where = f"region {min(uses[True] & uses[False])}"
        raise NotExportable("a region that is read and written", where, "its order over iterations is not kept")


def _kinds(dfg: Dfg) -> dict[int, str]:
    """What each load should find: "index" where addresses are made of it, else "f" or "i" by what reads it."""
    addresses = {n.memory.offset for n in dfg.nodes if n.memory is not None and n.memory.offset is not None}
    return {node.id: _kind(dfg, node.id, addresses, set()) for node in dfg.nodes if node.kind == "load"}


def _kind(dfg: Dfg, number: int, addresses: set[int], seen: set[int]) -> str:
    """Follows `number` through integer operations to addresses, and through copies to arithmetic."""
    found = "i"
    for edge in dfg.successors[number]:
        reader = dfg[edge.dst]
        if reader.id in addresses:
            return "index"
        if reader.memory is not None or reader.id in seen:
            continue
        primitive = PRIMITIVES[reader.op]
        if primitive.operands[edge.operand] == "f":
            found = "f"
        elif primitive.result != "f" and _kind(dfg, reader.id, addresses, seen | {reader.id}) != "i":
            found = _kind(dfg, reader.id, addresses, seen | {reader.id})
        if found == "index":
            return found
    return found


Address = int | str


@dataclass
class _Run:
    """The body's meaning on a memory that comes into being as it is reached."""

    dfg: Dfg
    seed: int
    kinds: Mapping[int, str]
    memory: dict[tuple[int, Address], int] = field(default_factory=dict)
    before: dict[tuple[int, Address], int] = field(default_factory=dict)
    carried: list[dict[int, int]] = field(default_factory=list)

    def iterate(self) -> None:
        values: dict[int, int] = {}
        self.carried.append(values)
        for number in self.dfg.order:
            node = self.dfg[number]
            fed = {e.operand: self._carried(node, e.src, e.distance) for e in self.dfg.predecessors[number]}
            if node.memory is None:
                values[number] = _computed(node, fed, dict(self.dfg.host_values))
            elif node.kind == "load":
                values[number] = self._at(node, values)
            else:
                key, _ = self._key(node, values), self._at(node, values)
                data = node.memory.data
                self.memory[key] = word_of(node.constant or 0) if data is None else values[data]

    def _carried(self, node: Node, source: int, distance: int) -> int:
        earlier = len(self.carried) - 1 - distance
        return self.carried[earlier][source] if earlier >= 0 else word_of(node.constant or 0)

    def _key(self, node: Node, values: Mapping[int, int]) -> tuple[int, Address]:
        assert node.memory is not None
        offset = node.memory.offset
        return node.memory.region, f"n{node.id}" if offset is None else values[offset]

    def _at(self, node: Node, values: Mapping[int, int]) -> int:
        """The word there, drawn if nothing reached it before; what is stored to begins as 0."""
        key = self._key(node, values)
        if key not in self.memory:
            self.memory[key] = self.before[key] = self._drawn(key, self.kinds.get(node.id, ""))
        return self.memory[key]

    def _drawn(self, key: tuple[int, Address], kind: str) -> int:
        draw = random.Random(f"{self.seed} {key}")
        if kind == "f":
            return word_of(draw.uniform(-2.0, 2.0))
        return {"index": draw.randrange(INDICES), "i": draw.randint(-1000, 1000)}.get(kind, 0)


def _computed(node: Node, fed: Mapping[int, int], host: Mapping[int, float | int]) -> int:
    """The result of one operation; operands without an edge are host constants first, then the immediate."""
    constants = [host[number] for number in node.host]
    constants += [node.constant] if node.constant is not None and node.op != "phi" else []
    waiting = iter(constants)
    operands = [fed[i] if i in fed else word_of(next(waiting)) for i in range(len(PRIMITIVES[node.op].operands))]
    result = apply(node.op, [np.asarray(word & 0xFFFFFFFF, np.uint32) for word in operands])
    return int(result.view(np.int32))
