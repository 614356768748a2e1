"""The tokenizer of the image model, and which of its tokens mean the same."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from diffusion_bench.training.picturebook.vocabulary import load_vocabulary
from diffusion_bench.training.word_tokenizer import word_tokenizer

MAX_TOKENS = 20


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the files of the tokenizer to `folder` and return it: every known word is one token."""
    return word_tokenizer(folder, load_vocabulary().canonical(), max_tokens=MAX_TOKENS)


def canonical_ids(tokenizer: CLIPTokenizer) -> Tensor:
    """Return (tokens,) int64: for each token the one that means the same to the model.

    In training captions are read through it, and the exported text encoder has the same embedding
    for both: a synonym or a plural is exactly its word and needs no training of its own.
    """
    ids = torch.arange(len(tokenizer))
    known = tokenizer.get_vocab()
    for word, stands_for in load_vocabulary().canonical().items():
        ids[known[f"{word}</w>"]] = known[f"{stands_for}</w>"]
    return ids
