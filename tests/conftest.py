"""What every test gets: no network habits, its own folders, few threads."""

from __future__ import annotations

import gc
import itertools
import os
import sys

import pytest
from own_folders import MAX_TORCH_THREADS, set_own_folders

# Before any test module is collected: these libraries read their switches at import.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_collection_finish():
    """Keep what the imported libraries hold out of every later collection of garbage.

    With them one takes a quarter of a second, and each model that is loaded asks for one.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_folders_of_the_user(tmp_path_factory):
    """What fixtures of a module or of all tests do is not in the user's folders either."""
    with pytest.MonkeyPatch.context() as patch:
        set_own_folders(tmp_path_factory.mktemp("home"), patch)
        yield


@pytest.fixture(scope="session")
def _homes(tmp_path_factory):
    """Number the tests' own folders here: pytest looks through all there are for the next number.

    For 2,500 tests that took six seconds of a core, and it grows by the square.
    """
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_folders(_homes, monkeypatch):
    """Reports, locks and caches of a test go to a folder of its own, not to the user's."""
    home = next(_homes)
    home.mkdir()
    set_own_folders(home, monkeypatch)


@pytest.fixture
def without_proc(monkeypatch):
    """This machine as a program sees it that is shown no /proc."""
    if sys.platform != "linux":
        pytest.skip("only Linux has a /proc")
    import psutil

    from diffusion_bench.hardware.host_counters import HostCounters

    monkeypatch.setattr(psutil, "PROCFS_PATH", "/there is no such folder")
    monkeypatch.setattr(HostCounters.__init__, "__defaults__", (None,))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Do the same for the fixtures of a module: those of each test come after them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUSION_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", str(MAX_TORCH_THREADS))
        yield


@pytest.fixture(scope="session")
def warm_start():
    """The process that warm workers are forked from, for all files that ask for them."""
    from warm_workers import WarmStart

    start = WarmStart()
    yield start
    start.close()


@pytest.fixture(scope="module")
def warm_workers(warm_start):
    """Let the workers of a file start warm where Linux can fork them; see `warm_workers.py`."""
    with pytest.MonkeyPatch.context() as patch:
        warm_start.serve_to(patch)
        yield warm_start


@pytest.fixture(scope="module")
def short_rests():
    """Let the sweeps of a file look at the quiet machine for two looks before a cell, not five."""
    from diffusion_bench.bench import cell_run, idle_look

    with pytest.MonkeyPatch.context() as patch:
        for module in (cell_run, idle_look):
            patch.setattr(module, "IDLE_S", 0.2)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Limit torch where a test file has imported it; importing it here would slow all others.

    Before fixtures of modules, too: sound of more threads has other last bits.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > MAX_TORCH_THREADS:
        torch.set_num_threads(MAX_TORCH_THREADS)
