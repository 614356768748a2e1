"""Markdown: a section a report, the comparison of several, and no text that means something."""

from __future__ import annotations

from fakes import make_cell, make_report

from diffusion_bench.reports.markdown import to_markdown


def test_markdown_keeps_hostile_text_in_its_cell():
    attack = "a|b\n# <img src=x> `c` [d](e)"
    text = to_markdown([make_report(make_cell(status="failed", message=attack))])
    (line,) = [line for line in text.splitlines() if "failed" in line]
    assert r"a\|b \# &lt;img src=x&gt; \`c\` \[d\](e)" in line
    assert "<img" not in text


def test_markdown_of_two_reports_compares_them():
    reports = [make_report(make_cell(wall_s=(wall,) * 5), source=f"{wall}") for wall in (2.0, 1.0)]
    assert "| faster |" in to_markdown(reports)
    assert "| faster |" not in to_markdown(reports[:1])
