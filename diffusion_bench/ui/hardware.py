"""The tab *Hardware*: what the machine is, and what it is doing now.

One sampler reads the machine for all viewers. What a page shows is made once a reading, whoever
asks first, down to the text that is sent: twenty viewers cost the machine what one does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from diffusion_bench.hardware.machine import (
    MachineInfo,
    SoftwareInfo,
    describe_machine,
    describe_software,
)
from diffusion_bench.hardware.machine_card import machine_card
from diffusion_bench.hardware.quantities import Shown, gpu_rows, gpu_title, host_rows, spread
from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.hardware.shared_sampler import SharedSampler
from diffusion_bench.records import Reading
from diffusion_bench.ui.events import HIDDEN
from diffusion_bench.ui.figures import Table, to_table
from diffusion_bench.ui.readouts import readout

TICK_S = 2.0
SHOWN_S = 180.0
HEADERS = ["quantity", "now", "last 3 minutes"]


class Snapshot(NamedTuple):
    """The host's charts, the GPUs' charts, and the newest reading as a table; ready to be sent."""

    host: Any
    gpus: Any
    table: Table


class Machine:
    """What the page shows of this machine."""

    def __init__(self, sensor: Sensor, sampler: SharedSampler) -> None:
        self._sensor = sensor
        self._sampler = sampler
        self._lock = threading.Lock()
        self._made_of: Reading | None = None
        self._snapshot: Snapshot | None = None
        self._info: MachineInfo | None = None
        self._software: SoftwareInfo | None = None

    def info(self) -> MachineInfo:
        """Return what the machine is made of; it is asked once."""
        with self._lock:
            if self._info is None:
                self._info = describe_machine(self._sensor)
            return self._info

    def has_gpus(self) -> bool:
        """Return whether there is a GPU to show, or was one just now."""
        latest = self._sampler.latest()
        return bool(self.info().gpus or (latest and latest.gpus))

    def card(self) -> str:
        """Return what the machine is made of, a line a part, to copy into a report or an issue."""
        info = self.info()
        with self._lock:
            if self._software is None:
                self._software = describe_software()
            return machine_card(info, self._software)

    def snapshot(self) -> Snapshot | None:
        """Return what the newest reading says, `None` before the first; keeps the sampler going."""
        self._sampler.renew()
        with self._lock:
            latest = self._sampler.latest()
            if latest is not None and latest is not self._made_of:
                readings = self._sampler.last(SHOWN_S)
                self._snapshot = render(readings, self._sampler.interval_s)
                self._made_of = latest
            return self._snapshot


def render(readings: Sequence[Reading], interval_s: float) -> Snapshot:
    """Return the readings, one a pace of `interval_s`, as what the page is sent."""
    from diffusion_bench.charts.live import gpu_numbers, host_numbers, live_figure

    host = live_figure(host_numbers(readings, interval_s))
    gpus = live_figure(gpu_numbers(readings, interval_s), none_because=_no_gpu(readings[-1]))
    return Snapshot(_sent(host), _sent(gpus), now_table(readings))


def _sent(figure: Any) -> Any:
    """Return a figure as gr.Plot sends it, which otherwise is made anew for every viewer."""
    from gradio.components.plot import PlotData

    return PlotData(type="plotly", plot=figure.to_json())


def _no_gpu(newest: Reading) -> str | None:
    return None if newest.gpus else "no GPU can be read; the box above says why"


def now_table(readings: Sequence[Reading]) -> Table:
    """Return every quantity of the newest reading, or why there is none, with its extremes."""
    newest = readings[-1]
    rows = [_cells("", row) for row in host_rows(readings)]
    for gpu in newest.gpus:
        rows.append([gpu_title(gpu), "", ""])
        rows += [_cells(f"GPU {gpu.index} ", row) for row in gpu_rows(readings, gpu.index)]
    if not newest.gpus:
        rows.append(["GPU", "no GPU; the box above says why", ""])
    return to_table(HEADERS, rows)


def _cells(device: str, row: Shown) -> list[str]:
    return [f"{device}{row.title}", row.now, spread(row)]


def build(machine: Machine, page: gr.Blocks, tab: gr.Tab) -> gr.Timer:
    """Lay out the tab and wire it; the timer returned ticks while the tab is looked at."""
    card = readout(label="This machine", lines=5, buttons=["copy"], elem_id="hardware-card")
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            gr.Markdown("## Host, the last three minutes")
            host = gr.Plot(show_label=False, elem_id="hardware-plot")
        with gr.Column(scale=1, min_width=300, visible=False) as beside:  # until there is one
            gr.Markdown("## GPUs, the last three minutes")
            gpus = gr.Plot(show_label=False, elem_id="hardware-gpus")
        with gr.Column(scale=1, min_width=300):
            gr.Markdown("## Now")
            now = gr.Dataframe(
                headers=HEADERS,
                label="Now",
                show_label=False,
                interactive=False,
                wrap=True,
                max_height=1000,
                column_widths=["34%", "38%", "28%"],
                elem_id="hardware-now",
            )
    timer = gr.Timer(TICK_S, active=False)

    def on_tick() -> tuple[Any, Any, Any]:
        return machine.snapshot() or (gr.skip(), gr.skip(), gr.skip())

    def on_open() -> tuple[Any, ...]:
        return (*on_tick(), gr.Timer(active=True), gr.Column(visible=machine.has_gpus()))

    timer.tick(on_tick, None, [host, gpus, now], **HIDDEN)
    tab.select(on_open, None, [host, gpus, now, timer, beside], **HIDDEN)
    page.load(machine.card, None, card, **HIDDEN)
    return timer
