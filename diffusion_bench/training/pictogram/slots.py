"""Teach the text encoder which object a caption puts where.

The denoising loss alone learns the objects of a pair and leaves their sides to chance for a very
long time: knowing the sides lowers only the loss of the noisiest timesteps. A small reader, used in
training and left out of the exported model, classifies the object at each place from the text
encoder's states, through the same kind of attention with which the U-Net reads them.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.training.pictogram.scenes import Scene
from diffusion_bench.training.pictogram.vocabulary import load_vocabulary

NUM_SLOTS = 5  # the middle, left, right, top, bottom
SLOT_LOSS_WEIGHT = 0.05


class SlotReader(nn.Module):
    """Classify the object at each place: states (n, tokens, width) to logits (n, 5, objects+1)."""

    def __init__(self, width: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(NUM_SLOTS, width) * 0.05)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.classes = nn.Linear(width, 1 + len(load_vocabulary().objects))

    def forward(self, states: Tensor) -> Tensor:
        """Return logits; class 0 says that nothing stands at the place."""
        queries = self.queries.expand(len(states), -1, -1)
        read, _ = self.attention(queries, states, states, need_weights=False)
        logits: Tensor = self.classes(read)
        return logits


def slot_labels(scene: Scene) -> list[int]:
    """Return the class of the object at each place of a scene, 0 for none."""
    labels = [0] * NUM_SLOTS
    for placed in scene.objects:
        labels[_slot(placed.x, placed.y)] = _classes()[placed.word]
    return labels


def slot_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (n, 5, classes) to labels (n, 5)."""
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


@cache
def _classes() -> dict[str, int]:
    return {word: number for number, word in enumerate(load_vocabulary().objects, start=1)}


def _slot(x: float, y: float) -> int:
    sides = (x < 0.4, x > 0.6, y < 0.4, y > 0.6)
    return 1 + sides.index(True) if any(sides) else 0
