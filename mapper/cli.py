"""The command line. Results go to stdout, progress and faults to stderr; a fault is one line and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from mapper.errors import CheckFailed, DoesNotFit, InputError, MapperError, clean

__all__ = ["main"]

INTERRUPTED = 130
LEAST_ADDRESS_SPACE_BYTES = 1 << 30


class _Group(click.Group):
    """Commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dataflow-mapper", prog_name="mapper")
def cli() -> None:
    """Map ONNX models onto dataflow fabrics and price every byte that moves."""


def _pairs(values: Iterable[str], flag: str) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name:
            raise InputError(f"expected NAME=VALUE, found {value!r}", flag)
        pairs[name] = rest
    return pairs


def _dims(values: Iterable[str]) -> dict[str, int]:
    dims = {}
    for name, text in _pairs(values, "--dim").items():
        if not text.isdecimal() or len(text) > 12:
            raise InputError(
                f"dimension {name!r} cannot be {text!r}", "--dim", "expected a whole number such as batch=1"
            )
        dims[name] = int(text)
    return dims


_dim = click.option("--dim", "dims", multiple=True, metavar="NAME=INT", help="Bind a symbolic dimension.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@cli.command(name="compile")
@click.argument("source", metavar="INPUT")
@click.option("--target", required=True, metavar="NAME", help="cgla, cgra or wafer; see 'mapper targets'.")
@click.option("--machine", metavar="NAME|FILE", help="Machine; see 'mapper machines'.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Output folder [mapper-out/STEM-TARGET].")
@_dim
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of the target.")
@click.option(
    "--objective", type=click.Choice(["movement", "energy", "latency", "edp"]), default="movement", show_default=True
)
@click.option("--effort", type=click.Choice(["fast", "default", "max"]), default="default", show_default=True)
@click.option("--time-limit", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Wall-clock net over the effort.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--strict", is_flag=True, help="Refuse operators that would run on the host.")
@_json
@click.option("-v", "--verbose", count=True)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--no-progress", is_flag=True)
def compile_command(
    source: str,
    target: str,
    machine: str | None,
    output: Path | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    objective: Any,
    effort: Any,
    time_limit: float | None,
    seed: int,
    strict: bool,
    as_json: bool,
    verbose: int,
    quiet: bool,
    no_progress: bool,
) -> int:
    """Place and route INPUT: an .onnx file, a loop kernel, a contest graph, or zoo:NAME."""
    from mapper import compiler, outputs, registry
    from mapper.report.progress import display, style
    from mapper.request import Request
    from mapper.signals import interruptible

    registry.backend(target)
    if output is not None:
        outputs.usable(output)
    shown = style(verbose, quiet, no_progress, sys.stderr.isatty())
    started, cpu = time.time(), time.process_time()
    with interruptible() as stop, display(shown) as screen:

        def progress(message: str) -> None:
            if stop.is_set():  # between steps there is no complete mapping to save
                raise KeyboardInterrupt
            screen.step(message)

        request = Request(objective, effort, seed, time_limit, _pairs(settings, "--set"), progress, screen.incumbent)
        try:
            result = compiler.compile(source, target, machine, request=request, dims=_dims(dims), strict=strict)
        except DoesNotFit:  # said of a search that was stopped, it would be a guess
            if stop.is_set():
                raise KeyboardInterrupt from None
            raise
        run = {
            "command": sys.argv,
            "started": started,
            "wall_seconds": time.time() - started,
            "cpu_seconds": time.process_time() - cpu,
            "python": sys.version.split()[0],
            "interrupted": stop.is_set(),
            "time_limit_hit": result.outcome.wall_limited,
        }
        files = result.files_of_run(run)
        stop.finish()
        folder = outputs.write_set(output or Path("mapper-out") / f"{result.loaded.stem}-{target}", files)
        interrupted = stop.is_set()
    if as_json:
        click.echo(json.dumps(result.report))
    elif not quiet:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        click.echo(f"{result.summary()}\n\n{result.map(colour)}")
        click.echo(f"\npicture  {folder / 'mapping.svg'}\nreport   {folder / 'report.html'}")
    return INTERRUPTED if interrupted else 0


@cli.command()
@click.argument("source", metavar="INPUT")
@_dim
@_json
def inspect(source: str, dims: tuple[str, ...], as_json: bool) -> int:
    """Operators, MACs, parameters and shapes of INPUT, and what each target would send to the host."""
    from mapper import inspection

    found = inspection.inspect(source, _dims(dims))
    click.echo(json.dumps(found) if as_json else inspection.text(found))
    return 0


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def check(folder: Path) -> int:
    """Re-read DIR/mapping.json and say "legal", or every violation."""
    from mapper import documents

    decision, _ = documents.read(folder)
    violations = documents.check_decision(decision)
    for violation in violations:
        click.echo(clean(str(violation), 600))
    if violations:
        raise CheckFailed(f"{len(violations)} violations", str(folder))
    click.echo("legal")
    return 0


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE", help="The ONNX model, for reference values.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@_json
def simulate(folder: Path, model: Path | None, seed: int, as_json: bool) -> int:
    """Run the mapping in DIR on values, compare with the ONNX reference, and compare the counts with the cost."""
    from mapper import documents, verify

    decision, header = documents.read(folder)
    outcome = verify.simulate_decision(decision, model or documents.source_of(folder, header), seed)
    click.echo(json.dumps(outcome.as_dict()) if as_json else outcome.text())
    if outcome.violations:
        raise CheckFailed(f"the simulation differs in {len(outcome.violations)} places", str(folder))
    return 0


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--format", "format_", required=True, metavar="NAME", help="esl or neura; see 'mapper targets NAME'.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option("--iterations", type=click.IntRange(1, 4096), default=16, show_default=True, help="Runs of each body.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the words in memory.")
@_json
def export(folder: Path, format_: str, output: Path, iterations: int, seed: int, as_json: bool) -> int:
    """Write the loop bodies of the mapping in DIR as programs of a public simulator, each run before it is written."""
    from mapper import documents, outputs
    from mapper.export import export as exported

    outputs.usable(output)
    decision, header = documents.read(folder)
    found = exported(decision, header, format_, iterations, seed)
    outputs.write_set(output, found.files() | {"run.json": json.dumps({"command": sys.argv}) + "\n"})
    click.echo(json.dumps(found.as_dict()) if as_json else found.text())
    return 0


@cli.command()
@click.argument("source", metavar="INPUT")
@click.option("--targets", default="", metavar="A,B,C", help="Systems to compare [all].")
@click.option("-o", "--output", type=click.Path(path_type=Path))
@_dim
@_json
def compare(source: str, targets: str, output: Path | None, dims: tuple[str, ...], as_json: bool) -> int:
    """One model on cgla, cgra and wafer beside GPU, TPU, LPU and NPU baselines."""
    from mapper import outputs
    from mapper.compare import compare as compared

    if output is not None:
        outputs.usable(output)
    found = compared(source, tuple(filter(None, targets.split(","))), dims=_dims(dims))
    if output is not None:
        found.save(output)
    click.echo(found.json() if as_json else found.text())
    found.verify()
    return 0


@cli.command()
@click.argument("name", required=False)
def targets(name: str | None) -> int:
    """Targets, or the options of one."""
    from mapper import registry
    from mapper.report.text import columns

    if name is None:
        rows = [
            (n, registry.backend(n).DEFAULT_MACHINE, registry.backend(n).DESCRIPTION) for n in registry.backend_names()
        ]
        click.echo(columns([("target", "default machine", "what it is"), *rows]))
        return 0
    backend = registry.backend(name)
    click.echo(f"{name}: {backend.DESCRIPTION}\ndefault machine: {backend.DEFAULT_MACHINE}")
    rows = [(f"--set {o.name}={o.default}", "|".join(o.choices) or "any", o.help) for o in backend.OPTIONS]
    if rows:
        click.echo(columns([("option (default)", "choices", "meaning"), *rows]))
    if formats := getattr(backend, "EXPORTS", ()):
        click.echo(f"formats of 'mapper export': {', '.join(formats)}")
    return 0


@cli.command()
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of machine files.")
def machines(name: str | None, schema: bool) -> int:
    """Built-in machines, or one as YAML to copy and edit."""
    from mapper import machines as files
    from mapper.report.text import columns

    if schema:
        click.echo(json.dumps(files.json_schema(), indent=1))
    elif name is not None:
        click.echo(files.file_text(name), nl=False)
    else:
        rows = [(n, m.target, m.description) for n in files.builtin_names() for m in (files.resolve(n),)]
        click.echo(columns([("machine", "target", "what it is"), *rows]))
        click.echo("\nalso: torusRxC, meshRxC, kingRxC, onehopRxC; NAME:key=value,… changes a top-level key")
        click.echo(f"\nbaselines of 'mapper compare': {', '.join(files.baseline_names())}")
    return 0


@cli.command()
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the model to FILE.")
def zoo(name: str | None, output: Path | None) -> int:
    """Models of the zoo, or write one as an ONNX file."""
    from importlib import import_module

    from mapper import outputs
    from mapper.report.text import columns

    models = import_module("mapper.models.zoo")
    if name is None:
        click.echo(columns([("model", "what it is"), *((n, models.describe(n)) for n in models.names())]))
        return 0
    try:
        model = models.build(name)
    except KeyError as error:
        raise InputError(str(error.args[0]), f"zoo:{name}", "see 'mapper zoo'") from error
    path = output or Path(f"{name}.onnx")
    outputs.write_file(path, model.SerializeToString(deterministic=True))
    click.echo(f"wrote {path}")
    return 0


@cli.command()
def ops() -> int:
    """Every ONNX operator and what becomes of it: fabric, movement, host or refused."""
    from importlib import import_module

    click.echo(import_module("mapper.frontends.onnx").operator_table())
    return 0


def _terminate(_number: int, _frame: Any) -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _demand_address_space()
        code = cli.main(args=arguments, prog_name="mapper", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        code = _fault(error.format_message().rstrip("."), 2)
    except click.exceptions.Abort:  # what click makes of KeyboardInterrupt
        code = _fault("interrupted before a first mapping: nothing was written", INTERRUPTED)
    except MapperError as error:
        code = _fault(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = _fault("interrupted before a first mapping: nothing was written", INTERRUPTED)
    except BrokenPipeError:
        code = 0
    except MemoryError:
        code = _fault("out of memory: nothing was written", 1)
    except Exception as error:  # the last resort: one line, and how to see more
        if "-vv" in sys.argv:
            raise
        code = _fault(
            f"{type(error).__name__}: {clean(str(error), 300)} (internal): a fault of mapper; -vv shows where", 1
        )
    _leave(code or 0)


def _demand_address_space() -> None:
    """Raises DoesNotFit under a limit with which libraries in C and C++ do not fail but abort, or try for ever."""
    with contextlib.suppress(ImportError):  # not everywhere
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE_BYTES:
            what = (
                f"the address space is limited to {limit >> 20} MiB, {LEAST_ADDRESS_SPACE_BYTES >> 20} MiB are needed"
            )
            raise DoesNotFit(what, "RLIMIT_AS", "raise 'ulimit -v'")


def _leave(code: int) -> None:
    """Exit with `code`.

    An interrupted run skips the interpreter's shutdown: CPython would end it by SIGINT, although the interrupt was
    handled, if that had passed through source given to `exec` (as dataclasses do while modules are imported).
    """
    if code != INTERRUPTED:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _fault(message: str, code: int) -> int:
    click.echo(f"error: {message}", err=True)
    return code
