"""The process in which the model lives: `python -m diffusion_bench.bench.worker DEVICE CAP_MIB`.

Either may be empty: the best device, no cap.

It reads one command a line from standard input and writes one event a line to standard output; what
libraries print goes to standard error. It ends when its input ends, at once, even inside a cell:
its parent is gone then, and nobody would read the result.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

from diffusion_bench.bench.measure import Generate, measure
from diffusion_bench.bench.worker_messages import (
    Alive,
    Command,
    Event,
    Failed,
    Judged,
    Loaded,
    Measured,
    Ready,
    Repeated,
)
from diffusion_bench.records import (
    AnyQuality,
    ImageRequest,
    ModelDevice,
    QualityPlan,
    Speech,
    SpeedProbe,
    Stage,
    VoiceQualityPlan,
    VoiceRequest,
    VoiceStage,
    parse_speed,
)

if TYPE_CHECKING:
    from diffusion_bench.backends.images import ImageBackend
    from diffusion_bench.backends.voice.synthesis import VoiceBackend

# Of the environment: torch's allocators, and what chooses kernels, or waits for each of them, and
# is in none of torch's own switches.
SETTINGS = (
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"),
    *("PYTORCH_MPS_HIGH_WATERMARK_RATIO", "PYTORCH_MPS_LOW_WATERMARK_RATIO"),
    *("PYTORCH_ENABLE_MPS_FALLBACK", "PYTORCH_MPS_FAST_MATH", "PYTORCH_MPS_PREFER_METAL"),
    *("TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL", "TORCH_BLAS_PREFER_HIPBLASLT"),
    *("PYTORCH_TUNABLEOP_ENABLED", "MIOPEN_FIND_MODE", "HSA_OVERRIDE_GFX_VERSION"),
    *("CUDA_LAUNCH_BLOCKING", "NVIDIA_TF32_OVERRIDE", "PYTORCH_NO_CUDA_MEMORY_CACHING"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("DNNL_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"),
)


def main(asked_device: str | None, memory_cap_mib: float | None = None) -> None:
    """Serve commands until standard input ends, within a cap of memory if one is given."""
    # Ctrl-C, a closed terminal and the end of a service reach all its processes; what becomes of
    # this one is its parent's choice, and it ends with its parent's end of the pipe.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    events = _take_standard_output()
    commands: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    try:
        ready = _ready(asked_device, memory_cap_mib)
    except ValueError as error:
        _send(events, Failed(status="failed", message=str(error)))
        return
    _send(events, ready)
    worker = Worker(ready.device, events, is_capped=memory_cap_mib is not None)
    while True:
        worker.obey(Command.model_validate_json(commands.get()))


class Worker:
    """Holds the loaded model and measures cells with it."""

    def __init__(self, device: str, events: TextIO, *, is_capped: bool = False) -> None:
        from diffusion_bench.backends.engine import Engine

        # The parent holds the device's lock for the whole sweep, so `backend` is used without it.
        self._engine = Engine(device)
        self._device = device
        self._events = events
        # Under a cap the test's own memory might be what the model lacks; several cards have no one
        # ceiling.
        several = ModelDevice.parse(device).is_several
        self._probed_device = None if is_capped or several else device
        self._backend: ImageBackend | VoiceBackend | None = None
        self._is_capped = is_capped

    def obey(self, command: Command) -> None:
        """Measure one cell and say what came of it."""
        from diffusion_bench.backends.device import asked_mib

        try:
            measured = self._measure(command)
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            message = (str(error).strip() or type(error).__name__)[:4000]
            failure = Failed(
                status="oom" if self._lacks_memory(error) else "failed",
                message=message,
                stage=self._stage(),
                asked_mib=asked_mib(message),
            )
            _send(self._events, failure)
            return
        _send(self._events, measured)
        if measured.judging:
            _send(self._events, self._judge(command, len(measured.measurement.timed)))

    def _lacks_memory(self, error: Exception) -> bool:
        """Return whether memory ran out: on a card and at a cap also where no error says so."""
        from diffusion_bench.backends import device

        if device.is_out_of_memory(error):
            return True
        if isinstance(error, RuntimeError) and device.was_refused_memory(self._device):
            return True
        # A thread that found no memory for its stack is all that the words can mean there.
        return self._is_capped and (
            "can't start new thread" in str(error) or device.is_at_memory_cap()
        )

    def _stage(self) -> Stage | VoiceStage:
        return self._backend.stage if self._backend is not None else "load"

    def _measure(self, command: Command) -> Measured:
        from diffusion_bench.backends.device import release_unused

        request = command.request
        if command.speed is not None:
            request = request.model_copy(update={"speed": parse_speed(command.speed)})
        self._backend = None  # until the model is there: a failure is of its loading
        generate = (
            self._speaker(request)
            if isinstance(request, VoiceRequest)
            else self._painter(request, command.revision)
        )
        if command.effort.warmups:  # else it is to begin warm, as it was left
            release_unused(self._device)  # a larger cell's would stand in this one's peaks
        measurement = measure(
            request,
            generate,
            command.effort,
            clock=time.perf_counter,
            on_repeat=lambda done: _send(self._events, Repeated(done=done)),
            on_warmup=self._tell_alive,
            probe=self._probe,
        )
        last = command.quality is not None and measurement.stop_reason is not None
        return Measured(measurement=measurement, judging=last)

    def _probe(self) -> SpeedProbe | None:
        """Return the machine's own speed, on the threads that the cell's network has."""
        from diffusion_bench.backends.machine_speed import probe_speed

        if self._probed_device is None:
            return None
        speed = getattr(self._backend, "speed", None)
        one_thread = speed is not None and speed.threads == "one"
        return probe_speed(self._probed_device, one_thread=one_thread)

    def _judge(self, command: Command, done: int) -> Judged:
        """Make what is judged at the cell's settings; what fails here spoils no cell."""
        alive = Repeated(done=len(command.effort.done_s) + done)
        try:
            quality = self._quality(command, lambda: _send(self._events, alive))
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            return Judged(reason=reason[:400])
        return Judged(quality=quality)

    def _quality(self, command: Command, on_batch: Callable[[], None]) -> AnyQuality:
        backend: Any = self._backend
        request, plan = command.request, command.quality
        if isinstance(request, VoiceRequest):
            from diffusion_bench.backends.voice.quality import measure_voice_quality
            from diffusion_bench.backends.voice.voices import find_voice

            assert isinstance(plan, VoiceQualityPlan)
            voice = find_voice(request.voice, request.model)
            return measure_voice_quality(backend, request, voice, plan, on_batch=on_batch)
        from diffusion_bench.backends.scoring.quality import measure_quality

        assert isinstance(plan, QualityPlan)
        return measure_quality(backend, request, plan, on_batch=on_batch)

    def _painter(self, request: ImageRequest, revision: str | None) -> Generate:
        # No part of loading.
        chosen = self._engine.choose_speed(request, revision=revision, on_call=self._tell_alive)
        start_s = time.perf_counter()
        backend, fresh = self._engine.backend(
            request.model, request.precision, revision=revision, speed=chosen.speed
        )
        if fresh:
            self._tell_loaded(start_s, backend.attention)
        backend.notes = chosen.notes
        self._backend = backend
        return backend.generate

    def _speaker(self, request: VoiceRequest) -> Generate:
        """Return what says requests in the voice of this one, which is encoded in every call."""
        from diffusion_bench.backends.voice.voices import find_voice

        voice = find_voice(request.voice, request.model)
        start_s = time.perf_counter()
        backend, fresh = self._engine.voice_backend(request.model, request.precision)
        if fresh:
            self._tell_loaded(start_s, "none")
        self._backend = backend

        def say(request: Any, *, stop_after: int | None = None) -> Speech:
            return backend.generate(request, voice)

        return say

    def _tell_alive(self) -> None:
        _send(self._events, Alive())

    def _tell_loaded(self, start_s: float, attention: str) -> None:
        from diffusion_bench.backends.ceiling import measure_ceiling

        load_s = time.perf_counter() - start_s
        ceiling = measure_ceiling(self._probed_device) if self._probed_device else None
        _send(self._events, Loaded(load_s=load_s, attention=attention, ceiling=ceiling))


def _ready(asked_device: str | None, memory_cap_mib: float | None) -> Ready:
    import torch

    from diffusion_bench.backends.device import cap_memory, pick_device

    device = pick_device(asked_device)
    cards = ModelDevice.parse(device).cards
    if memory_cap_mib is not None:
        for card in cards:
            cap_memory(card, memory_cap_mib)
    uuid = None
    if device.startswith("cuda") and len(cards) == 1:
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return Ready(
        pid=os.getpid(),
        device=device,
        gpu_uuid=uuid,
        cuda=torch.version.cuda,
        torch_threads=torch.get_num_threads(),
        flags=_flags(),
    )


def _flags() -> dict[str, str]:
    """Return torch's switches that decide speed, and the settings of its environment that do."""
    import torch

    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_allow_tf32": str(torch.backends.cudnn.allow_tf32),
        "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "mkldnn": str(torch.backends.mkldnn.enabled),
        **{name: os.environ[name][:200] for name in SETTINGS if name in os.environ},
    }


def _take_standard_output() -> TextIO:
    """Return the real standard output and point the process's own at standard error."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def _read_commands(commands: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        commands.put(line)
    os._exit(0)


def _send(events: TextIO, event: Event) -> None:
    events.write(event.model_dump_json() + "\n")
    events.flush()


if __name__ == "__main__":
    _, device, cap = sys.argv
    main(device or None, float(cap) if cap else None)
