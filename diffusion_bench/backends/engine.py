"""The engine: one loaded model, and one job at a time on a device."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from diffusion_bench.backends.device import hold_device, pick_device, release_unused
from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.model_facts import weights_stamp
from diffusion_bench.records import (
    Generation,
    ImageRequest,
    OnAudio,
    OnStep,
    OnVoiceStep,
    PrecisionName,
    Speech,
    Speed,
    VoiceRequest,
    ignore_audio,
    ignore_step,
    ignore_voice_step,
)

if TYPE_CHECKING:
    from diffusion_bench.audio.reference import Reference
    from diffusion_bench.backends.images import ImageBackend
    from diffusion_bench.backends.input_pictures import InputPictures
    from diffusion_bench.backends.speed.choosing import Chosen
    from diffusion_bench.backends.voice.base import VoiceState
    from diffusion_bench.backends.voice.synthesis import VoiceBackend

T = TypeVar("T")


class Engine:
    """Loads models when they are first asked for and keeps the last one, of pictures or of speech.

    The lock is the engine's, not the web queue's, because requests can pass by that queue.
    """

    def __init__(self, device: str | None = None) -> None:
        self._asked_device = device
        self._loaded: ImageBackend | VoiceBackend | None = None
        self._stamp = ""  # of the weights of the loaded model
        self._has_loaded = False  # or tried to, which leaves as much to collect

    @property
    def device(self) -> str:
        """Return the device jobs run on; the first call imports torch and the libraries."""
        import_libraries()  # every job asks for its device before it imports anything else
        return pick_device(self._asked_device)

    def generate(
        self,
        request: ImageRequest,
        on_step: OnStep = ignore_step,
        *,
        inputs: InputPictures | None = None,
        wait_s: float = 0.0,
        on_wait: Callable[[], None] | None = None,
    ) -> Generation:
        """Draw a request, after waiting up to `wait_s` for the device; see `ImageBackend`.

        Raises `DeviceBusy` if the device stays taken. `on_wait` may raise to stop waiting.
        """
        return self.look(
            request,
            lambda backend: backend.generate(request, on_step, inputs=inputs),
            wait_s=wait_s,
            on_wait=on_wait,
        )

    def look(
        self,
        request: ImageRequest,
        looking: Callable[[ImageBackend], T],
        *,
        wait_s: float = 0.0,
        on_wait: Callable[[], None] | None = None,
    ) -> T:
        """Return what `looking` makes of the model that draws a request, loaded; as `generate`."""
        with hold_device(self.device, wait_s=wait_s, on_wait=on_wait):
            return looking(self.backend_for(request)[0])

    def speak(
        self,
        request: VoiceRequest,
        voice: Reference | VoiceState,
        on_step: OnVoiceStep = ignore_voice_step,
        on_audio: OnAudio = ignore_audio,
        *,
        wait_s: float = 0.0,
        on_wait: Callable[[], None] | None = None,
    ) -> Speech:
        """Say a request in a voice, after waiting up to `wait_s`; see `VoiceBackend.generate`.

        Warns of a voice that other weights of the model encoded. Raises `DeviceBusy` if the
        device stays taken. `on_wait` may raise to stop waiting.
        """
        from diffusion_bench.backends.voice.base import VoiceState
        from diffusion_bench.backends.voice.facts import other_weights

        speech = self.look_at_voice(
            request,
            lambda backend: backend.generate(request, voice, on_step, on_audio),
            wait_s=wait_s,
            on_wait=on_wait,
        )
        if isinstance(voice, VoiceState) and (warning := other_weights(voice)):
            return speech.model_copy(update={"warnings": (*speech.warnings, warning)})
        return speech

    def look_at_voice(
        self,
        request: VoiceRequest,
        looking: Callable[[VoiceBackend], T],
        *,
        wait_s: float = 0.0,
        on_wait: Callable[[], None] | None = None,
    ) -> T:
        """Return what `looking` makes of the model that says a request, loaded; as `speak`."""
        with hold_device(self.device, wait_s=wait_s, on_wait=on_wait):
            return looking(self.voice_backend(request.model, request.precision)[0])

    def encode_voice(
        self,
        model: str,
        precision: PrecisionName,
        voice: Reference | VoiceState,
        *,
        wait_s: float = 0.0,
        on_wait: Callable[[], None] | None = None,
    ) -> VoiceState:
        """Return a voice as a model has it, to be saved or spoken in again; waits as `speak`.

        What is encoded now names the weights that did.
        """
        from diffusion_bench.backends.voice.facts import voice_model_facts

        with hold_device(self.device, wait_s=wait_s, on_wait=on_wait):
            state = self.voice_backend(model, precision)[0].encode(voice)
        if state is voice:
            return state
        return replace(state, weights=voice_model_facts(model).revision)

    def backend_for(
        self, request: ImageRequest, *, revision: str | None = None
    ) -> tuple[ImageBackend, bool]:
        """Return the model that draws a request at its speed, as `backend` does."""
        chosen = self.choose_speed(request, revision=revision)
        backend, fresh = self.backend(
            request.model, request.precision, revision=revision, speed=chosen.speed
        )
        backend.notes = chosen.notes
        return backend, fresh

    def choose_speed(
        self,
        request: ImageRequest,
        *,
        revision: str | None = None,
        on_call: Callable[[], None] | None = None,
    ) -> Chosen:
        """Return the speed that a request is drawn at, and how it was chosen.

        "auto" is measured the first time: for some seconds, in which other models are let go, and
        `on_call` hears of each call and each loading.
        """
        from diffusion_bench.backends.speed.choosing import Chosen, choose, ignore_call

        if isinstance(request.speed, Speed):
            return Chosen(request.speed, ())
        self._has_loaded = True  # a trial reads the weights itself too
        return choose(
            request,
            self.device,
            load=lambda tried: self.backend_for(tried, revision=revision)[0],
            unload=self.unload,
            revision=revision,
            held=self._held_speed(request),
            on_call=on_call or ignore_call,
        )

    def _held_speed(self, request: ImageRequest) -> Speed | None:
        """Return the speed of the loaded model, `None` if it is not the one that is asked for."""
        from diffusion_bench.backends.images import ImageBackend

        if not self._is_loaded(request.model, request.precision):
            return None
        return self._loaded.speed if isinstance(self._loaded, ImageBackend) else None

    def backend(
        self,
        model: str,
        precision: PrecisionName,
        *,
        revision: str | None = None,
        speed: Speed | None = None,
    ) -> tuple[ImageBackend, bool]:
        """Return the loaded model and whether it had to be loaded; the caller holds the device.

        `revision` is the commit of a hub model to load; a model that is loaded stays as it is,
        unless its files here have changed. `speed` is diffusers' own way where none is given.
        """
        from diffusion_bench.backends.images import ImageBackend

        speed = speed or Speed()
        held = self._loaded
        is_same = self._is_loaded(model, precision) and self._stamp == weights_stamp(model)
        if is_same and isinstance(held, ImageBackend) and held.speed == speed:
            held.notes = ()
            return held, False
        del held
        self.unload()  # before the new one is loaded: two may not fit
        self._has_loaded = True
        backend = ImageBackend.load(
            model, device=self.device, precision=precision, revision=revision, speed=speed
        )
        self._loaded, self._stamp = backend, weights_stamp(model)
        return backend, True

    def voice_backend(self, model: str, precision: PrecisionName) -> tuple[VoiceBackend, bool]:
        """Return the loaded voice model and whether it had to be loaded, as `backend` does."""
        from diffusion_bench.backends.voice.facts import voice_weights_stamp
        from diffusion_bench.backends.voice.synthesis import VoiceBackend

        is_same = self._is_loaded(model, precision) and self._stamp == voice_weights_stamp(model)
        if is_same and isinstance(self._loaded, VoiceBackend):
            return self._loaded, False
        self.unload()
        self._has_loaded = True
        backend = VoiceBackend.load(model, device=self.device, precision=precision)
        self._loaded, self._stamp = backend, voice_weights_stamp(model)
        return backend, True

    def _is_loaded(self, model: str, precision: PrecisionName) -> bool:
        held = self._loaded
        return held is not None and (held.model, held.precision) == (model, precision)

    def unload(self) -> None:
        """Let go of the loaded model, so that its memory is free for a benchmark."""
        self._loaded = None
        if self._has_loaded:  # a collection looks through all that the libraries made
            gc.collect()
        release_unused(self.device)
