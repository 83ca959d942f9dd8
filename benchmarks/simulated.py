"""Whole models through `mapper simulate`: values against the reference, counts against the cost, CPU seconds.

    python benchmarks/simulated.py [MODEL ...] [--targets a,b,c] [--limit 120] [--json]

MODEL is zoo:NAME or an .onnx file; by default every model of the zoo that is made for tests, and light_squeezenet of
the onnx package at 64 x 64 (its layers are those of 224 x 224, on smaller images). A row fails if a violation is found,
if an output is not compared, or if the simulation takes more CPU seconds than the limit. Mappings are those of effort
`fast`. Exit code 5 if a row fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.backend.test

import mapper
from mapper import registry
from mapper.models import zoo

__all__ = ["Row", "main", "row", "squeezenet"]

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light" / "light_squeezenet.onnx"
SIZE = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one target; `fault` is empty if everything held."""

    id: str
    operators: int
    compile_cpu_s: float
    simulate_cpu_s: float
    fault: str


def squeezenet(folder: Path) -> Path:
    """light_squeezenet on images of SIZE x SIZE."""
    model = onnx.load(LIGHT)
    for extent in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        extent.dim_value = SIZE
    path = folder / f"light_squeezenet_{SIZE}.onnx"
    onnx.save(model, path)
    return path


def row(source: Path | str, target: str, limit: float) -> Row:
    started = time.process_time()
    result: Any = mapper.compile(source, target=target, effort="fast")
    compiled = time.process_time()
    played = result.simulate(seed=0)
    simulated = time.process_time() - compiled
    wanted = f"values of {len(result.mapping.graph.outputs)} outputs with "
    fault = str(next(iter([*result.check(), *played.violations]), ""))
    if not fault and not any(words.startswith(wanted) for words in played.compared):
        fault = f"not compared: {played.compared}"
    if not fault and simulated > limit:
        fault = f"slower than {limit:.0f} s"
    name = f"{Path(source).stem if isinstance(source, Path) else source} {target}"
    return Row(name, len(result.report["ops"]), round(compiled - started, 1), round(simulated, 1), fault)


def rows(models: list[str], targets: list[str], limit: float) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as top:
        small = [f"zoo:{name}" for name in zoo.names() if "tiny" in name and name != "whisper-tiny.en"]
        chosen = [Path(m) if m.endswith(".onnx") else m for m in models] or [squeezenet(Path(top)), *small]
        for source in chosen:
            for target in targets:
                yield row(source, target, limit)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Whole models through simulate: values, counts, CPU seconds.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--targets", default=",".join(sorted(registry.BACKENDS)))
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds that a simulation may take")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = []
    for each in rows(options.models, options.targets.split(","), options.limit):
        found.append(each)
        if not options.json:
            print(f"{each.id:36} {each.operators:4} operators, compiled {each.compile_cpu_s:6.1f} CPU s, "
                  f"simulated {each.simulate_cpu_s:6.1f} CPU s {each.fault}", flush=True)  # fmt: skip
    if options.json:
        print(json.dumps({"rows": [asdict(each) for each in found]}, indent=1))
    return 5 if any(each.fault for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
