"""In which order list scheduling places the operations of a body.

* *by height*: the longest way to the end of the iteration first;
* *by need*: what one operation needs before anything else, so that fewer values wait at a time;
* *swing*: recurrences first, the most critical before the others, then what hangs on them, alternately upwards to the
  operands and downwards to the readers. An operation stands next to what already stands, so values wait briefly, and a
  recurrence never finds its slots taken. Idea: Llosa et al., Swing Modulo Scheduling, PACT 1996.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush

import networkx as nx

from mapper.machine import Fabric

from .problem import Problem, Read

__all__ = ["Body", "Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """Operations in their turn; those of `upward` stand close before their readers, the others soon after operands."""

    sequence: tuple[int, ...]
    upward: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Body:
    """What list scheduling needs to know about a body, whatever the II."""

    problem: Problem

    @cached_property
    def reads_of(self) -> list[list[Read]]:
        """What each operation reads and who reads it."""
        found: list[list[Read]] = [[] for _ in self.problem.operations]
        for read in self.problem.reads:
            for number in {read.reader, read.sources[0]}:
                found[number].append(read)
        return found

    @cached_property
    def height(self) -> list[int]:
        """Longest way from each operation to the end of the iteration, in cycles."""
        found = [0] * len(self.problem.operations)
        for number in reversed(self.topological):
            after = [found[r.reader] for r in self._readers(number)]
            found[number] = self.problem.operations[number].least_latency_cycles + max(after, default=0)
        return found

    @cached_property
    def depth(self) -> list[int]:
        """Longest way from the start of the iteration to each operation, in cycles."""
        latency = [operation.least_latency_cycles for operation in self.problem.operations]
        found = [0] * len(latency)
        for number in self.topological:
            before = [found[r.sources[0]] + latency[r.sources[0]] for r in self._operands(number)]
            found[number] = max(before, default=0)
        return found

    @cached_property
    def topological(self) -> list[int]:
        index = {node.id: number for number, node in enumerate(self.problem.dfg.nodes)}
        return [index[node] for node in self.problem.dfg.order]

    @cached_property
    def far(self) -> list[list[int]]:
        """Links from PE to PE."""
        fabric = self.problem.fabric
        return [_distances(fabric, pe) for pe in range(fabric.size)]

    def _operands(self, number: int) -> Iterator[Read]:
        return (r for r in self.reads_of[number] if r.reader == number and r.distance == 0)

    def _readers(self, number: int) -> Iterator[Read]:
        return (r for r in self.reads_of[number] if r.sources[0] == number and r.distance == 0)

    # ------------------------------------------------------------------- orders

    @cached_property
    def by_height(self) -> Order:
        """Of the operations whose operands have had their turn, the longest way to the end first."""
        return Order(tuple(self._ranked(sorted(self.topological, key=lambda n: (-self.height[n], n)))))

    @cached_property
    def by_need(self) -> Order:
        """A walk that finishes what one operation needs before it turns to the next."""
        found: dict[int, None] = {}
        for end in sorted(self.topological, key=lambda n: (self.height[n], -n)):
            stack = [end]
            while stack:
                missing = {r.sources[0] for r in self._operands(stack[-1])} - found.keys()
                if missing:
                    stack.append(min(missing, key=lambda n: (-self.height[n], n)))
                else:
                    found.setdefault(stack.pop())
        return Order(tuple(self._ranked(list(found))))

    def _ranked(self, ranked: Sequence[int]) -> Iterator[int]:
        """Every operation after its operands, otherwise as ranked."""
        rank = {number: position for position, number in enumerate(ranked)}
        waiting = {n: sum(1 for _ in self._operands(n)) for n in ranked}
        ready = [(rank[n], n) for n, count in waiting.items() if not count]
        heapify(ready)
        while ready:
            number = heappop(ready)[1]
            yield number
            for read in self._readers(number):
                waiting[read.reader] -= 1
                if not waiting[read.reader]:
                    heappush(ready, (rank[read.reader], read.reader))

    @cached_property
    def swing(self) -> Order:
        """Sweeps up and down from the recurrences."""
        graph = nx.DiGraph((r.sources[0], r.reader) for r in self.problem.reads if r.sources[0] != r.reader)
        graph.add_nodes_from(range(len(self.problem.operations)))
        return _Swing(self, graph).order()


@dataclass(frozen=True, slots=True)
class _Swing:
    """Sweeps over groups of operations; an edge of `graph` leads from an operation to a reader of any iteration."""

    body: Body
    graph: nx.DiGraph[int]

    def order(self) -> Order:
        turns: dict[int, bool] = {}  # operation -> was it met upwards?
        for group in self._groups():
            while group - turns.keys():
                self._sweep(group, turns)
        return Order(tuple(turns), frozenset(number for number, upward in turns.items() if upward))

    def _groups(self) -> Iterator[set[int]]:
        """The recurrences, largest first, each with the paths that tie it to those before; then all the rest."""
        done: set[int] = set()
        cycles = [set(each) for each in nx.strongly_connected_components(self.graph) if len(each) > 1]
        for cycle in sorted(cycles, key=lambda each: (-len(each), min(each))):
            between = self._below(done) & self._above(cycle) | self._below(cycle) & self._above(done)
            yield (cycle | between) - done
            done |= cycle | between
        rest = [set(each) for each in nx.weakly_connected_components(self.graph)]
        yield from sorted((each - done for each in rest), key=lambda each: (-len(each), min(each, default=0)))

    def _below(self, numbers: Iterable[int]) -> set[int]:
        return set().union(*(nx.descendants(self.graph, number) for number in numbers))

    def _above(self, numbers: Iterable[int]) -> set[int]:
        return set().union(*(nx.ancestors(self.graph, number) for number in numbers))

    def _sweep(self, group: set[int], turns: dict[int, bool]) -> None:
        """From what stands already upwards, else downwards, else from the deepest; then to and fro to the ends."""
        todo = group - turns.keys()
        upward = True
        front = self._next_to(turns, todo, self.graph.successors)
        if not front:
            front = self._next_to(turns, todo, self.graph.predecessors)
            upward = not front
        front = front or {max(todo, key=lambda n: (self.body.depth[n], -n))}
        while front:
            self._walk(front, group, turns, upward)
            upward = not upward
            ways = self.graph.successors if upward else self.graph.predecessors
            front = self._next_to(turns, group - turns.keys(), ways)

    def _next_to(self, turns: dict[int, bool], todo: set[int], ways: Callable[[int], Iterable[int]]) -> set[int]:
        """Operations without a turn that one with a turn reads (`ways` successors) or feeds (predecessors)."""
        return {number for number in todo if any(other in turns for other in ways(number))}

    def _walk(self, front: set[int], group: set[int], turns: dict[int, bool], upward: bool) -> None:
        """One sweep: the deepest first upwards, the highest first downwards, least mobile among equals."""
        depth, height = self.body.depth, self.body.height
        first, ways = (depth, self.graph.predecessors) if upward else (height, self.graph.successors)
        while front:
            number = max(front, key=lambda n: (first[n], depth[n] + height[n], -n))
            front.discard(number)
            turns[number] = upward
            front |= {other for other in ways(number) if other in group and other not in turns}


def _distances(fabric: Fabric, start: int) -> list[int]:
    found = [fabric.size] * fabric.size
    found[start], front = 0, [start]
    while front:
        front = [n for pe in front for n in fabric.neighbours[pe] if _closer(found, n, found[pe] + 1)]
    return found


def _closer(found: list[int], pe: int, distance: int) -> bool:
    if distance >= found[pe]:
        return False
    found[pe] = distance
    return True
