"""The commands about the machine: hardware, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from diffusion_bench.hardware.doctor import Finding
    from diffusion_bench.hardware.sampler import Sampler
    from diffusion_bench.hardware.sensors import Sensor
    from diffusion_bench.records import Reading
    from diffusion_bench.reports.findings import ReportFinding

UNKNOWN = "cannot tell"


def hardware(
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it; Ctrl-C ends.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON line a reading.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between readings.", min=0.01)] = 1.0,
) -> None:
    """Show the machine and what it is doing now.

    diffusion-bench hardware

    diffusion-bench hardware --watch

    diffusion-bench hardware --json --watch --interval 0.5 | head -3
    """
    from contextlib import closing

    from diffusion_bench.hardware.sampler import Sampler
    from diffusion_bench.hardware.sensors import open_sensor

    with closing(open_sensor()) as sensor:
        sampler = Sampler(sensor)
        sampler.look()  # processor use is counted between two looks
        if json:
            _print_lines(sampler, interval, watch=watch)
        else:
            _show(sensor, sampler, interval, watch=watch)


def doctor(
    reports: Annotated[
        list[Path] | None, typer.Argument(help="Reports to examine; the machine if none is named.")
    ] = None,
) -> None:
    """Examine the machine and say what to mend, or say whether reports can be believed.

    diffusion-bench doctor

    diffusion-bench doctor friend.jsonl
    """
    found = _examine_reports(reports) if reports else _examine_machine()
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)


def _examine_machine() -> Sequence[Finding]:
    from contextlib import closing

    from diffusion_bench.hardware.doctor import examine
    from diffusion_bench.hardware.facts import gather_facts
    from diffusion_bench.hardware.sensors import open_sensor

    with closing(open_sensor()) as sensor:
        findings = examine(gather_facts(sensor))
    _print_findings(findings)
    return findings


def _examine_reports(paths: Sequence[Path]) -> Sequence[ReportFinding]:
    from diffusion_bench.reports.doctor import examine_report
    from diffusion_bench.reports.read import read_report

    found = []
    for path in paths:
        findings = examine_report(read_report(path))
        if len(paths) > 1:
            typer.echo(f"{path}:")
        _print_findings(findings)
        found += findings
    return found


def _print_findings(findings: Sequence[Finding] | Sequence[ReportFinding]) -> None:
    from rich.console import Console

    console = Console()
    for finding in findings:
        console.print(f"{finding.level}: {finding.title}", markup=False, soft_wrap=True)
        for line in filter(None, (finding.detail, finding.advice)):
            console.print(f"    {line}", markup=False, soft_wrap=True)


def _print_lines(sampler: Sampler, interval: float, *, watch: bool) -> None:
    while True:
        typer.echo(_wait_for_reading(sampler, interval).model_dump_json())
        if not watch:
            return


def _show(sensor: Sensor, sampler: Sampler, interval: float, *, watch: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from diffusion_bench.hardware.machine import describe_machine

    console = Console()
    machine = describe_machine(sensor)
    console.print(
        f"{machine.cpu}, {machine.cores_logical} threads, "
        f"{machine.ram_mib / 1024:.1f} GiB RAM, {machine.os}",
        markup=False,
    )
    if machine.no_gpu:
        console.print(f"no NVIDIA GPU: {machine.no_gpu}", markup=False)
    if not watch:
        console.print(_table(_wait_for_reading(sampler, min(interval, 0.2))))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_table(_wait_for_reading(sampler, interval)), refresh=True)


def _wait_for_reading(sampler: Sampler, interval: float) -> Reading:
    import time

    time.sleep(interval)
    return sampler.look()


def _table(reading: Reading) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("what", "now"):
        table.add_column(name)
    host = reading.host
    table.add_row("CPU", _with_unit(host.cpu_percent, "%"))
    table.add_row("RAM used", _share(host.ram_used_mib, host.ram_total_mib))
    for gpu in reading.gpus:
        label = f"GPU {gpu.index} {gpu.name or ''}".strip()
        table.add_section()
        table.add_row(label, _with_unit(gpu.utilization_percent, "%"))
        table.add_row("memory used", _share(gpu.memory_used_mib, gpu.memory_total_mib))
        table.add_row("power", _with_unit(gpu.power_w, "W"))
        table.add_row("temperature", _with_unit(gpu.temperature_c, "°C"))
        table.add_row("SM clock", _with_unit(gpu.sm_clock_mhz, "MHz"))
        table.add_row("memory clock", _with_unit(gpu.memory_clock_mhz, "MHz"))
        table.add_row("clocks lowered by", _reasons(gpu.throttle_reasons))
        for name, reason in gpu.missing.items():
            table.add_row(f"no {name}", reason)
    return table


def _with_unit(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:.0f} {unit}"


def _reasons(names: tuple[str, ...] | None) -> str:
    return UNKNOWN if names is None else ", ".join(names) or "nothing"


def _share(used_mib: float | None, total_mib: float | None) -> str:
    if used_mib is None:
        return UNKNOWN
    total = "" if total_mib is None else f" of {total_mib / 1024:.1f}"
    return f"{used_mib / 1024:.1f}{total} GiB"
