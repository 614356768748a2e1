"""One job at a time on a device, in any thread or process, and what "out of memory" looks like."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diffusion_bench.backends.device import (
    CACHE_VARIABLE,
    CacheUnusable,
    DeviceBusy,
    asked_mib,
    cache_folder,
    cached_file,
    cap_memory,
    hold_device,
    is_at_memory_cap,
    is_out_of_memory,
    pick_device,
    release_unused,
)
from diffusion_bench.records import Cancelled

HOLD = """
import sys
from diffusion_bench.backends.device import hold_device
with hold_device(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holding(device: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_another_process_is_kept_off_until_its_holder_ends_also_by_a_kill() -> None:
    with another_process_holding("cpu") as holder:
        with (
            pytest.raises(DeviceBusy, match="cpu is busy with another generation or benchmark"),
            hold_device("cpu"),
        ):
            pass
        with hold_device("cuda:1"):
            pass  # another device is free
        holder.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        holder.wait()
        with hold_device("cpu"):
            pass


def test_another_thread_is_kept_off_too() -> None:
    caught: list[BaseException] = []

    def take() -> None:
        try:
            with hold_device("cpu"):
                pass
        except DeviceBusy as error:
            caught.append(error)

    with hold_device("cpu"):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_cuda_is_its_first_card() -> None:
    with hold_device("cuda"):
        with pytest.raises(DeviceBusy), hold_device("cuda:0"):
            pass
        with hold_device("cuda:1"):
            pass


def test_who_waits_gets_the_device_when_it_is_free_and_hears_of_the_wait() -> None:
    with another_process_holding("cpu") as holder:
        waits: list[int] = []

        def on_wait() -> None:
            waits.append(1)
            if len(waits) == 3:
                holder.kill()

        with hold_device("cpu", wait_s=60, on_wait=on_wait):
            pass
        assert len(waits) >= 3


def test_who_waits_long_enough_is_told_that_the_device_is_busy() -> None:
    with hold_device("cpu"):
        start_s = time.monotonic()
        with pytest.raises(DeviceBusy), hold_device("cpu", wait_s=0.3):
            pass
        assert 0.3 <= time.monotonic() - start_s < 5


def test_who_waits_may_give_up() -> None:
    def give_up() -> None:
        raise Cancelled

    with (
        hold_device("cpu"),
        pytest.raises(Cancelled),
        hold_device("cpu", wait_s=60, on_wait=give_up),
    ):
        pass
    with hold_device("cpu"):
        pass


def test_who_gives_up_as_the_device_falls_free_leaves_it_to_the_next() -> None:
    held, waits = hold_device("cpu"), []
    held.__enter__()

    def on_wait() -> None:
        waits.append(1)
        if len(waits) == 1:
            held.__exit__(None, None, None)
        else:
            raise Cancelled

    with pytest.raises(Cancelled) as given_up, hold_device("cpu", wait_s=60, on_wait=on_wait):
        pass
    assert len(waits) == 2
    with hold_device("cpu"):  # while what was raised still holds its frames
        assert given_up.traceback


def test_an_error_inside_lets_the_device_go() -> None:
    with pytest.raises(RuntimeError, match="inside"), hold_device("cpu"):
        raise RuntimeError("inside")
    with hold_device("cpu"):
        pass


def test_a_device_taken_in_one_thread_may_be_let_go_in_another() -> None:
    """A web server runs a generator's turns, and closes it, in whatever thread is free."""
    held = hold_device("cpu")
    taken, ended = threading.Event(), threading.Event()

    def take() -> None:
        held.__enter__()
        taken.set()
        ended.wait()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        assert taken.wait(10)
        held.__exit__(None, None, None)
        with hold_device("cpu"):
            pass
    finally:
        ended.set()
        thread.join()


def test_locks_lie_where_the_user_wants_them_or_under_no_users_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert cache_folder().is_dir()
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("USER", "ann-the-tester")
    assert cache_folder().parent == tmp_path
    assert "ann" not in cache_folder().name


def test_a_cache_folder_that_cannot_be_used_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    words = "file cannot be used: File exists; DIFFUSION_BENCH_CACHE names another"
    with pytest.raises(CacheUnusable, match=words), hold_device("cpu"):
        pass
    assert cached_file("reports-index.sqlite") is None  # done without


def test_a_cache_folder_that_is_somebody_elses_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    if os.access(tmp_path / "theirs", os.W_OK):
        pytest.skip("this user may write everywhere")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "theirs"))
    with pytest.raises(CacheUnusable, match="theirs cannot be used: it cannot be written"):
        cache_folder()


def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    assert pick_device("cpu") == "cpu"
    for name in ("cuda:99", "tpu", ""):
        with pytest.raises(ValueError, match=f"device '{name}' cannot be used here; usable: .*cpu"):
            pick_device(name)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, True, "cuda")],
)
def test_with_no_wish_the_best_device_is_taken(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert pick_device() == best


@pytest.mark.parametrize(
    ("device", "card"), [("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cuda:1,cuda:0", "cuda:1")]
)
def test_what_is_given_back_of_one_card_takes_nothing_of_another(
    device: str, card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's question makes a context on the current card, whose memory another job may need."""
    told: list[str] = []

    @contextmanager
    def current(one: str) -> Iterator[None]:
        told.append(one)
        yield
        told.append("left")

    monkeypatch.setattr("torch.cuda.device", current)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: told.append("given back"))
    release_unused(device)
    assert told == [card, "given back", "left"]


def test_out_of_memory_is_told_from_other_failures() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    for error in (
        caught.value,
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        OSError("[WinError 1455] Die Auslagerungsdatei ist zu klein"),
        RuntimeError("The paging file is too small for this operation (os error 1455)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"
        ),
        RuntimeError("Invalid buffer size: 19.38 GiB"),
    ):
        assert is_out_of_memory(error), error
    for error in (
        ValueError("steps"),
        OSError(errno.ENOSPC, "full"),
        RuntimeError("memory format"),
    ):
        assert not is_out_of_memory(error), error


@pytest.mark.parametrize(
    ("message", "mib"),
    [
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8", 2560.0),
        ("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 8.00 GiB total)", 20.0),
        ("MPS backend out of memory (allocated: 8 GB). Tried to allocate 512.00 KiB on", 0.5),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1048576 bytes.", 1.0),
        ("HIP out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 24", 1536.0),
        ("Invalid buffer size: 19.50 GiB", 19968.0),
        ("std::bad_alloc", None),
        ("out of memory", None),
    ],
)
def test_the_memory_that_was_asked_for_is_read_from_the_message(
    message: str, mib: float | None
) -> None:
    assert asked_mib(message) == mib


def test_torch_itself_says_what_it_asked_for() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**44, dtype=torch.uint8)
    assert asked_mib(str(caught.value)) == 2**24


CAPPED = """
import torch
from diffusion_bench.backends.device import cap_memory, is_out_of_memory
cap_memory("cpu", 1024.0)
kept = torch.ones(128, 2**18)
try:
    torch.ones(1024, 2**18)
except RuntimeError as error:
    print(is_out_of_memory(error), len(kept))
"""


AT_THE_CAP = """
import torch
from diffusion_bench.backends.device import cap_memory, is_at_memory_cap
cap_memory("cpu", 1024.0)
said = [is_at_memory_cap()]
kept = []
try:
    while True:
        kept.append(torch.empty(2**18))
except RuntimeError:
    said.append(is_at_memory_cap())
del kept[-40:]
print(*said, is_at_memory_cap())
"""


def run_alone(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which its cap of memory does not outlive."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux caps memory")
def test_a_process_knows_whether_its_cap_leaves_it_anything() -> None:
    assert not is_at_memory_cap()  # of no cap all is left
    done = run_alone(AT_THE_CAP)
    assert done.stdout == "False True False\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux caps memory")
def test_a_cap_lets_through_what_fits_and_refuses_the_rest_as_a_full_machine_would() -> None:
    done = run_alone(CAPPED)
    assert done.stdout == "True 128\n", done.stderr


def test_where_memory_cannot_be_capped_that_is_said() -> None:
    with pytest.raises(ValueError, match="memory cannot be capped on mps"):
        cap_memory("mps", 1024.0)


def test_an_error_that_memory_is_the_cause_of_is_out_of_memory():
    """diffusers imports lazily, and makes an error of its own of what an import raised."""
    wrapped = RuntimeError("Failed to import diffusers.models")
    wrapped.__cause__ = ValueError("while importing")
    assert not is_out_of_memory(wrapped)
    wrapped.__cause__.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped)
