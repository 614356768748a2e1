"""The grey of a chart's words, and the rule that lets them follow the page they stand on.

One grey is not read well on both: #888 has a contrast of 3.5 against white and of 4.1 against the
dark blocks of the page. It is what a chart that was saved as a picture keeps.
"""

from __future__ import annotations

TEXT = "#888"

# `--chart-text` is the page's to set. Words of any other colour, and those of a hover, stay.
FOLLOWS_PAGE = """.js-plotly-plot svg text[style*="fill: rgb(136, 136, 136)"] {
  fill: var(--chart-text) !important; }"""
