"""Random valid models on every target: legal, computed to the reference's values, counted as charged, within bounds.

    python benchmarks/fuzz.py [--count 300] [--first 0] [--most 8] [--targets a,b,c] [--graphs] [--keep DIR] [--json]
    python benchmarks/fuzz.py --models DIR     every .onnx file of a folder instead, such as NNSmith's

The generator is the one of the suite (tests/growing); model number n of `--most` steps is the same in every run. The
oracle is the project's invariants: the checker finds nothing, played values equal the reference and played bytes the
cost, every boundary is at or above its provable bound, the stated objective is the report's total. `--graphs` compares
our graph, before and after the passes, with the reference and leaves out the targets: thousands of models in minutes. A
model that fails is shrunk (`benchmarks/shrinking.py`) and, with `--keep`, written to DIR. Exit code 5 if a model fails;
its number is enough to grow it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from math import isclose
from pathlib import Path
from typing import Any

import onnx
from shrinking import shrunk

import mapper
from mapper import registry
from mapper.errors import MapperError

__all__ = ["Case", "fault", "graph_fault", "main"]

TESTS = Path(__file__).resolve().parent.parent / "tests"
Fault = Callable[[onnx.ModelProto, dict[str, int]], str]


class Case:
    """A model under its name, with the extents of its symbolic dimensions."""

    def __init__(self, name: str, model: onnx.ModelProto, dims: dict[str, int]) -> None:
        self.name, self.model, self.dims = name, model, dims


def grown_cases(first: int, count: int, most: int = 8) -> Iterator[Case]:
    """Models `first` and on of the suite's generator, of at most `most` steps."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    growing = import_module("growing")
    for number in range(first, first + count):
        found = growing.grown(number, most)
        yield Case(f"model {number}", found.model, found.dims)


def cases_of(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*.onnx")):
        yield Case(path.name, onnx.load(path), {})


def fault(target: str, model: onnx.ModelProto, dims: dict[str, int]) -> str:
    """The first invariant that the model breaks on the target; "" if none."""
    with tempfile.TemporaryDirectory() as top:
        path = Path(top) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            result: Any = mapper.compile(path, target=target, dims=dims, effort="fast")
            found = [*result.check()]
            played = result.simulate(seed=0)
            broken = _broken_bound(result) or _broken_objective(result)
        except MapperError as error:
            return f"refused: {error}"
        except Exception as error:  # a crash is a finding like any other
            return f"crash: {type(error).__name__}: {error}"
    found += played.violations
    wanted = f"values of {len(model.graph.output)} outputs with "
    if found or broken:
        return str(found[0]) if found else broken
    if not any(words.startswith(wanted) and "plain run" not in words for words in played.compared):
        return f"not compared: {played.compared}"
    return ""


def _broken_bound(result: Any) -> str:
    for name, boundary in result.report["bounds"].items():
        if boundary["provable_bytes"] > boundary["mapping_bytes"]:
            return f"bound of {name}: {boundary}"
    return ""


def _broken_objective(result: Any) -> str:
    total = result.report["totals"]["movement_pj"]
    if result.request.objective == "movement" and not isclose(result.outcome.objective, total, rel_tol=1e-9):
        return f"objective {result.outcome.objective}, report {total}"
    return ""


def graph_fault(model: onnx.ModelProto, dims: dict[str, int]) -> str:
    """What our graph, plain or after the passes, does not share with the reference; "" if nothing."""
    front, reference = (import_module(f"mapper.frontends.onnx{part}") for part in ("", ".reference"))
    run, optimise = import_module("mapper.interpret").run, import_module("mapper.passes").optimise
    host = import_module("mapper.frontends.onnx.host").run_opaque
    compare_values = import_module("mapper.simulate").compare_values
    try:
        graph = front.load_model(model, dims)
        feeds = reference.random_feeds(graph, 0)
        expected = reference.reference_outputs(model, feeds)[0]
        for candidate in (graph, optimise(graph)):
            values = run(candidate, feeds, host)
            found = compare_values({name: values[name] for name in expected}, expected)
            wrong = [v.name for v in model.graph.output if values[v.name].dtype != _declared(v)]
            if found or wrong:
                return str(found[0]) if found else f"the type of {wrong[0]} differs"
    except (MapperError, reference.NoReference) as error:
        return f"refused: {error}"
    except Exception as error:
        return f"crash: {type(error).__name__}: {error}"
    return ""


def _declared(value: onnx.ValueInfoProto) -> Any:
    """The type that the model states; the reference widens some sums."""
    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def judges(targets: Sequence[str], graphs: bool) -> dict[str, Fault]:
    if graphs:
        return {"graph": graph_fault}
    return {target: lambda model, dims, target=target: fault(target, model, dims) for target in targets}  # type: ignore[misc]


def kept(case: Case, where: str, words: str, judge: Fault, folder: Path | None) -> str:
    """Words on a failure and on the smallest model that still fails in that way."""
    kind = words.split(":")[0]
    small = shrunk(case.model, lambda model: judge(model, case.dims).split(":")[0] == kind)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{case.name.replace(' ', '-')}-{where}.onnx").write_bytes(small.SerializeToString())
    steps = ", ".join(node.op_type for node in small.graph.node)
    return f"failed: {case.name} on {where}: {words[:300]} (shrunk: {steps})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Random valid models through compile, check and simulate.")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first model")
    parser.add_argument("--most", type=int, default=8, help="steps of a model, at most")
    parser.add_argument("--models", type=Path, help="a folder of models instead of the generator's")
    parser.add_argument("--targets", default=",".join(sorted(registry.BACKENDS)))
    parser.add_argument("--graphs", action="store_true", help="compare graphs only, on no target")
    parser.add_argument("--keep", type=Path, help="write shrunk models that fail to this folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    cases = cases_of(options.models) if options.models else grown_cases(options.first, options.count, options.most)
    asked = judges(options.targets.split(","), options.graphs)
    models, runs, failed, operators = 0, 0, 0, Counter[str]()
    for case in cases:
        models += 1
        operators.update({node.op_type for node in case.model.graph.node})
        for where, judge in asked.items():
            runs += 1
            words = judge(case.model, case.dims)
            if words:
                failed += 1
                print(kept(case, where, words, judge, options.keep), file=sys.stderr, flush=True)
    row = {"id": "random models", "models": models, "operators": len(operators), "runs": runs, "failed": failed}
    text = f"{models} models of {len(operators)} operators, {runs} runs, {failed} failed"
    print(json.dumps({"rows": [row]}, indent=1) if options.json else text)
    return 5 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
