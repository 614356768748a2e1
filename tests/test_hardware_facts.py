"""The facts that the doctor looks at: from this machine, from sensors, from the system's texts."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import pytest
from doctor_cases import CARD, IDLE, bad
from processes import as_nobody

from diffusion_bench.hardware.facts import (
    existing_parent,
    gather_facts,
    kernel_driver,
    memory_limit_mib,
)
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu, is_wsl
from diffusion_bench.hardware.state import IDLE_S
from diffusion_bench.hardware.torch_facts import TorchFacts
from diffusion_bench.records import GpuReading, HostReading


class TwoCards(NoGpu):
    """Three programs are on the first card, and the second cannot tell."""

    def cards(self) -> tuple[GpuInfo, ...]:
        return CARD, CARD.model_copy(update={"index": 1})

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        return (None, "too old") if gpu_index else (3, "")


def test_the_programs_on_each_gpu_are_asked_of_the_sensor(tmp_path: Path) -> None:
    facts = gather_facts(TwoCards(""), tmp_path)
    assert facts.other_gpu_processes == {0: 3}


class Watched(NoGpu):
    """A card that tells, of torch, how much of it was taken before the card was read."""

    def __init__(self) -> None:
        super().__init__("")
        self.taken_mib = 0.0

    def read(self) -> tuple[GpuReading, ...]:
        return (IDLE.model_copy(update={"memory_used_mib": self.taken_mib}),)

    def ask_torch(self, *, of_gpus: bool) -> TorchFacts:
        self.taken_mib = 500.0  # CUDA's context
        return TorchFacts(threads=4, cuda_usable=of_gpus)


def test_what_torch_takes_of_a_gpu_is_not_told_as_another_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Watched()
    monkeypatch.setattr("diffusion_bench.hardware.facts.ask_torch", card.ask_torch)
    (reading,) = gather_facts(card, tmp_path).gpu_readings
    assert reading.memory_used_mib == 0
    assert card.taken_mib == 500


class Loaded:
    """A host that tells its load from the second look on, as the processor's counters do."""

    def __init__(self) -> None:
        self.looks = 0

    def read(self, process: object = None) -> HostReading:
        self.looks += 1
        return HostReading(cpu_percent=97.0 if self.looks == 2 else None)


def test_the_doctor_looks_at_the_processor_for_as_long_as_a_sweep_does(tmp_path: Path) -> None:
    rested: list[float] = []
    facts = gather_facts(NoGpu(""), tmp_path, host=Loaded(), rest=rested.append)
    assert (facts.cpu_percent, rested) == (97.0, [IDLE_S])
    assert any(f.title.startswith("the processor is 97 % busy") for f in bad(facts))


def test_this_machine_can_be_examined(tmp_path: Path) -> None:
    facts = gather_facts(NoGpu("there is none"), tmp_path)
    assert facts.python == sys.version_info[:2]
    assert facts.torch_says.error == ""
    assert facts.torch_says.threads is not None
    assert facts.disk_free_mib > 0
    assert facts.folder_fault is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_by_trying(tmp_path: Path) -> None:
    facts = gather_facts(NoGpu(""), tmp_path / "gone")
    assert facts.folder_fault == "No such file or directory"
    assert facts.disk_free_mib is None


@pytest.mark.skipif(sys.platform == "win32", reason="rights are POSIX's")
def test_the_disk_of_a_folder_that_may_not_be_looked_into_is_that_of_its_parent(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with as_nobody():
        found = existing_parent(closed / "hub")
    closed.chmod(0o700)
    assert found in (closed, *closed.parents)


@pytest.mark.usefixtures("without_proc")
def test_a_machine_without_proc_is_examined_and_what_it_does_not_tell_is_said(
    tmp_path: Path,
) -> None:
    found = bad(gather_facts(NoGpu("there is none"), tmp_path))
    titles = [finding.title for finding in found if finding.level == "note"]
    assert "cannot tell how much memory is free" in titles
    assert "cannot tell how busy the processor is" in titles


def test_facts_are_read_out_of_the_systems_texts(tmp_path: Path) -> None:
    loaded = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Tue Jan 14\nGCC 12.2.0\n"
    assert kernel_driver(loaded) == "570.86.15"
    assert kernel_driver("") is None
    assert memory_limit_mib("8589934592\n") == 8192
    assert memory_limit_mib("max\n") is memory_limit_mib("9223372036854771712") is None
    assert is_wsl("5.15.167.4-microsoft-standard-WSL2")
    assert not is_wsl("6.1.0-18-amd64")
    assert existing_parent(tmp_path / "not" / "there") == tmp_path
