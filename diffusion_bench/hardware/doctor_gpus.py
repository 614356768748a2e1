"""The doctor's checks of the cards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diffusion_bench.hardware.doctor_software import seen_by_torch
from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.hardware.state import BUSY_GPU_PERCENT, SLOWING
from diffusion_bench.records import Finding, GpuReading, by_reason

FULL_SHARE = 0.2
LOW_LIMIT_W = 1  # limits are whole watts in practice, and NVML tells milliwatts
CLOSE_OTHERS = "close what else uses the GPU before measuring"
SLOWER_BY_LINK = "loading models and offloading to memory are slower; drawing hardly"
SEAT = "seat the card in its slot anew, see that the slot has as many lanes and the BIOS gives them"
LAPTOP_LINK = "nothing can be seated anew in a laptop; compare it with laptops"
LAPTOP_POWER = "plug it in, and choose full power in its maker's program"


def check_lost(facts: Facts) -> Iterator[Finding]:
    """Find cards that answered once and do so no more."""
    for gpu in (gpu for gpu in facts.gpu_readings if gpu.index in facts.lost):
        yield Finding(
            level="problem",
            title=f"{_called(gpu)} is lost: {facts.lost[gpu.index]}",
            detail="nothing can be read of it or run on it, and CUDA may not start for other GPUs",
            advice=f"reboot; if it is lost again, see what {facts.drivers_log} says, and see "
            "to its slot, its power cables and its heat",
        )


def check_gpus(facts: Facts) -> Iterator[Finding]:
    """Name the GPUs with what they cannot tell, or say why there are none."""
    if facts.driver_hangs:  # which says all that can be said of them
        return
    if facts.no_gpu:
        yield Finding(
            level="note",
            title="no GPU can be read",
            detail=facts.no_gpu,
            advice="everything works on the processor; GPU figures are left empty",
        )
    yield from _check_silence(facts)
    shared = {card.index for card in facts.gpus if card.unified_memory}
    for gpu in facts.gpu_readings:
        yield from _check_idle(_called(gpu), gpu, shares_memory=gpu.index in shared)


def _check_silence(facts: Facts) -> Iterator[Finding]:
    """Tell what cards do not tell, in one note where they are silent alike, as instances of MIG."""
    silent: dict[str, list[str]] = {}
    for gpu in facts.gpu_readings:
        if gpu.missing and gpu.index not in facts.lost:
            reasons = by_reason(dict(sorted(gpu.missing.items())))
            told = "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
            silent.setdefault(told, []).append(_called(gpu))
    for detail, names in silent.items():
        title = f"{' and '.join(names)} {'does' if len(names) == 1 else 'do'} not tell everything"
        advice = "these figures will be empty in reports"
        yield Finding(level="note", title=title, detail=detail, advice=advice)


def _check_idle(name: str, gpu: GpuReading, *, shares_memory: bool) -> Iterator[Finding]:
    """Warn of a GPU that already works, or is already full, before anything is measured.

    Of memory that a chip shares with the host, what is in use is the host's: `check_room` tells it.
    """
    busy = gpu.utilization_percent
    if busy is not None and busy > BUSY_GPU_PERCENT:
        title = f"{name} is {busy:.0f} % busy already"
        yield Finding(level="warning", title=title, advice=CLOSE_OTHERS)
    used, total = gpu.memory_used_mib, gpu.memory_total_mib
    if not shares_memory and used is not None and total and used / total > FULL_SHARE:
        title = f"{used:.0f} of {total:.0f} MiB of {name} are taken already"
        yield Finding(level="warning", title=title, advice=CLOSE_OTHERS)


def check_gpu_processes(facts: Facts) -> Iterator[Finding]:
    """Warn of other programs that compute on a GPU; they need not be busy at this moment."""
    for index, count in sorted(facts.other_gpu_processes.items()):
        if count:
            programs = "program computes" if count == 1 else "programs compute"
            title = f"{count} other {programs} on GPU {index}"
            yield Finding(level="warning", title=title, advice=CLOSE_OTHERS)


def check_gpu_speed(facts: Facts) -> Iterator[Finding]:
    """Warn of a GPU that is slowed by heat or a brake now, or whose power limit was lowered."""
    for gpu in facts.gpu_readings:
        slowing = [reason for reason in gpu.throttle_reasons or () if reason in SLOWING]
        if slowing:
            yield Finding(
                level="warning",
                title=f"GPU {gpu.index} is slowed down now ({', '.join(slowing)})",
                advice="let it cool down; look at its fans, the case's air and its power cables",
            )
    for card in facts.gpus:
        limit_w, default_w = card.power_limit_w, card.power_limit_default_w
        if limit_w is not None and default_w is not None and limit_w < default_w - LOW_LIMIT_W:
            cure = f"as administrator: nvidia-smi -i {card.index} -pl {default_w:.0f}"
            if card.vendor == "amd":
                cure = "as administrator: rocm-smi --resetpoweroverdrive"
            yield Finding(
                level="warning",
                title=f"GPU {card.index} may use {limit_w:.0f} W of its usual {default_w:.0f} W",
                detail="figures measured so are not those of an untouched card",
                advice=LAPTOP_POWER if _is_soldered(card) else cure,
            )


def check_links(facts: Facts) -> Iterator[Finding]:
    """Find a PCIe link that has fewer lanes than it could, or an older generation under load."""
    loaded = {gpu.index: gpu for gpu in facts.loaded_readings or facts.gpu_readings}
    seen, _ = seen_by_torch(facts)
    # Data are copied to torch's devices only; the readings are of every card.
    worked = {gpu.index for gpu in facts.loaded_readings} & (seen or set())
    for card in facts.gpus:
        now = loaded.get(card.index)
        if now is None:
            continue
        lanes, most = now.pcie_width_now, card.pcie_width
        if lanes is not None and most is not None and lanes < most:
            rests = "" if card.index in worked else "; some cards save lanes while they rest"
            yield Finding(
                level="note" if rests else "warning",
                title=f"GPU {card.index} has {lanes} of {most} PCIe lanes",
                detail=SLOWER_BY_LINK + rests,
                advice=LAPTOP_LINK if _is_soldered(card) else SEAT,
            )
        generation, best = now.pcie_generation_now, card.pcie_generation
        if card.index not in worked or generation is None or best is None:
            continue  # at rest every link goes down to generation 1
        if generation < best:
            cure = "set the slot's speed in the BIOS to automatic; try without a riser cable"
            yield Finding(
                level="warning",
                title=f"GPU {card.index} works at PCIe generation {generation} of {best}",
                detail="measured while data were copied to it",
                advice=LAPTOP_LINK if _is_soldered(card) else cure,
            )


def check_slots(facts: Facts) -> Iterator[Finding]:
    """Say where the slot can do less than the card."""
    cards = {card.index: card for card in facts.gpus}
    for health in facts.driver.cards:
        card = cards.get(health.index)
        if card is None:
            continue
        name = f"GPU {card.index} could do"
        titles = (
            (
                health.pcie_generation,
                card.pcie_generation,
                f"{name} PCIe generation %d, its slot %d",
            ),
            (health.pcie_width, card.pcie_width, f"{name} %d PCIe lanes, its slot %d"),
        )
        cure = "another slot or a newer board gives the rest"
        for alone, together, title in titles:
            if alone is not None and together is not None and together < alone:
                yield Finding(
                    level="note",
                    title=title % (alone, together),
                    detail=SLOWER_BY_LINK,
                    advice=LAPTOP_LINK if _is_soldered(card) else cure,
                )


def check_display(facts: Facts) -> Iterator[Finding]:
    """Tell of a card that draws the desktop too."""
    for card in facts.gpus:
        if card.display_active:
            yield Finding(
                level="note",
                title=f"GPU {card.index} drives a display",
                detail="the desktop holds some of its memory and takes some of its time",
                advice="for steadier figures plug the display into the processor's graphics or "
                "another card, or measure over ssh with the desktop stopped",
            )


def check_mig(facts: Facts) -> Iterator[Finding]:
    """Tell of cards split by MIG, and find those split into nothing."""
    for card in facts.gpus:
        if not card.mig_enabled or card.parent_index is not None:
            continue
        parts = sum(gpu.parent_index == card.index for gpu in facts.gpus)
        if parts:
            yield Finding(
                level="note",
                title=f"GPU {card.index} is split by MIG into {parts}",
                detail="CUDA gives a program one instance; power, clocks and temperature are the "
                "whole card's, and what the others do shows in them",
                advice="compare an instance with instances of the same size only",
            )
        else:
            yield Finding(
                level="problem",
                title=f"GPU {card.index} has MIG on and no instance: nothing can run on it",
                advice=f"as administrator: nvidia-smi mig -i {card.index} -cgi 0 -C makes one; or "
                f"nvidia-smi -i {card.index} -mig 0 turns MIG off",
            )


def check_memory_errors(facts: Facts) -> Iterator[Finding]:
    """Find memory that failed, and say which cards would notice."""
    for health in facts.driver.cards:
        if health.memory_errors:
            yield Finding(
                level="problem",
                title=f"GPU {health.index} had {health.memory_errors} memory errors since boot "
                "that could not be corrected",
                detail="pictures and times may be wrong",
                advice="reboot; if they come back, have the card replaced "
                "(nvidia-smi -q -d ECC,PAGE_RETIREMENT,ROW_REMAPPER)",
            )
    for card in facts.gpus:
        if card.ecc_enabled and card.parent_index is None:
            detail = "on cards with GDDR memory it costs some memory and bandwidth"
            title = f"GPU {card.index} corrects memory errors (ECC)"
            yield Finding(level="ok", title=title, detail=detail)


def check_persistence(facts: Facts) -> Iterator[Finding]:
    """Tell of a driver that lets go of a card between two programs."""
    driving = {card.index for card in facts.gpus if card.display_active}
    for health in facts.driver.cards:
        if health.persistence is False and facts.system == "Linux" and not facts.wsl:
            if health.index in driving:  # then the desktop holds it
                continue
            yield Finding(
                level="note",
                title=f"GPU {health.index} is put away between programs: persistence mode is off",
                detail="each start waits seconds for the card, and settings such as a power limit "
                "are forgotten",
                advice="as administrator: systemctl enable --now nvidia-persistenced, or "
                f"nvidia-smi -i {health.index} -pm 1",
            )


def _called(gpu: GpuReading) -> str:
    return f"GPU {gpu.index} {gpu.name or ''}".rstrip()


def _is_soldered(card: GpuInfo) -> bool:
    """Return whether a card is a laptop's, which sets its power limit itself, too.

    "RTX PRO 6000 Blackwell Max-Q Workstation Edition" is a card for a slot.
    """
    return any(word in (card.name or "") for word in ("Laptop", "Max-Q Design", "Mobile"))


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_gpus,
    check_gpu_processes,
    check_gpu_speed,
    check_links,
    check_slots,
    check_display,
    check_mig,
    check_memory_errors,
    check_persistence,
)
