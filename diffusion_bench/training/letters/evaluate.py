"""How often the letter-to-sound net is wrong, on words it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchaudio.functional import edit_distance

from diffusion_bench.pronunciation.letter_net import LetterNet, letter_indices, read_slots
from diffusion_bench.training.letters.data import Ways, batches


@dataclass(frozen=True)
class Errors:
    """Shares of wrong phones and words; each word is held against its nearest way in CMUdict."""

    num_words: int
    phone_error_rate: float
    word_error_rate: float
    stressed_word_error_rate: float


@torch.no_grad()
def evaluate(net: LetterNet, ways: Ways) -> Errors:
    """Return the errors of a net on words; AH0 and AH1 count as different phones."""
    net.eval()
    distance = length = wrong = wrong_stress = 0
    for batch in batches(ways, 512, shuffle=None):
        for word, classes in zip(
            batch, net(letter_indices(batch)).argmax(-1).tolist(), strict=True
        ):
            said = read_slots(classes)
            nearest, of = min(
                (edit_distance(_bare(said), _bare(way)), len(way)) for way in ways[word]
            )
            distance, length = distance + nearest, length + of
            wrong += nearest > 0
            wrong_stress += tuple(said) not in ways[word]
    count = len(ways)
    return Errors(count, distance / length, wrong / count, wrong_stress / count)


def _bare(symbols: Sequence[str]) -> list[str]:
    """Return symbols without stress, but the two sounds of AH kept apart, as the phones do."""
    return ["AX" if symbol == "AH0" else symbol.rstrip("012") for symbol in symbols]
