"""The zoo: published architectures as valid ONNX models of a few hundred kB, without their weights."""

from .zoo import UnknownModelError, build, describe, names

__all__ = ["UnknownModelError", "build", "describe", "names"]
