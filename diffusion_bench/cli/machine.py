"""The commands about the machine: hardware, doctor."""

from __future__ import annotations

from collections import deque
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli.telling import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from rich.console import Console

    from diffusion_bench.hardware.sampler import Sampler
    from diffusion_bench.hardware.sensors import Sensor
    from diffusion_bench.records import Finding, Reading

    Say = Callable[[Sequence[Finding], Path | None, str | None], None]


def hardware(
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep showing it, with the last minutes; Ctrl-C ends.")
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A JSON line a reading; one, or with --watch or --prometheus a stream. at_utc is "
            "when; at_s are seconds of a clock that nobody sets, to take differences of.",
        ),
    ] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between readings.", min=0.01, max=3600)
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option(help="End after so many readings; implies --watch.", min=1)
    ] = None,
    prometheus: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Serve the readings to Prometheus at 127.0.0.1; 0 takes a free port.",
            min=0,
            max=65535,
        ),
    ] = None,
) -> None:
    """Show the machine and what it is doing now.

    diffusion-bench hardware

    diffusion-bench hardware --watch

    diffusion-bench hardware --watch --json --interval 0.5 | head -3

    diffusion-bench hardware --prometheus 9400
    """
    from contextlib import ExitStack, closing

    from diffusion_bench.cli.watching import paced, print_json, show_live
    from diffusion_bench.hardware.sampler import Sampler
    from diffusion_bench.hardware.sensors import open_sensor

    watch = watch or count is not None
    with ExitStack() as stack:
        sensor = stack.enter_context(closing(open_sensor()))
        sampler = Sampler(sensor, keep=1)
        if prometheus is not None:
            _serve_metrics(stack, sampler, prometheus)
        endless = watch or prometheus is not None
        readings = paced(sampler, interval, count if endless else 1)
        if json:
            print_json(readings)
        elif watch or prometheus is None:
            _show(sensor, readings, show_live if watch else None)
        else:
            deque(readings, maxlen=0)


def _serve_metrics(stack: ExitStack, sampler: Sampler, port: int) -> None:
    from diffusion_bench.hardware.metrics import serving_metrics

    address = stack.enter_context(serving_metrics(sampler.latest, port))
    tell(f"Metrics are at {address}")  # the output may be JSON lines


def doctor(
    reports: Annotated[
        list[Path] | None, typer.Argument(help="Reports to examine; the machine if none is named.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON line a finding.")] = False,
) -> None:
    """Examine the machine and say what to mend, or say whether reports can be believed.

    Ends with 0 where there is no problem (warnings and notes may be), 1 where there is one, and 2
    where it could not examine, as for a report that is not there.

    diffusion-bench doctor

    diffusion-bench doctor friend.jsonl

    diffusion-bench doctor --json | jq 'select(.level == "problem")'
    """
    say = _print_json_findings if json else _print_findings
    found = _examine_reports(reports, say) if reports else _examine_machine(say)
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)


def _examine_machine(say: Say) -> Sequence[Finding]:
    from contextlib import closing

    from diffusion_bench.hardware.doctor import examine
    from diffusion_bench.hardware.facts import gather_facts
    from diffusion_bench.hardware.sensors import open_sensor

    with closing(open_sensor()) as sensor:
        findings = examine(gather_facts(sensor))
    say(findings, None, None)
    return findings


def _examine_reports(paths: Sequence[Path], say: Say) -> Sequence[Finding]:
    from contextlib import closing

    from diffusion_bench.charts.measured_here import was_measured_on
    from diffusion_bench.hardware.machine import describe_machine
    from diffusion_bench.hardware.sensors import open_sensor
    from diffusion_bench.reports.doctor import examine_report
    from diffusion_bench.reports.read import read_report

    with closing(open_sensor()) as sensor:
        here = describe_machine(sensor)
    found = []
    for path in paths:
        report = read_report(path)
        findings = examine_report(report, imported=not was_measured_on(here, report))
        say(findings, path, f"{path}:" if len(paths) > 1 else None)
        found += findings
    return found


def _print_findings(findings: Sequence[Finding], path: Path | None, heading: str | None) -> None:
    from diffusion_bench.cli.tables import printable, table_console

    if heading:
        typer.echo(printable(heading))
    console = table_console()
    for finding in findings:
        console.print(f"{finding.level}: {finding.title}", markup=False, soft_wrap=True)
        for line in filter(None, (finding.detail, finding.advice)):
            console.print(f"    {line}", markup=False, soft_wrap=True)


def _print_json_findings(
    findings: Sequence[Finding], path: Path | None, heading: str | None
) -> None:
    """Print each finding with the report that it is about, `null` for the machine."""
    for finding in findings:
        about = {"report": None if path is None else str(path)}
        typer.echo(dumps(about | finding.model_dump(mode="json")))


def _show(
    sensor: Sensor,
    readings: Iterator[Reading],
    show_live: Callable[[Iterator[Reading], Console], None] | None,
) -> None:
    from rich.console import Console

    from diffusion_bench.cli.machine_table import machine_table
    from diffusion_bench.hardware.machine import describe_machine, describe_software
    from diffusion_bench.hardware.machine_card import machine_card

    console = Console()
    card = machine_card(describe_machine(sensor), describe_software())
    console.print(card, markup=False, soft_wrap=True)
    if show_live is None:
        console.print(machine_table(list(readings), history=False))
    else:
        show_live(readings, console)
