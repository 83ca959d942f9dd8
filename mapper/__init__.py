"""Maps ONNX models and loop kernels onto dataflow fabrics and prices every byte that moves.

    import mapper
    r = mapper.compile("model.onnx", target="cgla")
    print(r.summary()); r.report["totals"]["movement_pj"]; r.check(); r.to_html("report.html")

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mapper.api import compare, compile, load, machine

__all__ = ["compare", "compile", "load", "machine"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("mapper.api"), name)
    raise AttributeError(f"module 'mapper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `mapper.machine` and `mapper.compare` the functions, though submodules have the same names."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
