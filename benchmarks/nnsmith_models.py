"""Writes models that NNSmith draws, a second source for `benchmarks/fuzz.py --models DIR`.

    pip install nnsmith torch onnx          (an environment of its own: nnsmith 0.1, torch 2.13 were used)
    python benchmarks/nnsmith_models.py DIR [--count 120] [--first 0] [--nodes 8]

NNSmith solves for shapes and attributes and gives the network to PyTorch's older exporter, opset 14. What exporter or
ONNX's own inference refuse is counted and left out; complex numbers are not asked for.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

TYPES = ("float32", "float64", "int32", "int64", "int8", "uint8", "bool")


def main() -> int:
    parser = argparse.ArgumentParser(description="Write models drawn by NNSmith.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=8)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    onnx_of_torch: Any = import_module("torch").onnx
    model_gen = import_module("nnsmith.graph_gen").model_gen
    types = [import_module("nnsmith.abstract.dtype").DType[name] for name in TYPES]
    exporter = partial(onnx_of_torch.export, dynamo=False)
    onnx_of_torch.export = lambda *words, verbose=False, **more: exporter(*words, **more)
    kind = import_module("nnsmith.materialize").Model.init("onnx", backend_target="cpu")
    kind.add_seed_setter()
    refused = 0
    for seed in range(options.first, options.first + options.count):
        try:
            drawn = model_gen(opset=kind.operators(), method="symbolic-cinit", seed=seed, max_elem_per_tensor=4096,
                              max_nodes=options.nodes, timeout_ms=5000, dtype_choices=types)  # fmt: skip
            model = kind.from_gir(drawn.make_concrete())
            model.refine_weights()
            (options.folder / f"{seed:06}.onnx").write_bytes(model.native_model.SerializeToString())
        except Exception as error:  # solver, exporter and checker raise whatever they like
            refused += 1
            print(f"{seed}: {type(error).__name__}: {str(error).splitlines()[0][:120]}", file=sys.stderr)
    print(f"{options.count - refused} models in {options.folder}, {refused} left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
