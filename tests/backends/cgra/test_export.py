"""Programs for public simulators: executed by an interpreter of their format, they compute what the body means."""

from __future__ import annotations

import csv
import io
import random
import sys
from collections.abc import Callable

import numpy as np
import pytest
import yaml

from mapper.backends.cgra.export import FORMATS, program_of
from mapper.backends.cgra.export.esl import esl_program
from mapper.backends.cgra.export.esl_run import run_esl
from mapper.backends.cgra.export.memory import laid_out, played
from mapper.backends.cgra.export.neura import neura_program
from mapper.backends.cgra.export.neura_run import run_neura
from mapper.backends.cgra.kernel import KernelRequest, KernelResult, map_kernel
from mapper.dfg import Dfg, Node
from mapper.errors import CheckFailed
from mapper.export import NotExportable
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.kernels.body import main_body
from mapper.kernels.style import CGRA_STYLE
from mapper.machine import Fabric
from mapper.placement import KernelMapping
from mapper.scalar import Arg, Call, Cast, Const, Scalar

TORUS = Fabric("torus", 4, 4)


def placed(dfg: Dfg, fabric: Fabric = TORUS) -> KernelMapping:
    found = map_kernel(dfg, fabric, KernelRequest("routed", "fast"))
    assert isinstance(found, KernelResult)
    return found.mapping


def elementwise(scalar: Scalar, count: int, dtype: str = "int32") -> Dfg:
    tensors = tuple(Tensor(name, (count,), dtype, "input") for name in "ab") + (Tensor("c", (count,), dtype),)
    reads = tuple(Access(name, (loop("n"),)) for name in "ab")
    op = Op("ew", "Add", (Loop("n", count),), reads, Access("c", (loop("n"),)), scalar)
    return main_body(Graph("g", tensors, (op,), ("a", "b"), ("c",)), op, CGRA_STYLE)


def product(k: int, n: int, dtypes: tuple[str, str] = ("int8", "int32")) -> Dfg:
    """One row of a matrix product; `n` output columns side by side."""
    given, total = dtypes
    tensors = (Tensor("a", (1, k), given, "input"), Tensor("b", (k, n), given, "weight"), Tensor("c", (1, n), total))
    scalar = Call("mul", (Cast(total, Arg(0)), Cast(total, Arg(1))))
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    loops = (Loop("m", 1), Loop("n", n), Loop("k", k))
    op = Op("mm", "MatMul", loops, reads, Access("c", (loop("m"), loop("n"))), scalar, Combiner("sum", total))
    return main_body(Graph("g", tensors, (op,), ("a",), ("c",)), op, CGRA_STYLE, {"n": n})


def placements(dfg: Dfg) -> dict[str, tuple[KernelMapping, Fabric]]:
    """The body on a grid of each format."""
    grids = {"esl": TORUS, "neura": Fabric("mesh", 4, 4)}
    return {name: (placed(dfg, grid), grid) for name, grid in grids.items()}


def drawn(count: int, seed: int, limit: int = 1 << 30) -> list[int]:
    return [random.Random(seed + at).randint(-limit, limit) for at in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_elementwise_bodies_compute_what_numpy_does(count: int) -> None:
    scalar = Call("sub", (Call("mul", (Arg(0), Const(3))), Call("add", (Arg(0), Arg(1)))))
    mapping = placed(elementwise(scalar, count))
    a, b = drawn(count, 1), drawn(count, 2)
    layout = laid_out(mapping.dfg, {0: a, 1: b, 2: [0] * count})
    after, _ = run_esl(esl_program(mapping, TORUS, count, layout), layout.csv())
    wide = np.array(a, np.int64) * 3 - (np.array(a, np.int64) + np.array(b, np.int64))
    expected = wide.astype(np.uint64).astype(np.uint32).view(np.int32)
    assert [after[layout.base[2] + at] for at in range(count)] == expected.tolist()
    assert [after[layout.base[0] + at] for at in range(count)] == a


@pytest.mark.parametrize("k", [1, 3, 4, 9, 30])
@pytest.mark.parametrize("n", [1, 2])
def test_sums_over_iterations_are_the_product_of_matrices(k: int, n: int) -> None:
    a, b = drawn(k, 3, 127), drawn(k * n, 4, 127)
    for name, (mapping, grid) in placements(product(k, n)).items():
        layout = laid_out(mapping.dfg, {0: a, 1: b, 2: [0] * n})
        if name == "esl":
            after = run_esl(esl_program(mapping, grid, k, layout), layout.csv())[0]
        else:
            after = dict(enumerate(run_neura(neura_program(mapping, grid, layout), layout.words, k).memory))
        sums = np.array(a) @ np.array(b).reshape(k, n)
        assert [after[layout.base[2] + at] for at in range(n)] == sums.tolist()


@pytest.mark.parametrize("topology", ["mesh", "king"])
def test_floats_are_computed_in_neuras_format(topology: str) -> None:
    grid, k = Fabric(topology, 4, 4), 7  # type: ignore[arg-type]
    mapping = placed(product(k, 2, ("float32", "float32")), grid)
    draw = np.random.default_rng(1)
    a, b = (draw.standard_normal(shape).astype(np.float32) for shape in ((1, k), (k, 2)))
    words = {0: a.view(np.int32).ravel().tolist(), 1: b.view(np.int32).ravel().tolist(), 2: [0, 0]}
    layout = laid_out(mapping.dfg, words)
    run = run_neura(neura_program(mapping, grid, layout), layout.words, k)
    found = np.array(run.memory[layout.base[2] :], np.int32).view(np.float32)
    expected = np.zeros(2, np.float32)
    for at in range(k):
        expected = a[0, at] * b[at] + expected
    assert found.tolist() == expected.tolist()
    assert run.cycles == mapping.length_cycles + (k - 1) * mapping.ii


def test_the_kernel_is_a_loop_where_a_pe_stands_idle() -> None:
    mapping = placed(product(8, 1))
    layout = laid_out(mapping.dfg, {0: [1] * 200, 1: [1] * 200, 2: [0]})
    short, long = (esl_program(mapping, TORUS, n, layout) for n in (20, 200))
    assert "BNE R0, ZERO" in short
    assert len(short) == pytest.approx(len(long), abs=9)
    assert run_esl(long, layout.csv())[0][layout.base[2]] == 200


def test_the_form_of_the_files() -> None:
    mapping = placed(product(3, 1))
    layout = laid_out(mapping.dfg, {0: [1, 2, 3], 1: [4, 5, 6], 2: [0]})
    lines = list(csv.reader(io.StringIO(esl_program(mapping, TORUS, 3, layout))))
    assert len(lines) % 5 == 0 and all(len(line) == 4 for line in lines)
    assert [line[0] for line in lines[::5]] == [str(number) for number in range(len(lines) // 5)]
    assert layout.csv().splitlines()[:3] == ["Address,Data", "0,1", "1,2"]
    assert lines[-4][0] == "EXIT"


def test_the_form_of_neuras_file() -> None:
    mapping = placed(product(3, 1), Fabric("mesh", 4, 4))
    config = yaml.safe_load(neura_program(mapping, Fabric("mesh", 4, 4), laid_out(mapping.dfg, {0: [], 1: [], 2: [0]})))
    config = config["array_config"]
    assert (config["columns"], config["rows"], config["compiled_ii"]) == (4, 4, mapping.ii)
    operations = [
        operation
        for core in config["cores"]
        for slot in core["entries"][0]["instructions"]
        for operation in slot["operations"]
    ]
    own = [o for o in operations if o["opcode"] != "DATA_MOV"]
    assert len(own) == len(mapping.dfg.nodes)
    assert {o["color"] for op in operations for o in op["src_operands"]} == {"RED"}


@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_a_wrong_program_does_not_leave(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is executed before it is given: one operation replaced by another is seen."""
    mapping, grid = placements(product(5, 1))[format_]
    assert program_of(format_, mapping, grid, 5, 0).cycles == mapping.length_cycles + 4 * mapping.ii
    module = f"mapper.backends.cgra.export.{format_}"
    table = "MNEMONICS" if format_ == "esl" else "OPCODES"
    monkeypatch.setitem(getattr(sys.modules[module], table), "imul", "SSUB" if format_ == "esl" else "SUB")
    with pytest.raises(CheckFailed, match="wrong words"):
        program_of(format_, mapping, grid, 5, 0)


@pytest.mark.parametrize(("change", "words"), [
    (lambda text: text.replace("operand: NORTH", "operand: SOUTH", 1), "out of the array|where nothing is|two values"),
    (lambda text: text.replace("MUL", "POW", 1), "unknown opcode 'POW'"),
    (lambda text: text.replace("time_step: 1\n", "time_step: 2\n", 1), "is not in slot"),
])  # fmt: skip
def test_what_neuras_format_does_not_allow_is_seen(change: Callable[[str], str], words: str) -> None:
    grid = Fabric("mesh", 4, 4)
    mapping = placed(product(4, 1), grid)
    layout = laid_out(mapping.dfg, {0: [1] * 4, 1: [1] * 4, 2: [0]})
    text = neura_program(mapping, grid, layout)
    assert run_neura(text, layout.words, 4).memory[layout.base[2]] == 4
    with pytest.raises(ValueError, match=words):
        run_neura(change(text), layout.words, 4)


def test_what_an_instruction_set_lacks_is_refused_by_name() -> None:
    plain = elementwise(Call("add", (Arg(0), Arg(1))), 4, "float32")
    with pytest.raises(NotExportable, match="operation 'add'"):
        program_of("esl", placed(plain), TORUS, 4, 0)
    mesh = Fabric("mesh", 4, 4)
    with pytest.raises(NotExportable, match="operation 'i2f'"):
        converted = elementwise(Cast("float32", Call("add", (Arg(0), Arg(1)))), 4, "int32")
        program_of("neura", placed(converted, mesh), mesh, 4, 0)


def test_floats_are_moved_in_the_integer_format() -> None:
    dfg = elementwise(Arg(0), 6, "float32")
    assert program_of("esl", placed(dfg), TORUS, 6, 0).cycles > 6


def test_labels_are_refused_by_name() -> None:
    with pytest.raises(NotExportable, match="operation 'gep' is a label"):
        played(Dfg("k", (Node(0, "gep"),), ()), 3, 0)


@pytest.mark.parametrize(("format_", "grid", "words"), [
    ("esl", Fabric("mesh", 4, 4), "a grid that is not the simulator's"),
    ("neura", Fabric("onehop", 4, 4), "a onehop fabric"),
    ("neura", Fabric("torus", 3, 3), "a wrap-around link"),
])  # fmt: skip
def test_another_grid_is_refused(format_: str, grid: Fabric, words: str) -> None:
    with pytest.raises(NotExportable, match=words):
        program_of(format_, placed(product(3, 1), grid), grid, 3, 0)


def test_an_interpreter_that_sees_a_wrong_word_says_so() -> None:
    line = "0,,,\n" + '"JUMP 3",NOP,NOP,NOP\n' + "NOP,NOP,NOP,NOP\n" * 3
    with pytest.raises(ValueError, match="unknown instruction 'JUMP'"):
        run_esl(line, "Address,Data\n")
