#!/bin/sh
# Sets up a virtual environment beside the checkout, installs mapper, and compiles two real models:
# SqueezeNet as the onnx package ships it, onto the linear array, and a small ResNet of the zoo, onto the wafer.
# Needs Python 3.11 or newer with pip; nothing else.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check .
squeezenet=$(.venv/bin/python -c "import onnx, pathlib; print(pathlib.Path(onnx.__file__).parent / 'backend/test/data/light/light_squeezenet.onnx')")
.venv/bin/mapper compile "$squeezenet" --target cgla
echo
.venv/bin/mapper compile zoo:resnet-tiny --target wafer
