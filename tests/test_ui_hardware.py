from __future__ import annotations

from diffusion_bench.hardware.machine import MachineInfo, SoftwareInfo
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu
from diffusion_bench.records import GpuReading, HostReading, Reading
from diffusion_bench.ui.hardware import Machine, describe, draw, now_table

WHY = "no driver"


def reading(at_s=1.0, gpu=True, **gpu_values):
    card = GpuReading(index=0, name="RTX", **gpu_values)
    host = HostReading(cpu_percent=50.0, ram_used_mib=2048.0, ram_total_mib=8192.0)
    return Reading(at_s=at_s, host=host, gpus=(card,) if gpu else (), no_gpu=None if gpu else WHY)


def test_the_figure_is_made_once_a_reading_however_many_watch(monkeypatch):
    made = []
    monkeypatch.setattr(
        "diffusion_bench.ui.hardware.draw", lambda readings: made.append(readings) or "figure"
    )
    sampler = Sampler(NoGpu(WHY))
    machine = Machine(NoGpu(WHY), sampler)

    assert machine.snapshot() is None
    sampler.look()
    snapshots = [machine.snapshot() for _ in range(5)]
    sampler.look()
    machine.snapshot()

    assert len(set(map(id, snapshots))) == 1
    assert len(made) == 2


def test_a_machine_without_a_gpu_says_why_and_shows_the_rest():
    machine = Machine(NoGpu(WHY), Sampler(NoGpu(WHY)))

    assert f"no NVIDIA GPU: {WHY}" in machine.card()
    rows = dict(now_table(reading(gpu=False))["data"])
    assert rows["CPU"] == "50.0%"
    assert rows["memory in use"] == "2.0 of 8.0 GiB"
    assert "no NVIDIA GPU" in rows["GPU"]
    assert len(draw([reading(1.0, gpu=False), reading(2.0, gpu=False)]).data) == 2


def test_a_gpu_has_its_rows_and_lines_and_what_it_cannot_tell_has_a_reason():
    look = reading(
        utilization_percent=40.0,
        memory_used_mib=1000.0,
        memory_total_mib=12282.0,
        power_w=100.0,
        power_limit_w=200.0,
        missing={"temperature_c": "not on this card"},
    )

    rows = dict(now_table(look)["data"])

    assert rows["GPU 0"] == "RTX"
    assert rows["GPU 0 memory"] == "1000 of 12282 MiB"
    assert rows["GPU 0 power"] == "100.0 of 200 W"
    assert rows["GPU 0 temperature"] == "cannot tell: not on this card"
    figure = draw([look, look.model_copy(update={"at_s": 2.0})])
    assert len(figure.data) >= 5
    assert max(figure.data[0].x) == 0


def test_the_card_names_gpu_driver_and_versions():
    gpu = GpuInfo(index=0, name="RTX", memory_total_mib=12282.0, driver="570")
    machine = MachineInfo(
        os="Linux", architecture="x86_64", cpu="CPU", cores_logical=4, ram_mib=8192.0, gpus=(gpu,)
    )

    text = describe(machine, SoftwareInfo(python="3.11", torch="2.11.0", cuda="13.0"))

    assert "GPU 0: RTX, 12282 MiB, driver 570" in text
    assert "torch 2.11.0 for CUDA 13.0" in text
