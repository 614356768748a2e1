"""torch.compile on the denoiser, and how long it takes, as a number of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

COMPILERS = ("g++", "clang++", "cl")


def why_no_compiling(device: str, *, cuda_graphs: bool) -> str | None:
    """Return why nothing can be compiled for a device; `None` where it can."""
    if device.startswith("cuda"):
        if importlib.util.find_spec("triton") is None:
            return "compiling for a GPU needs the package triton, which is not installed"
        return None if sys.platform == "win32" else _why_no_launchers()
    if cuda_graphs:
        return f"cuda graphs need an NVIDIA card; the device is {device}"
    if device != "cpu":
        return f"nothing is compiled for {device} here; leave compile out"
    return _why_no_compiler("CPU", "C++", "CXX", COMPILERS)


def _why_no_launchers() -> str | None:
    """Return why triton cannot build what starts its kernels; on Windows it brings a compiler."""
    if no_compiler := _why_no_compiler("GPU", "C", "CC", ("gcc", "clang")):
        return no_compiler
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return (
            "compiling for a GPU needs Python's headers; there is no Python.h: install python3-dev"
        )
    return None


def _why_no_compiler(of: str, language: str, variable: str, usual: tuple[str, ...]) -> str | None:
    wanted = (os.environ[variable],) if os.environ.get(variable) else usual
    if any(map(shutil.which, wanted)):
        return None
    return f"compiling for a {of} needs a {language} compiler; there is no {', '.join(wanted)}"


def compile_denoiser(denoiser: nn.Module, device: str, *, cuda_graphs: bool) -> None:
    """Compile a denoiser when it is first called, and again for each other size or batch.

    Its forward alone: hooks, which time and cast, stay outside and may come and go.
    """
    denoiser.requires_grad_(False)
    # On a CPU, freezing packs the weights (see `packing`); on a GPU it would hold them twice.
    options: dict[str, Any] = {"freezing": True}
    if device != "cpu":
        options = {"triton.cudagraphs": cuda_graphs}
    denoiser.forward = torch.compile(denoiser.forward, dynamic=False, options=options)
    if cuda_graphs:
        denoiser.register_forward_pre_hook(_next_graph)
        denoiser.register_forward_hook(_own_copy)


def _next_graph(*_: Any) -> None:
    torch.compiler.cudagraph_mark_step_begin()


def _own_copy(_: nn.Module, given: Any, result: Any) -> Any:
    """Copy what the graph wrote: its next run writes to the same place."""
    if isinstance(result, torch.Tensor):
        return result.clone()
    if isinstance(result, tuple):
        return tuple(_own_copy(_, given, part) for part in result)
    for name, value in result.items():
        result[name] = _own_copy(_, given, value)
    return result


class CompileClock:
    """Adds up the seconds in which torch compiles."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since_s = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count inside the `with` block."""
        from torch._dynamo.callback import callback_handler

        callback_handler.register_start_callback(self._started)
        callback_handler.register_end_callback(self._ended)
        try:
            yield
        finally:
            callback_handler.remove_start_callback(self._started)
            callback_handler.remove_end_callback(self._ended)

    def _started(self, _: Any) -> None:
        self._since_s = time.perf_counter()

    def _ended(self, _: Any) -> None:
        self.seconds += time.perf_counter() - self._since_s
