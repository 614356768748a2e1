"""How good pictures and speech are: what a sweep asks to be judged, and what was found."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from diffusion_bench.records.base import Record
from diffusion_bench.records.voice import VoiceRequest, VoiceSamplerName

MAX_PICTURES = 50_000  # of a cell: what published Frechet distances are computed from
MAX_CANDIDATES = 1000
AUTO_SCORER = "auto"
# Samplers that draw no noise after the first, DDIM without eta.
BY_SEED_ALONE: tuple[VoiceSamplerName, ...] = ("ddim", "dpm++", "unipc")

Name = Annotated[str, Field(min_length=1, max_length=500)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Figure = Annotated[float, Field(ge=-1e9, le=1e9)]


class QualityPlan(Record):
    """The pictures of each cell that are judged, and by which scorer.

    Picture `i` is drawn from seed `i` in every cell, whatever the cell's own seed, so that cells
    differ by how they sample and by nothing else. `scorer` is "auto" (the bundled scorer for
    bundled models, a small CLIP of the hub for others), a folder, or the hub id of a CLIP.
    `prompts` are the request's own, or "captions": those held out with the scorer, two pictures of
    each. `batch` pictures are drawn at once, `None` for as many as the cell's own batch.
    """

    pictures: Annotated[int, Field(ge=2, le=MAX_PICTURES)] = 64
    scorer: Name = AUTO_SCORER
    prompts: Literal["prompt", "captions"] = "prompt"
    batch: Annotated[int, Field(ge=1, le=1024)] | None = None


class VoiceQualityPlan(Record):
    """The candidates of each cell of speech that are measured.

    Candidate `i` is spoken from seed `i` in every cell, whatever the cell's own seed. `batch` of
    them are spoken at once, `None` for as many as the cell's own batch. With `against_steps` each
    is said again in so many steps of its sampler, to see how far the cell's are from that.
    """

    candidates: Annotated[int, Field(ge=2, le=MAX_CANDIDATES)] = 8
    batch: Annotated[int, Field(ge=1, le=16)] | None = None
    against_steps: Annotated[int, Field(ge=2, le=1000)] | None = None

    def why_no_parallel(self, request: VoiceRequest) -> str:
        """Return why a request's speech has no counterpart in more steps, "" where it has."""
        if self.against_steps is None:
            return "no steps to compare with were asked for (against_steps)"
        if request.sampler not in BY_SEED_ALONE or request.eta:
            return "its sampler draws noise at each step: in other steps it says something else"
        if request.steps >= self.against_steps:
            return f"it has {request.steps} steps itself"
        return ""


class Share(Record):
    """How many of `n` are right. Its interval is computed when it is read."""

    right: Count
    n: Annotated[Count, Field(ge=1)]

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.right > self.n:
            raise ValueError(f"{self.right} right of {self.n}")
        return self

    @property
    def share(self) -> float:
        """Return the share, 0 to 1."""
        return self.right / self.n


class Estimate(Record):
    """A figure of `n` pictures or candidates and its 95 percent interval.

    Of pictures it is of a seeded bootstrap, of candidates Student's. It is kept, since what it was
    made from is not.
    """

    value: Figure
    low: Figure
    high: Figure
    n: Annotated[Count, Field(ge=1)]

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"an interval from {self.low:g} to {self.high:g}")
        return self


class Quality(Record):
    """What a scorer found in a cell's own pictures, drawn for it after the timed calls.

    `caption_score` is the mean cosine of a picture's and its caption's features, `frechet` the
    distance from the `reference`, both within this scorer only; `diversity` the mean of 1 - cosine
    between pictures of one caption. `scorer_digest` names the scorer's files, or its commit.
    `missing` gives the reason for every figure that is `None` and, as that of `pictures`, why there
    are fewer than planned.
    """

    scorer: Name
    scorer_digest: Annotated[str, Field(max_length=200)] | None = None
    prompts: Literal["prompt", "captions"]
    pictures: Annotated[int, Field(ge=2, le=MAX_PICTURES)]
    caption_score: Estimate | None = None
    objects: Share | None = None
    background: Share | None = None
    relation: Share | None = None
    count: Share | None = None
    frechet: Estimate | None = None
    reference: Annotated[str, Field(max_length=500)] | None = None
    diversity: Estimate | None = None
    missing: dict[str, str] = {}


class VoiceQuality(Record):
    """What was measured, without any weights, of candidates spoken after a cell's timed calls.

    `timbre_similarity` is the mean cosine to the reference's timbre (MFCC), `pitch_error_semitones`
    the mean distance of the median pitch from the reference's, up or down. `mel_distance_db` is the
    mean distance from the same candidates in `against_steps` steps, and `seeds_apart_db` that of
    those from another seed's. `unwarned` are those that nothing was told about: silent, clipped,
    said twice, much too short or long, far from the reference. `missing` gives the reason for every
    figure that is `None`.
    """

    candidates: Annotated[int, Field(ge=2, le=MAX_CANDIDATES)]
    unwarned: Share | None = None
    timbre_similarity: Estimate | None = None
    pitch_error_semitones: Estimate | None = None
    mel_distance_db: Estimate | None = None
    seeds_apart_db: Estimate | None = None
    against_steps: Annotated[int, Field(ge=2, le=1000)] | None = None
    missing: dict[str, str] = {}


def _kind(value: Any) -> str:
    """Return what a plan or its finding is of: only those of speech count candidates."""
    if isinstance(value, dict):
        return "voice" if "candidates" in value else "image"
    return "voice" if isinstance(value, VoiceQuality | VoiceQualityPlan) else "image"


AnyQuality = Annotated[
    Annotated[Quality, Tag("image")] | Annotated[VoiceQuality, Tag("voice")], Discriminator(_kind)
]
AnyQualityPlan = Annotated[
    Annotated[QualityPlan, Tag("image")] | Annotated[VoiceQualityPlan, Tag("voice")],
    Discriminator(_kind),
]
