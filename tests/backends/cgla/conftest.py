"""Mapped kernels that several tests look at: small ones, so that a fast search settles them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mapper.backends.cgla.kernel import KernelRequest, KernelResult, map_kernel
from mapper.dfg import Dfg
from mapper.frontends import imax

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "cgla"


@pytest.fixture(scope="session")
def public() -> Callable[[str], Dfg]:
    """A public kernel by name."""
    return lambda name: imax.load(DATA / f"{name}.json")


@pytest.fixture(scope="session")
def mapped(public: Callable[[str], Dfg]) -> Callable[[str], KernelResult]:
    """The kernel mapped once with little effort."""
    known: dict[str, KernelResult] = {}

    def get(name: str) -> KernelResult:
        if name not in known:
            result = map_kernel(public(name), KernelRequest(effort="fast"))
            assert isinstance(result, KernelResult)
            known[name] = result
        return known[name]

    return get
