"""A headless Chromium. Set MAPPER_BROWSER=none to leave these tests out; `tests/run.sh` installs what they need."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    if os.environ.get("MAPPER_BROWSER") == "none":
        pytest.skip("MAPPER_BROWSER=none")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "no Chromium found: apt-get install chromium, or set MAPPER_BROWSER=none to leave these tests out"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()
