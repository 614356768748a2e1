"""Speech on disk: marked as generated, and with the recipe that makes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import ValidationError

from diffusion_bench.audio.files import read_recipe as read_text
from diffusion_bench.audio.files import write_sound
from diffusion_bench.audio.watermark import embed
from diffusion_bench.records import Record, Speech, VoiceRequest, explain

LONGEST = 300  # characters of a complaint about a file, which may be hostile


class Recipe(Record):
    """What made a file: candidate `candidate` of `request`, watermarked or not.

    It names the recording that was cloned by a digest only. A batch is kept as it was, since its
    candidates are equal bit for bit only when they are spoken together again.
    """

    request: VoiceRequest
    candidate: int = 0
    watermark: bool = True

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
