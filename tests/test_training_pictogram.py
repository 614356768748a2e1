"""How the bundled model is trained: words, scenes, a run that survives a kill, the export."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from diffusion_bench.training import loop
from diffusion_bench.training.loop import Schedule, train
from diffusion_bench.training.pictogram.autoencoder import (
    LATENT_CHANNELS,
    new_autoencoder,
    normalise_latents,
    random_pictures,
)
from diffusion_bench.training.pictogram.denoiser import (
    encode_scenes,
    new_denoiser,
    train_denoiser,
)
from diffusion_bench.training.pictogram.export import assemble, export
from diffusion_bench.training.pictogram.scenes import (
    FONT_PATHS,
    LATTICE,
    Placed,
    Scene,
    draw_scene,
    random_scene,
)
from diffusion_bench.training.pictogram.tokenizer import MAX_TOKENS, new_tokenizer
from diffusion_bench.training.pictogram.vocabulary import RELATIONS, load_vocabulary
from diffusion_bench.training.stable_diffusion import new_scheduler, unit_variance_penalty
from diffusion_bench.training.word_tokenizer import tokenize

SIDE = 64
needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


def scenes(count: int, **options: float) -> list[Scene]:
    chance = random.Random(3)
    return [random_scene(chance, **options) for _ in range(count)]


def test_there_are_100_objects_and_12_colours_and_no_word_means_two_things() -> None:
    words = load_vocabulary()
    assert len(words.objects) >= 100
    assert len(words.colours) == 12
    spelt = [*words.objects, *words.colours, *words.sizes]
    spelt += {part for relation in RELATIONS for part in relation.split()}
    assert len(spelt) == len(set(spelt))
    assert len(set(words.objects.values())) == len(words.objects)


def test_every_word_is_one_token_and_an_unknown_word_falls_apart(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path)
    for word in load_vocabulary().words():
        assert tokenizer.tokenize(word) == [word + "</w>"]
    assert len(tokenizer.tokenize("zorp")) > 1
    assert tokenizer.tokenize("CAT, cat") == ["cat</w>", ",</w>", "cat</w>"]


def test_every_caption_fits_the_text_encoder_and_has_only_known_words(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path)
    known = set(load_vocabulary().words())
    for scene in scenes(500):
        assert set(scene.caption.split()) <= known, scene.caption
        assert len(tokenizer(scene.caption).input_ids) <= MAX_TOKENS


def test_a_scenes_layout_is_what_its_caption_says() -> None:
    seen: Counter[str] = Counter()
    for scene in scenes(400, pair_share=1.0):
        first, second = scene.objects
        relation = next(name for name in RELATIONS if f" {name} " in scene.caption)
        dx, dy = RELATIONS[relation]
        assert (first.x - second.x) * dx + (first.y - second.y) * dy > 0.3, scene.caption
        assert scene.caption.index(first.word) < scene.caption.index(f" {relation} ")
        seen[relation] += 1
    assert min(seen[relation] for relation in RELATIONS) > 50


def test_a_single_object_is_in_the_middle_in_the_size_its_caption_says() -> None:
    seen: Counter[str] = Counter()
    for scene in scenes(400, pair_share=0.0):
        (placed,) = scene.objects
        size = next((name for name in ("small", "big") if name in scene.caption.split()), "medium")
        assert placed.side == load_vocabulary().sizes[size]
        assert (placed.x, placed.y) == (0.5, 0.5)
        seen[size] += 1
    assert min(seen.values()) > 20
    assert len(seen) == 3


def test_the_two_of_a_pair_lie_on_the_lattice_and_do_not_touch() -> None:
    for scene in scenes(100, pair_share=1.0):
        first, second = scene.objects
        for place in (first.x, first.y, second.x, second.y):
            assert place / LATTICE == round(place / LATTICE)
        apart = max(abs(first.x - second.x), abs(first.y - second.y))
        assert apart > (first.side + second.side) / 2


@needs_font
def test_a_drawn_scene_has_its_background_and_its_objects_where_they_belong() -> None:
    background = (55, 100, 215)
    cat = Placed("cat", 0.25, 0.5, 0.4)
    drawn = draw_scene(Scene("", background, (cat,)), SIDE).astype(int)
    assert drawn.shape == (SIDE, SIDE, 3)
    ink = np.abs(drawn - background).sum(axis=2) > 30
    rows, columns = np.nonzero(ink)
    assert abs((columns.min() + columns.max()) / 2 - 0.25 * SIDE) <= 1
    assert abs((rows.min() + rows.max()) / 2 - 0.5 * SIDE) <= 1
    assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - 0.4 * SIDE) <= 2


@needs_font
def test_every_object_has_a_pictogram_of_its_own() -> None:
    drawn = {
        word: draw_scene(Scene("", (128, 128, 128), (Placed(word, 0.5, 0.5, 0.9),)), 32).tobytes()
        for word in load_vocabulary().objects
    }
    assert len(set(drawn.values())) == len(drawn)


@needs_font
def test_a_step_sees_the_same_pictures_each_time_and_other_steps_others() -> None:
    one, again, other = (random_pictures(step, 4, SIDE, stream=1) for step in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.min() >= -1
    assert one.max() <= 1


def tiny_run(folder: Path, *, steps: int, stop_at: int | None = None) -> nn.Linear:
    torch.manual_seed(0)
    network = nn.Linear(4, 1)

    def loss_of_step(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 4, generator=generator)
        return (network(x) - x.sum(dim=1, keepdim=True)).square().mean()

    train(
        network,
        loss_of_step,
        Schedule(steps=steps, batch=8, peak_lr=0.1, warmup_steps=2),
        folder=folder,
        device="cpu",
    )
    return network


def test_a_run_that_was_stopped_ends_where_it_would_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", -1.0)
    whole = tiny_run(tmp_path / "whole", steps=60)
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path / "cut", steps=60, stop_at=33)
    resumed = tiny_run(tmp_path / "cut", steps=60)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    rows = [json.loads(line) for line in (tmp_path / "cut/losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [50]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = tiny_run(tmp_path, steps=10)
    again = tiny_run(tmp_path, steps=10, stop_at=0)
    assert torch.equal(first.weight, again.weight)


def test_training_learns_and_leaves_the_moving_average(tmp_path: Path) -> None:
    network = tiny_run(tmp_path, steps=300)
    assert torch.allclose(network.weight, torch.ones(1, 4), atol=0.1)
    raw = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]
    assert not torch.equal(raw["weight"], network.weight)


def test_the_learning_rate_rises_then_falls_to_its_floor() -> None:
    schedule = Schedule(steps=1000, batch=1, peak_lr=1.0, warmup_steps=100)
    assert schedule.lr(0) == pytest.approx(0.01)
    assert schedule.lr(99) == pytest.approx(1.0)
    assert schedule.lr(550) == pytest.approx(0.515, abs=0.01)
    assert schedule.lr(1000) == pytest.approx(schedule.final_lr_share)


@needs_font
def test_latents_are_unit_normal_after_folding() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder()
    with torch.no_grad():
        vae.encoder.layers[-1].weight.mul_(0.3)
        vae.encoder.layers[-1].bias.add_(0.2)
        pictures = random_pictures(1, 256, SIDE, stream=2)
        before = vae.encode(pictures).latents
        normalise_latents(vae, side=SIDE, device="cpu")
        after = vae.encode(pictures).latents
    assert after.mean(dim=(0, 2, 3)).abs().max() < 0.15
    assert (after.std(dim=(0, 2, 3)) - 1).abs().max() < 0.15
    assert unit_variance_penalty(after) < unit_variance_penalty(before) / 100


@needs_font
def test_the_decoder_undoes_the_folding() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder()
    pictures = random_pictures(0, 256, SIDE, stream=2)  # those the folding is computed from
    with torch.no_grad():
        # Without a mean: the zeros a convolution pads with stand for it only before the folding.
        vae.encoder.layers[-1].bias.sub_(vae.encode(pictures).latents.mean(dim=(0, 2, 3)))
        deviation = vae.encode(pictures).latents.std(dim=(0, 2, 3))[None, :, None, None]
        latents = 0.05 * torch.randn(4, LATENT_CHANNELS, 8, 8)  # small: the soft clip is linear
        before = vae.decode(latents * deviation).sample
        normalise_latents(vae, side=SIDE, device="cpu")
        after = vae.decode(latents).sample
    assert (after - before).abs().max() < 1e-3 * before.abs().max()


@needs_font
def test_the_whole_chain_from_scenes_to_a_folder_that_draws(tmp_path: Path) -> None:
    from diffusion_bench.backends.images import ImageBackend
    from diffusion_bench.records import ImageRequest

    torch.manual_seed(0)
    tokenizer = new_tokenizer(tmp_path / "tokenizer")
    vae = new_autoencoder()
    encoded = encode_scenes(vae, tokenizer, side=SIDE, count=8, device="cpu")
    assert encoded.latents.shape == (8, LATENT_CHANNELS, 8, 8)
    assert torch.equal(
        encoded.tokens, encode_scenes(vae, tokenizer, side=SIDE, count=8, device="cpu").tokens
    )
    denoiser = new_denoiser(tokenizer)
    before = denoiser.text_encoder.get_input_embeddings().weight.clone()
    train_denoiser(
        denoiser,
        encoded,
        tokenizer,
        folder=tmp_path / "denoiser",
        device="cpu",
        schedule=Schedule(steps=2, batch=4, peak_lr=1e-3, warmup_steps=1),
    )
    after = denoiser.text_encoder.get_input_embeddings().weight
    assert not torch.equal(before, after)  # the text encoder learns too
    export(assemble(vae, denoiser, tokenizer), tmp_path / "model")
    backend = ImageBackend.load(str(tmp_path / "model"), device="cpu")
    drawn = backend.generate(ImageRequest(prompt="a cat", model=str(tmp_path / "model"), steps=2))
    assert drawn.images[0].size == (SIDE, SIDE)


def test_the_noise_schedule_ends_in_noise_and_predicts_velocity() -> None:
    scheduler = new_scheduler()
    assert scheduler.alphas_cumprod[-1] < 1e-4
    assert scheduler.config.prediction_type == "v_prediction"
    scheduler.set_timesteps(20)
    assert int(scheduler.timesteps[0]) == 999


def test_tokens_are_padded_as_stock_pipelines_pad_them(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path)
    tokens = tokenize(tokenizer, ["a cat", "a " * 100])
    assert tokens.shape == (2, MAX_TOKENS)
    assert tokens[0, 3:].unique().tolist() == [tokenizer.pad_token_id]
