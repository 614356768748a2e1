"""How the image model is taught: its words, its scenes, its networks, and what is exported."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from diffusers import AutoencoderKL, StableDiffusionPipeline
from typer.testing import CliRunner

from diffusion_bench.training.loop import Schedule
from diffusion_bench.training.picturebook.__main__ import main
from diffusion_bench.training.picturebook.autoencoder import (
    LATENT_CHANNELS,
    TRAINED_AUTOENCODER,
    encode,
    new_autoencoder,
    normalise_latents,
    psnr_db,
    random_pictures,
)
from diffusion_bench.training.picturebook.backgrounds import draw_background
from diffusion_bench.training.picturebook.denoiser import (
    encode_scenes,
    load_shards,
    new_denoiser,
    train_denoiser,
)
from diffusion_bench.training.picturebook.export import assemble, export
from diffusion_bench.training.picturebook.pictograms import FONT_PATHS, sprite
from diffusion_bench.training.picturebook.scenes import (
    FREE,
    KINDS,
    LATTICE,
    STILL,
    Freedom,
    Placed,
    Scene,
    draw_scene,
    random_collage,
    random_scene,
)
from diffusion_bench.training.picturebook.slots import (
    LEFT_OPEN,
    SlotReader,
    background_names,
    slot_labels,
    slot_loss,
)
from diffusion_bench.training.picturebook.tokenizer import (
    MAX_TOKENS,
    canonical_ids,
    new_tokenizer,
)
from diffusion_bench.training.picturebook.vocabulary import NUMBERS, RELATIONS, load_vocabulary
from diffusion_bench.training.word_tokenizer import tokenize

needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


def scenes(count: int, kind: str | None = None, *, freedom: Freedom = FREE) -> list[Scene]:
    chance = random.Random(3)
    drawn = (random_scene(chance, freedom=freedom) for _ in iter(int, 1))
    wanted = (scene for scene in drawn if kind in (None, scene.kind))
    return [next(wanted) for _ in range(count)]


def test_there_are_300_objects_12_colours_6_settings_and_no_word_means_two_things() -> None:
    words = load_vocabulary()
    assert len(words.objects) >= 300
    assert (len(words.colours), len(words.settings)) == (12, 6)
    spelt = [*words.objects, *words.synonyms, *words.colours, *words.settings, *NUMBERS]
    spelt += [*words.sizes, *{part for relation in RELATIONS for part in relation.split()}]
    assert len(spelt) == len(set(spelt))
    pictograms = [picture for pictures in words.objects.values() for picture in pictures]
    assert len(pictograms) == len(set(pictograms))


def test_plurals_follow_english() -> None:
    plural = load_vocabulary().plural
    said = {"cat": "cats", "fox": "foxes", "butterfly": "butterflies", "monkey": "monkeys"}
    said |= {"mouse": "mice", "sheep": "sheep", "wolf": "wolves", "peach": "peaches"}
    assert {word: plural(word) for word in said} == said


def test_every_word_is_one_token_and_an_unknown_word_falls_apart(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path)
    for word in load_vocabulary().canonical():
        assert tokenizer.tokenize(word) == [word + "</w>"]
    assert len(tokenizer.tokenize("zorp")) > 1


def test_synonyms_and_plurals_are_read_as_the_word_they_stand_for(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path)
    meaning = canonical_ids(tokenizer)
    plain, other = meaning[
        tokenize(
            tokenizer,
            [
                "two cat left of a dog on a red background",
                "two kitties left of a puppy on a crimson",
            ],
        )
    ]
    assert plain[:9].tolist() == other[:9].tolist()
    kitty, cat = tokenize(tokenizer, ["kitty", "cat"])
    assert kitty.tolist() != cat.tolist()


def test_every_caption_fits_the_text_encoder_and_has_only_known_words(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path)
    known = set(load_vocabulary().canonical())
    for scene in scenes(500):
        assert set(scene.caption.split()) <= known, scene.caption
        assert len(tokenizer(scene.caption).input_ids) <= MAX_TOKENS


def test_all_kinds_of_scenes_are_drawn() -> None:
    seen = Counter(scene.kind for scene in scenes(600))
    assert set(seen) == set(KINDS)
    assert min(seen.values()) > 25


def test_a_pair_stands_as_its_caption_says() -> None:
    seen: Counter[str] = Counter()
    for scene in scenes(200, "pair"):
        first, second = scene.objects
        relation = next(name for name in RELATIONS if f" {name} " in scene.caption)
        dx, dy = RELATIONS[relation]
        assert (first.x - second.x) * dx + (first.y - second.y) * dy > 0.3, scene.caption
        assert scene.caption.index(first.word) < scene.caption.index(f" {relation} ")
        seen[relation] += 1
    assert len(seen) == 4


def test_a_rider_sits_above_its_mount_and_is_drawn_before_it() -> None:
    for scene in scenes(60, "riding"):
        rider, mount = scene.objects
        assert scene.caption.index(rider.word) < scene.caption.index(" riding ")
        assert rider.x == mount.x
        assert 0.2 < mount.y - rider.y < 0.5
        assert mount.y - mount.side / 2 < rider.y + rider.side / 2, "they do not touch"


def test_a_count_shows_so_many_of_one_kind() -> None:
    for scene in scenes(60, "count"):
        number = next(NUMBERS[word] for word in scene.caption.split() if word in NUMBERS)
        assert len(scene.objects) == number
        assert len({(placed.word, placed.number) for placed in scene.objects}) == 1


def test_what_a_pair_and_a_count_leave_open_varies() -> None:
    beside = [scene for scene in scenes(300, "pair") if " of " in scene.caption]
    assert len({(one.y, other.y) for one, other in (scene.objects for scene in beside)}) == 9
    layouts = {tuple((o.x, o.y) for o in scene.objects) for scene in scenes(300, "count")}
    assert Counter(map(len, layouts)) == {2: 3, 3: 2}  # two up or down, three on either head
    for x, y in (place for layout in layouts for place in layout):
        assert {x, y} <= {0.25, 0.375, 0.5, 0.625, 0.75}


def test_an_object_without_freedom_stands_in_the_middle_upright() -> None:
    for scene in scenes(100, "single", freedom=STILL):
        (placed,) = scene.objects
        assert (placed.x, placed.y, placed.mirrored, placed.tilt_deg) == (0.5, 0.5, False, 0)


def test_places_can_be_free_where_poses_are_not() -> None:
    moved = Freedom(pose=0.0, place=1.0)
    drawn = scenes(300, "single", freedom=moved)
    (placed,) = zip(*(scene.objects for scene in drawn), strict=True)
    poses = {(one.mirrored, one.tilt_deg, one.number) for one in placed}
    assert poses == {(False, 0, 0)}
    unsized = [one for one, scene in zip(placed, drawn, strict=True) if not said_size(scene)]
    assert {one.side for one in unsized} == {load_vocabulary().sizes["medium"]}
    assert len({(one.x, one.y) for one in unsized}) == 9
    for kind, layouts in (("riding", 3), ("count", 5)):
        seen = {tuple((o.x, o.y) for o in s.objects) for s in scenes(200, kind, freedom=moved)}
        assert len(seen) == layouts


def said_size(scene: Scene) -> bool:
    return not {"small", "big"}.isdisjoint(scene.caption.split())


def test_what_a_caption_leaves_open_varies() -> None:
    free = [scene.objects[0] for scene in scenes(300, "single")]
    assert sum(not placed.tilt_deg for placed in free) > 0.8 * len(free)  # learnt apart: rare
    assert 0.4 < sum(placed.mirrored for placed in free) / len(free) < 0.6
    assert len({placed.tilt_deg for placed in free}) == 3
    assert len({(placed.x, placed.y) for placed in free}) >= 9
    assert len({placed.side for placed in free}) == 3
    assert len({placed.number for placed in free}) == 2


def test_said_sizes_hold_and_every_middle_is_on_the_lattice_or_half_of_it() -> None:
    sizes = load_vocabulary().sizes
    for scene in scenes(400, "single"):
        (placed,) = scene.objects
        for size in ("small", "big"):
            if size in scene.caption.split():
                assert placed.side == sizes[size]
        for at in (placed.x, placed.y):
            assert (at / LATTICE * 2).is_integer()


def test_a_collage_is_full_of_objects_on_the_lattice() -> None:
    chance = random.Random(4)
    collages = [random_collage(chance) for _ in range(50)]
    assert {len(collage.objects) for collage in collages} == {4, 5}
    for placed in (placed for collage in collages for placed in collage.objects):
        assert (placed.x / LATTICE).is_integer()
        assert (placed.y / LATTICE).is_integer()


@needs_font
def test_a_drawn_scene_has_its_object_where_it_belongs() -> None:
    cat = Placed("cat", 0.25, 0.5, 0.375)
    scene = Scene("", "single", (cat,), {}, background="blue", background_seed=5)
    empty = draw_background("blue", 5, 128)
    drawn = draw_scene(scene, 128).astype(int)
    ink = np.abs(drawn - np.asarray(empty).astype(int)).sum(axis=2) > 30
    rows, columns = np.nonzero(ink)
    assert abs(columns.mean() - 32) < 4
    assert abs(rows.mean() - 64) < 4
    assert 40 <= columns.max() - columns.min() <= 49


@needs_font
def test_a_mirrored_pictogram_is_its_mirror_image_and_a_tilted_one_is_not() -> None:
    plain = np.asarray(sprite("snail", 0, 64))
    assert (
        np.abs(plain[:, ::-1].astype(int) - np.asarray(sprite("snail", 0, 64, mirrored=True)))[
            8:-8, 8:-8
        ].mean()
        < 3
    )
    assert sprite("snail", 0, 64, tilt_deg=12).size != sprite("snail", 0, 64).size


@needs_font
def test_every_word_has_a_pictogram_in_the_font() -> None:
    for word, pictures in load_vocabulary().objects.items():
        for number in range(len(pictures)):
            assert np.asarray(sprite(word, number, 32))[..., 3].mean() > 20, word


@pytest.mark.parametrize("name", load_vocabulary().settings)
def test_a_setting_is_the_same_for_one_seed_and_varies_over_seeds(name: str) -> None:
    first, again, other = (np.asarray(draw_background(name, seed, 64)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert first.reshape(-1, 3).std(axis=0).max() > 10, "a setting is more than one colour"


def test_labels_tell_places_background_and_count_and_leave_open_what_is_open() -> None:
    words = list(load_vocabulary().objects)
    for scene in scenes(300):
        *places, background, count = slot_labels(scene)
        assert count == len(scene.objects)
        told = background_names()[background - 1] if scene.said else None
        assert told is None or told in scene.caption
        if scene.kind == "together":
            assert set(places) == {LEFT_OPEN}
        else:
            named = {words[label - 1] for label in places if label}
            assert named == set(scene.named.values())


def test_the_reader_of_captions_learns_what_they_say() -> None:
    torch.manual_seed(0)
    reader = SlotReader(32)
    drawn = scenes(16)
    labels = torch.tensor([slot_labels(scene) for scene in drawn])
    states = torch.randn(16, 6, 32)
    optimizer = torch.optim.Adam(reader.parameters(), 0.02)
    losses = []
    for _ in range(40):
        loss = slot_loss(reader(states), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


@needs_font
@pytest.mark.slow
def test_folding_makes_latents_unit_normal_and_leaves_what_the_decoder_reads() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder()
    pictures = random_pictures(0, 4, 64, stream=9)
    with torch.inference_mode():
        before = vae.decoder.conv_in(encode(vae, pictures))
    normalise_latents(vae, side=64, device="cpu")
    with torch.inference_mode():
        latents = encode(vae, random_pictures(0, 64, 64, stream=2))
        distribution = vae.encode(pictures).latent_dist
        after = vae.decoder.conv_in(encode(vae, pictures))
    assert latents.shape[1:] == (LATENT_CHANNELS, 4, 4)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.3
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.3
    assert distribution.std.max() < 1e-3, "a stock pipeline would add noise to a latent"
    inner = slice(1, -1)  # the edge differs: its padding was no mean
    assert torch.allclose(before[..., inner, inner], after[..., inner, inner], atol=1e-4)


@needs_font
def test_the_trained_autoencoder_keeps_unseen_scenes_and_its_latents_are_unit_normal() -> None:
    vae = AutoencoderKL.from_pretrained(TRAINED_AUTOENCODER).eval()
    assert psnr_db(vae, side=128, device="cpu", pictures=32) > 27
    with torch.inference_mode():
        latents = encode(vae, random_pictures(1, 32, 128, stream=9))
    assert abs(float(latents.mean())) < 0.05
    assert 0.9 < float(latents.std()) < 1.1


@needs_font
@pytest.mark.slow
def test_the_exported_folder_draws_by_stock_code_and_knows_synonyms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = new_tokenizer(tmp_path / "tokenizer")
    vae, denoiser = new_autoencoder(), new_denoiser(tokenizer)
    shard = encode_scenes(vae, tokenizer, side=64, shard=0, count=8)
    (tmp_path / "shards").mkdir()
    torch.save((shard.latents, shard.tokens, shard.labels), tmp_path / "shards" / "0.pt")
    held = load_shards(tmp_path / "shards")
    train_denoiser(
        denoiser,
        held,
        tokenizer,
        folder=tmp_path / "run",
        device="cpu",
        schedule=Schedule(steps=2, batch=4, peak_lr=1e-4),
    )
    export(assemble(vae, denoiser, tokenizer), tmp_path / "model")
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "model", use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    draw = {"num_inference_steps": 2, "output_type": "np", "width": 64, "height": 64}
    kitties, cats = (
        pipeline(text, generator=torch.Generator().manual_seed(1), **draw).images
        for text in ("two kitties on a crimson background", "two cat on a red background")
    )
    assert kitties.shape == (1, 64, 64, 3)
    assert (kitties == cats).all()
    further = new_denoiser(tokenizer)
    further.begin_as(pipeline)
    for name, weight in denoiser.unet.state_dict().items():
        assert torch.equal(further.unet.state_dict()[name], weight.float()), name
    known = json.loads((tmp_path / "model" / "vocabulary.json").read_text(encoding="utf-8"))
    assert known["synonyms"]["kitty"] == "cat"
    assert "astronaut" in known["riders"]


def test_a_model_that_is_gone_on_with_keeps_its_autoencoder(tmp_path: Path) -> None:
    command = typer.Typer()
    command.command()(main)
    for stage in ("autoencoder", "decoder"):
        options = ["--work", str(tmp_path), "--from", str(TRAINED_AUTOENCODER.parent)]
        told = CliRunner().invoke(command, [*options, "--stage", stage])
        assert told.exit_code == 2
        assert "the stages are scenes, denoiser, export" in " ".join(told.output.split())


def test_a_run_of_unknown_length_keeps_its_pace_until_the_last_steps() -> None:
    schedule = Schedule(steps=1000, batch=1, peak_lr=1.0, warmup_steps=10, decay_steps=100)
    assert schedule.lr(0) == pytest.approx(0.1)
    assert schedule.lr(10) == schedule.lr(899) == 1.0
    assert schedule.lr(950) == pytest.approx(0.515, abs=0.01)
    assert schedule.lr(1000) == pytest.approx(schedule.final_lr_share)
