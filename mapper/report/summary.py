"""The head of the page: what it costs, against what no mapping can beat, where the time goes, what is proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from mapper.errors import clean

from .canvas import PALETTE
from .text import minimised, proof_words, quantity

__all__ = ["summary_html"]

_MEANING = {
    "bound": "No mapping can be better: the objective meets a bound that other code recomputes.",
    "exhausted-twice": "No mapping can be better: the search space was exhausted twice, by two different searches.",
    "exhausted": "The search space was exhausted once; no bound from other code confirms it.",
    "none": "Found by search. The bar shows how much better a mapping could be at most.",
}
_TERMS = {
    "ii": "initiation interval: cycles between the starts of two iterations",
    "ii_bound": "smallest interval that can be proven to be necessary",
    "length": "cycles from the first to the last operation of one iteration",
    "moves": "operations that only carry a value to a farther element",
    "rows": "rows of the array that the loop body takes",
    "rows_bound": "rows that can be proven to be necessary",
    "hops": "row registers that values pass through",
    "lmm_share_ok": "the data of every row fits into its local memory",
    "why_not_lower": "what forbids a better value",
    "variant": "the rules that the schedule keeps",
    "time": "the slowest kernel",
    "wirelength": "distance between the centres of connected kernels",
    "adapter": "mismatches between the splits of connected kernels",
    "score": "weighted sum of the three",
    "time_bound": "least possible time of the slowest kernel",
}


def summary_html(report: Mapping[str, Any], pipelined: bool = False) -> str:
    """Cards of figures, bars, the outcome and the host's share."""
    parts = [_cards(_figures(report, pipelined)), _outcome(report)]
    if "totals" in report:
        parts += [_movement(report), _phases(report.get("phases", {})), _host(report["host_ops"])]
    return "\n".join(part for part in parts if part)


def _text(value: Any) -> str:
    return escape(clean(str(value), 400))


def _figures(report: Mapping[str, Any], pipelined: bool) -> list[tuple[str, str, str]]:
    """(label, value, explanation)"""
    if "totals" not in report:
        section = report.get("kernel") or report.get("contest") or {}
        return [
            (name.replace("_", " ").replace("ii", "II").replace("lmm", "LMM"), _figure(value), _TERMS.get(name, ""))
            for name, value in section.items()
        ]
    t = report["totals"]
    found = [
        (
            "movement",
            quantity(t["movement_pj"] * 1e-12, "J"),
            "energy spent on moving bytes between and inside memories",
        ),
        ("energy", quantity(t["energy_pj"] * 1e-12, "J"), "movement and arithmetic"),
        ("latency", quantity(t["seconds"], "s"), f"{t['cycles']:,} cycles for one inference"),
        ("multiply-accumulates", quantity(t["macs"], ""), f"{t['macs']:,}, counted on the model"),
        ("parameters", quantity(t["params"], ""), f"{t['params']:,}"),
        ("operators", f"{len(report['ops'])}", f"on the fabric; {len(report['host_ops'])} on the host"),
    ]
    if pipelined:
        found.insert(3, ("interval", f"{t['interval_cycles']:,} cycles", "between two inferences, if they follow on"))
    return found


def _figure(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:,}"
    return clean(str(value), 400)


def _cards(figures: Iterable[tuple[str, str, str]]) -> str:
    cells = [
        f'<div{" class=wide" if len(value) > 24 else ""}><dt title="{_text(why)}">{_text(label)}</dt>'
        f"<dd>{_text(value)}<small>{_text(why)}</small></dd></div>"
        for label, value, why in figures
    ]
    return f'<dl class="cards">{"".join(cells)}</dl>'


def _outcome(report: Mapping[str, Any]) -> str:
    outcome = report["outcome"]
    value = f"{outcome['objective']:,.6g}"
    words = f"<strong>{_text(proof_words(outcome['proof']))}</strong>, minimising {_text(minimised(report))}: {value}"
    bar = ""
    if "bound" in outcome:
        words += f"; provably at least {outcome['bound']:,.6g}, gap {outcome['gap']:.1%}"
        share = outcome["bound"] / outcome["objective"] if outcome["objective"] else 1.0
        bar = _bar(
            [(min(share, 1.0), PALETTE[2], "provable"), (max(0.0, 1 - share), PALETTE[1], "possible gain at most")]
        )
    else:
        words += "; no bound"
    stopped = f" <em>Stopped early: {_text(outcome['stopped'])}.</em>" if "stopped" in outcome else ""
    mark = "proven" if outcome["status"] == "optimal" and outcome["proof"] in ("bound", "exhausted-twice") else "open"
    return (f'<div class="outcome {mark}"><p>{words}.{stopped}</p>{bar}'
            f"<p class=soft>{_MEANING.get(outcome['proof'], '')}</p></div>")  # fmt: skip


def _bar(pieces: Sequence[tuple[float, str, str]]) -> str:
    inside = "".join(
        f'<span style="width:{share * 100:.3f}%;background:{colour}" title="{_text(label)}: {share:.1%}"></span>'
        for share, colour, label in pieces
        if share > 0
    )
    return f'<div class="bar">{inside}</div>'


def _movement(report: Mapping[str, Any]) -> str:
    """One bar per memory on a common scale, with ticks at what is attainable and what is provable."""
    levels, bounds = report["totals"]["levels"], report["bounds"]
    moved = {n: v["read_bytes"] + v["write_bytes"] for n, v in levels.items()}
    known = [b.get(k, 0) for b in bounds.values() for k in ("mapping_bytes", "attainable_bytes", "provable_bytes")]
    top = max([*moved.values(), *known, 1])
    rows = []
    for name, level in levels.items():
        bound = bounds.get(name, {})
        ticks = "".join(
            f'<i class="{kind}" style="left:{bound[key] / top * 100:.3f}%" '
            f'title="{kind}: {quantity(bound[key], "B")}"></i>'
            for kind, key in (("attainable", "attainable_bytes"), ("provable", "provable_bytes"))
            if key in bound
        )
        read, written = level["read_bytes"] / top * 100, level["write_bytes"] / top * 100
        rows.append(
            f'<tr><th scope="row">{_text(name)}</th><td class="track"><span class="read" style="width:{read:.3f}%" '
            f'title="read {quantity(level["read_bytes"], "B")}"></span>'
            f'<span class="written" style="width:{written:.3f}%" '
            f'title="written {quantity(level["write_bytes"], "B")}"></span>{ticks}</td>'
            f"<td>{quantity(moved[name], 'B')}</td><td>{quantity(level['energy_pj'] * 1e-12, 'J')}</td>"
            f"<td>{_against(bound)}</td></tr>"
        )
    relative = " Energies are relative: 1 pJ stands for one 16-bit multiply-accumulate." \
        if "ratio" in report.get("technology", "") else ""  # fmt: skip
    return (
        '<h3>Bytes moved, by memory</h3><table class="movement"><thead><tr><th>memory</th><th class="track">'
        '<b class="read"></b>read <b class="written"></b>written <b class="attainable"></b>attainable '
        '<b class="provable"></b>provable bound</th><th>bytes</th><th>energy</th><th>against the bound</th>'
        "</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        "<p class=soft>Bytes x hops over links between elements: "
        f"{quantity(report['totals']['hop_bytes'], 'B')}.{relative}</p>"
    )


def _against(bound: Mapping[str, Any]) -> str:
    if not bound.get("provable_bytes"):
        return "<span class=soft>no bound at this memory</span>"
    words = (
        f"{bound['mapping_bytes'] / bound['provable_bytes']:.2f} x provable ({quantity(bound['provable_bytes'], 'B')})"
    )
    if bound.get("attainable_bytes"):
        where = f" in {_text(bound['attainable_in'])}" if "attainable_in" in bound else ""
        words += f"; attainable{where}: {quantity(bound['attainable_bytes'], 'B')}"
    if "below_attainable" in bound:
        words += f"; below it because {_text(bound['below_attainable'])}"
    return words


def _phases(phases: Mapping[str, int]) -> str:
    """Cycles by phase, summed over stages; resources overlap, so this is work, not time on the clock."""
    total = sum(phases.values())
    if not total:
        return ""
    pieces = [(cycles / total, PALETTE[i % len(PALETTE)], name) for i, (name, cycles) in enumerate(phases.items())]
    keys = "".join(
        f'<li><b style="background:{colour}"></b>{_text(name)} {phases[name]:,} ({share:.1%})</li>'
        for share, colour, name in pieces
    )
    return (f"<h3>Work by phase, in cycles</h3>{_bar(pieces)}<ul class=keys>{keys}</ul>"
            "<p class=soft>Over all stages; phases on different resources run at the same time.</p>")  # fmt: skip


def _host(host_ops: Sequence[Mapping[str, Any]]) -> str:
    if not host_ops:
        return "<p>Host: nothing. Every operator runs on the fabric.</p>"
    rows = "".join(
        f"<tr><td>{_text(op['name'])}</td><td>{_text(op['op_type'])}</td><td>{quantity(op['bytes'], 'B')}</td>"
        f"<td>{_text(op['reason'])}</td></tr>"
        for op in host_ops
    )
    return (f"<details open><summary>{len(host_ops)} operators run on the host</summary><table><thead><tr>"
            f"<th>operator</th><th>type</th><th>bytes</th><th>reason</th></tr></thead><tbody>{rows}</tbody></table>"
            "</details>")  # fmt: skip
