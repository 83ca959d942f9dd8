"""Golden costs: what each small model of the zoo costs on each target, kept so that a change is seen.

    python benchmarks/golden.py                 # compares; exit 5 if a figure leaves its band
    python benchmarks/golden.py --update        # renews tests/data/golden.json; the reason goes into CHANGELOG.md

Effort `fast`, seed 0. A figure may fall by any amount and rise by 2 %; a fall of more than 2 % is reported, so that the
file is renewed and the gain kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import mapper
from mapper import registry

FILE = Path(__file__).parents[1] / "tests" / "data" / "golden.json"
MODELS = ("resnet-tiny", "mobilenetv2-tiny", "unet-tiny", "bert-tiny", "gpt2-tiny", "lfm2-tiny", "lfm2-tiny-decode",
          "qwen3-tiny", "whisper-tiny-mini")  # fmt: skip
BAND = 0.02
SHORT = 5

Figures = dict[str, float]


def measured(model: str, target: str) -> Figures:
    """Movement, backing-store bytes and cycles of one compile."""
    report = mapper.compile(f"zoo:{model}", target, effort="fast").report
    totals = report["totals"]
    outermost = next(iter(totals["levels"].values()))
    return {"movement_pj": round(totals["movement_pj"], 3), "cycles": totals["cycles"],
            "outer_bytes": outermost["read_bytes"] + outermost["write_bytes"]}  # fmt: skip


def kept() -> dict[str, Figures]:
    """The file's figures by "model target"."""
    found: dict[str, Figures] = json.loads(FILE.read_text())
    return found


def differences(name: str, now: Mapping[str, float], golden: Mapping[str, float]) -> Iterator[tuple[bool, str]]:
    """(worse, words) for each figure outside of its band."""
    for figure, value in golden.items():
        ratio = now[figure] / value
        if abs(ratio - 1) > BAND:
            yield ratio > 1, f"{name}: {figure} {now[figure]:g}, kept {value:g} ({ratio - 1:+.1%})"


def _order(row: tuple[str, Figures]) -> tuple[int, str]:
    model, target = row[0].split()
    return MODELS.index(model), target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--target", choices=registry.backend_names(), help="only the rows of one target")
    asked = parser.parse_args()
    targets = [asked.target] if asked.target else registry.backend_names()
    golden = {name: row for name, row in kept().items() if name.split()[1] in targets}
    now = {f"{m} {t}": measured(m, t) for m in MODELS for t in targets}
    if asked.update:
        FILE.write_text(json.dumps(dict(sorted({**kept(), **now}.items(), key=_order)), indent=1) + "\n")
        print(f"{FILE.name}: {len(now)} rows; say in CHANGELOG.md why they changed")
        return 0
    found = [each for name, figures in now.items() for each in differences(name, figures, golden.get(name, {}))]
    for worse, words in found:
        print(f"{'WORSE' if worse else 'better'}  {words}")
    missing = sorted(set(now) ^ set(golden))
    print(f"{len(now)} rows, {len(found)} figures outside {BAND:.0%}; not in both: {', '.join(missing) or 'none'}")
    return SHORT if missing or any(worse for worse, _ in found) else 0


if __name__ == "__main__":
    sys.exit(main())
