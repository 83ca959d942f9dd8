"""Outputs appear whole or not at all: runs that are killed, interrupted, starved or repeated.

    python benchmarks/interruption.py [PART ...] [--moments 50] [--seed 0] [--json]

PART is any of `writing`, `places`, `kill`, `signals`, `limits`, `repeat`, `large` (default: all). Each trial compiles
an input of one target over an older result and demands: exit code and words as the contract says, the folder holds the
older set or the new one, byte for byte, no stray folder that a next run would not remove, no child left alive.

- `writing`: in a forked child, the writing of a set is killed (SIGKILL) before each line of `mapper/outputs.py` that it
  executes, one child per line; the same again with each system call that may fail failing for want of space.
- `kill`: SIGKILL at random moments of whole runs. `signals`: SIGINT and SIGTERM at random moments; the end within 5 s,
  with the older set, the new one, or (exit 130) the complete set of an incumbent that `mapper check` finds legal.
  `large`: the same on inputs that take up to minutes, over nothing.
- `limits`: RLIMIT_FSIZE and RLIMIT_AS from almost nothing to almost enough; a full disk (tmpfs; needs root). From
  1 GiB of address space on, words and code are not judged: a library in C++ that cannot allocate may abort.
- `places`: what may stand where the outputs shall go. `repeat`: runs with other hash seeds, threads and folders.

Exit code 5 if a trial fails.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from campaign import Trial, asked, reported
from interrupted_writer import Files, contents, places, same, writing

__all__ = ["CASES", "Trial", "main", "places", "writing"]

DATA = Path(__file__).resolve().parent / "data"
CASES: dict[str, tuple[str, ...]] = {
    "cgra": (str(DATA / "cgra" / "gsm.json"), "--effort", "fast"),
    "cgla": (str(DATA / "cgla" / "llm_dot_fp16.json"), "--effort", "fast"),
    "wafer": ("zoo:resnet-tiny", "--effort", "fast"),
}
REPEATED: dict[str, tuple[str, ...]] = {  # beside those: what each target also takes
    "cgra": ("zoo:resnet-tiny", "--effort", "fast"),
    "cgla": ("zoo:resnet-tiny", "--effort", "fast"),
    "wafer": (str(DATA / "wafer" / "K.json"), "--effort", "fast"),
}
LARGE: dict[str, tuple[str, ...]] = {
    "cgra": ("zoo:resnet50",),
    "cgla": ("zoo:lfm2.5-1.2b",),
    "wafer": ("zoo:resnet50",),
    "wafer contest": (str(DATA / "wafer" / "A.json"),),
}
LARGE_SECONDS = 20.0
END_SECONDS = 5.0
MIB = 1 << 20
ROOM = 1 << 30


# whole runs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended: exit code (negative: signal), its error stream, seconds of wall clock, processes left behind."""

    code: int
    stderr: str
    seconds: float
    after_signal: float
    orphans: bool


def _run(
    words: tuple[str, ...],
    folder: Path,
    *,
    number: int | None = None,
    after: float = 0.0,
    limits: Callable[[], None] | None = None,
    **environment: str,
) -> Run:
    """Compile `words` into `folder`, in a process group of its own; send signal `number` `after` seconds."""
    command = [sys.executable, "-m", "mapper", "compile", *words, "-o", str(folder)]
    started = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, start_new_session=True, preexec_fn=limits,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    sent = started
    if number is not None:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            sent = time.monotonic()
            process.send_signal(number)
    _, stderr = process.communicate()
    ended = time.monotonic()
    return Run(
        process.returncode, stderr, ended - started, ended - sent if sent > started else 0.0, _alive(process.pid)
    )


def _alive(group: int) -> bool:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Case:
    """One input on one target, with an older result and the result that a whole run gives."""

    target: str
    words: tuple[str, ...]
    top: Path
    older: Files
    whole: Files
    seconds: float

    @property
    def folder(self) -> Path:
        return self.top / "out"

    def reset(self) -> None:
        """The older result stands in the folder, nothing beside it."""
        shutil.rmtree(self.top, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name, content in self.older.items():
            (self.folder / name).write_bytes(content)

    def fault(self, *, strays: bool) -> str:
        """What is wrong with the folder and its surroundings; `strays`: a killed run may leave its fresh folder."""
        found = contents(self.folder)
        beside = [p.name for p in self.top.iterdir() if p != self.folder]
        if found != self.older and not same(found, self.whole):
            return f"half a set: {sorted(found)}"
        if beside and not (strays and all(".partial-" in name for name in beside)):
            return f"left beside it: {beside}"
        return ""

    def state(self) -> str:
        return "older" if contents(self.folder) == self.older else "new"


def _cases(top: Path, inputs: dict[str, tuple[str, ...]] = CASES) -> Iterator[Case]:
    for target, (source, *options) in inputs.items():
        words = (source, "--target", target, *options)
        run = _run(words, top / "first")
        assert run.code == 0, run.stderr
        whole = contents(top / "first")
        older = {name: b"older " + content[:50] for name, content in whole.items()}
        yield Case(target, words, top / target, older, whole, run.seconds)
        shutil.rmtree(top / "first")


def kill(case: Case, moments: int, rng: random.Random) -> Iterator[Trial]:
    """SIGKILL at random moments; then the next run must succeed and clear what is left."""
    for _ in range(moments):
        case.reset()
        after = rng.uniform(0.0, 1.05 * case.seconds)
        run = _run(case.words, case.folder, number=signal.SIGKILL, after=after)
        fault = case.fault(strays=True) or ("processes left" if run.orphans else "")
        yield Trial(f"kill -9 {case.target}", case.state(), fault and f"after {after:.2f} s: {fault}")
    run = _run(case.words, case.folder)
    yield Trial(f"after kill -9 {case.target}", case.state(), run.stderr or case.fault(strays=False))


def signals(case: Case, moments: int, rng: random.Random) -> Iterator[Trial]:
    """SIGINT and SIGTERM at random moments."""
    for turn in range(moments):
        case.reset()
        number = (signal.SIGINT, signal.SIGTERM)[turn % 2]
        after = rng.uniform(0.0, 1.05 * case.seconds)
        run = _run(case.words, case.folder, number=number, after=after)
        incumbent = run.code == 130 and contents(case.folder).keys() == case.whole.keys() and case.state() == "new"
        fault = _illegal(case.folder) if incumbent else case.fault(strays=False)
        fault = fault or _ill_ended(run, number)
        yield Trial(f"{number.name} {case.target}", f"{case.state()}, exit {run.code}",
                    fault and f"after {after:.2f} s: {fault}")  # fmt: skip


def _illegal(folder: Path) -> str:
    """What `mapper check` objects to."""
    done = subprocess.run([sys.executable, "-m", "mapper", "check", str(folder)], capture_output=True, text=True)
    return "" if done.stdout == "legal\n" else (done.stdout + done.stderr)[:300]


def large(moments: int, rng: random.Random) -> Iterator[Trial]:
    """SIGINT and SIGTERM while large inputs are mapped: a complete legal set or nothing."""
    for name, (source, *options) in LARGE.items():
        for turn in range(moments):
            with tempfile.TemporaryDirectory() as top:
                folder = Path(top) / "out"
                number, after = (signal.SIGINT, signal.SIGTERM)[turn % 2], rng.uniform(0.5, LARGE_SECONDS)
                words = (source, "--target", name.split()[0], *options)
                run = _run(words, folder, number=number, after=after)
                left = sorted(path.name for path in Path(top).iterdir())
                fault = _ill_ended(run, number) or (_illegal(folder) if left == ["out"] else ", ".join(left))
                yield Trial(f"{number.name} large {name}", f"{'set' if left else 'nothing'}, exit {run.code}",
                            fault and f"after {after:.2f} s: {fault}")  # fmt: skip


def _ill_ended(run: Run, number: signal.Signals) -> str:
    """What breaks the contract of an interrupted run; before and after `main`, the signal's own end is right."""
    if run.orphans:
        return "processes left"
    if run.after_signal > END_SECONDS:
        return f"ended {run.after_signal:.1f} s after the signal"
    if run.code not in (0, 130, -number):
        return f"exit {run.code}: {run.stderr[-300:]}"
    if "Traceback" in run.stderr:
        return run.stderr[-300:]
    return ""


def limits(case: Case) -> Iterator[Trial]:
    """Files of limited size, limited address space, a full disk: one line of error, the older set stays."""
    largest = max(len(content) for content in case.whole.values())
    for size in (0, 1, 512, 4096, largest // 4, largest // 2, largest - 1):
        yield _limited(case, f"files of {size} bytes", resource.RLIMIT_FSIZE, size)
    for size in (64, 128, 256, 512, 768, 1024, 1536):
        yield _limited(case, f"{size} MiB of memory", resource.RLIMIT_AS, size * MIB)
    yield from _full_disk(case)


def _limited(case: Case, what: str, kind: int, size: int) -> Trial:
    case.reset()
    run = _run(case.words, case.folder, limits=lambda: resource.setrlimit(kind, (size, size)))
    fault = case.fault(strays=False) or ("" if kind == resource.RLIMIT_AS and size >= ROOM else _refusal(run))
    return Trial(f"{what} {case.target}", f"{case.state()}, exit {run.code}", fault)


def _refusal(run: Run) -> str:
    """A run that cannot go on says so in a line and has an exit code from 1 to 125."""
    if run.code == 0:
        return ""
    words = run.stderr.strip()
    if not 0 < run.code < 126:
        return f"exit {run.code}: {words[-300:]}"
    return "" if words.count("\n") == 0 and words.startswith("error: ") else f"says {words[-600:]}"


def _full_disk(case: Case) -> Iterator[Trial]:
    """A disk of its own with less room than the new set needs beside the older one."""
    needed = sum(len(content) for content in case.whole.values())
    for share in (0, 30, 60, 95):
        shutil.rmtree(case.top, ignore_errors=True)
        case.top.mkdir(parents=True)
        room = sum(len(content) for content in case.older.values()) + 64 * 1024 + needed * share // 100
        mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(case.top)]
        if subprocess.run(mount, capture_output=True).returncode:
            yield Trial(f"full disk {case.target}", "not run: a disk cannot be mounted here")
            return
        try:
            case.folder.mkdir()
            for name, content in case.older.items():
                (case.folder / name).write_bytes(content)
            run = _run(case.words, case.folder)
            fault = case.fault(strays=False) or _refusal(run)
            yield Trial(f"disk with {share} % of the room {case.target}", f"{case.state()}, exit {run.code}", fault)
        finally:
            subprocess.run(["umount", str(case.top)], check=True)


def repeat(case: Case, runs: int) -> Iterator[Trial]:
    """The same bytes whatever the hash seed, the number of threads and the folder, with kept answers and without."""
    for turn in range(runs):
        threads, odd = str(1 + turn % 4), turn % 2
        folder = case.top.with_name(f"{case.target}-{turn}") / ("o" * (turn + 1))
        cache = ("off", str(case.top.with_name("kept")))[odd]
        run = _run(case.words, folder, PYTHONHASHSEED=str(turn * 7919), OMP_NUM_THREADS=threads, MAPPER_CACHE=cache,
                   OPENBLAS_NUM_THREADS=threads, TZ=("UTC", "Japan")[odd], LC_ALL=("C", "C.UTF-8")[odd])  # fmt: skip
        found = contents(folder)
        differ = [n for n in case.whole if n != "run.json" and found.get(n) != case.whole[n]]
        yield Trial(
            f"repeat {case.target} {Path(case.words[0]).name}",
            "same bytes",
            run.stderr or (f"differ: {differ}" if differ else ""),
        )
        shutil.rmtree(folder.parent)


# the command ---------------------------------------------------------------------------------------------------------

PARTS = ("writing", "places", "kill", "signals", "limits", "repeat", "large")


def trials(parts: list[str], moments: int, seed: int) -> Iterator[Trial]:
    if "writing" in parts:
        yield from writing()
    if "places" in parts:
        yield from places()
    if "large" in parts:
        yield from large(max(1, moments // 5), random.Random(f"{seed} large"))
    if not {"kill", "signals", "limits", "repeat"} & set(parts):
        return
    with tempfile.TemporaryDirectory() as top:
        for case in _cases(Path(top)):
            rng = random.Random(f"{seed} {case.target}")
            if "kill" in parts:
                yield from kill(case, moments, rng)
            if "signals" in parts:
                yield from signals(case, moments, rng)
            if "limits" in parts:
                yield from limits(case)
            if "repeat" in parts:
                yield from repeat(case, 10)
        for case in _cases(Path(top), REPEATED) if "repeat" in parts else ():
            yield from repeat(case, 10)


def main(arguments: list[str] | None = None) -> int:
    words = "Kill, interrupt, starve and repeat runs; outputs must be whole."
    options = asked(words, PARTS, "--moments", 50, "random moments per target and kind of signal", arguments)
    return reported(trials(options.parts, options.moments, options.seed), options.json)


if __name__ == "__main__":
    sys.exit(main())
