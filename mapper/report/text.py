"""The text a person reads first: totals, movement by level against its bound, the costliest operators, the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from typing import Any

from mapper.errors import clean

__all__ = ["columns", "minimised", "proof_words", "quantity", "summary"]

# the total that the objective equals names what was minimised
_TOTALS = (("movement_pj", "movement in pJ"), ("energy_pj", "energy in pJ"),
           ("interval_cycles", "cycles between inferences"), ("cycles", "cycles of one inference"))  # fmt: skip
_SCALE = (
    (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""),
    (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"),
)  # fmt: skip


def quantity(value: float, unit: str) -> str:
    """`value` with an SI prefix and three to four digits."""
    for scale, prefix in _SCALE:
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"0 {unit}"


def columns(rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Rows as aligned text; columns in `right` are right-aligned."""
    table = [list(map(str, row)) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))] if table else []
    lines = []
    for row in table:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def summary(report: Mapping[str, Any]) -> str:
    """The report as text, some thirty lines."""
    parts = [_title(report)]
    for section, writer in (("totals", _model), ("kernel", _kernel), ("contest", _contest)):
        if section in report:
            parts.append(writer(report))
    parts.append(_outcome(report))
    return "\n\n".join(parts)


def _title(report: Mapping[str, Any]) -> str:
    return f"{clean(report['input']['name'])} on {report['machine']} ({report['target']})"


def _model(report: Mapping[str, Any]) -> str:
    parts = [_totals(report), _movement(report), _costliest(report["ops"], report["totals"]["movement_pj"])]
    if "array" in report:
        parts.append(_array(report["array"]))
    if "loops" in report:
        parts.append(_loops(report["loops"], {op["name"]: op["cycles"] for op in report["ops"]}))
    parts.append(_host(report["host_ops"]))
    return "\n\n".join(parts)


def _array(array: Mapping[str, Any]) -> str:
    """Work by phase, and how full the launches keep rows, lanes and local memories."""
    total = sum(array["phase_cycles"].values())
    rows = [("phase", "cycles", "time", "share of work")]
    for name, cycles in array["phase_cycles"].items():
        seconds = quantity(array["phase_seconds"][name], "s")
        rows.append((name, f"{cycles:,}", seconds, f"{cycles / total if total else 0:.1%}"))
    most, room = (quantity(array[key], "B") for key in ("lmm_most_bytes", "lmm_bytes"))
    return "\n".join([
        columns(rows, frozenset({1, 2, 3})),
        f"{array['launches']:,} launches on {array['lanes']} lanes, "
        f"{quantity(array['control_bytes'], 'B')} of control; {array['fill_share']:.1%} of EXEC fills the rows",
        f"{sum(made['loads'] + made['drains'] for made in array['transfers'].values()):,} transfers; one by one LOAD "
        f"would take {array['load_coalescing_gain']:.2f} x as long, DRAIN {array['drain_coalescing_gain']:.2f} x",
        f"local memory of a unit: {most} of {room} at most, {array['lmm_mean_share']:.1%} on average; "
        f"{quantity(array['kept_bytes'], 'B')} of {array['kept_tensors']} results stay there for the next operators",
        f"multiply-accumulates: {array['macs_share']:.1%} on the array, {array['macs_all_lanes_share']:.1%} of these "
        "on all lanes",
    ])  # fmt: skip


def _loops(loops: Sequence[Mapping[str, Any]], cycles: Mapping[str, int]) -> str:
    """The loop bodies of the longest operators: II against its bound, and how busy they keep the grid."""
    rows = [("longest loops", "II", "at least", "slots busy", "ports busy", "points a cycle", "why not lower")]
    bodies = [row for row in loops if row["role"] == "body"]
    for row in sorted(bodies, key=lambda row: (-cycles[row["op"]], row["op"]))[:5]:
        ports = "-" if row["ports_busy"] is None else f"{row['ports_busy']:.0%}"
        rows.append((clean(row["op"], 40), str(row["ii"]), str(row["ii_bound"]), f"{row['slots_busy']:.0%}", ports,
                     f"{row['points_per_cycle']:.3g}", row["why"]))  # fmt: skip
    met = sum(row["ii"] == row["ii_bound"] for row in loops)
    return "\n".join([columns(rows, frozenset(range(1, 6))), f"{met} of {len(loops)} bodies at their bound"])


def _totals(report: Mapping[str, Any]) -> str:
    t = report["totals"]
    rows = [
        ("movement", quantity(t["movement_pj"] * 1e-12, "J"), "energy", quantity(t["energy_pj"] * 1e-12, "J")),
        ("MACs", f"{t['macs']:,}", "parameters", f"{t['params']:,}"),
        ("latency", quantity(t["seconds"], "s"), "cycles", f"{t['cycles']:,}"),
        ("operators", f"{len(report['ops'])} on the fabric", "bytes x hops", quantity(t["hop_bytes"], "B")),
    ]
    relative = "ratio" in report["technology"]
    return columns(rows) + ("\n(energies are relative: 1 pJ = one 16-bit multiply-accumulate)" if relative else "")


def _movement(report: Mapping[str, Any]) -> str:
    """Bytes per level, and what crosses the boundary below each: mapping / attainable / provable."""
    rows = [("level", "read", "written", "movement", "crosses below", "attainable", "at least", "x bound")]
    below = []
    for name, level in report["totals"]["levels"].items():
        bound = report["bounds"].get(name, {})
        provable, moved = bound.get("provable_bytes"), bound.get("mapping_bytes")
        cells = (quantity(bound[key], "B") if bound.get(key) is not None else "-"
                 for key in ("mapping_bytes", "attainable_bytes", "provable_bytes"))  # fmt: skip
        read, written = quantity(level["read_bytes"], "B"), quantity(level["write_bytes"], "B")
        ratio = f"{moved / provable:.2f}" if provable and moved is not None else "-"
        rows.append((name, read, written, quantity(level["energy_pj"] * 1e-12, "J"), *cells, ratio))
        if "below_attainable" in bound:
            below.append(f"{name}: less than attainable operator by operator: {bound['below_attainable']}")
    return "\n".join([columns(rows, frozenset(range(1, 8))), *below])


def _costliest(ops: Sequence[Mapping[str, Any]], total: float) -> str:
    rows = [("costliest operators", "type", "movement", "share", "cycles", "where")]
    for op in sorted(ops, key=lambda o: (-o["movement_pj"], o["name"]))[:5]:
        share = op["movement_pj"] / total if total else 0.0
        rows.append((clean(op["name"], 40), op["op_type"], quantity(op["movement_pj"] * 1e-12, "J"), f"{share:.1%}",
                     f"{op['cycles']:,}", op["where"]))  # fmt: skip
    return columns(rows, frozenset({2, 3, 4}))


def _host(host_ops: Sequence[Mapping[str, Any]]) -> str:
    if not host_ops:
        return "host: nothing, every operator runs on the fabric"
    rows = [("on the host", "type", "bytes", "reason")]
    rows += [(clean(o["name"], 40), o["op_type"], quantity(o["bytes"], "B"), clean(o["reason"], 60)) for o in host_ops]
    return columns(rows, frozenset({2}))


def _kernel(report: Mapping[str, Any]) -> str:
    return columns([(name.replace("_", " "), str(value)) for name, value in report["kernel"].items()])


def _contest(report: Mapping[str, Any]) -> str:
    return columns([(name.replace("_", " "), f"{value:,}") for name, value in report["contest"].items()])


def proof_words(proof: str) -> str:
    """What may be said: "optimal" only for a bound met or a search space exhausted twice."""
    return {"bound": "optimal: meets a bound", "exhausted-twice": "optimal: search space exhausted twice",
            "exhausted": "best found: search space exhausted once"}.get(proof, "best found")  # fmt: skip


def minimised(report: Mapping[str, Any]) -> str:
    """What the search made small, in words; loop kernels and contest graphs have objectives of their own."""
    if "contest" in report:
        return "contest score"
    if "kernel" in report:
        return "rows, then hops" if "rows" in report["kernel"] else "II, then MOVEs"
    totals, value = report["totals"], report["outcome"]["objective"]
    for key, words in _TOTALS:
        if key in totals and isclose(totals[key], value, rel_tol=1e-9):
            return words
    return str(report["objective"])


def _outcome(report: Mapping[str, Any]) -> str:
    outcome = report["outcome"]
    text = f"{proof_words(outcome['proof'])}; objective {outcome['objective']:,.6g} ({minimised(report)})"
    if "gap" not in outcome:
        return f"{text}, no bound"
    text += f", at least {outcome['bound']:,.6g}, gap {outcome['gap']:.1%}"
    return f"{text}; stopped early: {outcome['stopped']}" if "stopped" in outcome else text
