"""The commands that measure and compare: sweep, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from rich.console import Console

    from diffusion_bench.bench.runner import Progress
    from diffusion_bench.reports.schema import Report

COLUMNS = {
    "model": "model",
    "sampler": "sampler",
    "steps": "steps",
    "resolution": "size",
    "batch": "batch",
    "status": "status",
    "median_s": "median s",
    "iqr_s": "IQR s",
    "images_per_s": "images/s",
    "steps_per_s": "steps/s",
    "energy_j": "energy J",
    "nvml_used_mib": "GPU MiB",
    "rss_mib": "RSS MiB",
    "message": "message",
}

OFTEN_EQUAL = ("model", "status")
PIPE_WIDTH = 160


def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep to run, a TOML file of axes.")],
    out: Annotated[
        Path | None, typer.Option(help="The report to write; named after the sweep if not given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out: skip the cells it already has.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="As for generate.")] = None,
) -> None:
    """Measure a sweep, cell by cell, into a report.

    diffusion-bench sweep benchmarks/quick.toml --out quick.jsonl

    diffusion-bench sweep benchmarks/ddpm_vs_ddim.toml --out mine.jsonl --resume
    """
    from diffusion_bench.bench.runner import run_sweep
    from diffusion_bench.bench.sweep import read_sweep
    from diffusion_bench.reports.read import read_report

    plan = read_sweep(file)
    path = out or Path(f"{file.stem}.jsonl")
    if resume and not path.exists():  # a run may be killed before its first line
        typer.echo(f"note: there is no report {path} yet; starting it", err=True)
    _watch(run_sweep(plan, path, resume=resume, device=device))
    report = read_report(path)
    _print_reports([report])
    typer.echo(f"report: {path}")


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports to put side by side.")],
    html: Annotated[
        Path | None, typer.Option(help="Also write charts and tables, one HTML file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write one row a cell as CSV.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write tables as Markdown.")] = None,
) -> None:
    """Show one report, or compare several cell by cell.

    diffusion-bench compare quick.jsonl

    diffusion-bench compare mine.jsonl friend.jsonl --html both.html --csv both.csv
    """
    from diffusion_bench.reports.export import to_csv, to_markdown
    from diffusion_bench.reports.read import read_report

    opened = [read_report(path) for path in reports]
    _print_reports(opened)
    if len(opened) > 1:
        _print_verdicts(opened)
    if csv is not None:
        _write(csv, to_csv(opened))
    if markdown is not None:
        _write(markdown, to_markdown(opened))
    if html is not None:
        from diffusion_bench.charts.page import to_html

        _write(html, to_html(opened))


def _watch(events: Generator[Progress]) -> None:
    """Show a run's progress until it ends; the run ends with its worker if this is interrupted."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(stderr=True)
    # In a pipe rich would draw no bar and end it with an empty line.
    screen = console if console.is_terminal else Console(quiet=True)
    with closing(events), Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("starting the worker", total=None, left="")
        for event in events:
            bar.update(
                task,
                total=event.num_cells or None,
                completed=event.num_done,
                description=describe(event),
                left=time_left(event.remaining_s),
            )
            if event.cell is not None and event.cell.status != "ok":
                console.print(f"{event.cell.status}: {event.cell.message}", markup=False)


def describe(event: Progress) -> str:
    """Return in a few words what a run is at."""
    from diffusion_bench.bench.wording import name_request

    if event.kind in ("done", "waiting"):
        return {"done": "done", "waiting": "waiting for the device"}[event.kind]
    if event.request is None:
        return "starting"
    repeat = f", repeat {event.repeat} done" if event.repeat else ""
    return name_request(event.request) + repeat


def time_left(remaining_s: float | None) -> str:
    """Return the time left in words, or nothing while it is not known."""
    from diffusion_bench.bench.wording import in_words

    return "" if remaining_s is None else f"about {in_words(remaining_s)} left"


def _print_reports(reports: list[Report]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from diffusion_bench.reports.export import describe as describe_report
    from diffusion_bench.reports.export import to_rows

    console = _console()
    for report in reports:
        for note in report.notes:
            typer.echo(f"note: {report.source}: {note}", err=True)
        console.print(f"{report.source}: {describe_report(report)}", markup=False)
        rows = to_rows([report])
        shown = [name for name in COLUMNS if _is_worth_showing(name, rows)]
        table = Table(*(COLUMNS[name] for name in shown))
        for row in rows:
            table.add_row(*(escape(_figure(row[name])) for name in shown))
        console.print(table)


def _console() -> Console:
    from rich.console import Console

    # A pipe has no width; cutting columns to 80 characters would lose figures.
    return Console() if Console().is_terminal else Console(width=PIPE_WIDTH)


def _is_worth_showing(column: str, rows: Sequence[Mapping[str, object]]) -> bool:
    values = {row[column] for row in rows}
    return len(values) > 1 if column in OFTEN_EQUAL else bool(values - {None, ""})


def _figure(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_verdicts(reports: list[Report]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from diffusion_bench.bench.wording import name_request
    from diffusion_bench.reports.compare import compare as compare_reports

    table = Table("workload", "baseline", "other", "verdict", "ratio of times", "why")
    for row in compare_reports(reports):
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells = (name_request(row.request), row.baseline, row.other, row.verdict, ratio, row.reason)
        table.add_row(*map(escape, cells))
    _console().print(table)


def _write(path: Path, text: str) -> None:
    from diffusion_bench.reports.whole_file import write_whole

    write_whole(path, text.encode())
    typer.echo(f"wrote {path}")
