"""Reports as flat rows and CSV: a row a cell, failed cells with status and message.

Markdown is `markdown.py`; the self-contained HTML page is `charts/page.py`, since it needs figures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from diffusion_bench.records import (
    ImageRequest,
    Memory,
    Stages,
    VoiceRequest,
    VoiceStages,
    by_reason,
)
from diffusion_bench.reports.cost import cost_of
from diffusion_bench.reports.fits import OFF_LINE_ABOVE, beyond_lines
from diffusion_bench.reports.labels import (
    device_name,
    emulated_words,
    other_parts,
    report_labels,
    work_columns,
)
from diffusion_bench.reports.limits import limit_rows
from diffusion_bench.reports.memory_fit import fit_verdict
from diffusion_bench.reports.quality import quality_row
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.shared import shared_rows
from diffusion_bench.reports.stats import Summary, summarise
from diffusion_bench.reports.sustained import burst_and_sustained
from diffusion_bench.reports.unfinished import unfinished_words

# What held a cell back, and the evidence. `charts` says it: it takes both reports and tiers.
Explain = Callable[[Cell, Report], tuple[str, str]]
Value = str | float | int | bool | None

# A spreadsheet takes a text that starts with one of these for a formula (full-width ones too).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

# Settings, as the request has them, that tell rows apart where they vary and else say nothing.
SETTINGS = ("speed", "precision", "guidance_scale", "seed")
OTHER_SETTINGS = (*SETTINGS, "other_settings")  # columns of all that may vary
# What columns are called in tables that people read, in the order in which they stand there.
HEADS = {
    "report": "report",
    "model": "model",
    "sampler": "sampler",
    "steps": "steps",
    "resolution": "size",
    "batch": "batch",
    "speed": "speed",
    "precision": "precision",
    "guidance_scale": "guidance",
    "seed": "seed",
    "other_settings": "other settings",
    "status": "status",
    "repeats": "n",
    "median_s": "median (s)",
    "iqr_s": "IQR (s)",
    "interval_low_s": "interval from (s)",
    "interval_high_s": "to (s)",
    "images_per_s": "images/s",
    "audio_s": "speech (s)",
    "real_time_factor": "real-time factor",
    "first_audio_s": "first sound (s)",
    "steps_per_s": "denoising steps/s",
    "energy_per_image_j": "energy (J/image)",
    "net_energy_per_image_j": "net energy (J/image)",
    "cost_per_1000_images": "cost of 1000 images",
    "energy_per_audio_s_j": "energy (J/s of speech)",
    "energy_uncertainty_percent": "energy ± (%)",
    "burst_s": "burst (s)",
    "sustained_s": "sustained (s)",
    "fit": "fit",
    "nvml_used_mib": "GPU memory (MiB)",
    "rss_mib": "resident set (MiB)",
    "quality": "quality",
    "held_back_by": "held back by",
    "evidence": "evidence",
    "warnings": "warnings",
    "message": "message",
}


def to_rows(
    reports: Sequence[Report], *, tariff: float | None = None, explain: Explain | None = None
) -> list[dict[str, Value]]:
    """Return a flat row for every cell of every report, units in the keys; None: cannot tell.

    `tariff` is money per kilowatt-hour; the column of costs is empty without one. `explain` says
    what held a cell back, see `charts.held_back.in_words`; its columns too are empty without it.
    """
    rows = []
    requests = [cell.request for report in reports for cell in report.cells]
    others = other_parts(requests, but=(*SETTINGS, "model", "batch"))
    for report, label in zip(reports, report_labels(reports), strict=True):
        beyond = beyond_lines(report.cells)
        where = {"report": report_title(label, report), "device": device_name(report)}
        for cell in report.cells:
            row = _row(report, where, cell, beyond=beyond.get(cell.cell_id, 0.0), tariff=tariff)
            held_back_by, evidence = explain(cell, report) if explain else (None, None)
            explained = {"held_back_by": held_back_by, "evidence": evidence}
            rows.append({**row, **explained, "other_settings": others(cell.request)})
    return rows


def to_csv(
    reports: Sequence[Report], *, tariff: float | None = None, explain: Explain | None = None
) -> str:
    """Return CSV with a header; texts that a spreadsheet would run as formulas are disarmed.

    No byte order mark, for Excel, stands before it: to most other readers that is the beginning of
    the first column's name. `not_measured` has the columns without a figure and the reason of each,
    parted by " | ".
    Limits and cells of several devices follow, with columns of their own, which the other rows
    leave empty.
    """
    rows = to_rows(reports, tariff=tariff, explain=explain)
    for report, label in zip(reports, report_labels(reports), strict=True):
        rows += limit_rows(report, report_title(label, report))
        rows += shared_rows(report, report_title(label, report))
    if not rows:
        return ""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _csv_value(value) for key, value in row.items()})
    return text.getvalue()


def is_worth_showing(
    column: str, rows: Sequence[dict[str, Value]], among: Sequence[dict[str, Value]]
) -> bool:
    """Return whether a column says something of rows, and a setting tells it from those `among`."""
    if column in SETTINGS:
        return len({row[column] for row in among}) > 1
    return any(row[column] not in (None, "") for row in rows)


def describe(report: Report) -> str:
    """Return the machine and software of a report in one line, and what it lacks of its plan."""
    machine, software, plan = report.header.machine, report.header.software, report.header.plan
    least = "at least " if plan.stop else ""
    together = f" (the sweep measures on {plan.devices.words} at once)" if plan.devices else ""
    parts = [
        device_name(report) + together,
        emulated_words(report.header),
        machine.os,
        f"Python {software.python}",
        f"torch {software.torch or 'unknown'}",
        f"diffusers {software.diffusers or 'unknown'}",
        f"{least}{_count(plan.repeats, 'repeat')} after {_count(plan.warmups, 'warm-up')}",
        f"protocol {report.header.protocol_version}",
        f"measured {report.header.created_utc}",
        unfinished_words(report),
    ]
    return ", ".join(filter(None, parts))


def report_title(label: str, report: Report) -> str:
    """Return the label of a report among others, and the name of one that is alone."""
    return label or report.source or report.header.report_id


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _row(
    report: Report, where: dict[str, str], cell: Cell, *, beyond: float, tariff: float | None
) -> dict[str, Value]:
    """Return the row of a cell that is so far beyond the line of its steps, 0 where it is on it."""
    request, summary = cell.request, summarise(cell)
    fit = fit_verdict(cell, report.header, slow=beyond > 0)
    return {
        **where,
        **work_columns(request),
        "speed": _speed(cell),
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
        "status": cell.status,
        "message": cell.message,
        **_figures(summary),
        "warnings": "; ".join(
            [*(summary.warnings if summary else cell.labels), *_off_line_words(beyond)]
        ),
        **cost_of(cell, summary, tariff).model_dump(),
        "energy_method": cell.energy and cell.energy.method,
        "energy_scope": cell.energy and cell.energy.scope,
        "fit": fit.verdict,
        "fit_reason": fit.reason,
        **_both_speeds(cell),
        **quality_row(cell.quality),
        "labels": ", ".join(cell.labels),
        "others_cpu_percent": cell.others and cell.others.cpu_percent,
        "stop_reason": cell.stop_reason,
        "extrapolation_rule": cell.extrapolation and cell.extrapolation.rule,
        "load_s": cell.load_s,
        "first_call_s": cell.first_call_s,
        "compile_s": cell.compile_s,
        **{
            field: getattr(cell.memory, field)
            for field in Memory.model_fields
            if field != "missing"
        },
        "not_measured": _not_measured(cell),
        "prompt": request.text if isinstance(request, VoiceRequest) else request.prompt,
        "order": cell.order,
        "started_utc": cell.started_utc,
        "protocol_version": report.header.protocol_version,
        "torch_version": report.header.software.torch,
        "cell_id": cell.cell_id,
    }


def _off_line_words(beyond: float) -> list[str]:
    how = "slower" if beyond > 0 else "faster"
    return [f"{how} than the line of its steps by over {OFF_LINE_ABOVE:.0%}"] if beyond else []


def _speed(cell: Cell) -> str | float:
    """Return the speed asked for, and of "auto" what it came to; of speech how fast it is."""
    if not isinstance(cell.request, ImageRequest):
        return cell.request.speed
    asked = str(cell.request.speed)
    return f"auto: {cell.speed}" if asked == "auto" and cell.speed else asked


def _figures(summary: Summary | None) -> dict[str, Value]:
    """Return the statistics of a cell as columns, all of them `None` where there are none."""
    values = summary.model_dump() if summary else {}
    interval, stages = values.get("interval_s") or {}, values.get("stages") or {}
    plain = set(Summary.model_fields) - {"n", "interval_s", "stages", "warnings"}
    return {
        "repeats": values.get("n"),
        **{field: values.get(field) for field in Summary.model_fields if field in plain},
        "interval_low_s": interval.get("low"),
        "interval_high_s": interval.get("high"),
        "interval_confidence": interval.get("confidence"),
        **{field: stages.get(field) for field in (*Stages.model_fields, *VoiceStages.model_fields)},
    }


def _both_speeds(cell: Cell) -> dict[str, Value]:
    """Return the seconds of a call in the first minute and in the last third of a long run."""
    found, _ = burst_and_sustained(cell)
    return {
        "burst_s": found.burst_s if found else None,
        "sustained_s": found.sustained_s if found else None,
    }


def _not_measured(cell: Cell) -> str:
    """Return what has no figure as "column, column: reason | column: reason", a reason once.

    No reason holds a bar, so it can be split at it.
    """
    _, one_speed = burst_and_sustained(cell)
    missing = {**cell.memory.missing, **cell.missing}
    if "energy" in missing:  # the cell's reading, of which the net energy is the one column
        missing["net_energy_j"] = missing.pop("energy")
    if one_speed:
        missing |= dict.fromkeys(("burst_s", "sustained_s"), one_speed)
    if cell.others and "cpu_percent" in cell.others.missing:
        missing["others_cpu_percent"] = cell.others.missing["cpu_percent"]
    reasons = {name: " ".join(why.replace("|", "/").split()) for name, why in missing.items()}
    told = by_reason(reasons).items()
    return " | ".join(f"{', '.join(names)}: {why}" for why, names in told)


def _csv_value(value: Value) -> Value:
    """Return a value as a spreadsheet may safely open it. Numbers stay numbers."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")  # a lone return ends no line
    return f"'{value}" if value.lstrip(" ").startswith(FORMULA_STARTS) else value
