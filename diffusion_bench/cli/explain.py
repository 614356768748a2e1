"""The command that says why a cell took as long as it did: explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli.report_tables import tell_notes
from diffusion_bench.cli.tables import printable
from diffusion_bench.records.figures import figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffusion_bench.reports.schema import Cell, Report, SharedCell
    from diffusion_bench.reports.stage_readings import Seen


FIELDS = {
    "peak_memory_mib": "memory",
    "mean_memory_mib": "memory",
    "utilization_percent": "utilisation",
    "power_w": "power",
    "energy_j": "energy",
}


def explain(
    reports: Annotated[list[Path], typer.Argument(help="Reports whose cells to explain.")],
    steps: Annotated[
        bool, typer.Option("--steps", help="Also what each single step used.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a cell.")] = False,
) -> None:
    """Say of each cell what held it back, with the evidence, and what its stages used.

    diffusion-bench explain quick.jsonl

    diffusion-bench explain mine.jsonl friend.jsonl --json
    """
    from diffusion_bench.reports.read import read_report

    for report in [read_report(path) for path in reports]:
        tell_notes([report])
        for line in _json_lines(report) if as_json else _word_lines(report, steps):
            typer.echo(line)


def _json_lines(report: Report) -> Iterator[str]:
    for cell in report.cells:
        yield _as_json(cell, report)
    for shared in report.shared:
        yield _shared_json(shared, report)


def _word_lines(report: Report, steps: bool) -> Iterator[str]:
    from diffusion_bench.reports.labels import name_among
    from diffusion_bench.reports.shared import name_whole

    yield printable(f"{report.source}: {len(report.measured)} cells")
    name, name_of_shared = name_among([cell.request for cell in report.cells]), name_whole([report])
    for cell in report.cells:
        yield printable(_as_words(cell, report, name(cell.request), steps))
    for shared in report.shared:
        yield printable(_shared_words(shared, report, name_of_shared(shared)))


def _as_json(cell: Cell, report: Report) -> str:
    import json

    from diffusion_bench.charts.held_back import held_back
    from diffusion_bench.charts.reached import reached
    from diffusion_bench.reports.stage_readings import cut_trace

    point, no_point = reached(cell, report)
    return json.dumps(
        {
            "report": report.source,
            "cell_id": cell.cell_id,
            "request": cell.request.model_dump(mode="json"),
            **held_back(cell, report).model_dump(),
            "reached": point and point._asdict(),
            "not_reached": no_point or None,
            "trace": cut_trace(cell, report.header).model_dump(),
        },
        allow_nan=False,
    )


def _as_words(cell: Cell, report: Report, name: str, steps: bool) -> str:
    from diffusion_bench.charts.held_back import held_back
    from diffusion_bench.reports.stage_readings import cut_trace

    found, cut = held_back(cell, report), cut_trace(cell, report.header)
    lines = [name, f"  {found.verdict}: {found.evidence}"]
    if cut.reason and cell.samples:
        lines.append(f"  stages: {cut.reason}")
    parts = [*cut.stages, *((cut.a_step,) if cut.a_step else ())]
    parts += cut.steps if steps else ()
    lines += [f"  {part.title}: {used(part)}" for part in parts]
    if cell.extrapolation and (whole := whole_call(cell)):
        lines.append(f"  a whole call, extrapolated: {whole}")
    if parts and cut.readings_of:
        lines.append(
            f"  seconds are the median of all calls; the readings are of {cut.readings_of}"
        )
    if steps and cut.no_steps:
        lines.append(f"  {cut.no_steps}")
    lines += [f"  not told: {why}" for why in unsaid(parts)]
    return "\n".join(lines)


def _shared_json(cell: SharedCell, report: Report) -> str:
    import json

    from diffusion_bench.charts.held_back import held_back_together

    return json.dumps(
        {
            "report": report.source,
            "cell_id": cell.cell_id,
            "request": cell.request.model_dump(mode="json"),
            "share": cell.share,
            "devices": [job.device for job in cell.jobs],
            **held_back_together(cell, report).model_dump(),
        },
        allow_nan=False,
    )


def _shared_words(cell: SharedCell, report: Report, name: str) -> str:
    from diffusion_bench.charts.held_back import held_back_together

    found = held_back_together(cell, report)
    return f"{name}\n  {found.verdict}: {found.evidence}"


def used(part: Seen) -> str:
    """Return what a stage or step used, in one line."""
    words = [_time(part.seconds)]
    if part.peak_memory_mib is not None:
        words.append(
            f"{part.memory_of} memory peak {part.peak_memory_mib:.0f}, "
            f"mean {part.mean_memory_mib:.0f} MiB"
        )
    if part.utilization_percent is not None:
        device = "GPU" if part.memory_of == "GPU" else "processor"
        words.append(f"{device} {part.utilization_percent:.0f} % busy")
    if part.power_w is not None:
        error = "" if part.energy_error_j is None else f" ± {figure(part.energy_error_j, 2)}"
        words.append(f"{part.power_w:.0f} W, {figure(part.energy_j, 3)}{error} J")
    return ", ".join(words)


def whole_call(cell: Cell) -> str:
    """Return what one call takes in all, as `compare` tells it; empty where nothing was timed."""
    from diffusion_bench.reports.stats import summarise

    found = summarise(cell)
    if found is None:
        return ""
    energy = "" if found.energy_j is None else f", {figure(found.energy_j, 3)} J"
    return _time(found.median_s) + energy


def _time(seconds: float) -> str:
    return f"{figure(seconds, 3)} s" if seconds >= 1 else f"{figure(1000 * seconds, 3)} ms"


def unsaid(parts: Sequence[Seen]) -> list[str]:
    """Return why figures are missing, each reason once with the figures and parts it is of."""
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for part in parts:
        for field, why in part.missing.items():
            names, fields = found.setdefault(why, ({}, {}))
            names[part.title], fields[FIELDS[field]] = None, None
    return [
        f"{', '.join(fields)} of {', '.join(names)}: {why}"
        for why, (names, fields) in found.items()
    ]
