"""The training-only reader that makes the text encoder learn which object stands where."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffusion_bench.training.pictogram.autoencoder import new_autoencoder
from diffusion_bench.training.pictogram.denoiser import new_denoiser
from diffusion_bench.training.pictogram.export import assemble, export
from diffusion_bench.training.pictogram.scenes import Placed, Scene, random_scene
from diffusion_bench.training.pictogram.slots import NUM_SLOTS, slot_labels, slot_loss
from diffusion_bench.training.pictogram.tokenizer import new_tokenizer
from diffusion_bench.training.pictogram.vocabulary import load_vocabulary
from diffusion_bench.training.word_tokenizer import tokenize

WORDS = list(load_vocabulary().objects)


def test_every_place_of_a_scene_has_its_own_slot_and_each_object_its_class() -> None:
    seen: dict[int, set[tuple[float, float]]] = {}
    chance = random.Random(4)
    for _ in range(300):
        scene = random_scene(chance)
        labels = slot_labels(scene)
        assert len(labels) == NUM_SLOTS
        found = {WORDS[label - 1] for label in labels if label}
        assert found == {placed.word for placed in scene.objects}
        for placed in scene.objects:
            slot = labels.index(1 + WORDS.index(placed.word))
            seen.setdefault(slot, set()).add((placed.x, placed.y))
    assert sorted(seen) == list(range(NUM_SLOTS))
    assert all(len(places) == 1 for places in seen.values()), seen


def test_swapping_two_objects_changes_the_labels_and_so_the_loss() -> None:
    left, right = Placed("cat", 0.25, 0.5, 0.4), Placed("dog", 0.75, 0.5, 0.4)
    swapped = Placed("dog", 0.25, 0.5, 0.4), Placed("cat", 0.75, 0.5, 0.4)
    one, other = (
        torch.tensor([slot_labels(Scene("", (0, 0, 0), pair))]) for pair in ((left, right), swapped)
    )
    certain = 20 * torch.nn.functional.one_hot(one, 1 + len(WORDS)).float()
    assert slot_loss(certain, one) < 1e-3
    assert slot_loss(certain, other) > 1


def test_the_reader_learns_sides_that_a_bag_of_words_does_not_hold(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = new_tokenizer(tmp_path)
    denoiser = new_denoiser(tokenizer)
    captions = ["a cat left of a dog", "a dog left of a cat"]
    scenes = [
        Scene("", (0, 0, 0), (Placed(first, 0.25, 0.5, 0.4), Placed(second, 0.75, 0.5, 0.4)))
        for first, second in (("cat", "dog"), ("dog", "cat"))
    ]
    labels = torch.tensor([slot_labels(scene) for scene in scenes])
    tokens = tokenize(tokenizer, captions)
    assert sorted(tokens[0].tolist()) == sorted(tokens[1].tolist())
    optimizer = torch.optim.AdamW(
        [*denoiser.text_encoder.parameters(), *denoiser.slot_reader.parameters()], lr=1e-3
    )
    for _ in range(1500):
        logits = denoiser.slot_reader(denoiser.text_encoder(tokens)[0])
        if torch.equal(logits.argmax(-1), labels):
            return
        optimizer.zero_grad()
        slot_loss(logits, labels).backward()
        optimizer.step()
    pytest.fail(f"read {logits.argmax(-1).tolist()}, not {labels.tolist()}")


def test_the_reader_is_no_part_of_the_exported_model(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(tmp_path / "tokenizer")
    denoiser = new_denoiser(tokenizer)
    export(assemble(new_autoencoder(), denoiser, tokenizer), tmp_path / "model")
    for path in (tmp_path / "model").rglob("*.safetensors"):
        assert not any("slot" in name or "queries" in name for name in load_file(path)), path
