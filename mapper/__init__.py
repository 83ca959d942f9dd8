"""Maps ONNX models and loop kernels onto dataflow fabrics and prices every byte that moves.

    import mapper
    r = mapper.compile("model.onnx", target="cgla")
    print(r.summary()); r.report["totals"]["movement_pj"]; r.check(); r.to_html("report.html")

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
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
