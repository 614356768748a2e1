"""Words that are in no lexicon, said from their letters by a small net (see MODEL_CARD.md)."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from diffusion_bench.pronunciation.lexicon import look_up
from diffusion_bench.pronunciation.phones import VOWELS, Phone, phone, read_arpabet

if TYPE_CHECKING:
    from diffusion_bench.pronunciation.letter_net import LetterNet

_WEIGHTS = "letters.safetensors"
_PIECE = 24  # letters read at once: more than the net has seen, and no word is longer
_VOWEL_LETTERS = frozenset("aeiouy")
_LONGEST_CONSONANTS = 6


@cache
def load_net() -> LetterNet:
    """Return the net with its bundled weights; this imports torch."""
    from safetensors.torch import load

    from diffusion_bench.pronunciation.letter_net import LetterNet

    net = LetterNet()
    stored = load(resources.files(__package__).joinpath(_WEIGHTS).read_bytes())
    net.load_state_dict({name: value.float() for name, value in stored.items()})
    return net.eval()


@lru_cache(maxsize=20_000)
def say_letters(word: str) -> tuple[Phone, ...]:
    """Return the phones of a word of small letters; what nobody could say is spelled out."""
    return _read(word) if is_sayable(word) else spell(word)


def spell(letters: str) -> tuple[Phone, ...]:
    """Return the names of small letters, one after another."""
    return tuple(p for letter in letters for p in _letter_name(letter))


@cache
def _letter_name(letter: str) -> tuple[Phone, ...]:
    # CMUdict's "a." is the letter, its "a" the article.
    return look_up(f"{letter}.") or ()


def is_sayable(word: str) -> bool:
    """Return whether a string of letters could be a word: it has vowels, and often enough."""
    run = 0
    for letter in word:
        run = 0 if letter in _VOWEL_LETTERS else run + 1
        if run > _LONGEST_CONSONANTS:
            return False
    return bool(_VOWEL_LETTERS.intersection(word))


def _read(word: str) -> tuple[Phone, ...]:
    import torch

    from diffusion_bench.pronunciation.letter_net import letter_indices, read_slots

    net = load_net()
    cut = len(word) - len(word) % _PIECE
    whole = [word[start : start + _PIECE] for start in range(0, cut, _PIECE)]
    batches = [batch for batch in (whole, [word[cut:]]) if batch and batch[0]]
    with torch.inference_mode():
        rows = [row for batch in batches for row in net(letter_indices(batch)).argmax(-1).tolist()]
    symbols = " ".join(symbol for row in rows for symbol in read_slots(row))
    return one_primary(read_arpabet(symbols)) if symbols else spell(word)


def one_primary(phones: tuple[Phone, ...]) -> tuple[Phone, ...]:
    """Return phones with one primary stress: the last of several, else the first full vowel."""
    stressed = [place for place, one in enumerate(phones) if one.stress == 1]
    vowels = [place for place, one in enumerate(phones) if one.symbol in VOWELS]
    full = [place for place in vowels if phones[place].symbol != "ax"]
    if len(stressed) == 1 or not (stressed or full):
        return phones
    chosen = stressed[-1] if stressed else full[0]
    return tuple(
        phone(one.symbol, 1 if place == chosen else 2 if one.stress else 0)
        for place, one in enumerate(phones)
    )
