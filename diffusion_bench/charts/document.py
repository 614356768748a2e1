"""An HTML file that needs no network: a heading, figures, and under each its table.

Text of reports is hostile until escaped, and everything here escapes what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.plot_height import KEEPS_HEIGHT
from diffusion_bench.charts.text_colour import FOLLOWS_PAGE
from diffusion_bench.tiers.figures import table_words

Table = tuple[list[str], list[list[Any]]]

STYLE = (
    """
@media screen { :root { color-scheme: light dark; } }
:root { --text: #1f2328; --page: #ffffff; --line: #d0d7de; }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0b0f19; --line: #30363d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: var(--text);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.text { white-space: normal; min-width: 22rem; max-width: 28rem; }
summary { cursor: pointer; padding: .5rem 0; }
pre { white-space: pre-wrap; font-size: .85rem; }
body { --chart-text: var(--text); }
@media print {  /* paper opens and scrolls nothing */
  details:not(.wide)::details-content { content-visibility: visible; }
  h2, summary, p:has(+ div > .plotly-graph-div) { break-after: avoid; }
  div:has(> .plotly-graph-div), tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: .55rem; }
  th, td, td.text { padding: .1rem .2rem; white-space: normal; min-width: 0; }
}
"""
    + FOLLOWS_PAGE
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
{script}
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""

LONG_TEXT = 40  # characters from which on a table cell may wrap
PAPER_COLUMNS = 16  # of a table: more would be cut off


class Section(NamedTuple):
    """A chart of the page with its table twin."""

    name: str
    title: str
    caption: str
    figure: go.Figure
    table: Table


def document(title: str, parts: Sequence[str]) -> str:
    """Return a page of these parts, which are HTML already."""
    return PAGE.format(title=escape(title), style=STYLE, script=KEEPS_HEIGHT, body="\n".join(parts))


def section_html(section: Section, *, with_plotly: bool) -> str:
    """Return a section as HTML; plotly is to be inside the first of a page."""
    figure = section.figure.to_html(
        full_html=False,
        include_plotlyjs="inline" if with_plotly else False,
        include_mathjax=False,
        div_id=f"chart-{section.name}",
        config={"responsive": True, "displaylogo": False, "displayModeBar": False},
    )
    heading = f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.caption)}</p>"
    return f"{heading}\n{figure}\n{details('Table', section.table)}"


def details(summary: str, table: Table) -> str:
    """Return a table behind a line that opens it; paper has it open, where it is wide enough."""
    kind = ' class="wide"' if len(table[0]) > PAPER_COLUMNS else ""
    return f"<details{kind}><summary>{escape(summary)}</summary>{table_html(table)}</details>"


def table_html(table: Table) -> str:
    """Return a table as HTML, its values escaped."""
    header, rows = table
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(_value(value) for value in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _value(value: object) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        return f'<td class="number">{table_words(value)}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    text = str(value)
    return f'<td class="text">{escape(text)}</td>' if len(text) > LONG_TEXT else _short(text)


def _short(text: str) -> str:
    return f"<td>{escape(text)}</td>"
