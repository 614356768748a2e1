"""How good pictures are: what a sweep asks of a scorer, and what the scorer found."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records.base import Record

MAX_PICTURES = 50_000  # of a cell: what published Frechet distances are computed from
AUTO_SCORER = "auto"

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


class Share(Record):
    """How many of `n` pictures show what was asked. Its interval is computed when it is read."""

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
    """A figure of `n` pictures and its 95 percent interval, by a seeded bootstrap.

    The interval is kept, since the pictures that it was resampled from are not.
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
