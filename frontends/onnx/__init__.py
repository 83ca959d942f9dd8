"""ONNX models as graphs of loop nests: every node lowered, folded, viewed, sent to the host, or refused by name."""

from .errors import ModelError
from .load import load, load_model, recognises

__all__ = ["ModelError", "load", "load_model", "recognises"]

TAKES_DIMS = True  # symbolic dimensions can be bound
