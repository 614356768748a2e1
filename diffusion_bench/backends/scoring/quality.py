"""The quality of a model's pictures at given settings: draw some for it, and judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diffusion_bench.backends.catalog import unknown_words
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.reference import CAPTIONS, load_captions
from diffusion_bench.backends.scoring.scorers import scorer_of
from diffusion_bench.backends.scoring.tally import Tally
from diffusion_bench.records import ImageRequest, Quality, QualityPlan

PER_CAPTION = 2  # pictures of each held-out caption: what diversity needs at least
LEAST_CAPTIONS = 2  # of different ones, for a distance
LEAST_PICTURES = 2


def measure_quality(
    backend: ImageBackend,
    request: ImageRequest,
    plan: QualityPlan,
    *,
    scorer: ClipScorer | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Quality:
    """Draw the plan's pictures as the request says, and return what the scorer makes of them.

    The scorer is loaded if none is given, and let go of at the end. A picture that the model's
    safety checker made black says nothing of the settings and is left out. Raises ValueError, in
    one line, for a scorer that cannot be had or that has no captions where they are asked for, and
    where too few pictures are left.
    """
    if scorer is None:
        # On the CPU: nothing of it may stay in the device's memory, which the next cell measures.
        scorer = ClipScorer.load(scorer_of(plan, request.model), device="cpu")
    captions = captions_of(plan, request, scorer)
    tally = Tally(scorer, knows_all=knows_all(request.model, scorer))
    at_once = plan.batch or request.batch
    black = 0
    for start in range(0, plan.pictures, at_once):
        told = captions[start : start + at_once]
        drawn = backend.generate(own_request(request, start, len(told)), captions=told)
        seen = [index for index in range(len(told)) if index not in drawn.blackened]
        if seen:
            tally.add([drawn.images[index] for index in seen], [told[index] for index in seen])
        black += len(drawn.blackened)
        on_batch()
    why = f"the model's own safety checker made {black} of {plan.pictures} black"
    if plan.pictures - black < LEAST_PICTURES:
        raise ValueError(f"too few pictures are left to be judged: {why}")
    return tally.quality(plan, why_fewer=f"{why}; they are left out" if black else "")


def captions_of(plan: QualityPlan, request: ImageRequest, scorer: ClipScorer) -> list[str]:
    """Return the caption of each picture, the same for every request of a model."""
    if plan.prompts == "prompt":
        return [request.prompt] * plan.pictures
    held_out: Sequence[str] = load_captions(scorer.folder)
    if not held_out:
        raise ValueError(f"the scorer {scorer.name!r} has no {CAPTIONS}: no held-out captions")
    held_out = [caption for caption in held_out if not unknown_words(request.model, caption)]
    if len(held_out) < LEAST_CAPTIONS:
        raise ValueError(
            f"{request.model} knows all words of only {len(held_out)} of the held-out captions of "
            f"the scorer {scorer.name!r}; {LEAST_CAPTIONS} are needed"
        )
    return [held_out[i // PER_CAPTION % len(held_out)] for i in range(plan.pictures)]


def knows_all(model: str, scorer: ClipScorer) -> bool:
    """Return whether a model lists no words, or knows those of every held-out caption."""
    return not any(unknown_words(model, caption) for caption in load_captions(scorer.folder))


def own_request(request: ImageRequest, first: int, batch: int) -> ImageRequest:
    """Return the request that draws pictures from `first` on, of seeds that no cell decides."""
    return request.model_copy(
        update={
            "seed": first,
            "noise_seed": None,
            "variation_seed": None,
            "variation_strength": 0.0,
            "batch": batch,
        }
    )
