"""The doctor on the processor and the memory, of a machine and of a container."""

from __future__ import annotations

import pytest
from doctor_cases import bad, make_facts

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.state import is_contended
from diffusion_bench.records import MachineState


@pytest.mark.parametrize(
    ("limit_mib", "used_mib", "level", "title"),
    [
        (2048, 1500, "warning", "only 548 MiB of memory free"),
        (8192, 1024, "ok", "7.0 GiB of memory free"),
        (8192, None, "ok", "8.0 GiB of memory free"),
        (2048, 4096, "warning", "only 0 MiB of memory free"),
        (None, None, "ok", "58.6 GiB of memory free"),
    ],
)
def test_free_memory_in_a_container_is_the_containers(limit_mib, used_mib, level, title) -> None:
    facts = make_facts(
        ram_mib=65536, ram_free_mib=60000, ram_limit_mib=limit_mib, ram_group_used_mib=used_mib
    )
    (room,) = [f for f in examine(facts) if f.title.endswith("of memory free")]
    assert (room.level, room.title) == (level, title)


def test_a_container_with_little_memory_is_warned_of() -> None:
    facts = make_facts(ram_mib=65536, ram_limit_mib=2048, ram_free_mib=60000)
    assert "this program may use 2.0 of 64.0 GiB of memory" in {
        finding.title for finding in bad(facts) if finding.level == "warning"
    }


@pytest.mark.parametrize(("cores", "load"), [(2, 12.0), (2, 13.0), (16, 10.0), (16, 11.0)])
def test_a_processor_is_warned_of_from_the_load_on_that_labels_a_cell_contended(
    cores: int, load: float
) -> None:
    contended = is_contended(MachineState(cpu_percent=load), cores) is not None
    found = bad(make_facts(cores_logical=cores, cpu_percent=load))
    titles = [f"the processor is {load:.0f} % busy with other programs"] if contended else []
    assert [finding.title for finding in found] == titles
    assert all("is labelled contended" in f.detail and f.level == "warning" for f in found)
