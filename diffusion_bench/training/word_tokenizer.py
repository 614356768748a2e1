"""A tokenizer of known words: CLIP's byte-pair encoding, with merges that make each one token.

Words it does not know fall apart into letters, as in any byte-pair encoding, and so can be named.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
FILES = ("vocab.json", "merges.txt")


def byte_letters() -> list[str]:
    """Return the 256 printable stand-ins for bytes of byte-level BPE (Radford et al., 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = {byte: chr(byte) for byte in printable}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in stand_ins):
        stand_ins[byte] = chr(256 + extra)
    return [stand_ins[byte] for byte in range(256)]


def word_tokenizer(folder: Path, words: Iterable[str], *, max_tokens: int) -> CLIPTokenizer:
    """Write the vocabulary and merges to `folder` and return the tokenizer they make."""
    letters = byte_letters()
    tokens = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters)])
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        # Merged from the word's end, so that no merge of one word can start inside another.
        joined = pieces[-1]
        for piece in reversed(pieces[:-1]):
            merges[piece, joined] = None
            joined = piece + joined
            tokens[joined] = None
    ids = {token: number for number, token in enumerate([*tokens, START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merge_file = (folder / name for name in FILES)
    vocabulary.write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    merge_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=max_tokens)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return (captions, tokens) int64, padded and cut as stock pipelines do."""
    tokens: Tensor = tokenizer(
        captions,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens


def save_tokenizer(make: Callable[[Path], CLIPTokenizer], folder: Path) -> None:
    """Save the tokenizer that `make` writes to a folder, as new and old transformers read it."""
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch)).save_pretrained(folder)
        # save_pretrained of transformers 5 writes only tokenizer.json; older ones read these two.
        for name in FILES:
            (folder / name).write_bytes((Path(scratch) / name).read_bytes())
