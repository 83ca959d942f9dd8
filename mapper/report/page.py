"""`report.html`: one self-contained page. No script is needed to read it; nothing is fetched from anywhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from mapper.errors import clean

from .text import quantity, summary

__all__ = ["html_page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #777; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
pre, table { font: 13px/1.45 ui-monospace, monospace; } pre { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); }
th { text-align: left; position: sticky; top: 0; background: Canvas; cursor: pointer; } td.n { text-align: right; }
figure { margin: 1rem 0; overflow: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figcaption, .soft { color: var(--soft); } input { font: inherit; padding: .2rem .5rem; }
"""

_SCRIPT = """
const table = document.querySelector('#ops');
if (table) {
  const body = table.tBodies[0];
  document.querySelector('#filter').addEventListener('input', e => {
    const word = e.target.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(word);
  });
  table.tHead.rows[0].querySelectorAll('th').forEach((head, column) => head.addEventListener('click', () => {
    const value = cell => cell.dataset.v === undefined ? cell.textContent : +cell.dataset.v;
    const order = (a, b) => { const x = value(a.cells[column]), y = value(b.cells[column]); return (x > y) - (x < y); };
    const down = head.dataset.down = head.dataset.down === '1' ? '' : '1';
    [...body.rows].sort((a, b) => down ? order(b, a) : order(a, b)).forEach(row => body.append(row));
  }));
}
"""


def html_page(report: Mapping[str, Any], svg: str) -> str:
    """The page with the summary, the picture and the table of operators."""
    title = html.escape(clean(f"{report['input']['name']} on {report['machine']}"))
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        f"<section><h2>Summary</h2><pre>{html.escape(summary(report))}</pre></section>",
        f"<section><h2>Where it runs</h2><figure>{svg}</figure></section>",
    ]
    if "ops" in report:
        parts.append(_operators(report))
    return "\n".join([*parts, f"<script>{_SCRIPT}</script></body></html>\n"])


def _operators(report: Mapping[str, Any]) -> str:
    levels = list(report["totals"]["levels"])
    head = "".join(f"<th>{html.escape(h)}</th>" for h in ("operator", "type", "where", "cycles", "movement", *levels))
    rows = "".join(_row(op, levels) for op in report["ops"])
    host = "".join(f"<tr><td>{html.escape(clean(o['name']))}</td><td>{html.escape(o['op_type'])}</td>"
                   f"<td>host: {html.escape(clean(o['reason']))}</td></tr>" for o in report["host_ops"])  # fmt: skip
    return (f'<section><h2>Operators</h2><p><label>Filter <input id="filter" type="search"></label> '
            f'<span class="soft">click a heading to sort</span></p><table id="ops"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}{host}</tbody></table></section>")  # fmt: skip


def _row(op: Mapping[str, Any], levels: Sequence[str]) -> str:
    words = "".join(f"<td>{html.escape(clean(op[k]))}</td>" for k in ("name", "op_type", "where"))
    moved = [op["levels"][n]["read_bytes"] + op["levels"][n]["write_bytes"] for n in levels]
    numbers = [(op["cycles"], f"{op['cycles']:,}"), (op["movement_pj"], quantity(op["movement_pj"] * 1e-12, "J")),
               *((m, quantity(m, "B")) for m in moved)]  # fmt: skip
    cells = "".join(f'<td class="n" data-v="{value}">{html.escape(shown)}</td>' for value, shown in numbers)
    return f"<tr>{words}{cells}</tr>"
