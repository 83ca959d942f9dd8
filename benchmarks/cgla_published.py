"""Published workloads of the row array as launches, priced by the constants of the machine file.

The largest one, Qwen3-0.6B Q3_K_S with 32 prompt and 16 generated tokens on two lanes of the FPGA (arXiv 2512.00335),
is rebuilt from public facts: llama.cpp hands a matrix over in chunks of weight rows (16 in prefill, 64 in decode), and
the array is started once per chunk and token. A launch runs 256 weights an iteration, so

    cycles of a launch = 4 x chunk x K / 256 + 8 x rows of the kernel

A chunk stays in local memory for all tokens of a pass, and so does the activation for all chunks of a matrix. Every
transfer costs a set-up and its bytes, as in the phases of a mapping (`backends/cgla/network/transfers.py`): a chunk,
the activations of all tokens and the results of a launch are a run of addresses each, cut at 8192 words. What goes
without coalescing is our reading, since no source counts it: every weight row and every token's activation is a
transfer of its own, and results leave by the widest access of the host, 16 bytes, each a set-up of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from mapper.backends.cgla.network.transfers import MOST_BYTES, dma_cycles
from mapper.machine import Machine

__all__ = ["QWEN3", "Counts", "Phases", "Product", "counts", "fitted", "phases", "qwen3_products"]

BLOCK = 256  # weights of a quantisation block, and of an iteration
Q3_K_BYTES, Q6_K_BYTES, Q8_K_BYTES = 110, 210, 292  # of a block: ggml's formats
Q3_K_ROWS, Q6_K_ROWS = 51, 64  # rows of the vendor's kernels
WORD_BYTES, HOST_ACCESS_BYTES = 4, 16
Q3_K_BASES = 232  # base registers of the Q3_K kernel: 231 loads and a store
QWEN3 = {"layers": 28, "prompt": 32, "decoded": 15, "vocabulary": 151936}


@dataclass(frozen=True, slots=True)
class Product:
    """Matrices of `outputs` x `inputs` weights, `copies` of them, each read `passes` times for `tokens` tokens."""

    outputs: int
    inputs: int
    copies: int
    chunk: int
    tokens: int
    passes: int
    rows: int
    block_bytes: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Launches and what they take on all lanes together; `naive` transfers are those without coalescing."""

    launches: int = 0
    cycles: int = 0
    load_bytes: int = 0
    load_transfers: int = 0
    naive_loads: int = 0
    drain_bytes: int = 0
    drain_transfers: int = 0
    naive_drains: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds of each phase, all launches, lanes side by side."""

    exec_s: float
    conf_s: float
    load_s: float
    drain_s: float


def qwen3_products(prefill_chunk: int = 16) -> tuple[list[Product], list[Product]]:
    """Offloaded matrix products of Qwen3-0.6B, [32:16]: (prefill, decode and heads). The last token needs no pass."""
    shapes = [(2048, 1024), (1024, 1024), (1024, 1024), (1024, 2048), (3072, 1024), (3072, 1024), (1024, 3072)]
    layers, prompt, decoded = QWEN3["layers"], QWEN3["prompt"], QWEN3["decoded"]
    prefill = [Product(n, k, layers, prefill_chunk, prompt, 1, Q3_K_ROWS, Q3_K_BYTES) for n, k in shapes]
    decode = [Product(n, k, layers, 64, 1, decoded, Q3_K_ROWS, Q3_K_BYTES) for n, k in shapes]
    head = Product(QWEN3["vocabulary"], 1024, 1, 64, 1, decoded + 1, Q6_K_ROWS, Q6_K_BYTES)
    return prefill, [*decode, head]


def counts(products: Sequence[Product]) -> Counts:
    return sum(map(_counted, products), Counts())


def _counted(p: Product) -> Counts:
    chunks, blocks = math.ceil(p.outputs / p.chunk), p.inputs // BLOCK
    reads, launches = p.copies * p.passes, p.copies * p.passes * p.tokens * chunks
    chunk_bytes, token_bytes = blocks * p.block_bytes * p.chunk, blocks * Q8_K_BYTES
    result_bytes = p.chunk * WORD_BYTES
    return Counts(
        launches,
        launches * (4 * p.chunk * blocks + 8 * p.rows),
        reads * (p.outputs * blocks * p.block_bytes + p.tokens * token_bytes),
        reads * (chunks * math.ceil(chunk_bytes / MOST_BYTES) + math.ceil(p.tokens * token_bytes / MOST_BYTES)),
        reads * (chunks * p.chunk + p.tokens),
        launches * result_bytes,
        launches,
        launches * math.ceil(result_bytes / HOST_ACCESS_BYTES),
    )


def fitted(found: Counts, lanes: int, load_s: float, speedup: float) -> tuple[float, float]:
    """Bytes a second of a lane's port and seconds to set up a transfer, such that coalesced LOAD takes `load_s` and
    `speedup` times as long with a transfer for every row."""
    set_up = (speedup - 1) * load_s / ((found.naive_loads - found.load_transfers) / lanes)
    return found.load_bytes / lanes / (load_s - found.load_transfers / lanes * set_up), set_up


def phases(found: Counts, machine: Machine, coalesced: bool = True) -> Phases:
    """Seconds on `machine` with the array's constants, transfers coalesced or one by one."""
    lanes, hertz = machine.setting("lanes", 1), machine.clock_hz
    registers = Q3_K_BASES * 8 / float(machine.settings.get("regv_bytes_per_cycle", 32))
    loads, drains = found.load_transfers, found.drain_transfers
    if not coalesced:
        loads, drains = found.naive_loads, found.naive_drains
    each = found.launches / lanes
    return Phases(
        (found.cycles / lanes + each * machine.setting("start_cycles", 0)) / hertz,
        each * registers / hertz,
        dma_cycles(found.load_bytes, loads, lanes, machine) / hertz,
        dma_cycles(found.drain_bytes, drains, lanes, machine) / hertz,
    )
