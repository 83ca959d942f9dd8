"""Random valid models on every target: legal, computed to the reference's values, counted as charged, within bounds.

    python benchmarks/fuzz.py [--count 300] [--first 0] [--targets cgla,cgra,wafer] [--json]

The generator is the one of the suite (tests/frontends/onnx/test_random_graphs.py); model number n is the same in every
run. The oracle is the project's invariants: the checker finds nothing, played values equal the reference and played
bytes the cost, every boundary is at or above its provable bound, the stated objective is the report's total. Exit code
5 if a model fails; its number is enough to grow it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib import import_module
from math import isclose
from pathlib import Path
from types import ModuleType
from typing import Any

import mapper
from mapper import registry
from mapper.errors import MapperError

__all__ = ["fault", "grown", "main"]

GENERATOR = Path(__file__).resolve().parent.parent / "tests" / "frontends" / "onnx"


def grown(number: int) -> Any:
    """Model `number` of the suite's generator."""
    package = sys.modules.setdefault("fuzz_models", ModuleType("fuzz_models"))
    package.__path__ = [str(GENERATOR)]
    return import_module("fuzz_models.test_random_graphs").grown(number)


def fault(path: Path, target: str, seed: int) -> str:
    """The first invariant that the model breaks on the target; "" if none."""
    try:
        result = mapper.compile(path, target=target, effort="fast")
    except MapperError as error:
        return f"refused: {error}"
    except Exception as error:  # a crash is a finding like any other
        return f"crash: {type(error).__name__}: {error}"
    found = [*result.check(), *getattr(result, "simulate")(seed=seed).violations]  # noqa: B009
    if found:
        return str(found[0])
    for name, boundary in result.report["bounds"].items():
        if boundary["provable_bytes"] > boundary["mapping_bytes"]:
            return f"bound of {name}: {boundary}"
    if result.request.objective == "movement":
        total = result.report["totals"]["movement_pj"]
        if not isclose(result.outcome.objective, total, rel_tol=1e-9):
            return f"objective {result.outcome.objective}, report {total}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Random valid models through compile, check and simulate.")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first model")
    parser.add_argument("--targets", default=",".join(sorted(registry.BACKENDS)))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    targets, failed, runs = options.targets.split(","), 0, 0
    with tempfile.TemporaryDirectory() as top:
        path = Path(top) / "model.onnx"
        for number in range(options.first, options.first + options.count):
            path.write_bytes(grown(number).SerializeToString())
            for target in targets:
                runs += 1
                words = fault(path, target, number)
                if words:
                    failed += 1
                    print(f"failed: model {number} on {target}: {words}", file=sys.stderr, flush=True)
    rows = [{"id": "random models", "models": options.count, "runs": runs, "failed": failed}]
    print(json.dumps({"rows": rows}, indent=1) if options.json else f"{runs} runs, {failed} failed")
    return 5 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
