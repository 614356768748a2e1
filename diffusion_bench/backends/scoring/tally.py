"""Judge pictures as they are drawn, and sum up: scores, shares, distance and diversity."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from diffusion_bench.backends.scoring.asked import read_caption, words_of
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.distance import Moments, distance_from, diversity
from diffusion_bench.backends.scoring.reference import load_reference
from diffusion_bench.backends.scoring.resampling import bootstrap
from diffusion_bench.backends.scoring.sight import WORDS, Verdict, can_see, judge, see
from diffusion_bench.records import Estimate, Quality, QualityPlan, Share

JUDGED = ("objects", "background", "relation", "count")
NO_READER = "the scorer has no reader of objects and backgrounds"
NO_REFERENCE = "the scorer has no reference pictures"
ONE_CAPTION = "the reference is of many captions, the pictures are of one"
OTHER_WORDS = "the reference shows words that this model was not taught"
NO_PAIRS = "there is one picture of each caption"


class Tally:
    """Features and verdicts of all pictures so far; the pictures themselves are not kept.

    `knows_all`: whether the model was taught all that the scorer's reference shows.
    """

    def __init__(self, scorer: ClipScorer, *, knows_all: bool = True) -> None:
        self._scorer = scorer
        self._knows_all = knows_all
        self._captions: list[str] = []
        self._features: list[Tensor] = []
        self._scores: list[Tensor] = []
        self._verdicts: list[Verdict] = []

    def add(self, images: Sequence[Image.Image], captions: Sequence[str]) -> None:
        """Judge pictures against their captions."""
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} pictures and {len(captions)} captions; one each")
        features = self._scorer.features(images)
        self._features.append(features)
        self._scores.append((features * self._scorer.caption_features(captions)).sum(dim=-1))
        self._captions += captions
        if can_see(self._scorer):
            words = words_of(self._scorer.folder / WORDS)
            for caption, sight in zip(captions, see(self._scorer, images), strict=True):
                asked = read_caption(caption, words)
                if asked is not None:
                    self._verdicts.append(judge(asked, sight))

    def quality(self, plan: QualityPlan, *, why_fewer: str = "") -> Quality:
        """Return what all pictures come to; each figure that cannot be had has its reason.

        `why_fewer` is why there are fewer pictures than planned.
        """
        features = torch.cat(self._features)
        groups = _groups(self._captions)
        shares, missing = self._shares()
        if why_fewer:
            missing["pictures"] = why_fewer
        frechet, reference, why_no_distance = self._frechet(features, groups)
        varied, why_no_diversity = _diversity(features, groups)
        if frechet is None:
            missing["frechet"] = why_no_distance
        if varied is None:
            missing["diversity"] = why_no_diversity
        return Quality(
            scorer=self._scorer.name,
            scorer_digest=self._scorer.digest,
            prompts=plan.prompts,
            pictures=len(features),
            caption_score=bootstrap(partial(_mean, torch.cat(self._scores)), groups),
            **shares,
            frechet=frechet,
            reference=reference,
            diversity=varied,
            missing=missing,
        )

    def _shares(self) -> tuple[dict[str, Share | None], dict[str, str]]:
        shares: dict[str, Share | None] = {}
        missing = {}
        for name in JUDGED:
            told = [value for v in self._verdicts if (value := getattr(v, name)) is not None]
            shares[name] = Share(right=sum(told), n=len(told)) if told else None
            if not told:
                seeing = can_see(self._scorer)
                missing[name] = f"no caption asks for {name}" if seeing else NO_READER
        return shares, missing

    def _frechet(self, features: Tensor, groups: Tensor) -> tuple[Estimate | None, str | None, str]:
        """Return the distance, what from, and why there is none."""
        reference = load_reference(self._scorer.folder, features.shape[1])
        if reference is None:
            return None, None, NO_REFERENCE
        if int(groups.max()) == 0:
            return None, None, ONE_CAPTION
        if not self._knows_all:
            return None, None, OTHER_WORDS
        distance = distance_from(reference)
        found = bootstrap(lambda weights: distance(Moments.weighted(features, weights)), groups)
        return found, f"{reference.count} scenes, kept with the scorer", ""


def _groups(captions: Sequence[str]) -> Tensor:
    """Return the number of each caption, from 0 in the order of appearance."""
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    return torch.tensor([numbers[caption] for caption in captions])


def _mean(scores: Tensor, weights: Tensor) -> float:
    return float((scores.double() * weights).sum() / weights.sum())


def _diversity(features: Tensor, groups: Tensor) -> tuple[Estimate | None, str]:
    """Return the mean diversity of the captions that have two pictures or more."""
    if int(groups.max()) == 0:
        return bootstrap(partial(diversity, features), groups), ""
    several = groups.bincount()[groups] > 1
    if not several.any():
        return None, NO_PAIRS
    _, own = groups[several].unique(return_inverse=True)
    rows = features[several]
    each = torch.tensor([diversity(rows[own == number]) for number in range(int(own.max()) + 1)])
    if len(each) == 1:
        return bootstrap(partial(diversity, rows), own), ""
    share = 1 / own.bincount()[own]  # so that a caption counts once, however many pictures it has
    return bootstrap(lambda weights: _mean(each[own], weights * share), own), ""
