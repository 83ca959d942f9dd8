"""Every node case of the onnx package, judged: what the operator table in docs/operators.md is made from.

    python benchmarks/node_cases.py [--write] [--only TEXT] [--show KIND]

A case is a one-operator model with inputs and expected outputs. It is *supported* if our graph has loop nests for all
of it and the interpreter's outputs equal the expected ones; *host* if an opaque operator remains; *refused* if the
frontend names what it does not take; *wrong* or *crash* otherwise, which fail the run. Where an operator's shapes
depend on an input (axes, repeats, a trip count), the case is tried again with its small inputs made constants, which
is what exporters write. `--write` also records the cases that are not supported, which the suite holds us to.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from mapper.frontends.onnx import ModelError, load_model
from mapper.frontends.onnx.operators import claim
from mapper.frontends.onnx.reference import stored_feeds
from mapper.interpret import run
from mapper.ir import Graph, Opaque
from mapper.passes import optimise

Kind = Literal["supported", "host", "refused", "wrong", "crash"]
SMALL = 4096
TOP = Path(__file__).parent.parent
DOCUMENT = TOP / "docs" / "operators.md"
UNSUPPORTED = TOP / "tests" / "data" / "node_cases.json"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case ended, and why."""

    case: str
    op_type: str
    kind: Kind
    note: str = ""


def collect() -> list[Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))


def judge(case: Any) -> Verdict:
    """The verdict on one node case."""
    op_type = _operator(case)
    try:
        return _judged(case, op_type)
    except Exception as fault:  # whatever escapes is what is looked for
        return Verdict(case.name, op_type, "crash", f"{type(fault).__name__}: {fault}")


def _operator(case: Any) -> str:
    """The operator a case is about; expanded cases are about the operator whose body they spell out."""
    node = case.model.graph.node[0]
    if "_expanded" in case.name:
        words = case.name.removeprefix("test_").split("_expanded")[0].split("_")
        return f"body of {words[0]}"
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def _judged(case: Any, op_type: str) -> Verdict:
    inputs, expected = ([_array(a) for a in arrays] for arrays in case.data_sets[0])
    first = _tried(case, op_type, case.model, _feeds(case.model, inputs), expected)
    if first.kind in ("supported", "wrong"):
        return first
    second = _tried(case, op_type, *_frozen(case.model, inputs), expected, "with constant inputs")
    return second if second.kind in ("supported", "wrong") or first.kind == "refused" else first


def _tried(case: Any, op_type: str, model: ModelProto, feeds: dict[str, Any], expected: Any, note: str = "") -> Verdict:
    try:
        graph = load_model(model)
    except ModelError as fault:
        return Verdict(case.name, op_type, "refused", str(fault))
    opaque = [op for op in graph.ops if isinstance(op, Opaque)]
    if opaque:
        return Verdict(case.name, op_type, "host", opaque[0].reason)
    feeds = feeds | stored_feeds(model, graph)
    for candidate in (graph, optimise(graph)):
        difference = _difference(candidate, feeds, expected, case)
        if difference:
            return Verdict(case.name, op_type, "wrong", difference)
    return Verdict(case.name, op_type, "supported", note)


def _array(value: Any) -> Any:
    """Cases hold arrays, encoded tensors, and lists of both."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, list) or value is None else np.asarray(value)


def _feeds(model: ModelProto, inputs: Sequence[Any]) -> dict[str, Any]:
    return {value.name: array for value, array in zip(model.graph.input, inputs, strict=False)}


def _frozen(model: ModelProto, inputs: Sequence[Any]) -> tuple[ModelProto, dict[str, Any]]:
    """The model with small integer, boolean and one-element inputs as initializers, and the other feeds."""
    copy = ModelProto()
    copy.CopyFrom(model)
    feeds = {}
    kept = []
    for value, array in zip(model.graph.input, inputs, strict=False):
        plain = isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.size <= SMALL
        if plain and (array.dtype.kind != "f" or array.ndim < 2):
            copy.graph.initializer.append(numpy_helper.from_array(array, value.name))
            feeds[value.name] = array
        else:
            kept.append(value)
            feeds[value.name] = array
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    return copy, feeds


def _difference(graph: Graph, feeds: dict[str, Any], expected: Sequence[Any], case: Any) -> str:
    """ "" if the interpreter's outputs are the expected ones, else the first difference."""
    with np.errstate(all="ignore"):
        values = run(graph, feeds)
    names = [v.name for v in case.model.graph.output]
    for name, want in zip(names, expected, strict=False):
        got, want = values[name], np.asarray(want)
        if tuple(got.shape) != tuple(want.shape):
            return f"{name}: shape {got.shape}, expected {want.shape}"
        if got.dtype != want.dtype:
            return f"{name}: type {got.dtype}, expected {want.dtype}"
        if want.dtype.kind in "OSU":
            if got.tolist() != want.tolist():
                return f"{name}: texts differ"
            continue
        if want.dtype.kind in "biu":
            if not np.array_equal(got, want):
                return f"{name}: {int((got != want).sum())} of {want.size} integers differ"
            continue
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        a, b = got.astype(wide), want.astype(wide)
        if not np.allclose(a, b, rtol=case.rtol, atol=_tolerance(want, case.atol), equal_nan=True):
            return f"{name}: differs by up to {np.nanmax(np.abs(a - b)):.3g}"
    return ""


def _tolerance(want: Any, given: float) -> float:
    """Results may round differently at each step: four units in the last place of the largest."""
    step = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}.get(want.dtype.name, 0.0)
    finite = np.abs(want[np.isfinite(want)].astype(np.float64)) if want.size else np.zeros(0)
    return max(given, 1e-7, 4 * step * float(finite.max(initial=0.0)))


def table(verdicts: Iterable[Verdict]) -> str:
    """docs/operators.md: per operator how many cases stand where, and why some do not."""
    by_op: dict[str, list[Verdict]] = collections.defaultdict(list)
    for verdict in verdicts:
        by_op[verdict.op_type].append(verdict)
    total = collections.Counter(v.kind for found in by_op.values() for v in found)
    lines = [
        "# Operators", "",
        "Made by `python benchmarks/node_cases.py --write` from the node cases of the onnx package; do not edit.", "",
        ", ".join(f"{total[k]} {k}" for k in ("supported", "host", "refused", "wrong", "crash")) + ".", "",
        "| operator | cases | supported | host | refused | note |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for op_type in sorted(by_op):
        found = by_op[op_type]
        count = collections.Counter(v.kind for v in found)
        notes = sorted({v.note.replace("|", "/").replace("\n", " ")[:110] for v in found if v.kind != "supported"})[:1]
        row = [op_type, len(found), count["supported"], count["host"], count["refused"], "; ".join(notes)]
        lines.append("| " + " | ".join(str(cell) for cell in row) + " |")
    return "\n".join(lines) + "\n"


def unsupported(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """The version of onnx, and the cases that are run on the host or refused."""
    kinds: dict[Kind, list[str]] = {"host": [], "refused": []}
    for verdict in verdicts:
        if verdict.kind in kinds:
            kinds[verdict.kind].append(verdict.case)
    return {"onnx": onnx.__version__, **{kind: sorted(names) for kind, names in kinds.items()}}


def broken_claims(verdicts: Iterable[Verdict]) -> list[str]:
    """Operators that `mapper ops` says run on the fabric, of which not one case does."""
    supported: dict[str, bool] = {}
    for verdict in verdicts:
        supported[verdict.op_type] = supported.get(verdict.op_type, False) or verdict.kind == "supported"
    found = []
    for name, one in supported.items():
        domain, _, op_type = name.rpartition(".")
        if not one and not name.startswith("body of") and claim(domain, op_type) in ("fabric", "movement"):
            found.append(name)
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/operators.md and the list of the suite")
    parser.add_argument("--only", default="", help="judge only cases whose name contains this")
    parser.add_argument("--show", default="wrong,crash", help="kinds to print, comma-separated")
    arguments = parser.parse_args()
    start = time.process_time()
    verdicts = [judge(case) for case in collect() if arguments.only in case.name]
    for verdict in verdicts:
        if verdict.kind in arguments.show.split(","):
            print(f"{verdict.kind:9} {verdict.case:60} {verdict.op_type}: {verdict.note[:170]!r}")
    for name in [] if arguments.only else broken_claims(verdicts):
        print(f"claimed but not supported: {name}")
    print(dict(collections.Counter(v.kind for v in verdicts)), f"{time.process_time() - start:.0f} CPU s")
    if arguments.write:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(table(verdicts))
        UNSUPPORTED.write_text(json.dumps(unsupported(verdicts), indent=1) + "\n")
    return 5 if any(v.kind in ("wrong", "crash") for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
