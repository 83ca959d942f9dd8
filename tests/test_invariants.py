"""The invariants on random operators and random legal tile programs: checked, counted three ways, computed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from mapper.check import check
from mapper.cost import cost
from mapper.interpret import run
from mapper.mapping import Mapping
from mapper.proof.literal import literal_links
from mapper.proof.replay import replay_links
from mapper.simulate import Limits, compare_counts, compare_values, simulate
from mapper.traffic import links

_spec = importlib.util.spec_from_file_location("strategies", Path(__file__).with_name("strategies.py"))
strategies = sys.modules["strategies"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(strategies)

EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@EXAMPLES
@given(strategies.mappings())
def test_legal_mappings_are_found_legal(mapping: Mapping) -> None:
    assert check(mapping) == ()


@EXAMPLES
@given(strategies.mappings())
def test_play_replay_and_closed_form_count_the_same(mapping: Mapping) -> None:
    stage, op = mapping.stages[0], next(mapping.graph.nests)
    replayed = replay_links(mapping, stage, op)
    assert replayed == literal_links(mapping, stage, op)
    closed = links(mapping.graph, stage, op, {a.name: a for a in mapping.axes}, mapping.home)
    fields = ("operand", "source", "target", "sent", "received", "hops", "partial_sent", "partial_received",
              "partial_hops", "returned_hops")  # fmt: skip
    assert [[getattr(x, f) for f in fields] for x in replayed] == [[getattr(x, f) for f in fields] for x in closed]
    assert compare_counts(simulate(mapping), cost(mapping)) == ()


@EXAMPLES
@given(strategies.mappings(), strategies.seeds)
def test_played_values_are_the_reference_values(mapping: Mapping, seed: int) -> None:
    feeds = strategies.feeds(mapping.graph, seed)
    played = simulate(mapping, feeds)
    assert played.violations == ()
    assert compare_values(played.values, run(mapping.graph, feeds)) == ()


@settings(EXAMPLES, max_examples=60)
@given(strategies.networks(), strategies.seeds)
def test_networks_are_legal_computed_and_counted(mapping: Mapping, seed: int) -> None:
    feeds = strategies.feeds(mapping.graph, seed)
    played = simulate(mapping, feeds, strategies.host)
    assert (check(mapping), played.violations) == ((), ())
    assert compare_values(played.values, run(mapping.graph, feeds, strategies.host)) == ()
    assert compare_counts(played, cost(mapping)) == ()
    assert compare_counts(simulate(mapping, limits=Limits(literal_points=10**6)), cost(mapping)) == ()
