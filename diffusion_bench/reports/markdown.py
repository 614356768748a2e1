"""Reports as Markdown: a section a report, and how they compare."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from diffusion_bench.records.figures import figure
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.export import (
    HEADS,
    Explain,
    Value,
    describe,
    is_worth_showing,
    report_title,
    to_rows,
)
from diffusion_bench.reports.labels import other_parts, report_labels, sampler, size
from diffusion_bench.reports.limits import limit_lines
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.shared import compare_shared, shared_table

COLUMNS = tuple(name for name in HEADS if name != "report")


def to_markdown(
    reports: Sequence[Report], *, tariff: float | None = None, explain: Explain | None = None
) -> str:
    """Return a section a report, then the comparison where there are two reports or more."""
    names = report_labels(reports)
    rows = to_rows(reports, tariff=tariff, explain=explain)
    left = iter(rows)
    parts = [
        _report(name, list(itertools.islice(left, len(report.cells))), report, rows)
        for report, name in zip(reports, names, strict=True)
    ]
    if len(reports) > 1:
        parts.append(_comparison(reports))
    return "\n\n".join(parts) + "\n"


def _report(
    name: str,
    rows: Sequence[dict[str, Value]],
    report: Report,
    among: Sequence[dict[str, Value]],
) -> str:
    lines = [f"## {_text(report_title(name, report))}", "", _text(describe(report)), ""]
    lines += [f"- note: {_text(note)}" for note in report.notes]
    lines += [f"- {_text(line)}" for line in limit_lines(report)]
    lines += [""] if report.notes or report.limits else []
    if report.shared:
        header, shared = shared_table(report)
        lines += _table(header, [[*map(_text, row)] for row in shared])
        lines += [""]
        if not rows:
            return "\n".join(lines)
    shown = [key for key in COLUMNS if is_worth_showing(key, rows, among)]
    cells = [[_value(row[key]) for key in shown] for row in rows]
    return "\n".join(lines + _table([HEADS[key] for key in shown], cells))


def _comparison(reports: Sequence[Report]) -> str:
    both = [
        [row.cell, row.baseline, row.other, _value(row.ratio), row.verdict, row.reason]
        for row in compare_shared(reports)
    ]
    compared = compare(reports)
    others = other_parts([row.request for row in compared], but=("batch",))
    header = ["sampler", "steps", "size", "batch", "other settings", "baseline (s)", "other (s)"]
    header += ["ratio", "verdict", "reason", "other report"]
    cells = [
        [
            _value(value)
            for value in (
                sampler(row.request),
                row.request.steps,
                size(row.request),
                row.request.batch,
                others(row.request),
                row.baseline_s,
                row.other_s,
                row.ratio,
                row.verdict,
                row.reason,
                row.other,
            )
        ]
        for row in compared
    ]
    baseline = _text(report_labels(reports)[0])
    lines = ["## Comparison", "", f"Baseline: {baseline}", ""]
    for whole in overall(reports):
        lines += [*(f"- {_text(line)}" for line in whole.words()), ""]
    if both:
        shared = ["cell", "baseline", "other report", "ratio", "verdict", "reason"]
        lines += [*_table(shared, [[*map(_text, row)] for row in both]), ""]
    return "\n".join(lines + _table(header, cells))


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return ["No cells."]
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _value(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return figure(value)
    return _text(str(value))


def _text(text: str) -> str:
    """Return a text that stays in its table cell and means nothing to Markdown or HTML."""
    text = " ".join(text.split())
    for special in "\\`*_[]|<>#":
        text = text.replace(special, f"\\{special}" if special not in "<>" else special)
    return text.replace("<", "&lt;").replace(">", "&gt;")
