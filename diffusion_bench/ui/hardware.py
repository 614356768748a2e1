"""The tab *Hardware*: what the machine is, and what it is doing now.

One sampler reads the machine for all viewers. A tick of a page hands out what was made of the
newest reading; it is made once, whoever asks first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from diffusion_bench.hardware.machine import (
    MachineInfo,
    SoftwareInfo,
    describe_machine,
    describe_software,
)
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.records import GpuReading, Reading
from diffusion_bench.ui.figures import Table, to_table

TICK_S = 2.0
SHOWN_S = 180.0
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}

HOST = (
    ("CPU", "%", lambda host: host.cpu_percent),
    ("memory in use", "GiB", lambda host: host.ram_used_mib and host.ram_used_mib / 1024),
)
GPU: tuple[tuple[str, str, Callable[[GpuReading], float | None]], ...] = (
    ("GPU", "%", lambda gpu: gpu.utilization_percent),
    ("GPU memory", "MiB", lambda gpu: gpu.memory_used_mib),
    ("GPU power", "W", lambda gpu: gpu.power_w),
    ("GPU temperature", "°C", lambda gpu: gpu.temperature_c),
)


class Snapshot(NamedTuple):
    """The newest reading as a table, and the last minutes as a figure."""

    figure: Any
    table: Table


class Machine:
    """What the page shows of this machine."""

    def __init__(self, sensor: Sensor, sampler: Sampler) -> None:
        self._sensor = sensor
        self._sampler = sampler
        self._lock = threading.Lock()
        self._made_of: Reading | None = None
        self._snapshot: Snapshot | None = None
        self._info: MachineInfo | None = None

    def info(self) -> MachineInfo:
        """Return what the machine is made of; it is asked once."""
        with self._lock:
            if self._info is None:
                self._info = describe_machine(self._sensor)
            return self._info

    def card(self) -> str:
        """Return what the machine is made of, a line a part, to copy into a report or an issue."""
        return describe(self.info(), describe_software())

    def snapshot(self) -> Snapshot | None:
        """Return what the newest reading says, `None` before the first."""
        with self._lock:
            latest = self._sampler.latest()
            if latest is not None and latest is not self._made_of:
                self._made_of = latest
                readings = self._sampler.between(latest.at_s - SHOWN_S, latest.at_s)
                self._snapshot = Snapshot(draw(readings), now_table(latest))
            return self._snapshot


def describe(machine: MachineInfo, software: SoftwareInfo) -> str:
    """Return the machine and its software as lines of text."""
    cores = f"{machine.cores_physical or 'unknown'} cores, {machine.cores_logical} threads"
    lines = [
        f"CPU: {machine.cpu} ({cores})",
        f"Memory: {machine.ram_mib / 1024:.1f} GiB",
        f"System: {machine.os}, {machine.architecture}",
    ]
    for gpu in machine.gpus:
        memory = f"{gpu.memory_total_mib:.0f} MiB" if gpu.memory_total_mib else "memory unknown"
        driver = f"driver {gpu.driver}" if gpu.driver else "driver unknown"
        lines.append(f"GPU {gpu.index}: {gpu.name or 'unknown'}, {memory}, {driver}")
    if not machine.gpus:
        lines.append(f"no NVIDIA GPU: {machine.no_gpu}")
    built = f" for CUDA {software.cuda}" if software.cuda else " without CUDA"
    lines.append(
        f"Python {software.python}, torch {software.torch or 'not installed'}{built}, "
        f"diffusers {software.diffusers or 'not installed'}"
    )
    return "\n".join(lines)


def now_table(reading: Reading) -> Table:
    """Return every quantity of one reading, or why there is none."""
    host = reading.host
    total = f" of {host.ram_total_mib / 1024:.1f}" if host.ram_total_mib else ""
    rows: list[list[Any]] = [
        ["CPU", _value(host.cpu_percent, "%", host.missing.get("cpu_percent"))],
        ["CPU clock", _value(host.cpu_clock_mhz, "MHz", host.missing.get("cpu_clock_mhz"))],
        [
            "memory in use",
            _value(
                host.ram_used_mib and host.ram_used_mib / 1024,
                f"{total} GiB",
                host.missing.get("ram_used_mib"),
            ),
        ],
    ]
    for gpu in reading.gpus:
        rows += _gpu_rows(gpu)
    if not reading.gpus:
        rows.append(["GPU", "no NVIDIA GPU; the reason is above"])
    return to_table(["quantity", "now"], rows)


def _gpu_rows(gpu: GpuReading) -> list[list[Any]]:
    name, why = f"GPU {gpu.index}", gpu.missing
    total = f" of {gpu.memory_total_mib:.0f}" if gpu.memory_total_mib else ""
    limit = f" of {gpu.power_limit_w:.0f}" if gpu.power_limit_w else ""
    return [
        [name, gpu.name or why.get("name", "unknown")],
        [f"{name} use", _value(gpu.utilization_percent, "%", why.get("utilization_percent"))],
        [f"{name} memory", _value(gpu.memory_used_mib, f"{total} MiB", why.get("memory_used_mib"))],
        [f"{name} power", _value(gpu.power_w, f"{limit} W", why.get("power_w"))],
        [f"{name} temperature", _value(gpu.temperature_c, "°C", why.get("temperature_c"))],
        [f"{name} clock", _value(gpu.sm_clock_mhz, "MHz", why.get("sm_clock_mhz"))],
        [f"{name} memory clock", _value(gpu.memory_clock_mhz, "MHz", why.get("memory_clock_mhz"))],
    ]


def _value(value: float | None, unit: str, missing: str | None) -> str:
    if value is None:
        return f"cannot tell: {missing or 'no reason given'}"
    space = "" if unit.startswith((" ", "%")) else " "
    return f"{value:.1f}{space}{unit}" if value < 1000 else f"{value:.0f}{space}{unit}"


def draw(readings: Sequence[Reading]) -> Any:
    """Return the readings as panels over time, counted back from the newest."""
    from diffusion_bench.charts.trace import TraceLine, TracePanel, trace_figure

    at_s = tuple(reading.at_s - readings[-1].at_s for reading in readings)
    panels = [
        TracePanel(title, unit, (TraceLine("", at_s, tuple(read(r.host) for r in readings)),), "")
        for title, unit, read in HOST
    ]
    indexes = sorted({gpu.index for reading in readings for gpu in reading.gpus})
    for title, unit, read in GPU:
        lines = tuple(
            TraceLine(f"GPU {index}", at_s, _column(readings, index, read)) for index in indexes
        )
        if lines:
            panels.append(TracePanel(title, unit, lines, ""))
    figure = trace_figure(panels)
    figure.update_traces(mode="lines")
    figure.update_layout(uirevision="live")  # a zoom outlives the next reading
    return figure


def _column(
    readings: Sequence[Reading], index: int, read: Callable[[GpuReading], float | None]
) -> tuple[float | None, ...]:
    found = []
    for reading in readings:
        gpu = next((gpu for gpu in reading.gpus if gpu.index == index), None)
        found.append(read(gpu) if gpu else None)
    return tuple(found)


def build(machine: Machine, page: gr.Blocks) -> gr.Timer:
    """Lay out the tab and wire it; the timer returned ticks while the tab is looked at."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            card = gr.Textbox(
                label="This machine",
                interactive=False,
                lines=6,
                max_lines=20,
                buttons=["copy"],
                elem_id="hardware-card",
            )
            now = gr.Dataframe(
                headers=["quantity", "now"],
                label="Now",
                interactive=False,
                wrap=True,
                column_widths=["45%", "55%"],
                elem_id="hardware-now",
            )
        with gr.Column(scale=6, min_width=300):
            gr.Markdown("### The last three minutes")
            plot = gr.Plot(show_label=False, elem_id="hardware-plot")
    timer = gr.Timer(TICK_S, active=False)

    def on_tick() -> tuple[Any, Any]:
        snapshot = machine.snapshot()
        return (gr.skip(), gr.skip()) if snapshot is None else snapshot

    timer.tick(on_tick, None, [plot, now], **HIDDEN)
    page.load(machine.card, None, card, **HIDDEN)
    return timer
