"""The net that says a word from its letters.

A bidirectional LSTM reads the letters; each letter has `SLOTS` slots of a symbol or nothing, read
by the rule of connectionist temporal classification (Graves et al., 2006, section 3): equal
neighbours are one, blanks are none. Rao et al. (2015, "Grapheme-to-phoneme conversion using LSTM
recurrent neural networks") showed such a net to need no alignment of letters and phones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from diffusion_bench.pronunciation.lexicon import SYMBOLS

SLOTS = 2
BLANK = 0
NUM_CLASSES = len(SYMBOLS) + 1
_NUM_LETTERS = 27  # index 0 is unused, as 0 pads


class LetterNet(nn.Module):
    """Letters to slots of CMUdict symbols; 0.48 M parameters."""

    def __init__(self, *, embedding: int = 64, hidden: int = 112, dropout: float = 0.15) -> None:
        super().__init__()
        self.embed = nn.Embedding(_NUM_LETTERS, embedding)
        self.read = nn.LSTM(
            embedding, hidden, num_layers=2, batch_first=True, bidirectional=True, dropout=dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.slots = nn.Linear(2 * hidden, SLOTS * NUM_CLASSES)

    def forward(self, letters: Tensor) -> Tensor:
        """Return (words, letters * SLOTS, NUM_CLASSES) logits of (words, letters) indices.

        The words of a batch are of one length, so nothing is padded.
        """
        states, _ = self.read(self.embed(letters))
        slots: Tensor = self.slots(self.dropout(states))
        return slots.reshape(len(letters), -1, NUM_CLASSES)


def letter_indices(words: Sequence[str]) -> Tensor:
    """Return (words, letters) indices of words of one length, of the letters a to z only."""
    return torch.tensor([[ord(letter) - ord("a") + 1 for letter in word] for word in words])


def read_slots(classes: Sequence[int]) -> list[str]:
    """Return the CMUdict symbols of one word's slots."""
    return [SYMBOLS[one - 1] for one, _ in groupby(classes) if one != BLANK]
