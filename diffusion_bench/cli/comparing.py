"""The command that shows and compares reports: compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli.refusals import HTML, refuse_over, refuse_unwritable
from diffusion_bench.cli.report_tables import print_reports, print_verdicts, tell_notes
from diffusion_bench.whole_file import is_standard_output

if TYPE_CHECKING:
    from diffusion_bench.reports.schema import Report

ENDINGS = {
    "--csv": (".csv",),
    "--markdown": (".md", ".markdown"),
    "--html": HTML,
}


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports to put side by side.")],
    html: Annotated[
        Path | None, typer.Option(help="Also write charts and tables, one HTML file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write one row a cell as CSV.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write tables as Markdown.")] = None,
    tariff: Annotated[
        float | None,
        typer.Option(help="Price of a kWh, to show what 1000 images cost."),
    ] = None,
) -> None:
    """Show one report, or compare several cell by cell.

    diffusion-bench compare quick.jsonl

    diffusion-bench compare mine.jsonl friend.jsonl --html both.html --csv both.csv

    diffusion-bench compare mine.jsonl --tariff 0.30
    """
    from diffusion_bench.reports.read import read_report

    outputs = {"--csv": csv, "--markdown": markdown, "--html": html}
    _refuse_own_files(reports, outputs)
    opened = [read_report(path) for path in reports]
    _write_files(opened, outputs, tariff)  # first: who reads the tables may leave, as `head` does
    if any(is_standard_output(path) for path in outputs.values() if path):
        tell_notes(opened)  # tables would be taken for a part of the file
        return
    print_reports(opened, tariff)
    if len(opened) > 1:
        print_verdicts(opened)
    for path in filter(None, outputs.values()):
        typer.echo(f"wrote {path}")


def _refuse_own_files(reports: list[Path], outputs: dict[str, Path | None]) -> None:
    """Raise ValueError if an output, by its option, is a report that is read or another output.

    Also for one that cannot be written.
    """
    taken = {f"the report {path}": path for path in reports}
    for option, path in outputs.items():
        if path is not None:
            refuse_over([path], taken, option=option)
            taken[f"the file of {option}"] = path
    for option, path in outputs.items():
        if path is not None:
            refuse_unwritable(option, path, ENDINGS[option])


def _write_files(
    reports: list[Report], outputs: dict[str, Path | None], tariff: float | None
) -> None:
    """Write the reports to the file of each option that names one."""
    from diffusion_bench.charts.held_back import in_words
    from diffusion_bench.reports.export import to_csv
    from diffusion_bench.reports.markdown import to_markdown
    from diffusion_bench.whole_file import write_whole

    for option, path in outputs.items():
        if path is None:
            continue
        if option == "--html":
            from diffusion_bench.charts.page import to_html

            text = to_html(reports, tariff=tariff)
        else:
            export = to_csv if option == "--csv" else to_markdown
            text = export(reports, tariff=tariff, explain=in_words)
        write_whole(path, text.encode())
