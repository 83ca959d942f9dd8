"""The worked example of a target, installed as a stranger's package would be: found, listed, legal, equal in values."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "onecore"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python sees the package and its entry points, as pip leaves them behind."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    facts = tmp_path_factory.mktemp("site") / "mapper_onecore-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {value}" for name, value in project["entry-points"]["mapper.backends"].items()]
    (facts / "entry_points.txt").write_text("\n".join(["[mapper.backends]", *points]))
    path = [str(EXAMPLE), str(facts.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def run(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_target_and_its_machine_are_listed(installed: dict[str, str]) -> None:
    assert "onecore" in run(installed, "-m", "mapper", "targets")
    assert "one scalar core" in run(installed, "-m", "mapper", "machines")
    assert run(installed, "-m", "mapper", "machines", "onecore") == (EXAMPLE / "onecore/onecore.yaml").read_text()


def test_it_keeps_the_contract_of_every_target(installed: dict[str, str]) -> None:
    contract = Path(__file__).parent / "test_targets.py"
    options = ("-p", "no:cacheprovider", "-k", "onecore", "--import-mode=importlib")
    said = run(installed, "-m", "pytest", str(contract), *options)
    passed = re.search(r"(\d+) passed", said)
    assert passed and int(passed[1]) >= 8, said


def test_a_smaller_scratchpad_moves_more(installed: dict[str, str], tmp_path: Path) -> None:
    moved = []
    for size in ("32KiB", "1KiB"):
        words = ("compile", "zoo:resnet-tiny", "--target", "onecore", "--machine", f"onecore:spm={size}", "--json")
        report = json.loads(run(installed, "-m", "mapper", *words, "-o", str(tmp_path / size)))
        moved.append(report["totals"]["movement_pj"])
    assert moved[0] < moved[1]
