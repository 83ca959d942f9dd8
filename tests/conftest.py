"""Tests neither use nor fill the user's kept answers; commands of `benchmarks/` are loaded in one way."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

os.environ["MAPPER_CACHE"] = "off"


@pytest.fixture(scope="session")
def benchmark_named() -> Callable[[str], ModuleType]:
    """Loads `benchmarks/NAME.py` as a module."""
    return _loaded


def _loaded(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    if str(path.parent) not in sys.path:  # as for a script: it finds its siblings
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
