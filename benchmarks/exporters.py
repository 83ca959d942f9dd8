"""What PyTorch's exporters write, compiled, checked and simulated on every target.

    python benchmarks/exporters.py [--models FOLDER] [--only TEXT] [--targets cgla,cgra,wafer] [--export-only] [--json]

The families are in benchmarks/minis: networks of the usual shapes with random weights, each exported by both exporters
(dynamo and TorchScript), some quantised or fused further by onnxruntime (benchmarks/minis/rewritten.py). FOLDER keeps
the files and `exported.json` beside them, which has the extents of free dimensions; what is there is not exported
again, and with FOLDER nothing is exported unless asked, so that exporting (PyTorch, transformers, onnxruntime) and
compiling may run in different environments.
Exit 5 if a model fails on a target: it does not compile, its mapping is illegal, or its values or counts are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mapper
from mapper.errors import MapperError
from mapper.verify import simulate_decision

INDEX = "exported.json"
EXPORTERS = ("dynamo", "torchscript")


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one target; `fault` is empty where all three steps passed."""

    model: str
    target: str
    fault: str
    host: tuple[str, ...]
    compared: str
    cpu_s: float

    @property
    def line(self) -> str:
        word, host = ("FAIL" if self.fault else "ok"), f" host={','.join(self.host)}" if self.host else ""
        return f"{word:4} {self.model:36} {self.target:6} {self.cpu_s:6.1f}s{host} {self.fault}"

    def as_dict(self) -> dict[str, Any]:
        ours = {"fault": self.fault, "host": self.host, "compared": self.compared}
        return {"id": f"{self.model} {self.target}", "ours": ours, "reference": {}, "cpu_s": round(self.cpu_s, 1)}


def export_all(folder: Path, only: str) -> None:
    """Write the models that `folder` lacks, and what each needs bound."""
    from minis import export, rewritten

    index = folder / INDEX
    known: dict[str, Any] = json.loads(index.read_text()) if index.exists() else {}
    for stage in (export, rewritten):
        for name, dims in stage.missing(folder, only, known):
            known[name] = dims
            index.write_text(json.dumps(known, indent=1, sort_keys=True))
            if isinstance(dims, str):
                print(f"not exported: {name}: {dims}", file=sys.stderr)


def models(folder: Path, only: str) -> Iterator[tuple[Path, Mapping[str, int]]]:
    known = json.loads((folder / INDEX).read_text())
    for name in sorted(known):
        if only in name and isinstance(known[name], dict):
            yield folder / f"{name}.onnx", known[name]


def judged(path: Path, dims: Mapping[str, int], target: str) -> Row:
    """Compile, check and simulate."""
    start = time.process_time()
    fault, compared = "", ""
    host: tuple[str, ...] = ()
    try:
        result = mapper.compile(path, target, dims=dims, effort="fast")
        host = tuple(sorted({op["op_type"] for op in result.report["host_ops"]}))
        verified = simulate_decision(result.decision, path, seed=0)
        wrong = [*result.check(), *verified.violations]
        compared = "; ".join(verified.compared)
        fault = str(wrong[0]) if wrong else ""
    except MapperError as refused:
        fault = str(refused)
    except Exception as crash:  # whatever escapes is what is looked for
        fault = f"crash: {type(crash).__name__}: {crash}"
    return Row(path.stem, target, fault.replace("\n", " ")[:300], host, compared, time.process_time() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="where the files are kept (default: a temporary folder)")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--targets", default="cgla,cgra,wafer")
    parser.add_argument("--export-only", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder: Path = options.models or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        if options.models is None or options.export_only:
            export_all(folder, options.only)
        if options.export_only:
            return 0
        rows = []
        for path, dims in models(folder, options.only):
            for target in options.targets.split(","):
                rows.append(judged(path, dims, target))
                if not options.json:
                    print(rows[-1].line, flush=True)
    return finish(rows, options.json)


def finish(rows: list[Row], as_json: bool) -> int:
    failed = [row for row in rows if row.fault]
    if as_json:
        print(json.dumps({"rows": [row.as_dict() for row in rows]}))
    else:
        print(f"{len(rows) - len(failed)} of {len(rows)} pass")
    return 5 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
