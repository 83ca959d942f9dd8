"""Programs for the ESL-CGRA simulator: executed by an interpreter of their format, they compute what the body means."""

from __future__ import annotations

import csv
import io
import random

import numpy as np
import pytest

from mapper.backends.cgra.esl import NotExportable, esl_program
from mapper.backends.cgra.esl_run import run_esl
from mapper.backends.cgra.kernel import KernelRequest, KernelResult, map_kernel
from mapper.dfg import Dfg
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


def product(k: int, n: int) -> Dfg:
    """One row of a matrix product; `n` output columns side by side."""
    tensors = (
        Tensor("a", (1, k), "int8", "input"),
        Tensor("b", (k, n), "int8", "weight"),
        Tensor("c", (1, n), "int32"),
    )
    scalar = Call("mul", (Cast("int32", Arg(0)), Cast("int32", Arg(1))))
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    loops = (Loop("m", 1), Loop("n", n), Loop("k", k))
    op = Op("mm", "MatMulInteger", loops, reads, Access("c", (loop("m"), loop("n"))), scalar, Combiner("sum", "int32"))
    return main_body(Graph("g", tensors, (op,), ("a",), ("c",)), op, CGRA_STYLE)


def drawn(count: int, seed: int, limit: int = 1 << 30) -> list[int]:
    return [random.Random(seed + at).randint(-limit, limit) for at in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_elementwise_bodies_compute_what_numpy_does(count: int) -> None:
    scalar = Call("sub", (Call("mul", (Arg(0), Const(3))), Call("add", (Arg(0), Arg(1)))))
    mapping = placed(elementwise(scalar, count))
    a, b = drawn(count, 1), drawn(count, 2)
    program = esl_program(mapping, TORUS, count, {0: a, 1: b, 2: [0] * count})
    after = run_esl(program.instructions, program.memory)
    wide = np.array(a, np.int64) * 3 - (np.array(a, np.int64) + np.array(b, np.int64))
    expected = wide.astype(np.uint64).astype(np.uint32).view(np.int32)
    assert [after[program.base[2] + at] for at in range(count)] == expected.tolist()
    assert [after[program.base[0] + at] for at in range(count)] == a


@pytest.mark.parametrize("k", [1, 3, 4, 9, 30])
def test_a_sum_over_iterations_is_the_product_of_matrices(k: int) -> None:
    a, b = drawn(k, 3, 127), drawn(k, 4, 127)
    program = esl_program(placed(product(k, 1)), TORUS, k, {0: a, 1: b, 2: [0]})
    assert run_esl(program.instructions, program.memory)[program.base[2]] == int(np.dot(a, b))


def test_the_kernel_is_a_loop_where_a_pe_stands_idle() -> None:
    short, long = (esl_program(placed(product(8, 1)), TORUS, n, {0: [1] * n, 1: [1] * n, 2: [0]}) for n in (20, 200))
    assert "BNE R0, ZERO" in short.instructions
    assert len(short.instructions) == pytest.approx(len(long.instructions), abs=9)
    assert run_esl(long.instructions, long.memory)[long.base[2]] == 200


def test_the_form_of_the_files() -> None:
    program = esl_program(placed(product(3, 1)), TORUS, 3, {0: [1, 2, 3], 1: [4, 5, 6], 2: [0]})
    lines = list(csv.reader(io.StringIO(program.instructions)))
    assert len(lines) % 5 == 0 and all(len(line) == 4 for line in lines)
    assert [line[0] for line in lines[::5]] == [str(number) for number in range(len(lines) // 5)]
    assert program.memory.splitlines()[:3] == ["Address,Data", "0,1", "1,2"]
    assert lines[-4][0] == "EXIT"


def test_what_the_instruction_set_lacks_is_refused_by_name() -> None:
    body = elementwise(Call("add", (Arg(0), Arg(1))), 4, "float32")
    with pytest.raises(NotExportable, match="operation 'add'"):
        esl_program(placed(body), TORUS, 4, {0: [0] * 4, 1: [0] * 4, 2: [0] * 4})


def test_another_grid_is_refused() -> None:
    mesh = Fabric("mesh", 4, 4)
    with pytest.raises(NotExportable, match="a grid that is not the simulator's"):
        esl_program(placed(product(3, 1), mesh), mesh, 3, {0: [1] * 3, 1: [1] * 3, 2: [0]})


def test_an_interpreter_that_sees_a_wrong_word_says_so() -> None:
    line = "0,,,\n" + '"JUMP 3",NOP,NOP,NOP\n' + "NOP,NOP,NOP,NOP\n" * 3
    with pytest.raises(ValueError, match="unknown instruction 'JUMP'"):
        run_esl(line, "Address,Data\n")
