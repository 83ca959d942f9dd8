"""Wafer contest graphs: the benchmark's JSON and the contest's original `.kgraph` text.

A `.kgraph` file has a comment header `(* key=value ... *)`, node lines `conv[1] H=56 ... name='k1'` (arguments in
either case; the last `name` counts) and stream lines `conv[1]:y -> conv[2]:x, shape:[56][56][64]`.
Every error is one line that names the file and the culprit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

from mapper.kgraph import KernelEdge, KernelGraph, KernelNode, NodeKind, Weights

__all__ = ["KernelGraphError", "load", "recognises"]

_FORMAL: Mapping[str, tuple[str, ...]] = {
    "input": (),
    "output": (),
    "conv": ("H", "W", "R", "S", "C", "K", "T"),
    "dblock": ("H", "W", "F"),
    "cblock": ("H", "W", "F"),
}
_HEADER = re.compile(r"^\s*(test|width|height|memlimit|wdeltat|wlength|wadapter)\s*=\s*(\S+)\s*$", re.MULTILINE)
_NODE = re.compile(r"^\s*([A-Za-z]+)\s*\[\s*(\d+)\s*\]\s+(\S.*)$")
_EDGE = re.compile(r"^\s*[A-Za-z]+\s*\[\s*(\d+)\s*\]\s*:\S*\s*->\s*[A-Za-z]+\s*\[\s*(\d+)\s*\]\s*:[^,\s]*\s*(.*)$")
_MAXIMUM = 1 << 20  # a formal argument above this is a typing error, and keeps products far below 2**63


class KernelGraphError(ValueError):
    """The file is not a kernel graph; the message names the file and the culprit."""


def recognises(path: str | Path, head: bytes) -> bool:
    """Does the beginning of the file look like a kernel graph? JSON is told apart by its keys."""
    text = head.decode("utf-8", "replace")
    if text.lstrip().startswith("{"):
        return '"memory_limit"' in text and '"weights"' in text
    return text.lstrip().startswith("(*") and "memlimit" in text


def load(path: str | Path) -> KernelGraph:
    """Read a kernel graph in either form. Raises KernelGraphError with one line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise KernelGraphError(f"{path}: cannot be read: {fault}") from fault
    try:
        return _checked(_from_json(text) if text.lstrip().startswith("{") else _from_text(text, path.stem))
    except KernelGraphError as fault:
        raise KernelGraphError(f"{path}: {fault}") from fault


# ------------------------------------------------------------------------------------------------ JSON
def _from_json(text: str) -> KernelGraph:
    try:
        data = json.loads(text, parse_float=Fraction)
    except ValueError as fault:
        raise KernelGraphError(f"not JSON: {fault}") from fault
    nodes = tuple(_json_node(item, f"nodes[{i}]") for i, item in enumerate(_list(data, "nodes", "graph")))
    edges = tuple(_json_edge(item, f"edges[{i}]") for i, item in enumerate(_list(data, "edges", "graph")))
    weights = _get(data, "weights", "graph")
    return KernelGraph(
        name=str(_get(data, "name", "graph")),
        width=_count(data, "width", "graph"),
        height=_count(data, "height", "graph"),
        memory_limit=_count(data, "memory_limit", "graph"),
        weights=Weights(*(_weight(_get(weights, key, "weights"), key) for key in ("time", "wirelength", "adapter"))),
        nodes=nodes,
        edges=edges,
    )


def _json_node(item: Any, where: str) -> KernelNode:
    kind = _kind(str(_get(item, "type", where)), where)
    name = str(_get(item, "name", where))
    formal = {key: _count(item, key, f"{where} ({name})") for key in _FORMAL[kind]}
    shape = tuple(_list(item, "shape", where)) if kind in ("input", "output") else ()
    return KernelNode(_count(item, "id", where, least=0), name, kind, shape=shape, **formal)


def _json_edge(item: Any, where: str) -> KernelEdge:
    src, dst = (_count(item, key, where, least=0) for key in ("src", "dst"))
    return KernelEdge(src, dst, tuple(_list(item, "shape", where)) if "shape" in item else ())


def _get(data: Any, key: str, where: str) -> Any:
    if not isinstance(data, dict) or key not in data:
        raise KernelGraphError(f"{where} has no {key!r}")
    return data[key]


def _list(data: Any, key: str, where: str) -> list[Any]:
    value = _get(data, key, where)
    if not isinstance(value, list):
        raise KernelGraphError(f"{where}: {key!r} must be a list")
    return value


def _count(data: Any, key: str, where: str, least: int = 1) -> int:
    value = _get(data, key, where)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MAXIMUM:
        raise KernelGraphError(f"{where}: {key} must be an integer of {least} to {_MAXIMUM}, found {value!r}")
    return value


def _weight(value: Any, key: str) -> Fraction:
    try:
        weight = Fraction(value)
    except (TypeError, ValueError) as fault:
        raise KernelGraphError(f"weight {key} must be a number, found {value!r}") from fault
    if weight < 0:
        raise KernelGraphError(f"weight {key} must not be negative, found {value}")
    return weight


def _kind(word: str, where: str) -> NodeKind:
    for kind in get_args(NodeKind):
        if word == kind:
            return kind  # type: ignore[no-any-return]
    raise KernelGraphError(f"{where}: unknown kernel type {word!r}: expected one of {', '.join(get_args(NodeKind))}")


# ------------------------------------------------------------------------------------------------ .kgraph text
def _from_text(text: str, stem: str) -> KernelGraph:
    header = dict(_HEADER.findall(text))
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if not _is_comment(line)]
    nodes, edges = [], []
    for number, line in lines:
        if edge := _EDGE.match(line):
            edges.append(KernelEdge(int(edge[1]), int(edge[2]), _numbers(edge[3])))
        elif node := _NODE.match(line):
            nodes.append(_text_node(node[1], int(node[2]), node[3], f"line {number}"))
        else:
            raise KernelGraphError(f"line {number}: neither a kernel nor a stream: {line.strip()[:60]!r}")
    return KernelGraph(
        name=stem,
        width=_header_count(header, "width"),
        height=_header_count(header, "height"),
        memory_limit=_header_count(header, "memlimit"),
        weights=Weights(*(_weight(_header(header, key), key) for key in ("wdeltat", "wlength", "wadapter"))),
        nodes=tuple(nodes),
        edges=tuple(edges),
    )


def _is_comment(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith(("(*", "*)")) or _HEADER.match(line) is not None


def _header(header: Mapping[str, str], key: str) -> str:
    if key not in header:
        raise KernelGraphError(f"the header has no {key!r}")
    return header[key]


def _header_count(header: Mapping[str, str], key: str) -> int:
    word = _header(header, key)
    return _count({key: int(word) if word.isdecimal() else word}, key, "header")


def _text_node(word: str, number: int, rest: str, where: str) -> KernelNode:
    kind = _kind(word, where)
    names = re.findall(r"name\s*=\s*'([^']*)'", rest)
    if not names:
        raise KernelGraphError(f"{where}: {word}[{number}] has no name")
    found: dict[str, Any] = {key.upper(): int(value) for key, value in re.findall(r"\b([A-Za-z])\s*=\s*(\d+)", rest)}
    formal = {key: _count(found, key, f"{where} ({names[-1]})") for key in _FORMAL[kind]}
    shape = _numbers(rest.split("name")[0]) if kind in ("input", "output") else ()
    return KernelNode(number, names[-1], kind, shape=shape, **formal)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", text))


# ------------------------------------------------------------------------------------------------ sense
def _checked(graph: KernelGraph) -> KernelGraph:
    """Names and ids are unique, edges join known nodes, there is something to place, block widths divide."""
    _unique((str(node.id) for node in graph.nodes), "node id")
    _unique((node.name for node in graph.nodes), "node name")
    known = {node.id for node in graph.nodes}
    for edge in graph.edges:
        if not {edge.src, edge.dst} <= known:
            raise KernelGraphError(f"edge {edge.src} -> {edge.dst} joins an unknown node")
        if edge.src == edge.dst:
            raise KernelGraphError(f"edge {edge.src} -> {edge.dst} is a loop")
    for node in graph.kernels:
        if node.kind != "conv" and node.F < 4:
            raise KernelGraphError(f"{node.name}: F must be at least 4, found {node.F}")
    if not graph.kernels:
        raise KernelGraphError("no kernel to place")
    return graph


def _unique(words: Iterable[str], what: str) -> None:
    seen = set()
    for word in words:
        if word in seen:
            raise KernelGraphError(f"{what} {word!r} occurs twice")
        seen.add(word)
