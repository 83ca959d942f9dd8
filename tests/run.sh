#!/bin/sh
# Sets up everything that the tests need and runs them: a virtual environment, mapper with its development tools, and
# (where apt is at hand) Debian's Chromium for the report's browser tests. Two processes share the files. Further words
# go to pytest.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
if ! command -v chromium >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -qq -y chromium >/dev/null
fi
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
