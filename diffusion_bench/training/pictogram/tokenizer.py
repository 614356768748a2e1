"""The tokenizer of the image model `pictogram`."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPTokenizer

from diffusion_bench.training.pictogram.vocabulary import load_vocabulary
from diffusion_bench.training.word_tokenizer import word_tokenizer

MAX_TOKENS = 24


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the files of the tokenizer to `folder` and return it: every known word is one token."""
    return word_tokenizer(folder, load_vocabulary().words(), max_tokens=MAX_TOKENS)
