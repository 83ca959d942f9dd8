"""Loop kernels from JSON and DOT files, as :class:`mapper.dfg.Dfg`.

JSON: `{"name", "source", "nodes": [{"id", "op"}], "edges": [{"src", "dst", "distance"}]}`, the form of the CGRA
benchmark. DOT: a digraph whose nodes name their operation as CGRA-ME does (`opcode = add`) or as Morpher does (a label
with `HyIns=ADD`, or a label that is the operation). Constants (`opcode = const`) are no operations and are dropped. An
edge may say its distance (`distance = 1`); of the others, those that close a cycle are loop-carried by one iteration,
edges into a phi first.

Files come from strangers: size, nesting and every type are checked, and each refusal is one line with file and culprit.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from mapper.dfg import Dfg, Edge, Node

__all__ = ["DfgFileError", "load", "recognises"]

LARGEST_BYTES = 16 * 2**20
MOST_NODES = 20_000
LARGEST_DISTANCE = 10_000
_CONSTANTS = ("const", "constant")
_JSON_HEAD = re.compile(rb'"(?:op|distance)"\s*:')
_DOT_HEAD = re.compile(rb"^\s*(?:(?://|#)[^\n]*\n\s*|/\*.*?\*/\s*)*(?:strict\s+)?digraph\b", re.I | re.S)
_TOKEN = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|^\#[^\n]*
    |(?P<text>"(?:[^"\\]|\\.)*")|(?P<arrow>->|--)|(?P<mark>[{}\[\];,=:])
    |(?P<word>[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*|-?(?:\.\d+|\d+(?:\.\d*)?))""",
    re.X | re.S | re.M,
)


class DfgFileError(ValueError):
    """A loop-kernel file that cannot be read; one line naming the file and the culprit."""


def recognises(path: Path, head: bytes) -> bool:
    """Is this a loop kernel? By suffix for DOT, by its first bytes for JSON."""
    if path.suffix.lower() in (".dot", ".gv"):
        return True
    if _DOT_HEAD.match(head):
        return True
    other = re.search(rb'"(?:kind|srcs|width|suite|shape)"\s*:', head)
    return head.lstrip().startswith(b"{") and _JSON_HEAD.search(head) is not None and other is None


def load(path: Path) -> Dfg:
    """Read one loop kernel. Raises :class:`DfgFileError`, or OSError if the file cannot be opened."""
    if path.stat().st_size > LARGEST_BYTES:
        raise DfgFileError(f"{_shown(path.name)}: larger than {LARGEST_BYTES} bytes")
    try:
        text = path.read_bytes().decode("utf-8")
        body = _from_dot(text, path) if _DOT_HEAD.match(text.encode()) else _from_json(text, path)
    except UnicodeDecodeError as error:
        raise DfgFileError(f"{_shown(path.name)}: not UTF-8 at byte {error.start}") from None
    except DfgFileError:
        raise
    except ValueError as error:
        raise DfgFileError(f"{_shown(path.name)}: {_shown(str(error), 200)}") from None
    return body


def _shown(value: object, most: int = 40) -> str:
    """Text of a stranger, safe for one line of a terminal."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


# ---------------------------------------------------------------------------------------------------- JSON


def _from_json(text: str, path: Path) -> Dfg:
    def fail(message: str) -> DfgFileError:
        return DfgFileError(f"{_shown(path.name)}: {message}")

    try:
        raw = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except RecursionError:
        raise fail("nested too deeply") from None
    if not isinstance(raw, dict):
        raise fail("expected a JSON object with nodes and edges")
    name = raw.get("name", path.stem)
    if not isinstance(name, str) or not name:
        raise fail('"name" must be a text')
    nodes = tuple(_json_node(item, fail) for item in _json_list(raw, "nodes", fail))
    edges = tuple(_json_edge(item, fail) for item in _json_list(raw, "edges", fail))
    if not nodes:
        raise fail("no nodes")
    repeated = [e for e, count in Counter(edges).items() if count > 1]
    if repeated:
        raise fail(f"edge {repeated[0].src}->{repeated[0].dst} distance {repeated[0].distance} is given twice")
    source = raw.get("source", "")
    return Dfg(name, nodes, _with_operands(edges), source=source if isinstance(source, str) else "")


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"key {_shown(repeated[0])!r} is given twice in one object")
    return dict(pairs)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _json_list(raw: dict[str, Any], key: str, fail: Any) -> list[Any]:
    items = raw.get(key)
    if not isinstance(items, list):
        raise fail(f'"{key}" must be a list')
    if len(items) > MOST_NODES:
        raise fail(f'"{key}" has {len(items)} entries, at most {MOST_NODES} are read')
    return items


def _integer(value: Any, least: int = -(2**53), most: int = 2**53) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _json_node(item: Any, fail: Any) -> Node:
    if not isinstance(item, dict) or not _integer(item.get("id")):
        raise fail(f'node {_shown(item)} needs an integer "id"')
    op = item.get("op", "op")
    if not isinstance(op, str) or not op:
        raise fail(f'"op" of node {item["id"]} must be a text')
    return _node(item["id"], op)


def _json_edge(item: Any, fail: Any) -> Edge:
    if not isinstance(item, dict) or not (_integer(item.get("src")) and _integer(item.get("dst"))):
        raise fail(f'edge {_shown(item)} needs integers "src" and "dst"')
    distance = item.get("distance", 0)
    if not _integer(distance, 0, LARGEST_DISTANCE):
        found = f'"distance" of edge {item["src"]}->{item["dst"]} is {_shown(distance)}'
        raise fail(f"{found}, expected an integer 0..{LARGEST_DISTANCE}")
    return Edge(item["src"], item["dst"], distance)


def _node(number: int, op: str) -> Node:
    kind = op.lower()
    return Node(number, op, cast(Literal["load", "store"], kind) if kind in ("load", "store") else "exe")


def _with_operands(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """Number the operands of each consumer in file order, unless they are given."""
    seen: Counter[int] = Counter()
    numbered = []
    for edge in edges:
        numbered.append(replace(edge, operand=seen[edge.dst]))
        seen[edge.dst] += 1
    return tuple(numbered)


# ----------------------------------------------------------------------------------------------------- DOT


@dataclass
class _Graph:
    """Nodes and edges of a digraph in file order, with their attributes."""

    name: str = ""
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    edges: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"line {line}: unexpected {_shown(text[position])!r}")
        if match.lastgroup is not None:
            yield match.group(), line
        line += match.group().count("\n")
        position = match.end()


class _Reader:
    """A flat reader of DOT statements: subgraphs are read through, so nesting costs nothing."""

    def __init__(self, text: str) -> None:
        self.tokens = [*_tokens(text), ("", text.count("\n") + 1)]
        self.position = 0

    @property
    def here(self) -> str:
        return self.tokens[self.position][0]

    def take(self, expected: str | None = None) -> str:
        token, line = self.tokens[self.position]
        if token == "" or (expected is not None and token != expected):
            raise ValueError(f"line {line}: expected {expected or 'more'!r}, found {_shown(token or 'end of file')!r}")
        self.position += 1
        return token

    def word(self) -> str:
        token = self.take()
        if token in ("{", "}", "[", "]", ";", ",", "=", ":", "->", "--"):
            raise ValueError(f"line {self.tokens[self.position - 1][1]}: expected a name, found {token!r}")
        return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token

    def attributes(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while self.here == "[":
            self.take()
            while self.here != "]":
                key = self.word().lower()
                found[key] = self.word() if self.here == "=" and self.take() else "true"
                if self.here in (",", ";"):
                    self.take()
            self.take("]")
        return found

    def graph(self) -> _Graph:
        graph = _Graph()
        if self.here.lower() == "strict":
            self.take()
        self.take()  # "digraph", which the caller has seen
        graph.name = self.word() if self.here != "{" else ""
        self.take("{")
        depth = 1
        while depth:
            depth += self.statement(graph)
        return graph

    def statement(self, graph: _Graph) -> int:
        """Read one statement; returns the change in nesting depth."""
        if self.here in ("{", "}"):
            return 1 if self.take() == "{" else -1
        if self.here in (";", ","):
            self.take()
            return 0
        name = self.word()
        if name.lower() == "subgraph":
            if self.here != "{":
                self.word()
        elif name.lower() in ("graph", "node", "edge") and self.here == "[":
            self.attributes()
        elif self.here == "=":
            self.take()
            self.word()
        else:
            self.chain(graph, name)
        return 0

    def chain(self, graph: _Graph, first: str) -> None:
        """`a [..]` or `a -> b -> c [..]`, each name with an optional port."""
        names = [first]
        self.ports()
        while self.here in ("->", "--"):
            if self.take() == "--":
                raise ValueError(f"line {self.tokens[self.position - 1][1]}: undirected edge in a digraph")
            names.append(self.word())
            self.ports()
        attributes = self.attributes()
        for name in names:
            graph.nodes.setdefault(name, {})
        if len(graph.nodes) > MOST_NODES or len(graph.edges) > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} nodes or edges")
        if len(names) == 1:
            graph.nodes[first].update(attributes)
        graph.edges += [(a, b, attributes) for a, b in zip(names, names[1:], strict=False)]

    def ports(self) -> None:
        while self.here == ":":
            self.take()
            self.word()


def _from_dot(text: str, path: Path) -> Dfg:
    reader = _Reader(text)
    graph = reader.graph()
    ops = {name: _operation(name, attributes) for name, attributes in graph.nodes.items()}
    kept = [name for name, op in ops.items() if op.lower() not in _CONSTANTS]
    if not kept:
        raise ValueError("no operations")
    number = _numbers(kept)
    edges = [_dot_edge(number, edge) for edge in graph.edges if edge[0] in number and edge[1] in number]
    carried = _close_cycles([number[name] for name in kept], edges, {number[name]: ops[name] for name in kept})
    unique = list(dict.fromkeys(carried))
    name = graph.name if graph.name and not graph.name.lower().startswith(("g", "region")) else path.stem
    return Dfg(name, tuple(_node(number[n], ops[n]) for n in kept), _with_operands(unique))


def _operation(name: str, attributes: dict[str, str]) -> str:
    """CGRA-ME's opcode, Morpher's HyIns, a one-word label, else the node's name without its number."""
    for key in ("opcode", "op", "operation"):
        if key in attributes:
            return attributes[key].strip()
    label = attributes.get("label", "").strip()
    instruction = re.search(r"HyIns=(\w+)", label)
    if instruction:
        return instruction.group(1).lower()
    if re.fullmatch(r"[A-Za-z_]\w*", label):
        return label.lower()
    return re.sub(r"[_\d]+$", "", name).lower() or "op"


def _numbers(names: Sequence[str]) -> dict[str, int]:
    """The numbers that names end in, where these are unique; else 0, 1, … in file order."""
    ends = [re.search(r"(\d{1,9})$", name) for name in names]
    numbers = [int(end.group(1)) for end in ends if end is not None]
    if len(set(numbers)) == len(names):
        return dict(zip(names, numbers, strict=True))
    return {name: index for index, name in enumerate(names)}


def _dot_edge(number: dict[str, int], edge: tuple[str, str, dict[str, str]]) -> tuple[int, int, int | None]:
    source, target, attributes = edge
    for key in ("distance", "dist", "loop_distance", "iteration"):
        if key in attributes:
            text = attributes[key]
            if not re.fullmatch(r"\d{1,5}", text) or int(text) > LARGEST_DISTANCE:
                raise ValueError(f"edge {_shown(source)} -> {_shown(target)} has {key} {_shown(text)!r}")
            return number[source], number[target], int(text)
    return number[source], number[target], None


def _close_cycles(
    nodes: Sequence[int], edges: Sequence[tuple[int, int, int | None]], ops: dict[int, str]
) -> list[Edge]:
    """Edges without a distance: 0, but 1 where they would close a cycle; edges into a phi are considered last."""
    after: dict[int, list[int]] = {node: [] for node in nodes}
    distance: dict[int, int] = {}
    ranked = sorted(range(len(edges)), key=lambda i: (edges[i][2] is None, ops[edges[i][1]].lower() == "phi", i))
    for index in ranked:
        source, target, given = edges[index]
        distance[index] = given if given is not None else int(_reaches(after, target, source))
        if distance[index] == 0:
            after[source].append(target)
    return [Edge(source, target, distance[i]) for i, (source, target, _) in enumerate(edges)]


def _reaches(after: dict[int, list[int]], start: int, goal: int) -> bool:
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        if node == goal:
            return True
        stack += [n for n in after[node] if n not in seen]
        seen.update(after[node])
    return False
