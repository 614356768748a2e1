"""What is wrong with this machine for measuring diffusion, and what to do about it.

    gather_facts > Facts > examine > Finding, Finding, ...

The checks are pure, one function a question; `facts.py` looks at the machine for them.

doctor_software.py   Python, torch, its devices       doctor_driver.py   NVIDIA's driver
doctor_host.py       processor, memory, disk, system  doctor_gpus.py     the cards
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diffusion_bench.hardware import doctor_driver, doctor_gpus, doctor_host, doctor_software
from diffusion_bench.hardware.facts import Facts
from diffusion_bench.records import LEVELS, Finding

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    doctor_gpus.check_lost,  # before torch, which may be unusable because of it
    *doctor_software.CHECKS,
    *doctor_driver.CHECKS,
    *doctor_gpus.CHECKS,
    *doctor_host.CHECKS,
)


def examine(facts: Facts) -> list[Finding]:
    """Return the findings, the worst first."""
    findings = [finding for check in CHECKS for finding in check(facts)]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
