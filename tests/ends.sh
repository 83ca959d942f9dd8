#!/bin/sh
# Tests both ends of the dependency ranges in pyproject.toml: a fresh environment with the lowest versions allowed and one
# with the newest. In each: install from a clone (not editable), compile a small model on every target, check and simulate
# the mapping, run the tests nearest to the dependencies. Usage: sh tests/ends.sh [lower|upper]; without a word, both.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first release of each range: `name>=1.2,<3` becomes `name==1.2.*`, the oldest line that the range admits.
lower() {
    "$python" - <<'PYTHON'
import re
import tomllib

for requirement in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    name, version = re.match(r"([\w.-]+)>=([\d.]+)", requirement).groups()
    print(f"{name}=={version}.*" if version.count(".") < 2 else f"{name}=={version}")
PYTHON
}

run_end() {
    end=$1
    bin=$work/$end/bin
    git clone --quiet . "$work/$end-clone"
    "$python" -m venv "$work/$end"
    if [ "$end" = lower ]; then lower >"$work/pins"; else : >"$work/pins"; fi
    "$bin/python" -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager \
        --constraint "$work/pins" "$work/$end-clone" pytest hypothesis
    echo "== $end: $("$bin/python" -m pip freeze | grep -iE '^(onnx|numpy|ml_dtypes|ortools|networkx|PyYAML|pydantic|click|rich)=' | tr '\n' ' ')"
    for target in cgla cgra wafer; do
        out=$work/$end-out/$target
        "$bin/mapper" compile zoo:resnet-tiny --target "$target" --effort fast -q -o "$out"
        "$bin/mapper" check "$out"
        "$bin/mapper" simulate "$out"
    done
    # From the clone, with the links to the wings out of the way of the installed package.
    (cd "$work/$end-clone" && rm -r mapper && "$bin/python" -m pytest -x \
        tests/test_interpret.py tests/test_codec.py tests/test_traffic.py tests/test_cli.py tests/frontends/onnx)
}

for end in ${1:-lower upper}; do run_end "$end"; done
