"""Holds the tiling engine against brute force on random matmuls and convolutions through one buffer.

    python benchmarks/optima.py [--count N] [--seed S]

Sizes are odd, prime, long and thin, strides exceed kernels, buffers go down to a few words. For each case every divisor
tile in every order is counted by the closed form of benchmarks/data/cost/README.md, which shares no code with the
engine. Asked: with `divisors` the engine equals that optimum, with any sizes it is at most that, and neither is below
the provable bound. Exit status 5 if a case falls short.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import inf
from pathlib import Path

from mapper.bounds import op_bound_bytes
from mapper.ir import Graph

sys.path.insert(0, str(Path(__file__).parent))
from cost import convolution, least_words, matmul

SHORT = 5
Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """A matmul ("m", "n", "k") or a convolution (keys as in benchmarks/data/cost) and its buffer in words."""

    sizes: tuple[tuple[str, int], ...]
    room: int

    @property
    def graph(self) -> Graph:
        found = dict(self.sizes)
        return matmul(found["m"], found["n"], found["k"]) if "m" in found else convolution(found)


def drawn(draw: random.Random) -> Case:
    """A case of one of the shapes that break tilers."""
    if draw.random() < 0.5:
        thin = [draw.choice((1, 2, 3, 5, 7)), draw.randint(200, 5000), draw.randint(100, 5000)]
        odd = [draw.choice((97, 101, 127, 131, 149, 197, 255, 257, 333, 385, 511, 513)) for _ in range(3)]
        small = [draw.randint(1, 64) for _ in range(3)]
        large = [draw.choice((256, 384, 768, 1000, 1024, 3072, 4096)) for _ in range(3)]
        sizes = dict(zip("mnk", draw.choice((thin, odd, small, large)), strict=True))
        return Case(tuple(sizes.items()), draw.choice((3, 4, 5, 8, 16, 31, 64, 100, 256, 777, 4096, 65536, 262144)))
    sizes = {"K": draw.choice((1, 3, 7, 16, 31, 64, 96)), "C": draw.choice((1, 3, 5, 16, 48, 64, 100)),
             "OY": draw.choice((1, 5, 7, 13, 14, 27, 56)), "OX": draw.choice((1, 4, 7, 13, 14, 28, 55)),
             "FY": draw.choice((1, 2, 3, 5, 7, 11)), "FX": draw.choice((1, 3, 5, 7)),
             "stride": draw.choice((1, 1, 2, 3, 4))}  # fmt: skip
    least = 2 * sizes["FY"] * sizes["FX"] + 1
    return Case(tuple(sizes.items()), draw.choice((least, 200, 512, 1024, 2048, 8192, 32768, 131072)))


def brute(case: Case) -> float:
    """Least words over divisor tiles and orders of the tile loops; inf if none fits."""
    found = dict(case.sizes)
    if "m" in found:
        return min(_matmuls(found, case.room), default=inf)
    return min(_convolutions(found, case.room), default=inf)


def _matmuls(size: Sizes, room: int) -> Iterator[int]:
    m, n, k = size["m"], size["n"], size["k"]
    for tm, tn, tk in product(_divisors(m), _divisors(n), _divisors(k)):
        if tm * tk + tk * tn + tm * tn <= room:
            trips = {"m": m // tm, "n": n // tn, "k": k // tk}
            for order in permutations("mnk"):
                a, b, c = (_refetch(trips, order, moves) for moves in ("mk", "kn", "mn"))
                yield m * k * a + k * n * b + m * n * (2 * c - 1)


def _convolutions(size: Sizes, room: int) -> Iterator[int]:
    k, c, oy, ox, fy, fx, s = (size[key] for key in ("K", "C", "OY", "OX", "FY", "FX", "stride"))
    for tk, tc, ty, tx in product(*map(_divisors, (k, c, oy, ox))):
        rows, columns = (ty - 1) * s + fy, (tx - 1) * s + fx
        if tk * tc * fy * fx + tc * rows * columns + tk * ty * tx <= room:
            trips = {"k": k // tk, "c": c // tc, "y": oy // ty, "x": ox // tx}
            inputs = c * trips["y"] * rows * trips["x"] * columns
            for order in permutations("kcyx"):
                w, i, o = (_refetch(trips, order, moves) for moves in ("kc", "cyx", "kyx"))
                yield k * c * fy * fx * w + inputs * i + k * oy * ox * (2 * o - 1)


def _refetch(trips: Mapping[str, int], order: Sequence[str], moves: str) -> int:
    """Product of the trips of loops that do not move a tensor and have, inside them, one that does."""
    found = 1
    for at, name in enumerate(order):
        if name not in moves and any(trips[inner] > 1 for inner in order[at + 1 :] if inner in moves):
            found *= trips[name]
    return found


def _divisors(number: int) -> list[int]:
    return [at for at in range(1, number + 1) if number % at == 0]


def shortfall(case: Case) -> str:
    """In which way the engine falls short on a case, "" if it does not."""
    graph, best = case.graph, brute(case)
    divisors = least_words(graph, case.room, "divisors", ("fy", "fx"))
    ragged = least_words(graph, case.room, "any")
    bound = op_bound_bytes(graph, next(graph.nests), case.room).bytes
    if (inf if divisors is None else divisors) != best:
        return f"divisor tiles: {divisors}, brute force {best}"
    if best < inf and (ragged is None or ragged > best):
        return f"any tiles: {ragged}, more than {best}"
    return f"any tiles: {ragged}, below the bound {bound}" if ragged is not None and ragged < bound else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The tiling engine beside brute force.")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    draw, short, started = random.Random(options.seed), 0, time.process_time()
    for _ in range(options.count):
        case = drawn(draw)
        words = shortfall(case)
        if words:
            short += 1
            print(f"{case}: {words}")
    print(f"{options.count} cases, {short} fall short, {time.process_time() - started:.0f} CPU s")
    return SHORT if short else 0


if __name__ == "__main__":
    sys.exit(main())
