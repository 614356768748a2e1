"""The doctor's checks of the processor, the memory, the disks and the operating system."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.state import quiet_cpu_percent
from diffusion_bench.records import Finding

LOW_RAM_MIB = 2_048
LOW_DISK_MIB = 2_048
LOW_CACHE_MIB = 10_240  # one large model
SMALL_RAM_MIB = 7_680  # what a machine of 8 GiB tells, less what its graphics keep
FALLBACK_SINCE = (536, 40)  # the first Windows driver that moves memory to the host
MIB_PER_GIB = 1024


def check_processor(facts: Facts) -> Iterator[Finding]:
    """Compare torch's threads with the cores: more threads than cores measure the scheduler."""
    threads, cores = facts.torch_says.threads, facts.cores
    if threads is None or cores is None:
        return
    title = f"torch uses {threads} threads on {cores} cores"
    if threads > cores:
        advice = f"set OMP_NUM_THREADS={cores} for steadier times on the processor"
        yield Finding(level="note", title=title, advice=advice)
    else:
        yield Finding(level="ok", title=title)


def check_load(facts: Facts) -> Iterator[Finding]:
    """Warn of a processor at work, by the load from which a sweep labels its cells contended."""
    load, cores = facts.cpu_percent, facts.cores_logical
    if load is None or cores is None:
        yield Finding(
            level="note",
            title="cannot tell how busy the processor is",
            advice="see in the system's own monitor that nothing else works before measuring",
        )
        return
    title = f"the processor is {load:.0f} % busy"
    if load <= quiet_cpu_percent(cores):
        yield Finding(level="ok", title=title)
        return
    yield Finding(
        level="warning",
        title=f"{title} with other programs",
        detail=f"above {quiet_cpu_percent(cores):.3g} % a cell is labelled contended",
        advice="end what else runs before measuring; the system's list of processes names it",
    )


def check_room(facts: Facts) -> Iterator[Finding]:
    """Say whether memory and disk have room for a model and a report."""
    room = (
        ("memory", _free_memory_mib(facts), LOW_RAM_MIB, "close other programs"),
        (f"disk at {facts.folder}", facts.disk_free_mib, LOW_DISK_MIB, "free some space"),
    )
    for what, free_mib, low_mib, advice in room:
        if free_mib is None:
            advice = f"see yourself that {low_mib} MiB are free before a long sweep"
            yield Finding(level="note", title=f"cannot tell how much {what} is free", advice=advice)
        elif free_mib < low_mib:
            detail = f"models from the hub need {low_mib} MiB and more"
            title = f"only {free_mib:.0f} MiB of {what} free"
            yield Finding(level="warning", title=title, detail=detail, advice=advice)
        else:
            yield Finding(level="ok", title=f"{free_mib / MIB_PER_GIB:.1f} GiB of {what} free")


def _free_memory_mib(facts: Facts) -> float | None:
    """Return what the machine has free, or what a control group leaves of it where that is less.

    What the group has in use counts files that the system could let go of: the true figure lies
    somewhat higher, and never above the group's limit.
    """
    free_mib, limit_mib = facts.ram_free_mib, facts.ram_limit_mib
    if free_mib is None or limit_mib is None:
        return free_mib
    return min(free_mib, max(0.0, limit_mib - (facts.ram_group_used_mib or 0.0)))


def check_cache(facts: Facts) -> Iterator[Finding]:
    """Warn where models from the hub would not fit the disk that keeps them."""
    free_mib = facts.cache_free_mib
    if free_mib is not None and free_mib < LOW_CACHE_MIB:
        yield Finding(
            level="warning",
            title=f"only {free_mib / MIB_PER_GIB:.1f} GiB free where models from the hub are kept",
            detail=f"{facts.cache_folder}; models take several GiB each",
            advice="free some space, or set HF_HOME to a folder on a larger disk",
        )


def check_memory_size(facts: Facts) -> Iterator[Finding]:
    """Warn of too little memory in all, and of a container that may use less than there is."""
    ram_mib, limit_mib = facts.ram_mib, facts.ram_limit_mib
    if ram_mib is not None and ram_mib < SMALL_RAM_MIB:
        yield Finding(
            level="warning",
            title=f"this machine has {ram_mib / MIB_PER_GIB:.1f} GiB of memory",
            detail="models from the hub pass through it on their way to the GPU, several GiB each",
            advice="keep to the bundled models, or to small ones in half precision",
        )
    if ram_mib is not None and limit_mib is not None and limit_mib < ram_mib:
        yield Finding(
            level="warning" if limit_mib < SMALL_RAM_MIB else "note",
            title=f"this program may use {limit_mib / MIB_PER_GIB:.1f} of "
            f"{ram_mib / MIB_PER_GIB:.1f} GiB of memory",
            detail="a control group limits it; past that the system ends it without a word",
            advice="start the container with a larger --memory, or without",
        )


def check_folder(facts: Facts) -> Iterator[Finding]:
    """Say whether a report can be written."""
    if facts.folder_fault:
        yield Finding(
            level="problem",
            title=f"nothing can be written in {facts.folder}",
            detail=facts.folder_fault,
            advice="start from a folder of your own, or give --out a path that can be written",
        )


def check_battery(facts: Facts) -> Iterator[Finding]:
    """Warn of a machine on battery, which is slower than the same on mains."""
    if facts.on_battery:
        advice = "plug it in before measuring"
        yield Finding(level="warning", title="running on battery", advice=advice)


def check_wsl(facts: Facts) -> Iterator[Finding]:
    """Tell what the Windows Subsystem for Linux lacks."""
    if facts.wsl:
        yield Finding(
            level="note",
            title="this is the Windows Subsystem for Linux",
            detail="its driver is that of Windows: it does not list the programs on a GPU, and may "
            "leave its utilisation out; it has half of the memory unless .wslconfig says more",
            advice="update the NVIDIA driver in Windows and install none in here; measure in "
            "Windows or Linux itself where every figure counts",
        )


def check_memory_fallback(facts: Facts) -> Iterator[Finding]:
    """Tell of Windows' habit to move a full GPU's memory to the host instead of failing."""
    cards = [gpu for gpu in facts.gpus if gpu.vendor == "nvidia"]
    if not cards or not (facts.system == "Windows" or facts.wsl):
        return
    driver = _driver_version(cards[0].driver)
    if driver is not None and driver >= FALLBACK_SINCE:
        yield Finding(
            level="note",
            title="when the GPU's memory is full, Windows goes on in the host's, many times slower",
            detail="a cell that should end out of memory is measured as a slow one",
            advice="NVIDIA Control Panel, Manage 3D settings, CUDA - Sysmem Fallback Policy: "
            "Prefer No Sysmem Fallback (drivers from 546.01 on)",
        )


def _driver_version(driver: str | None) -> tuple[int, ...] | None:
    parts = (driver or "").split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_processor,
    check_load,
    check_room,
    check_cache,
    check_memory_size,
    check_folder,
    check_battery,
    check_wsl,
    check_memory_fallback,
)
