"""Executes a loop body on numpy values, from its nodes and edges alone.

Registers are 32-bit words (`mapper.kernels.primitives`). The body runs iteration by iteration; loop-carried values wait
in their edges. Everything may have trailing batch axes, so many runs go side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.dfg import Dfg, Node

from .primitives import LOGIC, PRIMITIVES, SHIFTS, Words, apply, literal_word

__all__ = ["execute", "from_words", "to_words"]

Array = np.ndarray[Any, Any]


def execute(
    dfg: Dfg, loads: Mapping[int, Array], iterations: int, host: Mapping[int, float | int] | None = None
) -> dict[int, Words]:
    """The words that each store node writes, one row per iteration.

    `loads` gives words per load node (first axis: iterations, see :func:`to_words`); a loop counter may be given too
    where the nest around the body turns it. `host` has the values of host constants (default: those that the body
    knows). Raises KeyError for a load or host constant without values.
    """
    constants = dict(dfg.host_values) if host is None else dict(host)
    history: dict[int, list[Words]] = {node.id: [] for node in dfg.nodes}
    for iteration in range(iterations):
        for number in dfg.order:
            history[number].append(_value(dfg, dfg[number], history, loads, constants, iteration))
    return {n.id: np.stack(history[n.id]) for n in dfg.nodes if n.kind == "store" and iterations}


def _value(
    dfg: Dfg,
    node: Node,
    history: Mapping[int, list[Words]],
    loads: Mapping[int, Array],
    constants: Mapping[int, float | int],
    iteration: int,
) -> Words:
    if node.kind == "load" or node.id in loads:
        return np.asarray(loads[node.id][iteration], np.uint32)
    fed = {e.operand: _carried(node, history[e.src], iteration - e.distance) for e in dfg.predecessors[node.id]}
    if node.kind == "store":
        return _stored(node, history, iteration)
    host = [literal_word(constants[number]) for number in node.host]
    if node.self_update:
        before = history[node.id][iteration - 1] if iteration else host[0]
        return _computed(node, fed, [*host[1:], before])
    immediate = [literal_word(node.constant)] if node.constant is not None and node.op != "phi" else []
    return _computed(node, fed, host + immediate)


def _carried(node: Node, values: list[Words], iteration: int) -> Words:
    """The value of an earlier iteration; before the first one, a phi's initial value."""
    if iteration >= 0:
        return values[iteration]
    return literal_word(node.constant if node.constant is not None else 0)


def _stored(node: Node, history: Mapping[int, list[Words]], iteration: int) -> Words:
    """The stored word (a dropped store, where its predicate is 0, is not told apart here)."""
    use = node.memory
    if use is not None and use.data is not None:
        return history[use.data][iteration]
    return literal_word(node.constant if node.constant is not None else 0)


def _computed(node: Node, fed: Mapping[int, Words], rest: list[Words]) -> Words:
    """The node's result; operands without an edge are taken from `rest` in order."""
    if node.kind == "cex":
        return fed[0]
    arity = _arity(node)
    waiting = iter(rest)
    operands = [fed[i] if i in fed else next(waiting) for i in range(arity)]
    if not node.stages:
        return apply(node.op, operands)
    for stage in node.stages:
        op, _, immediate = stage.partition(" ")
        taken = 1 if immediate else len(PRIMITIVES[op].operands)
        extra = [literal_word(int(immediate))] if immediate else []
        operands = [apply(op, operands[:taken] + extra), *operands[taken:]]
    return operands[0]


def _arity(node: Node) -> int:
    """Operands that come from registers: those of the first stage that does something."""
    if not node.stages:
        return len(PRIMITIVES[node.op].operands)
    first = next(stage for stage in node.stages if stage != "nop")
    op, _, immediate = first.partition(" ")
    return 1 if immediate and op in LOGIC | SHIFTS else len(PRIMITIVES[op].operands)


def to_words(values: Array, dtype: str) -> Words:
    """Elements as a load delivers them: extended to 32 bits."""
    array = np.asarray(values)
    if dtype in ("float32", "float64"):
        return array.astype(np.float32).view(np.uint32)
    if dtypes.is_float(dtype):
        kind = np.uint8 if dtypes.numpy_type(dtype).itemsize == 1 else np.uint16
        return array.astype(dtypes.numpy_type(dtype)).view(kind).astype(np.uint32)
    return array.astype(np.int64).astype(np.uint64).astype(np.uint32)


def from_words(words: Words, dtype: str) -> Array:
    """Elements as a store leaves them in memory: the low bits, as `dtype`."""
    target = dtypes.numpy_type(dtype)
    if dtype in ("float32", "float64"):
        return words.view(np.float32).astype(target)
    if dtypes.is_float(dtype):
        return words.astype(np.uint8 if target.itemsize == 1 else np.uint16).view(target)
    return words.view(np.int32).astype(np.int64).astype(target)
