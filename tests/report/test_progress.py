"""Progress on stderr: which style, and what stands in a line."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mapper.report.progress import display, style
from mapper.request import Incumbent

KERNEL = Path(__file__).parents[2] / "benchmarks/data/cgra/cme_conv3.json"


@pytest.mark.parametrize(("verbose", "quiet", "no_progress", "terminal", "expected"), [
    (0, False, False, True, "live"),
    (1, False, False, True, "live"),
    (0, False, True, True, "none"),
    (1, False, True, True, "lines"),
    (0, False, False, False, "none"),
    (1, False, False, False, "lines"),
    (2, True, False, True, "none"),
])  # fmt: skip
def test_live_only_on_a_terminal_and_nothing_if_quiet(verbose, quiet, no_progress, terminal, expected) -> None:
    assert style(verbose, quiet, no_progress, terminal) == expected


def test_lines_hold_step_incumbent_bound_and_gap(capsys: pytest.CaptureFixture[str]) -> None:
    with display("lines") as screen:
        screen.step("mapping\x1b[31m")
        screen.incumbent(Incumbent("rows", 24, 21))
    out, err = capsys.readouterr()
    step, incumbent = err.splitlines()
    assert out == "" and "\x1b" not in err
    assert step.startswith("[   0.0 s] mapping")
    assert incumbent.endswith("rows 24, at least 21, gap 12.5%")


def test_a_long_kernel_shows_its_incumbents_as_plain_lines(tmp_path: Path) -> None:
    words = ["compile", str(KERNEL), "--target", "cgra", "--machine", "torus2x2", "--effort", "fast"]
    done = subprocess.run(
        [sys.executable, "-m", "mapper", *words, "-v", "-o", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert any("II " in line and ", gap " in line for line in done.stderr.splitlines())


def test_a_terminal_gets_one_live_line_that_is_erased(tmp_path: Path) -> None:
    main, side = pty.openpty()
    words = ["compile", str(KERNEL), "--target", "cgra", "--effort", "fast", "-o", str(tmp_path / "out")]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mapper", *words], stdout=subprocess.PIPE, stderr=side, text=True, env=environment
    )
    os.close(side)
    drawn = os.read(main, 1 << 20).decode()
    os.close(main)
    assert "reading" in drawn and "\r" in drawn and "\x1b[3" not in drawn  # moves of the cursor, no colours
    assert drawn.endswith("\x1b[2K")
    assert "\x1b" not in done.stdout
