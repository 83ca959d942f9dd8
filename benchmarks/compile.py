"""Every model on every target: CPU time, memory, legality, and what was left to the host.

    python benchmarks/compile.py [MODEL …] [--targets cgla,cgra,wafer] [--json]

MODEL is an ONNX file, a folder of them, or zoo:NAME (default: the light models that the onnx package carries and the
full-size models of the zoo). Each compile is a process of its own, measured by the operating system, and is read back
by `mapper check`. Exit 5 if one fails, is illegal, sends an operator to the host, or takes more than its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIMIT_CPU_SECONDS = 60.0
LIMITS = {"resnet50": 30.0}  # published goals; every other model has LIMIT_CPU_SECONDS
LIMIT_BYTES = 2 << 30
ZOO = ("resnet50", "mobilenetv2", "unet", "bert-base", "gpt2", "lfm2.5-1.2b", "lfm2.5-1.2b-decode", "whisper-tiny.en",
       "qwen3-0.6b")  # fmt: skip


def default_models() -> list[str]:
    """The light models inside the installed onnx package, then the zoo."""
    spec = find_spec("onnx")
    assert spec is not None and spec.origin is not None
    light = Path(spec.origin).parent / "backend/test/data/light"
    return [*(str(path) for path in sorted(light.glob("light_*.onnx"))), *(f"zoo:{name}" for name in ZOO)]


def expanded(words: list[str]) -> Iterator[str]:
    """Files of folders; other words as they are."""
    for word in words:
        if Path(word).is_dir():
            yield from (str(path) for path in sorted(Path(word).glob("*.onnx")))
        else:
            yield word


def measured(model: str, target: str, folder: Path) -> dict[str, Any]:
    """One compile, without answers kept from earlier runs, and one check, as the operating system accounts for them."""
    command = [sys.executable, "-m", "mapper", "compile", model, "--target", target, "-o", str(folder), "-q"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"MAPPER_CACHE": "off"})
    assert process.stderr is not None
    error = process.stderr.read().decode(errors="replace").strip()
    _, status, usage = os.wait4(process.pid, 0)
    cpu_s, peak_bytes = round(usage.ru_utime + usage.ru_stime, 1), usage.ru_maxrss * 1024
    row: dict[str, Any] = {"exit": os.waitstatus_to_exitcode(status), "cpu_s": cpu_s, "peak_bytes": peak_bytes}
    if row["exit"]:
        return row | {"error": error[-300:]}
    report = json.loads((folder / "report.json").read_text())
    checked = subprocess.run([sys.executable, "-m", "mapper", "check", str(folder)], capture_output=True, text=True)
    totals = report["totals"]
    bound = next(iter(report["bounds"].values()))
    over = round(bound["mapping_bytes"] / max(bound["provable_bytes"], 1), 3)
    return row | {"legal": checked.returncode == 0, "operators": len(report["ops"]), "host": len(report["host_ops"]),
                  "macs": totals["macs"], "movement_pj": totals["movement_pj"], "seconds": totals["seconds"],
                  "outer_bytes_over_bound": over}  # fmt: skip


def falls_short(model: str, row: dict[str, Any]) -> bool:
    limit = next((seconds for name, seconds in LIMITS.items() if name in model), LIMIT_CPU_SECONDS)
    return bool(
        row["exit"] or not row["legal"] or row["host"] or row["cpu_s"] > limit or row["peak_bytes"] > LIMIT_BYTES
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--targets", default="cgla,cgra,wafer")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    short = 0
    with tempfile.TemporaryDirectory() as place:
        for model in expanded(options.models or default_models()):
            for target in options.targets.split(","):
                name = Path(model).stem if "/" in model else model.removeprefix("zoo:")
                found = measured(model, target, Path(place) / f"{len(rows)}")
                missed = falls_short(model, found)
                short += missed
                rows.append({"id": f"{name} {target}", "ours": found, "reference": {}, "cpu_s": found["cpu_s"]})
                if not options.json:
                    facts = " ".join(f"{key}={value}" for key, value in found.items())
                    print(f"{'SHORT' if missed else 'ok':5} {name:24} {target:6} {facts}", flush=True)
    if options.json:
        print(json.dumps({"rows": rows}))
    return 5 if short else 0


if __name__ == "__main__":
    sys.exit(main())
