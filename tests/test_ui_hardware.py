"""The tab Hardware: what it shows, and what twenty viewers cost."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import urllib.request
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import gradio as gr
import pytest

from diffusion_bench.hardware.machine import describe_machine, describe_software
from diffusion_bench.hardware.machine_card import machine_card
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.hardware.shared_sampler import SharedSampler
from diffusion_bench.records import GpuReading, HostReading, Reading
from diffusion_bench.ui import hardware
from diffusion_bench.ui.hardware import Machine, now_table, render

WHY = "no driver"
LIMIT_S = 60.0


class OneGpu(NoGpu):
    """A card that counts how often it is read."""

    def __init__(self):
        super().__init__(WHY)
        self.reason = None
        self.reads = 0

    def read(self):
        self.reads += 1
        return (GpuReading(index=0, name="RTX", utilization_percent=float(self.reads)),)


class Gate:
    """The rest of a sampler, which ends when the test says so."""

    def __init__(self):
        self._passes = threading.Semaphore(0)
        self._rests = threading.Semaphore(0)

    def __call__(self, stop, seconds):
        self._rests.release()
        while not stop.is_set() and not self._passes.acquire(timeout=0.01):
            pass

    def until_read(self):
        assert self._rests.acquire(timeout=LIMIT_S)

    def read_again(self):
        self._passes.release()
        self.until_read()


def reading(at_s=1.0, gpu=True, **gpu_values):
    card = GpuReading(index=0, name="RTX", **gpu_values)
    host = HostReading(cpu_percent=50.0, ram_used_mib=2048.0, ram_total_mib=8192.0)
    return Reading(at_s=at_s, host=host, gpus=(card,) if gpu else (), no_gpu=None if gpu else WHY)


def rows_of(*readings):
    return {quantity: now for quantity, now, _ in now_table(readings)["data"]}


@contextmanager
def served(machine) -> Iterator[tuple[str, int]]:
    """Serve the tab alone; yields the address and the number of what a tick calls."""
    with warnings.catch_warnings():  # as ui_server.served
        warnings.simplefilter("ignore", ResourceWarning)
        with gr.Blocks(analytics_enabled=False) as page, gr.Tab("Hardware") as tab:
            hardware.build(machine, page, tab)
        page.queue(api_open=False, max_size=4)
        page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
        asyncio.set_event_loop(None)
        gc.collect()
    tick = next(number for number, called in page.fns.items() if called.name == "on_tick")
    try:
        yield page.local_url, tick
    finally:
        page.close(verbose=False)


def tick(url, number, viewer):
    """Do what a browser does at a tick: return the server's answer."""
    body = {"data": [], "fn_index": number, "session_hash": viewer}
    request = urllib.request.Request(
        f"{url}gradio_api/run/predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_twenty_viewers_cost_the_readings_and_the_figures_of_one(monkeypatch):
    made = []
    monkeypatch.setattr(
        hardware, "render", lambda readings, pace: made.append(pace) or render(readings, pace)
    )
    sensor, gate = OneGpu(), Gate()
    sampler = SharedSampler(sensor, 1.0, lease_s=600.0, wait=gate)
    cost = {}
    with (
        closing(sampler),
        served(Machine(sensor, sampler)) as (url, number),
        ThreadPoolExecutor(20) as viewers,
    ):
        tick(url, number, "first")
        gate.until_read()
        for crowd in (1, 20):
            before = sensor.reads, len(made)
            for _ in range(3):
                gate.read_again()
                names = [f"viewer{place}" for place in range(crowd)]
                answers = list(viewers.map(lambda name: tick(url, number, name), names))
                assert len({json.dumps(answer["data"]) for answer in answers}) == 1
                assert answers[0]["data"][0]["plot"].startswith('{"data"')
            cost[crowd] = sensor.reads - before[0], len(made) - before[1]
    assert cost == {1: (3, 3), 20: (3, 3)}


def test_a_page_that_nobody_looks_at_reads_nothing():
    sensor = OneGpu()
    with closing(SharedSampler(sensor)) as sampler:
        with served(Machine(sensor, sampler)) as (url, _):
            urllib.request.urlopen(url, timeout=LIMIT_S).close()
            assert not sampler.running
        assert sensor.reads == 0


def test_a_tick_before_the_first_reading_changes_nothing_on_the_page():
    gate = Gate()
    with closing(SharedSampler(NoGpu(WHY), wait=gate)) as sampler:
        machine = Machine(NoGpu(WHY), sampler)
        first = machine.snapshot()
        gate.until_read()
        assert first is None or first == machine.snapshot()
        assert machine.snapshot() is machine.snapshot()


def test_gpus_have_room_on_the_page_once_one_is_seen_and_none_without():
    with closing(SharedSampler(NoGpu(WHY))) as sampler:
        assert not Machine(NoGpu(WHY), sampler).has_gpus()
    gate = Gate()
    with closing(SharedSampler(OneGpu(), wait=gate)) as sampler:
        machine = Machine(NoGpu(WHY), sampler)  # a driver that did not answer when it was asked
        machine.snapshot()
        gate.until_read()
        assert machine.has_gpus()


def test_a_machine_without_a_gpu_says_why_and_shows_the_rest():
    with closing(SharedSampler(NoGpu(WHY))) as sampler:
        assert f"no GPU: {WHY}" in Machine(NoGpu(WHY), sampler).card()
    alone = [reading(1.0, gpu=False), reading(2.0, gpu=False)]
    rows = rows_of(*alone)
    assert rows["CPU"] == "50.0 %"
    assert rows["memory in use"] == "2.0 of 8.0 GiB"
    assert "no GPU" in rows["GPU"]
    shown = render(alone, 1.0)
    assert "no GPU can be read" in shown.gpus.plot
    assert len(json.loads(shown.host.plot)["data"]) == 2


def test_a_gpu_has_its_rows_and_what_it_cannot_tell_has_a_reason():
    rows = rows_of(
        reading(
            utilization_percent=40.0,
            memory_used_mib=1024.0,
            memory_total_mib=12288.0,
            power_w=100.0,
            power_limit_w=200.0,
            missing={"temperature_c": "not on this card"},
        )
    )
    assert rows["GPU 0 RTX"] == ""
    assert rows["GPU 0 memory in use"] == "1.0 of 12.0 GiB"
    assert rows["GPU 0 power"] == "100.0 of 200.0 W"
    assert rows["GPU 0 temperature"] == "cannot tell: not on this card"


def test_the_page_has_the_machine_card():
    sensor = OneGpu()
    assert Machine(sensor, None).card() == machine_card(
        describe_machine(sensor), describe_software()
    )
