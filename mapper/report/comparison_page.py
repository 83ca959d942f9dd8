"""`compare.html`: one self-contained page with the picture, the table of systems, and every figure with its source.

Nothing is fetched and nothing is run: plain HTML, so that it opens anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from mapper.comparison import Figure, Row
from mapper.errors import clean

from .comparison_plot import svg
from .comparison_text import HEADS, KEY, cells, ordered

__all__ = ["html_page"]


def html_page(name: str, sha256: str, rows: Sequence[Row]) -> str:
    """The whole page."""
    title = escape(clean(f"{name} on {len(rows)} systems"))
    style = files("mapper.report").joinpath("page.css").read_text(encoding="utf-8")
    parts = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<title>{title}</title><meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<link rel="icon" href="data:,"><style>\n{style}</style></head>\n<body>',
        f"<header><h1>{title}</h1><p class=soft>input sha256 {escape(sha256[:12])}</p></header><main>",
        f'<section id="picture"><h2>Roofline and movement</h2><div class="scroll">{svg(name, rows)}</div></section>',
        _table(rows),
        _failures(rows),
        _systems(rows),
        "</main></body></html>\n",
    )
    return "\n".join(part for part in parts if part)


def _table(rows: Sequence[Row]) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in HEADS)
    lines = "".join(f"<tr>{''.join(map(_cell, cells(row)))}</tr>\n" for row in ordered(rows))
    return (
        f'<section id="table"><h2>Systems</h2><div class="scroll"><table><thead><tr>{heads}</tr></thead>\n<tbody>'
        f"{lines}</tbody></table></div><pre class=soft>{escape(KEY)}</pre></section>"
    )


def _cell(words: str) -> str:
    return f"<td>{escape(clean(words, 200))}</td>"


def _failures(rows: Sequence[Row]) -> str:
    failed = [row for row in rows if row.status != "ok"]
    lines = "".join(f"<li>{escape(row.system)}: {escape(row.status)}: {escape(row.words)}</li>" for row in failed)
    return f'<section id="failures"><h2>Not mapped</h2><ul>{lines}</ul></section>' if failed else ""


def _systems(rows: Sequence[Row]) -> str:
    """Per system: what to know about the row, and its figures with source and mark."""
    details = "\n".join(map(_details, ordered(rows)))
    return f'<section id="figures"><h2>Notes and sources</h2>{details}</section>'


def _details(row: Row) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in row.notes)
    figures = "".join(_figure(name, figure) for name, figure in row.figures)
    table = f"<table><tbody>{figures}</tbody></table>" if figures else ""
    return f"<details><summary>{escape(row.system)}: {escape(row.name)}</summary><ul>{notes}</ul>{table}</details>"


def _figure(name: str, figure: Figure) -> str:
    return "<tr>" + "".join(map(_cell, (name, figure.stated, figure.mark, figure.note, figure.source))) + "</tr>"
