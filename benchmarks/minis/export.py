"""Modules to files, by both exporters of PyTorch."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from . import MINIS
from .mini import Mini

__all__ = ["missing"]

OPSETS = {"dynamo": 20, "torchscript": 17}


def missing(folder: Path, only: str, known: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int] | str]]:
    """Exports what is not `known` yet: (name, extents of free dimensions, or why the exporter refused)."""
    for family, build in MINIS.items():
        for exporter in OPSETS:
            name = f"{family}.{exporter}"
            if only in name and name not in known:
                torch.manual_seed(0)
                yield name, _exported(build(), exporter, folder / f"{name}.onnx")


def _exported(mini: Mini, exporter: str, path: Path) -> dict[str, int] | str:
    torch.backends.mha.set_fastpath_enabled(False)  # TorchScript cannot export the fused kernel
    module = mini.module.eval()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            _WRITERS[exporter](mini, module, path)
    except Exception as fault:  # an exporter's limits are not ours
        return f"{type(fault).__name__}: {str(fault).strip().splitlines()[0][:200]}"
    return mini.dims()


def _dynamo(mini: Mini, module: torch.nn.Module, path: Path) -> None:
    shapes: Any = None
    if mini.free:
        axes = [dict(mini.free.get(name, {})) or None for name in mini.inputs]
        varied = [p for p in inspect.signature(module.forward).parameters.values() if p.kind is p.VAR_POSITIONAL]
        plain = len(inspect.signature(module.forward).parameters) - len(varied)
        shapes = (*axes[:plain], *([tuple(axes[plain:])] if varied else []))
    torch.onnx.export(
        module, tuple(mini.inputs.values()), path, dynamo=True, dynamic_shapes=shapes, opset_version=OPSETS["dynamo"],
        input_names=list(mini.inputs), output_names=list(mini.outputs), external_data=False, verbose=False,
    )  # fmt: skip


def _torchscript(mini: Mini, module: torch.nn.Module, path: Path) -> None:
    axes = {name: dict(free) for name, free in mini.free.items()}
    torch.onnx.export(
        module, tuple(mini.inputs.values()), path, dynamo=False, dynamic_axes=axes, input_names=list(mini.inputs),
        output_names=list(mini.outputs), opset_version=OPSETS["torchscript"],
    )  # fmt: skip


_WRITERS = {"dynamo": _dynamo, "torchscript": _torchscript}
