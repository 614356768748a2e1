"""Figures of a set of pictures: each in its interval, each absent one with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import make_cell, make_header
from PIL import Image
from tiny_models import save_tiny_sd
from tiny_scorer import CAPTIONS, save_tiny_clip, save_tiny_scorer

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.distance import diversity
from diffusion_bench.backends.scoring.quality import (
    captions_of,
    knows_all,
    measure_quality,
    own_request,
)
from diffusion_bench.backends.scoring.resampling import bootstrap
from diffusion_bench.backends.scoring.scorers import BUNDLED_SCORER, HUB_SCORER, scorer_of
from diffusion_bench.backends.scoring.tally import JUDGED, NO_REFERENCE, ONE_CAPTION, Tally
from diffusion_bench.records import (
    BUNDLED_MODEL,
    Estimate,
    Generation,
    ImageRequest,
    Quality,
    QualityPlan,
)
from diffusion_bench.reports.plausible_quality import unplanned_quality
from diffusion_bench.reports.quality import in_words

ONE = torch.zeros(400, dtype=torch.long)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> ClipScorer:
    folder = save_tiny_scorer(tmp_path_factory.mktemp("scorer"))
    return ClipScorer.load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> ClipScorer:
    return ClipScorer.load(str(save_tiny_clip(tmp_path_factory.mktemp("clip"))), device="cpu")


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> ImageBackend:
    return ImageBackend.load(str(save_tiny_sd(tmp_path_factory.mktemp("sd"))), device="cpu")


def pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(2).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in noise]


def tallied(scorer: ClipScorer, captions: list[str], **plan: object) -> Quality:
    tally = Tally(scorer)
    tally.add(pictures(len(captions)), captions)
    return tally.quality(QualityPlan(**plan))


def mean_of(values: torch.Tensor) -> Estimate:
    return bootstrap(lambda w: float((values * w).sum() / w.sum()), ONE[: len(values)])


def test_the_bootstrap_of_a_mean_is_the_interval_that_theory_gives() -> None:
    values = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = mean_of(values)
    reach = 1.96 * values.std().item() / 20
    assert found.value == pytest.approx(values.mean().item())
    assert found.high - found.value == pytest.approx(reach, rel=0.25)
    assert found.value - found.low == pytest.approx(reach, rel=0.25)
    assert found == mean_of(values), "the same pictures have the same interval"


def test_pictures_of_one_caption_are_drawn_again_together() -> None:
    values = torch.randn(40, dtype=torch.float64).repeat_interleave(10)
    together = bootstrap(
        lambda w: float((values * w).sum() / w.sum()), torch.arange(40).repeat_interleave(10)
    )
    alone = mean_of(values)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_picture_drawn_again_makes_no_pair_with_itself() -> None:
    features = torch.nn.functional.normalize(torch.randn(30, 6), dim=1)
    weights = torch.ones(30, dtype=torch.float64)
    assert diversity(features, weights) == pytest.approx(diversity(features))
    weights[0] = 5
    twice = torch.cat([features, features[:1].repeat(4, 1)])
    cosines = (twice @ twice.T).double()
    of_first = (torch.arange(34) == 0) | (torch.arange(34) >= 30)
    other = ~(of_first[:, None] & of_first[None]) & ~torch.eye(34, dtype=torch.bool)
    assert diversity(features, weights) == pytest.approx(float(1 - cosines[other].mean()))


def test_pictures_all_alike_have_no_diversity_and_no_width(scorer: ClipScorer) -> None:
    tally = Tally(scorer)
    tally.add([Image.new("RGB", (64, 64), "red")] * 4, [CAPTIONS[0]] * 4)
    found = tally.quality(QualityPlan())
    assert found.diversity is not None
    assert found.diversity.value == pytest.approx(0, abs=1e-6)
    assert found.diversity.high - found.diversity.low < 1e-6


def test_captions_that_ask_for_everything_give_every_figure(scorer: ClipScorer) -> None:
    found = tallied(scorer, CAPTIONS * 3, prompts="captions")
    assert found.missing == {}
    assert found.objects is not None
    assert found.relation is not None
    assert found.count is not None
    assert (found.objects.n, found.relation.n, found.count.n) == (12, 6, 6)
    assert found.frechet is not None
    assert found.frechet.low < found.frechet.value < found.frechet.high
    assert found.reference == "300 scenes, kept with the scorer"
    assert found.diversity is not None
    assert found.diversity.n == 12
    assert found.scorer_digest == scorer.digest
    assert Quality.model_validate_json(found.model_dump_json()) == found


def test_the_figures_of_two_halves_are_those_of_the_whole(scorer: ClipScorer) -> None:
    captions, drawn = CAPTIONS * 2, pictures(8)
    tally = Tally(scorer)
    for part in (slice(0, 3), slice(3, 8)):
        tally.add(drawn[part], captions[part])
    halves = tally.quality(QualityPlan(prompts="captions"))
    whole = tallied(scorer, captions, prompts="captions")
    assert halves.objects == whole.objects
    assert halves.frechet is not None
    assert whole.frechet is not None
    assert halves.frechet.value == pytest.approx(whole.frechet.value, abs=1e-5)


def test_what_cannot_be_told_has_its_reason(scorer: ClipScorer, stock: ClipScorer) -> None:
    one = tallied(scorer, [CAPTIONS[0]] * 4)
    assert one.missing == {"relation": "no caption asks for relation", "frechet": ONE_CAPTION}
    blind = tallied(stock, CAPTIONS)
    assert set(blind.missing) == {*JUDGED, "frechet", "diversity"}
    assert blind.missing["frechet"] == NO_REFERENCE
    assert blind.caption_score is not None


def test_every_cell_draws_the_same_seeds_and_captions(
    painter: ImageBackend, scorer: ClipScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, tuple[str, ...]]] = []
    generate = ImageBackend.generate

    def spying(self: ImageBackend, request: ImageRequest, **named: object) -> object:
        asked.append((request.seed, tuple(named["captions"])))
        return generate(self, request, **named)

    monkeypatch.setattr(ImageBackend, "generate", spying)
    request = ImageRequest(prompt="a cat", model=painter.model, steps=1, batch=2)
    plan = QualityPlan(pictures=5, prompts="captions")
    heard = []
    for own in (request, request.model_copy(update={"sampler": "ddpm", "seed": 77, "steps": 2})):
        found = measure_quality(painter, own, plan, scorer=scorer, on_batch=lambda: heard.append(1))
        assert found.pictures == 5
    assert asked[:3] == asked[3:]
    assert asked[:3] == [
        (0, (CAPTIONS[0], CAPTIONS[0])),
        (2, (CAPTIONS[1], CAPTIONS[1])),
        (4, (CAPTIONS[2],)),
    ]
    assert len(heard) == 6


def test_a_batch_of_several_captions_is_drawn_as_each_would_be_alone(
    painter: ImageBackend,
) -> None:
    request = ImageRequest(prompt="unused", model=painter.model, steps=2, batch=2, seed=5)
    both = painter.generate(request, captions=["a cat", "a dog"]).images
    alone = painter.generate(
        request.model_copy(update={"prompt": "a dog", "seed": 6, "batch": 1})
    ).images
    apart = np.abs(np.asarray(both[1]).astype(int) - np.asarray(alone[0]))
    assert apart.max() <= 2
    with pytest.raises(ValueError, match="1 captions for a batch of 2"):
        painter.generate(request, captions=["a cat"])


def test_pictures_that_a_safety_checker_made_black_are_not_judged_and_that_is_told(
    painter: ImageBackend, scorer: ClipScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ImageBackend.generate
    black = (1,)

    def checked(self: ImageBackend, request: ImageRequest, **named: object) -> Generation:
        drawn = generate(self, request, **named)
        images = [
            Image.new("RGB", image.size) if index in black else image
            for index, image in enumerate(drawn.images)
        ]
        return drawn.model_copy(update={"images": tuple(images), "blackened": black})

    monkeypatch.setattr(ImageBackend, "generate", checked)
    request = ImageRequest(prompt="unused", model=painter.model, steps=1, batch=2)
    found = measure_quality(
        painter, request, QualityPlan(pictures=8, prompts="captions"), scorer=scorer
    )
    monkeypatch.undo()
    each_first = Tally(scorer, knows_all=knows_all(request.model, scorer))
    for number, caption in enumerate(CAPTIONS):
        alone = own_request(request, 2 * number, 2)
        drawn = painter.generate(alone, captions=[caption, caption])
        each_first.add(drawn.images[:1], [caption])
    why = "the model's own safety checker made 4 of 8 black; they are left out"
    assert found == each_first.quality(QualityPlan(prompts="captions"), why_fewer=why)
    assert (found.pictures, found.missing["pictures"]) == (4, why)
    assert why in in_words(found)
    asked = QualityPlan(pictures=8, prompts="captions")
    header = make_header()
    plan = header.plan.model_copy(update={"quality": asked})
    header = header.model_copy(update={"plan": plan})
    judged = make_cell().model_copy(update={"quality": found})
    assert unplanned_quality(judged, header) == ""
    untold = found.model_copy(update={"missing": {}})
    judged = judged.model_copy(update={"quality": untold})
    assert unplanned_quality(judged, header) == "4 pictures, planned 8"

    black = (0, 1)
    monkeypatch.setattr(ImageBackend, "generate", checked)
    with pytest.raises(ValueError, match=r"too few pictures are left .* made 8 of 8 black"):
        measure_quality(painter, request, QualityPlan(pictures=8), scorer=scorer)


def test_a_scorer_without_captions_says_so(painter: ImageBackend, stock: ClipScorer) -> None:
    request = ImageRequest(prompt="a cat", model=painter.model, steps=1)
    with pytest.raises(ValueError, match=r"has no captions\.txt"):
        measure_quality(painter, request, QualityPlan(prompts="captions"), scorer=stock)


def test_a_model_that_tells_its_words_has_the_bundled_scorer_others_a_clip_of_the_hub(
    painter: ImageBackend,
) -> None:
    assert scorer_of(QualityPlan(), BUNDLED_MODEL) == BUNDLED_SCORER
    assert scorer_of(QualityPlan(), painter.model) == HUB_SCORER
    assert scorer_of(QualityPlan(scorer="owner/clip"), BUNDLED_MODEL) == "owner/clip"


def model_that_knows(folder: Path, *words: str) -> ImageRequest:
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    (folder / "vocabulary.json").write_text(json.dumps({"words": words}), encoding="utf-8")
    return ImageRequest(prompt="a cat", model=str(folder))


def test_a_model_is_asked_only_for_what_it_was_taught(scorer: ClipScorer, tmp_path: Path) -> None:
    request = model_that_knows(
        tmp_path, *["a", "cat", "on", "red", "blue", "background", "two", "apples"]
    )
    asked = captions_of(QualityPlan(pictures=6, prompts="captions"), request, scorer)
    assert set(asked) == {CAPTIONS[0], CAPTIONS[2]}
    assert not knows_all(request.model, scorer)


def test_a_model_that_knows_none_of_the_captions_is_refused(
    scorer: ClipScorer, tmp_path: Path
) -> None:
    request = model_that_knows(tmp_path, "zorp")
    with pytest.raises(ValueError, match="knows all words of only 0 of the held-out captions"):
        captions_of(QualityPlan(prompts="captions"), request, scorer)


def test_there_is_no_distance_from_pictures_of_words_that_were_not_taught(
    scorer: ClipScorer,
) -> None:
    tally = Tally(scorer, knows_all=False)
    tally.add(pictures(4), CAPTIONS)
    found = tally.quality(QualityPlan(prompts="captions"))
    assert found.frechet is None
    assert "was not taught" in found.missing["frechet"]
    assert found.objects is not None
