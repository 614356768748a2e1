"""How the scorer is taught: what is at each patch, pictures made worse, a loss that falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from diffusion_bench.training.picturebook.autoencoder import TRAINED_AUTOENCODER, pictures_of
from diffusion_bench.training.picturebook.pictograms import FONT_PATHS
from diffusion_bench.training.picturebook.scenes import Placed, Scene
from diffusion_bench.training.picturebook.slots import background_names
from diffusion_bench.training.picturebook.tokenizer import canonical_ids, new_tokenizer
from diffusion_bench.training.picturebook.vocabulary import load_vocabulary
from diffusion_bench.training.scorer import train
from diffusion_bench.training.scorer.export import export, restore_exported
from diffusion_bench.training.scorer.networks import SIDE, Scorer, patch_labels, patch_of
from diffusion_bench.training.scorer.train import (
    decoded,
    scenes_of,
    scorer_loss,
    worsened,
)
from diffusion_bench.training.word_tokenizer import tokenize

needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


def test_the_middle_of_an_object_names_its_patch() -> None:
    assert patch_of(0.5, 0.5) == 3 * 8 + 3
    assert patch_of(0.25, 0.75) == 5 * 8 + 1
    assert patch_of(0.0, 1.0) == 7 * 8 + 0


def test_labels_hold_every_object_and_nothing_else() -> None:
    words = list(load_vocabulary().objects)
    pair = (Placed("dog", 0.25, 0.5, 0.4), Placed("cat", 0.75, 0.5, 0.4))
    labels = patch_labels(Scene("", "pair", pair, {}, "red", 0))
    found = {int(at): words[int(labels[at]) - 1] for at in labels.nonzero().flatten()}
    assert found == {3 * 8 + 1: "dog", 3 * 8 + 5: "cat"}


def test_scenes_of_a_step_are_the_same_again_and_other_streams_differ() -> None:
    assert scenes_of(4, 3) == scenes_of(4, 3)
    assert scenes_of(4, 3) != scenes_of(5, 3)
    assert scenes_of(4, 3) != scenes_of(4, 3, stream="held out")


@needs_font
def test_worse_pictures_are_softer_and_noisier_but_not_others() -> None:
    pictures = pictures_of(scenes_of(0, 8), SIDE)
    worse = worsened(pictures, torch.Generator().manual_seed(0))
    assert worse.shape == pictures.shape == (8, 3, 64, 64)
    assert worse.abs().max() <= 1
    apart = (worse - pictures).abs().mean(dim=(1, 2, 3))
    assert apart.max() > 0.01
    assert apart.max() < 0.2


@needs_font
def test_a_scene_out_of_the_image_models_decoder_is_still_that_scene_but_rougher() -> None:
    vae = AutoencoderKL.from_pretrained(TRAINED_AUTOENCODER).float()
    scenes = scenes_of(1, 4)
    drawn = decoded(scenes, vae, torch.Generator().manual_seed(0))
    pictures = pictures_of(scenes, SIDE)
    assert drawn.shape == pictures.shape
    apart = (drawn - pictures).abs().mean(dim=(1, 2, 3))
    assert (apart > 0.005).all()
    assert (apart < 0.3).all(), "a decoded picture is still that picture"


def test_an_exported_scorer_can_be_gone_on_with(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = new_tokenizer(tmp_path / "words")
    taught, other = Scorer(tokenizer), Scorer(tokenizer)
    export(taught, tokenizer, tmp_path / "scorer")
    restore_exported(other, tmp_path / "scorer")
    for name, value in taught.state_dict().items():
        written = value.half().float() if value.is_floating_point() else value  # as on disk
        assert torch.equal(written, other.state_dict()[name]), name


@needs_font
def test_refining_shows_decoded_scenes_from_the_first_step(tmp_path: Path, monkeypatch) -> None:
    shown: list[int] = []

    def seen(scenes: list[Scene], *rest: object) -> torch.Tensor:
        shown.append(len(scenes))
        return torch.zeros(len(scenes), 3, SIDE, SIDE)

    monkeypatch.setattr("diffusion_bench.training.scorer.train.decoded", seen)
    short = {"steps": 2, "batch": 4}
    for name in ("SCHEDULE", "REFINEMENT"):
        schedule = replace(getattr(train, name), **short)
        monkeypatch.setattr(train, name, schedule)
    tokenizer = new_tokenizer(tmp_path / "words")
    train.train_scorer(Scorer(tokenizer), tokenizer, folder=tmp_path / "first")
    assert shown == []
    train.refine_scorer(Scorer(tokenizer), tokenizer, folder=tmp_path / "refined")
    assert shown == [2, 2]


@needs_font
@pytest.mark.slow
def test_a_scorer_learns_the_pictures_it_is_shown(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = new_tokenizer(tmp_path)
    scorer, scenes = Scorer(tokenizer), scenes_of(0, 8)
    shown = (
        pictures_of(scenes, SIDE),
        canonical_ids(tokenizer)[tokenize(tokenizer, [scene.caption for scene in scenes])],
        torch.stack([patch_labels(scene) for scene in scenes]),
        torch.tensor([background_names().index(scene.background) for scene in scenes]),
    )
    optimizer = torch.optim.AdamW(scorer.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        loss = scorer_loss(scorer, *shown)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(part.grad is not None for part in scorer.reader.parameters())
