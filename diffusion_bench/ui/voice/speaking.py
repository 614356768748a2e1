"""What the tab *Voice cloning* does, without the page: values in, views out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from diffusion_bench.audio.recording import LONG_S
from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import Repository
from diffusion_bench.backends.downloads import Fetching, Progress
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.network_files import fetch
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceState
from diffusion_bench.backends.voice.measuring import measure_candidate, warnings_of
from diffusion_bench.backends.voice.ranking import rank_candidates
from diffusion_bench.backends.voice.recipes import Recipe
from diffusion_bench.backends.voice.repositories import lacking
from diffusion_bench.backends.voice.voices import (
    delete_voice,
    find_voice,
    name_of_state,
    save_voice,
)
from diffusion_bench.records import (
    BUNDLED_VOICE_MODEL,
    OnAudio,
    Speech,
    VoiceRequest,
    VoiceStep,
    ignore_audio,
)
from diffusion_bench.ui.figures import Chart
from diffusion_bench.ui.guests import check_most
from diffusion_bench.ui.jobs import Done, Job, Jobs
from diffusion_bench.ui.model_words import download_words
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.seeds import seed_or_any
from diffusion_bench.ui.uploads import Uploads
from diffusion_bench.ui.voice.files import Spoken, save_candidates
from diffusion_bench.ui.voice.limits import (
    SHARED_VOICE_LIMITS,
    check_voice_is_here,
    check_voice_limits,
    check_voice_model,
    check_voice_name,
)
from diffusion_bench.ui.voice.listening import Audible, Piece, is_played_live, listener_of
from diffusion_bench.ui.voice.recordings import (
    NO_RECORDING,
    Heard,
    own_vector,
    own_voice,
    read_recording,
    words_of,
)
from diffusion_bench.ui.voice.words import measures_table, progress_of, step_line, summary
from diffusion_bench.ui.waiting_line import WAIT_S, Waiting, event_words, waiting_words

if TYPE_CHECKING:  # it imports torch, which the page does without until it speaks
    from diffusion_bench.audio.speech_measures import SpeechMeasures
    from diffusion_bench.backends.voice.synthesis import VoiceBackend

T = TypeVar("T")

TELL_EVERY_S = 0.2  # how far it is
FIELDS = tuple(name for name in VoiceRequest.model_fields if name != "voice")
OWN_RECORDING = ""  # of the list of voices: the recording above it, or the x-vector


class VoiceView(NamedTuple):
    """What the page shows next; `None` leaves what is there.

    `live` is the next piece for the player of what is being made, or whether that is shown.
    """

    audio: str | None = None
    live: bytes | bool | None = None
    spoken: tuple[Spoken, ...] | None = None
    done: int | None = None
    total: int = 0
    status: str | None = None
    used_seed: int | None = None
    measures: str | None = None
    chart: Chart | None = None
    warnings: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What is to be said, the voice it is to be said in, and who is to say it."""

    request: VoiceRequest
    voice: Reference | VoiceState
    entry: VoiceEntry


class _Result(NamedTuple):
    """What the work returns."""

    speech: Speech
    spoken: tuple[Spoken, ...]
    measured: SpeechMeasures | None
    chart: Chart
    distance: str


class Speaking:
    """Says what the page asks for."""

    def __init__(self, engine: Engine, jobs: Jobs, outbox: Outbox, *, shared: bool) -> None:
        self._engine = engine
        self._jobs = jobs
        self.outbox = outbox
        self.uploads = Uploads()
        self.shared = shared

    def hear(self, path: str | None, model: str | None = None) -> Heard:
        """Return a recording ready for a model to clone, the bundled one if it is not told.

        Its file is held until it is forgotten. Raises ValueError for one that cannot be cloned,
        which is let go; not for a model that is none.
        """
        if not path:
            raise ValueError(NO_RECORDING)
        let_go = self.uploads.hold(Path(path))
        try:
            heard = read_recording(Path(path), self._longest_s(model))
        except BaseException:
            let_go()
            raise
        return heard._replace(let_go=let_go)

    def heard_by(self, model: str | None, heard: Heard) -> Heard:
        """Return a recording as another model takes it; ValueError where its file is gone."""
        return heard.up_to(self._longest_s(model))

    def _longest_s(self, model: str | None) -> float:
        try:
            entry = check_voice_model(model or BUNDLED_VOICE_MODEL, shared=self.shared)
            return entry.reference_s[1]
        except ValueError:  # which is said when it is to speak
            return LONG_S

    def _own(
        self, values: Mapping[str, Any], heard: Heard | None, model: str | None
    ) -> Reference | VoiceState:
        """Return what the visitor brought, as the model takes it; ValueError without consent."""
        entry = check_voice_model(model or BUNDLED_VOICE_MODEL, shared=self.shared)
        if entry.takes == "x-vector":
            return own_vector(values, entry.name)
        return own_voice(values, heard, entry.reference_s[1])

    def to_request(self, values: Mapping[str, Any]) -> VoiceRequest:
        """Return the request of the page's fields, of no voice yet; ValueError for a bad one.

        A negative or empty seed picks one at random.
        """
        fields = {name: value for name, value in values.items() if name in FIELDS}
        fields["seed"] = seed_or_any(fields.get("seed"))
        if fields.get("sampler") != "ddim":
            fields["eta"] = 0.0  # its field is hidden, whatever it holds
        if self.shared:
            check_most(fields, SHARED_VOICE_LIMITS)
        request = VoiceRequest(**fields)
        check_voice_model(request.model, shared=self.shared)
        if self.shared:
            check_voice_limits(request)
        return request

    def voice_of(
        self, values: Mapping[str, Any], heard: Heard | None, model: str
    ) -> tuple[str, Reference | VoiceState]:
        """Return the chosen voice and the name a request gives it; ValueError without consent."""
        name = values.get("voice") or OWN_RECORDING
        if name != OWN_RECORDING:
            if self.shared:
                check_voice_name(name)
            voice = find_voice(name, model)
            if isinstance(voice, Reference):  # which may have been saved for a model without words
                voice = voice.with_words(words_of(values))
            return name, voice
        own = self._own(values, heard, model)
        return (own.name() if isinstance(own, Reference) else name_of_state(own)), own

    def asked(self, values: Mapping[str, Any], heard: Heard | None) -> Asked:
        """Return what the page's fields ask for; ValueError for what cannot be said."""
        from diffusion_bench.backends.voice.synthesis import check_request

        request = self.to_request(values)
        name, voice = self.voice_of(values, heard, request.model)
        request = request.model_copy(update={"voice": name})
        entry = check_voice_model(request.model, shared=self.shared)
        if self.shared:
            check_voice_is_here(entry)
        check_request(entry, request, voice)
        return Asked(request, voice, entry)

    def speak(self, values: Mapping[str, Any], heard: Heard | None) -> Iterator[VoiceView]:
        """Speak, yielding what to show; closing the iterator stops at the next step."""
        request, voice, entry = self.asked(values, heard)
        more = self._more_steps(request, values.get("against"))
        watermark = bool(values.get("watermark", True))
        recipe = Recipe.of(request, entry, voice, watermark=watermark)
        yield VoiceView(
            live=is_played_live(request, entry),
            done=0,
            total=1,
            status="Starting: the first speech loads the model.",
            spoken=(),
        )
        with closing(self._jobs.watch(partial(self._work, recipe, voice, entry, more))) as events:
            for event in events:
                yield _to_view(request, event)

    def _more_steps(self, request: VoiceRequest, steps: int | None) -> VoiceRequest | None:
        """Return what is to be compared with, `None` for nothing; ValueError for what cannot be."""
        if not steps:
            return None
        more = request.with_more_steps(steps)
        if self.shared:
            check_voice_limits(more)
        return more

    def _work(
        self,
        recipe: Recipe,
        voice: Reference | VoiceState,
        entry: VoiceEntry,
        more: VoiceRequest | None,
        job: Job,
    ) -> _Result:
        if not self.shared:  # a guest's were looked for before
            _fetch(entry, recipe.request.vocoder, job)
        with self.outbox.lease(long=True) as folder:
            try:
                listener = listener_of(recipe, entry, folder, job.tell)
                speech = self._say(recipe.request, voice, listener or ignore_audio, job)
                if listener is not None:
                    listener.end()
                compared = self._say(more, voice, ignore_audio, job) if more else None
                return _finish(speech, voice, recipe, folder, compared)
            except BaseException:  # given up or failed: nobody comes back to it
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def _say(
        self, request: VoiceRequest, voice: Reference | VoiceState, on_audio: OnAudio, job: Job
    ) -> Speech:
        """Say a request for a job that may be given up, once it is its turn."""
        told_s = -TELL_EVERY_S

        def on_step(step: VoiceStep) -> None:
            nonlocal told_s
            job.check()
            if step.elapsed_s - told_s >= TELL_EVERY_S:  # steps of speech take milliseconds
                told_s = step.elapsed_s
                job.tell(step)

        with self._jobs.turn(job, "speech") as turn:
            return self._engine.speak(
                request, voice, on_step, on_audio, wait_s=WAIT_S, on_wait=turn.on_wait
            )

    def watch(
        self, requests: Sequence[VoiceRequest], asked: Asked, finish: Callable[[int, Speech], T]
    ) -> Generator[T | VoiceStep | str | None]:
        """Say requests one after another, as `asked`, each once it is its turn.

        Yields words while it waits, each step, and what `finish` makes of a request's number and
        its speech, before the next is begun: that is timed.
        """

        def work(job: Job) -> None:
            if not self.shared:  # a guest's were looked for before
                _fetch(asked.entry, asked.request.vocoder, job)
            for number, request in enumerate(requests):
                job.tell(finish(number, self._say(request, asked.voice, ignore_audio, job)))

        with closing(self._jobs.watch(work)) as events:
            for event in events:
                if isinstance(event, Done):
                    return
                yield event_words(event)

    def look(
        self, request: VoiceRequest, looking: Callable[[VoiceBackend, Job], object]
    ) -> Generator[object | None]:
        """Look into the model that says a request, once it is its turn.

        Yields words while it waits, what `looking` tells its job, and `Done` with what it returned.
        """

        def work(job: Job) -> object:
            with self._jobs.turn(job, "speech") as turn:
                return self._engine.look_at_voice(
                    request,
                    lambda backend: looking(backend, job),
                    wait_s=WAIT_S,
                    on_wait=turn.on_wait,
                )

        with closing(self._jobs.watch(work)) as events:
            for event in events:
                yield event_words(event)

    def keep(self, name: str, heard: Heard | None, values: Mapping[str, Any]) -> str:
        """Save the visitor's own voice under a name and return what to say of it."""
        if self.shared:
            raise ValueError("this app is shared: its visitors cannot save voices on it")
        save_voice(name.strip(), self._own(values, heard, values.get("model")))
        return f"Saved as {name.strip()!r}: choose it from the list of voices."

    def drop(self, name: str) -> None:
        """Delete a saved voice; ValueError for one that is not there."""
        if self.shared:
            raise ValueError("this app is shared: its visitors cannot delete voices")
        delete_voice(name.strip())


def _fetch(entry: VoiceEntry, vocoder: str, job: Job) -> None:
    """Fetch what is not here of a model and its vocoder, before the device is taken."""
    for repository in lacking(entry, vocoder):

        def on_progress(progress: Progress, repository: Repository = repository) -> None:
            job.check()
            job.tell(Fetching(model=repository, progress=progress))

        fetch(repository, on_progress)


def _finish(
    speech: Speech,
    voice: Reference | VoiceState,
    recipe: Recipe,
    folder: Path,
    more: Speech | None,
) -> _Result:
    """Rank, save, measure and draw what was said, and compare it with that of `more` steps."""
    from diffusion_bench.audio.timbre import timbre_similarity
    from diffusion_bench.backends.voice.more_steps import distance_words
    from diffusion_bench.ui.voice.figures import draw_spectrograms

    reference = voice if isinstance(voice, Reference) else None
    candidates = rank_candidates(speech, reference, timbre_similarity)
    return _Result(
        speech,
        save_candidates(speech, candidates, recipe.pinned(), folder),
        measure_candidate(speech, candidates[0], reference),
        draw_spectrograms(speech, candidates[0], reference),
        distance_words(candidates[0], more) if more else "",
    )


def _to_view(request: VoiceRequest, event: object) -> VoiceView:
    match event:
        case Waiting():
            return VoiceView(status=waiting_words(event))
        case Fetching(progress=progress):
            return VoiceView(
                done=round(progress.done_mib),
                total=max(1, round(progress.total_mib)),
                status=download_words(event),
            )
        case VoiceStep():
            done, total = progress_of(event)
            return VoiceView(done=done, total=total, status=step_line(event))
        case Audible(path, seconds):
            return VoiceView(audio=path, status=f"{seconds:.1f} s can be heard already.")
        case Piece(sound, seconds):
            return VoiceView(live=sound, status=f"{seconds:.1f} s can be heard already.")
        case Done(_Result(speech, spoken, measured, chart, distance)):
            notes = [f"Note: {warning}" for warning in warnings_of(speech, measured)]
            return VoiceView(
                audio=spoken[0].path,
                spoken=spoken,
                done=1,
                total=1,
                status="\n".join(filter(None, [summary(speech), distance, *notes])),
                used_seed=request.seed,
                measures=measures_table(measured),
                chart=chart,
                warnings=speech.warnings,
            )
        case _:
            return VoiceView()
