"""The first import of libraries that replace themselves, asked for by two threads at once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diffusion_bench.backends import first_import
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.model_memory import _usual_settings
from diffusion_bench.backends.pipeline_names import denoiser_kind, has_image_to_image
from diffusion_bench.records import ImageRequest, VoiceRequest
from diffusion_bench.ui.launch import _warm_up
from diffusion_bench.ui.speech_looking import check_speech
from diffusion_bench.ui.uploads import Uploads
from diffusion_bench.ui.voice.recordings import read_vector

NAME = "slow_lazy_library"
# As diffusers does it: names are in the module that takes the place of the one imported.
SOURCE = """\
import sys, time, types
time.sleep(0.5)
lazy = types.ModuleType(__name__)
lazy.Pipeline, lazy.__spec__ = object, __spec__
sys.modules[__name__] = lazy
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / f"{NAME}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(first_import, "LIBRARIES", (NAME,))
    yield NAME
    sys.modules.pop(NAME, None)


def _from_two_threads(work: Callable[[], None]) -> list[Exception]:
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except ImportError as error:
            failures.append(error)

    first, second = threading.Thread(target=run), threading.Thread(target=run)
    first.start()
    while first.is_alive() and NAME not in sys.modules:
        time.sleep(0.001)
    second.start()  # in the midst of the first's import
    first.join()
    second.join()
    return failures


def _take_a_name() -> None:
    exec(f"from {NAME} import Pipeline")


def test_two_threads_have_every_name_of_a_library_that_replaces_itself(library: str) -> None:
    def import_and_take() -> None:
        import_libraries()
        _take_a_name()

    assert _from_two_threads(import_and_take) == []


def test_the_stand_in_fails_as_diffusers_did_where_nobody_waits(library: str) -> None:
    (failure,) = _from_two_threads(_take_a_name)
    assert "cannot import name 'Pipeline'" in str(failure)


ENTRIES: dict[str, Callable[[], object]] = {
    "warm-up": _warm_up,
    "picture": lambda: Engine("cpu").generate(ImageRequest(prompt="a", model="no such model")),
    "speech": lambda: Engine("cpu").look_at_voice(VoiceRequest(text="a", model="none"), print),
    "voice": lambda: Engine("cpu").encode_voice("no such model", "fp32", None),  # type: ignore[arg-type]
    "image to image": lambda: has_image_to_image("FluxPipeline"),
    "denoiser": lambda: denoiser_kind("FluxPipeline"),
    "memory": lambda: _usual_settings("UNet2DConditionModel"),
    "look at speech": lambda: check_speech(VoiceRequest(text="good morning", steps=2)),
    "x-vector": lambda: read_vector(Path("none.npy"), "speecht5", Uploads()),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_whatever_may_be_first_waits_for_its_turn_to_import(
    entry: Callable[[], object], library: str
) -> None:
    with contextlib.suppress(ValueError, OSError):  # what it then lacks is no matter here
        entry()

    assert library in sys.modules


# As in a container that runs as some number: `docker run --user 12345`.
NAMELESS = """
import os, pwd
for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "TORCHINDUCTOR_CACHE_DIR"):
    os.environ.pop(name, None)
def none(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = none
import diffusion_bench.backends
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(cache_dir())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="users have numbers on POSIX")
def test_a_user_without_a_name_can_import_the_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", NAMELESS], capture_output=True, text=True)
    assert f"torchinductor_{os.getuid()}" in done.stdout, done.stderr
