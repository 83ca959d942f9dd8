"""`report.html`: one self-contained page. Summary and table are plain HTML; a script draws the fabric and the graph.

Nothing is fetched from anywhere. The data stands in a JSON block in which `<` is escaped, so that no name of a model
can end it; the script writes names as text only, and refers to items by number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from mapper.documents import Decision
from mapper.errors import clean

from .canvas import PALETTE, RAMP
from .summary import summary_html
from .view import Shown, shown

__all__ = ["embedded", "html_page"]

SCRIPTS = ("page.js", "page_fabric.js", "page_body.js", "page_graph.js", "page_start.js")

_FABRIC_TITLES = {
    "slots": ("The loop on the grid", "Each square is a processing element. Step through the slots of the steady "
              "state, or through the first iterations from the start."),
    "rows": ("The loop in the array", "Values pass from row to row through registers, from top to bottom. Each unit "
             "has four slots: arithmetic, condition, and two for memory."),
    "floor": ("The floorplan", "Each rectangle of cores runs one operator; lines are the tensors routed between them."),
    "time": ("The fabric over time", "Every operator on the clock, by resource and lane. Click one to see what "
             "it holds."),
}  # fmt: skip


def html_page(decision: Decision, report: Mapping[str, Any]) -> str:
    """The whole page."""
    view = shown(decision, report)
    title = escape(clean(f"{report['input']['name']} on {report['machine']}"))
    summary = summary_html(report, pipelined=view.data["fabric"]["kind"] == "floor")
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in SCRIPTS)
    data = {**view.data, "palette": PALETTE, "ramp": RAMP}
    return "\n".join([
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<title>{title}</title><meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<style>\n{style}</style></head>\n<body>",
        f"<header><h1>{title}</h1><p class=soft>target {escape(report['target'])}, seed {report['seed']}, mapper "
        f"{escape(report['version'])}, input sha256 {escape(report['input']['sha256'][:12])}</p>",
        f"{_navigation()}</header>",
        f'<main><section id="summary"><h2>Summary</h2>{summary}</section>',
        _drawings(view), _table(view), "</main>",
        '<div id="tip" role="status" hidden></div>',
        f'<script type="application/json" id="data">{embedded(data)}</script>',
        f'<script>\n"use strict";\n(() => {{\n{script}}})();\n</script></body></html>\n',
    ])  # fmt: skip


def embedded(data: Any) -> str:
    """JSON that may stand inside a script element: no `<`, `>`, `&` or line separator survives in it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return files("mapper.report").joinpath(name).read_text(encoding="utf-8")


def _navigation() -> str:
    return ('<nav aria-label="sections"><a href="#summary">Summary</a> <a href="#fabric">Fabric</a> '
            '<a href="#graph">Graph</a> <a href="#table">Table</a></nav>')  # fmt: skip


def _drawings(view: Shown) -> str:
    title, words = _FABRIC_TITLES[view.data["fabric"]["kind"]]
    script_note = "<noscript><p>This drawing needs JavaScript; mapping.svg beside this page does not.</p></noscript>"
    return (
        f'<section id="fabric"><h2>{title}</h2><p class=soft>{words}</p>{script_note}'
        '<div class="split"><div class="stage" id="fabric-view"></div>'
        '<aside id="facts" aria-live="polite"><h3>Nothing selected</h3><p class=soft>Click anything in a drawing or '
        "in the table, or move with Tab and Enter. Escape clears.</p></aside></div></section>"
        f'<section id="graph"><h2>The graph</h2><p class=soft>What feeds what. {_graph_words(view)}</p>'
        f'{script_note}<div class="stage" id="graph-view"></div></section>'
    )


def _graph_words(view: Shown) -> str:
    unit = view.data["graph"]["unit"]
    colour = {"pJ": "Colour is movement, from yellow to red.", "time": "Colour is the kernel's time."}.get(unit, "")
    return colour + (" Long graphs are folded into blocks: open one." if len(view.data["graph"]["blocks"]) > 1 else "")


def _table(view: Shown) -> str:
    heads = "".join(f'<th scope="col" title="{escape(c.help)}" aria-sort="none"><button type="button">{escape(c.title)}'
                    "</button></th>" for c in view.columns)  # fmt: skip
    rows = "".join(
        f'<tr data-op="{number}" tabindex="0">{"".join(map(_cell, row))}</tr>' for number, row in enumerate(view.rows)
    )
    return (
        '<section id="table"><h2>The table</h2><p><label>Filter <input id="filter" type="search" '
        'placeholder="name, type, place"></label> <span class=soft id="shown" aria-live="polite"></span></p>'
        f'<div class="scroll"><table id="ops"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def _cell(cell: tuple[str, float | None]) -> str:
    words, value = cell
    shown_words = escape(clean(words, 300))
    if value is None:
        return f"<td{' class=w' if len(words) > 14 else ''}>{shown_words}</td>"
    return f'<td class="n" data-v="{value:g}">{shown_words}</td>'
