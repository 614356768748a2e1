"""The scorer's networks: a stock CLIP of 1.4 M parameters, and what reads objects off its patches.

Its pictures are 64 pixels, whatever a model draws. A patch is an eighth of the side, the lattice on
which scenes are laid out, so an object's middle names one patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from diffusion_bench.training.picturebook.scenes import Scene
from diffusion_bench.training.picturebook.slots import background_names
from diffusion_bench.training.picturebook.tokenizer import MAX_TOKENS
from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

SIDE = 64
PATCHES = 8  # along a side
VISION_WIDTH = 128
TEXT_WIDTH = 96
FEATURES = 128
NOTHING_WEIGHT = 0.3  # of patches without an object's middle: 62 of 64 of them


class Reader(nn.Module):
    """What reads a picture's objects and background off the vision encoder's states."""

    def __init__(self) -> None:
        super().__init__()
        self.objects = nn.Linear(VISION_WIDTH, 1 + len(load_vocabulary().objects))
        self.backgrounds = nn.Linear(VISION_WIDTH, len(background_names()))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, 64, 1 + objects) and (n, backgrounds) of states (n, 1 + 64, width).

        Class 0 of a patch says that no object has its middle there.
        """
        return self.objects(states[:, 1:]), self.backgrounds(states[:, 0])


class Scorer(nn.Module):
    """The pair of encoders and the reader, which learn together."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        # The backward pass of the fused attention takes twice as long as the plain one on a CPU.
        self.clip = CLIPModel._from_config(_configuration(tokenizer), attn_implementation="eager")
        self.reader = Reader()


def _configuration(tokenizer: CLIPTokenizer) -> CLIPConfig:
    return CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 4 * TEXT_WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": MAX_TOKENS,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": VISION_WIDTH,
            "intermediate_size": 3 * VISION_WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": SIDE // PATCHES,
        },
        projection_dim=FEATURES,
    )


def patch_of(x: float, y: float) -> int:
    """Return the patch that holds the middle of an object, by shares of the side."""
    column, row = (min(PATCHES - 1, max(0, int(at * PATCHES - 0.5))) for at in (x, y))
    return row * PATCHES + column


def patch_labels(scene: Scene) -> Tensor:
    """Return (64,) int64: the class of the object whose middle is in each patch, 0 for none."""
    classes = {word: number for number, word in enumerate(load_vocabulary().objects, start=1)}
    labels = torch.zeros(PATCHES * PATCHES, dtype=torch.long)
    for placed in scene.objects:
        labels[patch_of(placed.x, placed.y)] = classes[placed.word]
    return labels
