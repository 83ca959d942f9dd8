"""Published workloads of the row array as launches, priced by the constants of the machine file.

The largest one, Qwen3-0.6B Q3_K_S with 32 prompt and 16 generated tokens on two lanes of the FPGA (arXiv 2512.00335),
is rebuilt from public facts: llama.cpp hands a matrix over in chunks of weight rows (16 in prefill, 64 in decode), and
the array is started once per chunk and token. A launch runs 256 weights an iteration, so

    cycles of a launch = 4 x chunk x K / 256 + 8 x rows of the kernel

A chunk stays in local memory for all tokens of a pass, and so does the activation for all chunks of a matrix. Every
transfer costs a set-up and its bytes. Coalescing joins neighbours up to 8192 words (the vendor's library code). What
goes without it is our reading, since no source counts it: every weight row and every token's activation is a transfer
of its own, and results leave by the widest access of the host, 16 bytes, each a set-up of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from mapper.machine import Machine

__all__ = ["QWEN3", "Counts", "Phases", "Product", "counts", "phases", "qwen3_products", "set_up_seconds"]

BLOCK = 256  # weights of a quantisation block, and of an iteration
Q3_K_BYTES, Q6_K_BYTES, Q8_K_BYTES = 110, 210, 292  # of a block: ggml's formats
Q3_K_ROWS, Q6_K_ROWS = 51, 64  # rows of the vendor's kernels
WORD_BYTES, MOST_WORDS, HOST_ACCESS_BYTES = 4, 8192, 16
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
    row_words = blocks * p.block_bytes / WORD_BYTES
    joined = max(1, math.ceil(MOST_WORDS / row_words))
    result_bytes = p.chunk * WORD_BYTES
    return Counts(
        launches,
        launches * (4 * p.chunk * blocks + 8 * p.rows),
        reads * blocks * (p.outputs * p.block_bytes + p.tokens * Q8_K_BYTES),
        reads * (chunks * math.ceil(p.chunk / joined) + 1),
        reads * (chunks * p.chunk + p.tokens),
        launches * result_bytes,
        launches,
        launches * math.ceil(result_bytes / HOST_ACCESS_BYTES),
    )


def set_up_seconds(found: Counts, lanes: int, load_s: float, speedup: float) -> float:
    """Set-up of a transfer, from the time of coalesced LOAD and its speed-up over one transfer a row."""
    return (speedup - 1) * load_s / ((found.naive_loads - found.load_transfers) / lanes)


def phases(found: Counts, machine: Machine, set_up_s: float) -> Phases:
    """Seconds on `machine` with the array's constants and coalesced transfers."""
    lanes, hertz = machine.setting("lanes", 1), machine.clock_hz
    rate = float(machine.settings.get("dma_bytes_per_cycle", 32)) * hertz
    registers = Q3_K_BASES * 8 / float(machine.settings.get("regv_bytes_per_cycle", 32))
    each = found.launches / lanes
    return Phases(
        (found.cycles / lanes + each * machine.setting("start_cycles", 0)) / hertz,
        each * registers / hertz,
        found.load_bytes / lanes / rate + found.load_transfers / lanes * set_up_s,
        found.drain_bytes / lanes / rate + found.drain_transfers / lanes * set_up_s,
    )
