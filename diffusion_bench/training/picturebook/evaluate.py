"""How well the bundled image model draws what it is told, by matching: `python -m ...evaluate`.

Captions are new combinations of known words. Objects are found by `matching`, backgrounds by the
nearest reference border; neither is the scorer that the app ships.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from diffusers import StableDiffusionPipeline
from PIL import Image

from diffusion_bench.records import Record
from diffusion_bench.training.drawing import draw
from diffusion_bench.training.picturebook.backgrounds import SETTINGS, draw_background
from diffusion_bench.training.picturebook.matching import MIDDLE, Place, nearest_words
from diffusion_bench.training.picturebook.scenes import (
    LATTICE,
    MOUNT_Y,
    RIDER_Y,
    STILL,
    Scene,
    random_scene,
)
from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

BORDER_SIDE = 32
REFERENCES = 12  # drawings of each background
ONE_CAPTION, SEEDS = 8, 6  # captions of a kind, and pictures of each

SMALL = load_vocabulary().sizes["small"]
PLACES: dict[str, Place] = {
    "middle": MIDDLE,
    **{
        name: Place(0.5 + 2 * LATTICE * dx, 0.5 + 2 * LATTICE * dy, (SMALL,), dx=dx, dy=dy)
        for name, (dx, dy) in {
            "left": (-1, 0),
            "right": (1, 0),
            "top": (0, -1),
            "bottom": (0, 1),
        }.items()
    },
    "rider": Place(0.5, RIDER_Y, (SMALL,), dy=-1),
    "mount": Place(0.5, MOUNT_Y, (load_vocabulary().sizes["medium"],), dy=1),
}


class Score(Record):
    """How often pictures showed what was asked: all their objects, each object, the background."""

    num_pictures: int
    objects_share: float
    object_share: float
    background_share: float
    failed: dict[str, int]


def ask(kind: str, count: int, *, seed: int, every_object: bool = False) -> list[Scene]:
    """Return scenes of a kind, whose layout does not matter, on plain backgrounds.

    With `every_object` the first object named runs through the vocabulary.
    """
    chance = random.Random(f"asked {kind} {seed}")
    words = load_vocabulary()
    drawn = (random_scene(chance, freedom=STILL) for _ in iter(int, 1))
    fit = (s for s in drawn if s.kind == kind and s.said and s.background in words.colours)
    unsized = (s for s in fit if not {"big", "small"} & set(s.caption.split()))
    if not every_object:
        return list(itertools.islice(unsized, count))
    found: dict[str, Scene] = {}
    while len(found) < len(words.objects):
        scene = next(unsized)
        found.setdefault(next(iter(scene.named.values())), scene)
    return [found[word] for word in words.objects]


def score(scenes: Sequence[Scene], pictures: np.ndarray) -> Score:
    """Return how often the pictures show what was asked."""
    seen_behind = [nearest_background(picture) for picture in pictures]
    colours = np.stack([border_colour(picture) for picture in pictures])
    right = np.ones(len(scenes), bool)
    failed: Counter[str] = Counter()
    each = []
    for name, place in PLACES.items():
        asked = [index for index, scene in enumerate(scenes) if name in scene.named]
        found = nearest_words(pictures[asked], colours[asked], place) if asked else []
        for index, word in zip(asked, found, strict=True):
            wanted = scenes[index].named[name]
            each.append(wanted == word)
            right[index] &= each[-1]
            if not each[-1]:
                failed[f"{wanted} as {word}"] += 1
    behind = [scene.background == seen for scene, seen in zip(scenes, seen_behind, strict=True)]
    return Score(
        num_pictures=len(scenes),
        objects_share=float(right.mean()),
        object_share=float(np.mean(each)),
        background_share=float(np.mean(behind)),
        failed=dict(failed.most_common()),
    )


def variety(pictures: np.ndarray) -> float:
    """Return by how much of 255 two pictures of one caption differ in the mean.

    `pictures` are (captions, seeds, side, side, 3) uint8.
    """
    told = pictures.astype(np.float32)
    pairs = itertools.combinations(range(told.shape[1]), 2)
    return float(np.mean([np.abs(told[:, one] - told[:, other]).mean() for one, other in pairs]))


def border_colour(picture: np.ndarray) -> np.ndarray:
    """Return the median colour of a picture's border, (3,)."""
    edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    median: np.ndarray = np.median(np.concatenate(edges), axis=0)
    return median


def nearest_background(picture: np.ndarray) -> str:
    """Return the colour or setting whose border is most like the picture's."""
    words = load_vocabulary()
    seen = _border(Image.fromarray(picture))
    best, nearest = np.inf, ""
    for name in (*words.colours, *SETTINGS):
        for seed in range(REFERENCES if name in SETTINGS else 1):
            distance = float(np.abs(_reference(name, seed) - seen).mean())
            if distance < best:
                best, nearest = distance, name
    return nearest


@cache
def _reference(name: str, seed: int) -> np.ndarray:
    words = load_vocabulary()
    if name in words.colours:
        return _border(Image.new("RGB", (128, 128), words.colours[name]))  # without its shade
    return _border(draw_background(name, seed, 128))


def _border(picture: Image.Image) -> np.ndarray:
    """Return the pixels of the four edges, and each edge's median, which stars do not move."""
    small = np.asarray(picture.resize((BORDER_SIDE, BORDER_SIDE), Image.Resampling.BOX), np.float32)
    edges = np.stack([small[0], small[-1], small[:, 0], small[:, -1]])
    medians = np.broadcast_to(np.median(edges, axis=1, keepdims=True), edges.shape)
    return np.concatenate([edges, medians])


def main(
    model: Annotated[Path, typer.Option(help="The model folder.")],
    pairs: Annotated[int, typer.Option(help="Pairs, and riders, to draw.")] = 100,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    sampler: Annotated[str, typer.Option(help="ddim or ddpm.")] = "ddim",
) -> None:
    """Print how often pictures are what the captions ask for, and how much those of one differ."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    typer.echo("| pictures | n | all objects | each object | background | s a picture |")
    typer.echo("|---|--:|--:|--:|--:|--:|")
    for kind, every_object in (("single", True), ("pair", False), ("riding", False)):
        scenes = ask(kind, pairs, seed=1, every_object=every_object)
        began_s = time.perf_counter()
        captions = [scene.caption for scene in scenes]
        pictures = draw(pipeline, captions, sampler=sampler, steps=steps, batch=16)
        each_s = (time.perf_counter() - began_s) / len(scenes)
        found = score(scenes, pictures)
        typer.echo(
            f"| {kind} | {found.num_pictures} | {found.objects_share:.1%} "
            f"| {found.object_share:.1%} | {found.background_share:.1%} | {each_s:.3f} |"
        )
        worst = ", ".join(list(found.failed)[:12])
        typer.echo(f"{kind}: wrong: {worst}", err=True)
    typer.echo("\n| pictures of one caption | n | differ by, of 255 |\n|---|--:|--:|")
    for kind in ("single", "pair", "riding"):
        captions = [scene.caption for scene in ask(kind, ONE_CAPTION, seed=2)]
        again = [caption for caption in captions for _ in range(SEEDS)]
        pictures = draw(pipeline, again, sampler=sampler, steps=steps, batch=16)
        differ = variety(pictures.reshape(len(captions), SEEDS, *pictures.shape[1:]))
        typer.echo(f"| {kind} | {len(captions)} x {SEEDS} | {differ:.1f} |")


if __name__ == "__main__":
    typer.run(main)
