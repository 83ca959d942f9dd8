"""What an exporter needs to know of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

__all__ = ["Builder", "Mini", "Outputs"]


@dataclass(frozen=True, slots=True)
class Mini:
    """A module and example inputs by the names that its `forward` has.

    `free` names the axes of inputs that stay symbolic: input -> axis -> dimension. `outputs` names what comes out.
    """

    module: torch.nn.Module
    inputs: Mapping[str, torch.Tensor]
    outputs: tuple[str, ...] = ("output",)
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def dims(self) -> dict[str, int]:
        """The extent that each free dimension has in the example."""
        return {name: self.inputs[key].shape[axis] for key, axes in self.free.items() for axis, name in axes.items()}


Builder = Callable[[], Mini]


class Outputs(torch.nn.Module):
    """A Hugging Face module called by keyword, with chosen fields of its result as plain tensors."""

    def __init__(self, module: torch.nn.Module, names: Sequence[str], fields: Sequence[str]) -> None:
        super().__init__()
        self.module, self.names, self.fields = module, tuple(names), tuple(fields)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.module(**dict(zip(self.names, tensors, strict=True)), return_dict=True)
        return tuple(getattr(found, name) for name in self.fields)
