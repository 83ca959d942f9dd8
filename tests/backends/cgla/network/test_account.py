"""The account of a mapping: phases, fill, local memory and lanes by hand counts."""

from itertools import pairwise

from mapper import machines
from mapper.backends.cgla.network.account import array_facts
from mapper.backends.cgla.network.rules import LaneRules
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import Infeasible
from mapper.networks import map_network
from mapper.request import Request
from mapper.scalar import Arg, Call


def product(m: int, n: int, k: int) -> Graph:
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    op = Op("mm", "MatMul", (Loop("m", m), Loop("n", n), Loop("k", k)), reads, Access("c", (loop("m"), loop("n"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"), macs=m * n * k)  # fmt: skip
    tensors = (Tensor("a", (m, k), "float32", "input"), Tensor("b", (k, n), "float32", "weight"),
               Tensor("c", (m, n), "float32"))  # fmt: skip
    return Graph("g", tensors, (op,), ("a",), ("c",))


def test_the_account_of_one_product() -> None:
    machine = machines.resolve("imax3:lanes=2,lmm=16KiB")
    mapping = map_network(product(64, 64, 512), machine, Request(effort="fast"), "cgla", LaneRules(machine))
    assert not isinstance(mapping, Infeasible)
    (stage,) = mapping.stages
    facts = array_facts(mapping)
    cycles = {phase.name: phase.cycles * phase.times for phase in stage.phases}
    assert facts["phase_cycles"] == cycles
    assert facts["phase_seconds"]["EXEC"] == cycles["EXEC"] / machine.clock_hz
    filling = 8 * stage.rect.height * stage.launches  # eight cycles a row, at every launch
    assert facts["fill_share"] * cycles["EXEC"] == filling
    held = sum(buffer.bytes * buffer.copies for buffer in stage.buffers if buffer.memory == "lmm")
    assert (facts["lmm_most_bytes"], facts["lmm_mean_share"]) == (held, held / 16384)
    assert held <= facts["lmm_bytes"] == 16384
    assert facts["macs_share"] == 1.0
    assert facts["lane_exec_cycles"] == [cycles["EXEC"] * (lane < stage.rect.lanes) for lane in range(2)]
    assert facts["macs_all_lanes_share"] == float(stage.rect.lanes == 2)


def test_lanes_that_no_stage_holds_are_idle() -> None:
    machine = machines.resolve("imax3:lanes=8")
    mapping = map_network(product(2, 3, 4), machine, Request(effort="fast"), "cgla", LaneRules(machine))
    assert not isinstance(mapping, Infeasible)
    busy = array_facts(mapping)["lane_exec_cycles"]
    assert busy[0] > 0
    assert all(one >= other for one, other in pairwise(busy))
    assert busy[-1] == 0
