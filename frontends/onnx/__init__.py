"""ONNX models as graphs of loop nests: every node lowered, folded, viewed, sent to the host, or refused by name."""

from .errors import ModelError
from .load import load, load_model, recognises
from .operators import operator_table

__all__ = ["TAKES_DIMS", "ModelError", "load", "load_model", "operator_table", "recognises"]

TAKES_DIMS = True  # symbolic dimensions can be bound
