"""Folders and threads of a test's own, also for the processes that it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

# One: a thread that waits for a busy core stalls every operation, and tests share their cores.
MAX_TORCH_THREADS = 1

FOLDERS = {
    "DIFFUSION_BENCH_REPORTS": "reports",
    "DIFFUSION_BENCH_CACHE": "cache",
    "DIFFUSION_BENCH_VOICES": "voices",
    "HF_HOME": "huggingface",
    "GRADIO_TEMP_DIR": "gradio",
}


def set_own_folders(home: Path, patch: pytest.MonkeyPatch) -> None:
    for variable, folder in FOLDERS.items():
        (home / folder).mkdir()
        patch.setenv(variable, str(home / folder))
    # The processes that a test starts are to behave like the test.
    patch.setenv("OMP_NUM_THREADS", str(MAX_TORCH_THREADS))
    patch.delenv("SPACE_ID", raising=False)
