"""Devices: which there are, how to wait for one, and what running out of memory looks like."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock
import psutil

from diffusion_bench.records import ModelDevice

CACHE_VARIABLE = "DIFFUSION_BENCH_CACHE"
POLL_S = 0.1
# CUDA, HIP and MPS, of which the last also refuses what no one buffer holds; torch's allocator on
# the host; the C library, through safetensors.
ASKED = re.compile(
    r"(?:tried to allocate|invalid buffer size:) ([\d.]+) (bytes|[KMG]iB)", re.IGNORECASE
)
OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory"),
    *("not enough memory", "error 1455"),  # torch's words on Windows; its page file is full
    "bad_alloc",  # C++, of which torch makes a RuntimeError
    *("cublas_status_alloc_failed", "cudnn_status_alloc_failed"),
    *("hipblas_status_alloc_failed", "miopenstatusallocfailed"),
    "invalid buffer size",  # Metal's, of a tensor larger than the buffers of this Mac
)
SPARE_MIB = 16.0  # of a cap: the stack of a thread takes 8, the workspace of a kernel as much


class CacheUnusable(ValueError):
    """The cache folder is none or cannot be written."""


class DeviceBusy(RuntimeError):
    """Another generation or benchmark holds the device."""


def cache_folder() -> Path:
    """Return the folder of locks and remembered settings, made if it is not there.

    Raises `CacheUnusable` where it cannot be made or written.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"diffusion-bench-{_user()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it cannot be written")
    except OSError as error:
        raise CacheUnusable(
            f"the cache folder {folder} cannot be used: {error.strerror or error}; "
            f"{CACHE_VARIABLE} names another"
        ) from error
    return folder


def cached_file(name: str) -> Path | None:
    """Return the path of a file that can be done without, `None` where the cache cannot be used."""
    try:
        return cache_folder() / name
    except CacheUnusable:
        return None


def cache_lock(name: str) -> filelock.BaseFileLock:
    """Return a lock that processes share, not taken yet. Raises `CacheUnusable`.

    Not of one thread: a generator that holds it may be closed in another than it ran in.
    """
    return filelock.FileLock(cache_folder() / name, thread_local=False)


def _user() -> str:
    # An id rather than a name: the folder's name may be shown.
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


def pick_device(asked: str | None = None) -> str:
    """Return the device to run on: what was asked for, else cuda, mps or cpu, the first there is.

    Several CUDA cards may be asked for as one device, see `ModelDevice`. Raises ValueError for what
    torch cannot use here, and for several that are not different cards.
    """
    import torch

    usable = ["cpu"]
    if torch.backends.mps.is_available():
        usable.insert(0, "mps")
    # Not device_count: torch counts cards through NVML, also those that it cannot use.
    if torch.cuda.is_available():
        usable[:0] = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if asked is None:
        return usable[0]
    device = ModelDevice.parse(asked)
    for one in device.cards:
        if one not in usable:
            raise ValueError(f"device {one!r} cannot be used here; usable: {', '.join(usable)}")
    different = {one for one in device.cards if one.startswith("cuda:")}
    if device.is_several and len(different) < len(device.cards):
        raise ValueError(
            f"a model is laid on CUDA cards that differ, as in cuda:0,cuda:1; not on {asked}"
        )
    return asked


@contextmanager
def hold_device(
    device: str, *, wait_s: float = 0.0, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold a device, each of its cards, against every other job of this user in any process.

    Waits up to `wait_s`, calling `on_wait` about ten times a second (it may raise to give up);
    then raises `DeviceBusy`. The system frees the lock of a process that dies.
    """
    give_up_at = time.monotonic() + wait_s
    with ExitStack() as held:
        # In one order, so that no two jobs wait for each other's cards.
        for card in sorted({_numbered(card) for card in ModelDevice.parse(device).cards}):
            held.callback(_lock_card(card, give_up_at, on_wait).release)
        yield


def _lock_card(
    card: str, give_up_at: float, on_wait: Callable[[], None] | None
) -> filelock.BaseFileLock:
    lock = cache_lock(f"{re.sub(r'[^a-z0-9]', '-', card)}.lock")
    waited = False
    while True:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if time.monotonic() >= give_up_at:
                raise DeviceBusy(
                    f"{card} is busy with another generation or benchmark; "
                    "wait for it to end, or cancel it"
                ) from None
            if on_wait is not None:
                on_wait()
            waited = True
            time.sleep(POLL_S)
            continue
        if waited and on_wait is not None:
            _ask_once_more(lock, on_wait)
        return lock


def _ask_once_more(lock: filelock.BaseFileLock, on_wait: Callable[[], None]) -> None:
    """Let who gave up while we slept do so: the card is free for the next one then."""
    try:
        on_wait()
    except BaseException:
        lock.release()
        raise


def _numbered(card: str) -> str:
    return "cuda:0" if card == "cuda" else card


def cap_memory(device: str, cap_mib: float) -> None:
    """Give this process no more than `cap_mib` of memory. Raise ValueError where it cannot be.

    On a CPU the cap is Linux's RLIMIT_DATA, which counts private writable memory: past it malloc
    fails, and torch reports it as it would a full machine.
    """
    import torch

    if device.startswith("cuda"):
        total_mib = torch.cuda.get_device_properties(device).total_memory / 2**20
        if cap_mib > total_mib:
            raise ValueError(
                f"cannot emulate {cap_mib:.0f} MiB of GPU memory on a card of {total_mib:.0f} MiB"
            )
        # Alone of the functions used here, this one takes no card without a number.
        torch.cuda.set_per_process_memory_fraction(cap_mib / total_mib, _numbered(device))
        return
    if device != "cpu" or not sys.platform.startswith("linux"):
        raise ValueError(f"memory cannot be capped on {device} on {sys.platform}")
    import resource  # POSIX only

    limit = int(cap_mib * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def release_unused(device: str) -> None:
    """Give back what the allocators of torch and of the C library keep and nothing uses."""
    import torch

    if device.startswith("cuda"):
        # For another card than the current one it would make a context on that, of half a gigabyte:
        # https://github.com/pytorch/pytorch/issues/25752
        with torch.cuda.device(_numbered(ModelDevice.parse(device).cards[0])):
            torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()  # else it stays Metal's, and a Mac has one memory
    if sys.platform.startswith("linux"):
        with suppress(AttributeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)


def asked_mib(message: str) -> float | None:
    """Return the memory an out-of-memory message says was asked for, `None` where it says none."""
    found = ASKED.search(message)
    if found is None:
        return None
    amount, unit = float(found[1]), found[2].lower()
    return amount * {"bytes": 2**-20, "kib": 2**-10, "mib": 1.0, "gib": 2.0**10}[unit]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or on the host.

    So does one that was raised because of such an error, as by a library that imports lazily.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    if any(words in text for words in OUT_OF_MEMORY):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def was_refused_memory(device: str) -> bool:
    """Return whether torch's allocator of a card has run out since the peaks were forgotten.

    cuDNN's convolutions go on to their next engine where one finds no memory to work in, and say
    at last that they were "unable to find an engine", which may mean anything.
    """
    if not device.startswith("cuda"):
        return False
    import torch

    cards = ModelDevice.parse(device).cards
    return any(torch.cuda.memory_stats(card).get("num_ooms", 0) > 0 for card in cards)


def is_at_memory_cap() -> bool:
    """Return whether next to nothing is left of what Linux lets this process have.

    What fails then failed for want of it, whatever it says: oneDNN, say, "could not create a
    primitive".
    """
    if not sys.platform.startswith("linux"):
        return False
    import resource  # POSIX only

    cap, _ = resource.getrlimit(resource.RLIMIT_DATA)
    left = cap - psutil.Process().memory_info().data
    return cap != resource.RLIM_INFINITY and left < SPARE_MIB * 2**20
