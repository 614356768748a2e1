"""The tokenizer: CLIP's byte-pair encoding, with merges that make every known word one token.

Words it does not know fall apart into letters, as in any byte-pair encoding, and so can be named.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

MAX_TOKENS = 20
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_letters() -> list[str]:
    """Return the 256 printable stand-ins for bytes of byte-level BPE (Radford et al., 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = {byte: chr(byte) for byte in printable}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in stand_ins):
        stand_ins[byte] = chr(256 + extra)
    return [stand_ins[byte] for byte in range(256)]


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the vocabulary and merges to `folder` and return the tokenizer they make."""
    letters = byte_letters()
    tokens = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters)])
    merges: dict[tuple[str, str], None] = {}
    for word in load_vocabulary().canonical():
        pieces = [*word[:-1], word[-1] + "</w>"]
        # Merged from the word's end, so that no merge of one word can start inside another.
        joined = pieces[-1]
        for piece in reversed(pieces[:-1]):
            merges[piece, joined] = None
            joined = piece + joined
            tokens[joined] = None
    ids = {token: number for number, token in enumerate([*tokens, START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merge_file = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    merge_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)


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


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return (captions, MAX_TOKENS) int64, padded and cut as stock pipelines do."""
    tokens: Tensor = tokenizer(
        captions,
        padding="max_length",
        max_length=MAX_TOKENS,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens
