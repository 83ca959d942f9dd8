"""The walls of the house, and that the wheel holds every room."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WINGS = ("frontends", "backends", "models")


def sources(*folders: str) -> list[Path]:
    """Python files of real folders: links are skipped, else each wing shows twice."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if not any((ROOT / Path(*parts[:n])).is_symlink() for n in range(1, len(parts))):
                found.append(path)
    return found


def imports(path: Path) -> list[str]:
    """Absolute names of the modules that a file imports, in whatever function."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
    return names


def test_the_hall_imports_no_wing() -> None:
    wrong = [
        (p.name, n) for p in sources("mapper") for n in imports(p) if n.startswith(tuple(f"mapper.{w}" for w in WINGS))
    ]
    assert wrong == []


@pytest.mark.parametrize("wing", WINGS)
def test_wings_do_not_import_each_other(wing: str) -> None:
    others = tuple(f"mapper.{w}" for w in WINGS if w != wing)
    assert [(p.name, n) for p in sources(wing) for n in imports(p) if n.startswith(others)] == []


def test_targets_do_not_import_each_other() -> None:
    for target in (p.name for p in (ROOT / "backends").iterdir() if p.is_dir()):
        for path in sources(f"backends/{target}"):
            foreign = [n for n in imports(path) if n.startswith("mapper.backends.") and n.split(".")[2] != target]
            assert foreign == [], path


def test_nobody_imports_a_wing_by_its_top_level_name() -> None:
    wrong = [(p, n) for p in sources("mapper", *WINGS, "benchmarks") for n in imports(p) if n.split(".")[0] in WINGS]
    assert wrong == []


def test_only_the_solver_speaks_to_ortools_and_only_writers_and_readers_of_onnx_to_onnx() -> None:
    allowed = {"ortools": {"mapper/solver.py"}, "onnx": {"mapper/report/annotated.py"}}
    for path in sources("mapper", *WINGS):
        place = path.relative_to(ROOT).as_posix()
        for name in (n.split(".")[0] for n in imports(path)):
            free = name == "onnx" and place.startswith(("frontends/onnx/", "models/"))
            assert free or name not in allowed or place in allowed[name], (place, name)


def test_every_package_of_the_tree_is_in_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for path in sources("mapper", *WINGS):
        if path.name == "__init__.py":
            name = ".".join(path.parent.relative_to(ROOT).parts)
            found.add(name if name.split(".")[0] == "mapper" else f"mapper.{name}")
    assert found == listed
