"""Small networks and wafers that several tests look at."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.machine import Fabric, Machine
from mapper.machines import resolve
from mapper.scalar import Acc, Arg, Call


def conv(name: str, source: str, target: str, channels: int, outputs: int, side: int, skip: str | None = None) -> Op:
    """A 3 x 3 convolution with padding 1 over `side` x `side`; with `skip` a residual addition in the tail."""
    loops = (
        Loop("o", outputs), Loop("h", side), Loop("w", side), Loop("i", channels), Loop("r", 3), Loop("s", 3),
    )  # fmt: skip
    at = (loop("h") + loop("r") - 1, loop("w") + loop("s") - 1)
    guards = (at[0], side - 1 - at[0], at[1], side - 1 - at[1])
    reads = [
        Access(source, (loop("i"), *at), guards),
        Access(f"{name}.weight", (loop("o"), loop("i"), loop("r"), loop("s"))),
    ]
    if skip:
        reads.append(Access(skip, (loop("o"), loop("h"), loop("w"))))
    tail = Call("add", (Acc(), Arg(2))) if skip else None
    write = Access(target, (loop("o"), loop("h"), loop("w")))
    macs = outputs * side * side * channels * 9
    return Op(name, "Conv", loops, tuple(reads), write, Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"), tail,
              macs=macs)  # fmt: skip


@pytest.fixture
def residual() -> Graph:
    """x -> a -> b -> c (+ a): a waits for a longer branch."""
    side, width = 8, 4
    names = {"x": 3, "a": width, "b": width, "c": width}
    tensors = [Tensor(n, (c, side, side), "float32", "input" if n == "x" else "activation") for n, c in names.items()]
    tensors += [
        Tensor(f"{n}.weight", (width, c, 3, 3), "float32", "weight")
        for n, c in zip("abc", (3, width, width), strict=True)
    ]
    ops = (
        conv("a", "x", "a", 3, width, side),
        conv("b", "a", "b", width, width, side),
        conv("c", "b", "c", width, width, side, skip="a"),
    )
    return Graph("residual", tuple(tensors), ops, ("x",), ("c",))


@pytest.fixture
def wafer() -> Callable[..., Machine]:
    """A small wafer with the memories and links of WSE-2."""

    def build(rows: int, columns: int, dead: tuple[tuple[int, int], ...] = (), sram_bytes: int = 49152) -> Machine:
        machine = resolve("wse2")
        memories = tuple(
            replace(m, instances=rows * columns, capacity_bytes=sram_bytes if m.name == "sram" else m.capacity_bytes)
            if m.at == "pe"
            else m
            for m in machine.memories
        )
        return replace(machine, fabric=Fabric("mesh", rows, columns, dead=frozenset(dead)), memories=memories)

    return build
