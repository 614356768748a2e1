"""Speech on disk: marked as generated, and with the recipe that makes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError

from diffusion_bench.audio.files import read_recipe as read_text
from diffusion_bench.audio.files import write_sound
from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.watermark.marking import embed
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceState
from diffusion_bench.backends.voice.catalog import FAMILIES
from diffusion_bench.backends.voice.facts import voice_model_facts
from diffusion_bench.backends.voice.voices import REFERENCE, voice_digest
from diffusion_bench.pronunciation.front_end import phones_digest
from diffusion_bench.records import Record, Speech, VoiceRequest, explain

LONGEST = 300  # characters of a complaint about a file, which may be hostile

Word = Annotated[str, Field(max_length=200)]


class Recipe(Record):
    """What made a file: candidate `candidate` of `request`, watermarked or not.

    It names the recording that was cloned by a digest only; beside the name of a bundled or saved
    voice stands the digest of what it was then. `transcript` is what was said in the recording, of
    models that read it along. A batch is kept as it was, since its candidates are equal bit for bit
    only when they are spoken together again. `model_revision` is the commit or digest of the
    model's own files, `missing` why it is `None`. `phones_digest` is of how the text was read, of
    models that are told phones; others read it themselves.
    """

    request: VoiceRequest
    candidate: Annotated[int, Field(ge=0)] = 0
    watermark: bool = True
    voice_digest: str | None = None
    transcript: str | None = None
    model_revision: Word | None = None
    phones_digest: Word | None = None
    missing: Annotated[dict[Word, Annotated[str, Field(max_length=400)]], Field(max_length=16)] = {}

    @classmethod
    def of(
        cls,
        request: VoiceRequest,
        entry: VoiceEntry,
        voice: Reference | VoiceState,
        *,
        watermark: bool,
    ) -> Self:
        """Return the recipe of a request to a model of `entry`, in that voice."""
        named = not request.voice.startswith(REFERENCE)
        words = voice.transcript if isinstance(voice, Reference) else None
        return cls(
            request=request,
            watermark=watermark,
            voice_digest=voice_digest(voice) if named else None,
            transcript=words if entry.needs_transcript else None,
        )

    def check_voice(self, voice: Reference | VoiceState, entry: VoiceEntry) -> None:
        """Raise ValueError, in one line, for a voice that is another than this was made with."""
        now = Recipe.of(self.request, entry, voice, watermark=self.watermark)
        name = self.request.voice
        if self.voice_digest is not None and now.voice_digest != self.voice_digest:
            raise ValueError(
                f"the voice {name!r} has changed: it was {self.voice_digest} when the recipe was "
                f"made and is {now.voice_digest} now; save the voice of then again to repeat it"
            )
        if self.transcript is not None and now.transcript != self.transcript:
            raise ValueError(
                f"another transcript of {name!r} was read along when the recipe was made: "
                f"{self.transcript:.200}"
            )

    def pinned(self) -> Self:
        """Return the recipe with what its model's files are here, and how its text is read here.

        For what has just been spoken: before its model is loaded, a hub's may not be here.
        """
        facts = voice_model_facts(self.request.model)
        told_phones = facts.pipeline in FAMILIES["echo"].marks
        return self.model_copy(
            update={
                "model_revision": facts.revision,
                "phones_digest": phones_digest(self.request.text) if told_phones else None,
                "missing": {} if facts.revision else {"model_revision": facts.missing["revision"]},
            }
        )

    def differences(self) -> tuple[str, ...]:
        """Return in words where what is here is not what this was made with."""
        now = self.pinned()
        found = []
        if (then := self.model_revision) and now.model_revision not in (None, then):
            found.append(f"model {then} then, {now.model_revision} now")
        if (read := self.phones_digest) and now.phones_digest not in (None, read):
            found.append("its text was read as other phones then")
        return tuple(found)

    def of_candidate(self, index: int) -> Self:
        """Return the recipe of another candidate of the same request."""
        return self.model_copy(update={"candidate": index})


def save_speech(path: Path, speech: Speech, recipe: Recipe) -> None:
    """Write the recipe's candidate of `speech`; the file is whole or not there.

    The same speech and recipe give the same bytes, but for ogg, whose encoder numbers its streams
    by chance. Raises ValueError for a suffix that cannot be written, and when the disk refuses.
    """
    samples = speech.candidate(recipe.candidate)
    if recipe.watermark:
        samples = embed(samples, speech.sample_rate)
    write_sound(path, samples, speech.sample_rate, recipe=recipe.model_dump(mode="json"))


def read_recipe(path: Path) -> Recipe | None:
    """Return the recipe a file of speech carries, or `None` if it carries none of ours.

    Raises ValueError, in one line, for a file that is no sound or holds a damaged recipe.
    """
    told = read_text(path)
    if told is None:
        return None
    try:
        recipe = Recipe.model_validate(told)
    except ValidationError as error:
        raise ValueError(
            f"{path.name}: its recipe is damaged: {explain(error):.{LONGEST}}"
        ) from None
    if recipe.candidate >= recipe.request.batch:
        raise ValueError(f"{path.name}: its recipe is damaged: there is no such candidate")
    return recipe
