"""Teach the text encoder which object a caption puts where, how many, and on what.

The denoising loss alone learns the objects of a pair and leaves their sides to chance for a very
long time: knowing the sides lowers only the loss of the noisiest timesteps. A small reader, used in
training and left out of the exported model, classifies what is at each place from the text
encoder's states, through the same kind of attention with which the U-Net reads them.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.training.picturebook.scenes import PLACES, Scene
from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

NUM_LABELS = len(PLACES) + 2  # an object a place, the background, how many
LEFT_OPEN = -100  # what the caption does not decide is no part of the loss
SLOT_LOSS_WEIGHT = 0.05
MOST = 3  # objects that are counted


class SlotReader(nn.Module):
    """Read the states of captions, (n, tokens, width), into logits of every label."""

    def __init__(self, width: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(NUM_LABELS, width) * 0.05)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.objects = nn.Linear(width, 1 + len(load_vocabulary().objects))
        self.backgrounds = nn.Linear(width, 1 + len(background_names()))
        self.counts = nn.Linear(width, 1 + MOST)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of objects (n, places, 1 + objects), backgrounds and counts (n, classes).

        Class 0 says that there is nothing, or nothing said.
        """
        queries = self.queries.expand(len(states), -1, -1)
        read, _ = self.attention(queries, states, states, need_weights=False)
        return self.objects(read[:, :-2]), self.backgrounds(read[:, -2]), self.counts(read[:, -1])


def slot_labels(scene: Scene) -> list[int]:
    """Return the class of each place, then of the background and of the count."""
    numbers = _numbers(tuple(load_vocabulary().objects))
    if scene.kind == "together":
        labels = [LEFT_OPEN] * len(PLACES)
    else:
        labels = [numbers[scene.named[p]] if p in scene.named else 0 for p in PLACES]
    background = _numbers(background_names())[scene.background] if scene.said else 0
    return [*labels, background, len(scene.objects)]


def slot_loss(logits: tuple[Tensor, Tensor, Tensor], labels: Tensor) -> Tensor:
    """Return the cross-entropy to labels (n, NUM_LABELS), the three kinds alike."""
    objects, backgrounds, counts = logits
    return (
        F.cross_entropy(objects.flatten(0, 1).float(), labels[:, :-2].flatten())
        + F.cross_entropy(backgrounds.float(), labels[:, -2])
        + F.cross_entropy(counts.float(), labels[:, -1])
    )


@cache
def background_names() -> tuple[str, ...]:
    """Return the colours and settings, in the order of their classes from 1."""
    words = load_vocabulary()
    return (*words.colours, *words.settings)


@cache
def _numbers(names: tuple[str, ...]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names, start=1)}
