"""A small SVG writer: shapes in, one deterministic document out. Colours are safe for colour-blind readers."""

from __future__ import annotations

import html
from collections.abc import Sequence

from mapper.errors import clean

__all__ = ["INK", "PALETTE", "RAMP", "SOFT", "Canvas", "shade"]

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7a7a7a")  # Okabe and Ito
RAMP = ((255, 247, 188), (254, 178, 76), (189, 0, 38))  # light yellow, orange, dark red: readable in grey too
INK, SOFT = "#222222", "#8a8a8a"


class Canvas:
    """Collects shapes; `text()` is the finished document of `width` x `height` user units."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = [f"<title>{html.escape(clean(title))}</title>"]

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        tip: str = "",
        stroke: str = "#ffffff",
        line: float = 0.6,
        opacity: float = 1.0,
        radius: float = 0.0,
    ) -> None:
        tag = (
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{fill}" stroke="{stroke}" '
            f'stroke-width="{_n(line)}"'
        )
        tag += f' opacity="{_n(opacity)}"' if opacity < 1 else ""
        tag += f' rx="{_n(radius)}"' if radius else ""
        self._parts.append(f"{tag}><title>{html.escape(clean(tip, 400))}</title></rect>" if tip else f"{tag}/>")

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: str,
        width: float = 1.0,
        *,
        opacity: float = 1.0,
        arrow: bool = False,
        tip: str = "",
    ) -> None:
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        tag = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{_n(width)}"'
        tag += f' opacity="{_n(opacity)}"' if opacity < 1 else ""
        tag += ' marker-end="url(#tip)"' if arrow else ""
        self._parts.append(f"{tag}><title>{html.escape(clean(tip, 400))}</title></polyline>" if tip else f"{tag}/>")

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 10,
        *,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
        turn: float = 0,
        about: tuple[float, float] = (0, 0),
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        weight += f' transform="rotate({_n(turn)} {_n(about[0])} {_n(about[1])})"' if turn else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{html.escape(clean(words))}</text>"
        )

    def document(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} {_n(self.height)}" '
            f'width="{_n(self.width)}" height="{_n(self.height)}" font-family="Helvetica, Arial, sans-serif">'
        )
        marker = (
            '<defs><marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5" markerHeight="5" '
            'orient="auto"><path d="M0,0 L6,3 L0,6 z" fill="#555555"/></marker></defs>'
        )
        ground = f'<rect width="{_n(self.width)}" height="{_n(self.height)}" fill="#ffffff"/>'
        return "\n".join([head, marker, ground, *self._parts, "</svg>"]) + "\n"


def _n(value: float) -> str:
    """A number with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def shade(share: float) -> str:
    """The colour of `share` on the ramp from 0 to 1."""
    share = min(max(share, 0.0), 1.0)
    low, high, at = (RAMP[0], RAMP[1], share * 2) if share < 0.5 else (RAMP[1], RAMP[2], share * 2 - 1)
    return "#" + "".join(f"{round(a + (b - a) * at):02x}" for a, b in zip(low, high, strict=True))
