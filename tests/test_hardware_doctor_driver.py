"""The doctor on a driver that does not start, and on one that does not answer."""

from __future__ import annotations

import pytest
from doctor_cases import bad, make_facts

from diffusion_bench.hardware.nvml_health import DriverHealth
from diffusion_bench.hardware.sensors import HANGS
from diffusion_bench.hardware.torch_facts import TorchFacts


@pytest.mark.parametrize("code", [9, 12, 18, 999])
def test_on_wsl_the_driver_to_see_to_is_that_of_windows(code: int) -> None:
    facts = make_facts(wsl=True, gpus=(), driver=DriverHealth(start_code=code))
    for finding in bad(facts):
        for words in ("nvidia-utils", "modprobe", "mokutil", "dmesg", "reinstall"):
            assert words not in finding.advice
    driver, _ = bad(facts)
    assert driver.level == "problem"
    assert ("/usr/lib/wsl/lib" if code == 12 else "in Windows") in driver.advice


@pytest.mark.parametrize("no_gpu", [None, f"{HANGS}: it has not answered for 30.0 s"])
def test_a_driver_that_hangs_is_a_problem_and_all_that_is_said_of_the_gpus(
    no_gpu: str | None,
) -> None:
    facts = make_facts(
        driver_hangs=f"{HANGS}: it has not answered for 30.0 s",
        no_gpu=no_gpu,
        torch_says=TorchFacts(threads=4),
    )
    (finding,) = bad(facts)
    assert (finding.level, finding.title) == ("problem", "the GPU's driver hangs")
    assert finding.detail.startswith("it has not answered for 30.0 s; ")
    assert finding.advice.startswith("reboot")
