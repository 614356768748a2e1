"""The doctor's checks of Python, torch, and what torch can use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.matching import hidden_cards, hidden_words, is_split, match_torch
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.records import Finding

OLDEST_PYTHON = (3, 11)
WHEELS = "https://pytorch.org/get-started/locally"

Capability = tuple[int, int]


def check_python(facts: Facts) -> Iterator[Finding]:
    """Say whether this Python is one the project is tested on."""
    version = ".".join(map(str, facts.python))
    if facts.python >= OLDEST_PYTHON:
        yield Finding(level="ok", title=f"Python {version}")
        return
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding(
        level="problem",
        title=f"Python {version} is too old",
        advice=f"install Python {oldest} or newer and make a new virtual environment",
    )


def check_torch(facts: Facts) -> Iterator[Finding]:
    """Say whether torch is there and can be imported."""
    if facts.torch is None:
        advice = "run: pip install -r requirements.txt"
        yield Finding(level="problem", title="torch is not installed", advice=advice)
    elif facts.torch_says.error:
        cure = "run: pip install --force-reinstall -r requirements.txt"
        if facts.system == "Windows":
            cure += "; and install the Microsoft Visual C++ redistributable"
        title = f"torch {facts.torch} cannot be imported"
        yield Finding(level="problem", title=title, detail=facts.torch_says.error, advice=cure)
    else:
        yield Finding(level="ok", title=f"torch {facts.torch}", detail=_build(facts))


def _build(facts: Facts) -> str:
    """Return what torch was built for, beside the processor."""
    if facts.cuda_build:
        return f"built for CUDA {facts.cuda_build}"
    if facts.rocm_build:
        return f"built for ROCm {facts.rocm_build}"
    return "built with Apple's Metal" if facts.torch_says.mps_usable else "built for CPU only"


def check_cuda(facts: Facts) -> Iterator[Finding]:
    """Compare what torch can use with what the driver shows; NVML alone proves nothing."""
    usable = facts.torch_says.cuda_usable
    cards = _cards(facts)
    if not cards or usable is None:
        return
    hidden, _ = _hidden(facts)
    names = _names(cards)
    if usable and not facts.rocm_build:
        gone = {*(hidden or ()), *facts.lost}
        seen = [card for card in cards if card.index not in gone]
        yield Finding(level="ok", title=f"torch can use CUDA on {_names(seen or cards)}")
    elif facts.cuda_build is None:
        yield Finding(
            level="note" if usable else "problem",  # AMD's GPU works, and may be the one meant
            title=f"torch is {_build(facts)}, and there is an NVIDIA GPU",
            detail=names,
            advice=f"install a CUDA build of torch; {WHEELS} gives the command",
        )
    elif hidden is not None and len(hidden) == len(cards):
        yield Finding(
            level="problem",
            title=f"CUDA_VISIBLE_DEVICES={facts.visible_devices:.60} hides every GPU from torch",
            detail=names,
            advice="unset CUDA_VISIBLE_DEVICES, or name in it the GPUs to use",
        )
    elif _driver_is_older(facts):
        driver = ".".join(map(str, facts.driver.cuda or ()))
        yield Finding(
            level="problem",
            title=f"the driver runs CUDA {driver}, and torch is built for {facts.cuda_build}",
            detail=facts.torch_says.warning,
            advice=(
                f"update the NVIDIA driver to one for CUDA {facts.cuda_build}, or install torch "
                f"built for CUDA {driver} or older; {WHEELS} gives the command"
            ),
        )
    else:
        yield Finding(
            level="problem",
            title=f"torch cannot use the GPU ({names})",
            detail=facts.torch_says.warning,
            advice=_cure(facts),
        )


def _cure(facts: Facts) -> str:
    """Return what may help where torch has a build for the driver and cannot use its cards."""
    if facts.lost:
        return f"see first to what is lost: GPU {', '.join(map(str, facts.lost))}"
    if facts.driver.cuda:
        driver = ".".join(map(str, facts.driver.cuda))
        cure = f"reboot: the driver runs CUDA {driver}, and torch is built for {facts.cuda_build}; "
        cure += f"if that does not help, see what {facts.drivers_log} says"
    else:
        cure = f"install a driver that supports CUDA {facts.cuda_build}"
    if facts.visible_devices is not None:
        cure += f", and see that CUDA_VISIBLE_DEVICES={facts.visible_devices:.60} hides no GPU"
    return cure


def _driver_is_older(facts: Facts) -> bool:
    """Return whether the driver's CUDA is of an older major version than torch's build.

    Within a major version older drivers run newer builds (CUDA's minor version compatibility).
    """
    build = (facts.cuda_build or "").partition(".")[0]
    return facts.driver.cuda is not None and build.isdigit() and facts.driver.cuda[0] < int(build)


def check_rocm(facts: Facts) -> Iterator[Finding]:
    """Find an AMD GPU that a torch built for ROCm cannot use."""
    cards = [gpu for gpu in facts.gpus if gpu.vendor == "amd"]
    if facts.rocm_build and cards and facts.torch_says.cuda_usable is False:
        yield Finding(
            level="problem",
            title=f"torch cannot use the GPU ({_names(cards)})",
            detail=facts.torch_says.warning,
            advice="see that this user may open /dev/kfd and /dev/dri/renderD* (groups render and "
            "video), that HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES hide no GPU, and that "
            f"ROCm {facts.rocm_build} knows this GPU",
        )


def check_metal(facts: Facts) -> Iterator[Finding]:
    """Find an Apple GPU that torch leaves alone, so that all is done on the processor."""
    if facts.torch_says.mps_usable is False and any(gpu.vendor == "apple" for gpu in facts.gpus):
        yield Finding(
            level="problem",
            title="torch cannot use Apple's GPU",
            detail="all is done on the processor",
            advice="update macOS: each torch needs a newer one for Metal",
        )


def check_devices(facts: Facts) -> Iterator[Finding]:
    """Say which GPU each of torch's devices is: the two may be numbered in different orders."""
    found, reasons = match_torch(facts.torch_says.devices, facts.gpus)
    names = {gpu.index: gpu.name or "unknown" for gpu in facts.gpus}
    for device, index in found.items():
        yield Finding(level="ok", title=f"cuda:{device} is GPU {index} ({names[index]})")
    for device, reason in reasons.items():
        yield Finding(
            level="warning",
            title=f"cuda:{device} is none of the GPUs that can be read",
            detail=reason,
            advice="its power, energy and use will be empty in reports",
        )


def check_hidden(facts: Facts) -> Iterator[Finding]:
    """Say which cards CUDA_VISIBLE_DEVICES or MIG hides from torch; that all are is a problem."""
    told = f"CUDA_VISIBLE_DEVICES={facts.visible_devices or '':.60}"
    hidden, reason = _hidden(facts)
    if hidden is None:
        yield Finding(
            level="note",
            title=f"cannot tell what {told} hides",
            detail=reason,
            advice="name the GPUs in it by the UUIDs that nvidia-smi -L lists, or unset it",
        )
        return
    gpus = _nvidia(facts)
    cards = {card.index: card for card in _cards(facts)}
    if is_split(gpus) and len(hidden) < len(cards):
        words = hidden_words(gpus, facts.visible_devices, order=facts.device_order)
        advice = "to use another, name its MIG- or GPU- UUID in CUDA_VISIBLE_DEVICES"
        yield from [Finding(level="note", title=words, advice=advice)] if words else []
    elif hidden and len(hidden) < len(cards):
        listed = ", ".join(f"GPU {index} ({cards[index].name or 'unknown'})" for index in hidden)
        yield Finding(
            level="note",
            title=f"{told} hides {listed} from torch",
            detail="its readings are shown, and nothing can be measured on it",
            advice="unset CUDA_VISIBLE_DEVICES, or name in it the GPUs to use",
        )


def _hidden(facts: Facts) -> tuple[list[int] | None, str]:
    """Return the cards that CUDA_VISIBLE_DEVICES hides, or `None` and the reason."""
    if facts.visible_devices is None:
        return [], ""
    seen, reason = seen_by_torch(facts)
    if seen is None:
        return None, reason
    return [card.index for card in _cards(facts) if card.index not in seen], ""


def seen_by_torch(facts: Facts) -> tuple[set[int] | None, str]:
    """Return the NVIDIA cards that torch has, or has an instance of; `None` and the reason.

    As torch's own devices tell, else as CUDA's rules say.
    """
    gpus = _nvidia(facts)
    found, reasons = match_torch(facts.torch_says.devices, gpus)
    if found and not reasons:
        card_of = {g.index: g.index if g.parent_index is None else g.parent_index for g in gpus}
        return {card_of[index] for index in found.values()}, ""
    hidden, reason = hidden_cards(gpus, facts.visible_devices, order=facts.device_order)
    if hidden is None:
        return None, reason
    return {card.index for card in _cards(facts)} - set(hidden), ""


def check_capability(facts: Facts) -> Iterator[Finding]:
    """Compare each card's compute capability with those that torch has kernels for."""
    built = facts.torch_says.architectures
    known = [version for version in map(_architecture, built) if version]  # ROCm's are none
    seen, _ = seen_by_torch(facts)
    for card in facts.driver.cards:
        if seen is not None and card.index not in seen:
            continue  # an old card that only drives a display, say
        capability = card.compute_capability
        if capability is None or not known or can_run(capability, built):
            continue
        version = ".".join(map(str, capability))
        oldest = min(known)
        if capability < oldest:
            title = f"GPU {card.index} (compute capability {version}) is too old for this torch"
            advice = f"install an older build of torch that has it; {WHEELS} gives the command"
        else:
            title = f"GPU {card.index} (compute capability {version}) is too new for this torch"
            advice = f"install a newer build of torch; {WHEELS} gives the command"
        yield Finding(
            level="problem", title=title, detail=f"built for {', '.join(built)}", advice=advice
        )


def can_run(capability: Capability, built: Sequence[str]) -> bool:
    """Return whether a build with these architectures runs on a card of this capability.

    Machine code (sm_86, sm_120f) runs on its own major version from its minor version on, and
    intermediate code (compute_90) on any newer card; either with an "a" (sm_90a) on that very
    version only, and with an "f" as machine code. Source: NVIDIA, CUDA C++ Programming Guide,
    "Application Compatibility" and "Family-Specific Features".
    """
    for name in built:
        needs = _architecture(name)
        if needs is None or needs > capability:
            continue
        newer = name.startswith("compute_") and name[-1].isdigit()
        family = needs[0] == capability[0] and not name.endswith("a")
        if needs == capability or newer or family:
            return True
    return False


def _architecture(name: str) -> Capability | None:
    """Return (9, 0) of "sm_90", "sm_90a" or "compute_90"."""
    found = re.fullmatch(r"(?:sm|compute)_(\d+)(\d)[a-z]?", name)
    return (int(found[1]), int(found[2])) if found else None


def _nvidia(facts: Facts) -> list[GpuInfo]:
    return [gpu for gpu in facts.gpus if gpu.vendor == "nvidia"]


def _cards(facts: Facts) -> list[GpuInfo]:
    return [gpu for gpu in _nvidia(facts) if gpu.parent_index is None]


def _names(cards: Sequence[GpuInfo]) -> str:
    return ", ".join(card.name or f"GPU {card.index}" for card in cards)


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_python,
    check_torch,
    check_cuda,
    check_rocm,
    check_metal,
    check_devices,
    check_hidden,
    check_capability,
)
