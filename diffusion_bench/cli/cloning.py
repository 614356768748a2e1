"""From options to a file of speech: the work behind `clone`, once for each file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from diffusion_bench.cli.refusals import refuse_over, refuse_unwritable, told_by_option
from diffusion_bench.cli.speech_words import summarise
from diffusion_bench.cli.telling import WAIT_S, fetching_bar, moving_bar, tell, waiting, warn
from diffusion_bench.cli.voice_settings import Settings, Source

if TYPE_CHECKING:
    from diffusion_bench.audio.reference import Reference
    from diffusion_bench.backends.network_files import NetworkRepository
    from diffusion_bench.backends.voice.base import VoiceState
    from diffusion_bench.backends.voice.judges import Judges
    from diffusion_bench.backends.voice.recipes import Recipe
    from diffusion_bench.cli.batch_rows import Row
    from diffusion_bench.records import Speech, VoiceRequest, VoiceStep

DEFAULT_OUT = Path("speech.wav")


class Cloning:
    """Speaks into files, one after another, with one model kept loaded; judges them if asked.

    With `against_steps` the first of each is also spoken with so many, and compared.
    """

    def __init__(
        self,
        device: str | None,
        *,
        watermark: bool,
        judge: bool = False,
        against_steps: int | None = None,
    ) -> None:
        from diffusion_bench.backends.engine import Engine

        self._engine = Engine(device)
        self._watermark = watermark
        self._judge = judge
        self._against_steps = against_steps
        self._judges: Judges | None = None

    def judges(self) -> Judges | None:
        """Return the judges, loaded once, if they are asked; ModelUnavailable without weights."""
        if self._judge and self._judges is None:
            from diffusion_bench.backends.network_files import missing
            from diffusion_bench.backends.voice.judges import Judges, repositories

            _fetch(missing(repositories()))
            self._judges = Judges.load()
        return self._judges

    def speak(
        self,
        text: str,
        settings: Settings,
        source: Source,
        out: Path | None,
        *,
        save_as: str | None = None,
        out_is: str = "--out",
    ) -> None:
        """Say a text; raise ValueError before any work for what can be seen to fail.

        `out_is` is what `out` is called where it was written.
        """
        from diffusion_bench.backends.voice.catalog import find_voice_model
        from diffusion_bench.backends.voice.recipes import Recipe
        from diffusion_bench.backends.voice.voices import check_free, save_voice

        source.check()
        request = settings.request(text)  # before as many files are named as it has candidates
        path = _check_out(out, source.reference, request.batch, called=out_is)
        if save_as is not None:
            check_free(save_as)
        name, voice = source.find(request.model)
        request = request.model_copy(update={"voice": name})
        entry = find_voice_model(request.model)
        self._perform(Recipe.of(request, entry, voice, watermark=self._watermark), voice, path)
        if save_as is not None:
            state = self._engine.encode_voice(
                request.model, request.precision, voice, wait_s=WAIT_S, on_wait=waiting()
            )
            save_voice(save_as, state)
            tell(f"saved the voice: --voice {save_as}")

    def speak_row(self, row: Row, settings: Settings, source: Source) -> None:
        """Say a row of a batch; what it leaves open is as the options say."""
        reference = row.path("reference")
        whose = Source(
            reference=reference,
            voice=row.fields.get("voice") or (source.voice if reference is None else None),
            transcript=row.fields.get("transcript"),
            consent=source.consent,
        )
        seed = settings.seed if row.seed is None else row.seed
        text = row.fields.get("text", "")
        self.speak(text, replace(settings, seed=seed), whose, row.out, out_is="out")

    def speak_again(self, file: Path, source: Source, out: Path | None) -> None:
        """Do again what made a file, from the recipe it carries.

        Raises ValueError if it carries none, or if the voice is not the one it was made with.
        """
        from diffusion_bench.audio.reference import Reference
        from diffusion_bench.backends.voice.catalog import find_voice_model
        from diffusion_bench.backends.voice.recipes import read_recipe

        source.check()
        path = _check_out(out, source.reference)
        refuse_over([path], {"the speech": file})
        recipe = read_recipe(file)
        if recipe is None:
            raise ValueError(f"{file.name} carries no recipe: Diffusion Bench did not write it")
        name, voice = _same_source(recipe, source, file).find(recipe.request.model)
        if isinstance(voice, Reference):
            voice = voice.with_words(recipe.transcript)
        if name != recipe.request.voice:
            raise ValueError(f"{file.name} was made from another recording than --reference")
        recipe.check_voice(voice, find_voice_model(recipe.request.model))
        self._perform(recipe, voice, path, only=recipe.candidate)
        for difference in recipe.differences():
            warn(f"the speech may differ: {difference}")

    def _perform(
        self, recipe: Recipe, voice: Reference | VoiceState, out: Path, only: int | None = None
    ) -> None:
        """Speak, rank, write, and say what was done."""
        from diffusion_bench.audio.timbre import timbre_similarity
        from diffusion_bench.backends.voice.base import VoiceState
        from diffusion_bench.backends.voice.catalog import find_voice_model
        from diffusion_bench.backends.voice.more_steps import distance_words
        from diffusion_bench.backends.voice.ranking import rank_candidates
        from diffusion_bench.backends.voice.recipes import save_speech
        from diffusion_bench.backends.voice.repositories import lacking
        from diffusion_bench.backends.voice.synthesis import check_request

        entry = find_voice_model(recipe.request.model)
        check_request(entry, recipe.request, voice)
        more = self._more_steps(recipe.request)
        judges = self.judges()  # first, since their weights may be missing
        _fetch(lacking(entry, recipe.request.vocoder))
        speech = self._say(recipe.request, voice)
        reference = None if isinstance(voice, VoiceState) else voice
        ranked = rank_candidates(speech, reference, timbre_similarity)
        recipe = recipe.pinned()
        kept = [one for one in ranked if only in (None, one.index)]
        if not kept:
            raise ValueError("the candidate that made the file said nothing this time")
        files = list(zip(candidate_files(out, len(kept)), kept, strict=True))
        for path, candidate in reversed(files):  # where the one that was named is, all are
            save_speech(path, speech, recipe.of_candidate(candidate.index))
        for path, _ in files:
            typer.echo(path)
        summarise(speech, kept, reference, judges)
        if more is not None:
            tell(distance_words(kept[0], self._say(more, voice)))

    def _say(self, request: VoiceRequest, voice: Reference | VoiceState) -> Speech:
        """Speak, with a bar that moves."""
        with moving_bar() as moved:

            def on_step(step: VoiceStep) -> None:
                before, total = step.chunk * step.num_steps, step.num_chunks * step.num_steps
                moved(before + step.index, total, f"chunk {step.chunk + 1} of {step.num_chunks}")

            return self._engine.speak(request, voice, on_step, wait_s=WAIT_S, on_wait=waiting())

    def _more_steps(self, request: VoiceRequest) -> VoiceRequest | None:
        """Return what is to be compared with; ValueError, by its option, for what cannot be."""
        if self._against_steps is None:
            return None
        with told_by_option({"steps": "--against-steps"}):
            return request.with_more_steps(self._against_steps)


def _fetch(repositories: Sequence[NetworkRepository]) -> None:
    from diffusion_bench.backends.network_files import fetch

    for repository in repositories:
        with fetching_bar() as on_progress:
            fetch(repository, on_progress)


def _same_source(recipe: Recipe, source: Source, file: Path) -> Source:
    """Return where the voice of a recipe is to be found again."""
    from diffusion_bench.backends.voice.catalog import own_voice_of

    made_with = recipe.request.voice
    if made_with.startswith("reference:"):
        if source.reference is None:
            own = own_voice_of(recipe.request.model)
            raise ValueError(
                f"{file.name} was made from {own}, which is not in it: add --reference"
            )
        return source
    if recipe.voice_digest is None:
        warn(f"{file.name} does not say which {made_with} spoke then")
    if source.reference is not None or source.voice not in (None, made_with):
        raise ValueError(f"{file.name} was made with --voice {made_with}: leave yours out")
    return Source(voice=made_with, transcript=source.transcript)


def candidate_files(out: Path, count: int) -> tuple[Path, ...]:
    """Return where so many candidates go: `out` for the best, then names numbered from 2."""
    others = range(2, count + 1) if out.name else ()
    return (out, *(out.with_stem(f"{out.stem}-{place}") for place in others))


def _check_out(
    out: Path | None, reference: Path | None, count: int = 1, *, called: str = "--out"
) -> Path:
    """Return the file to write, the first of `count`; raise ValueError if it cannot be."""
    from diffusion_bench.audio.files import WRITABLE

    path = out or DEFAULT_OUT
    files = candidate_files(path, count)
    for file in files:
        refuse_unwritable(called, file, WRITABLE, ending_says_format=True)
    refuse_over(files, {"the reference": reference})
    return path
