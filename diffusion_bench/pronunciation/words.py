"""One word's phones: of our lexicon, CMUdict, built from those, or from letters."""

from __future__ import annotations

import re
from functools import lru_cache

from diffusion_bench.pronunciation.letters import say_letters
from diffusion_bench.pronunciation.lexicon import look_up
from diffusion_bench.pronunciation.phones import VOWELS, Phone, phone
from diffusion_bench.pronunciation.supplement import supplement
from diffusion_bench.pronunciation.word_lists import word_set

_VOICELESS = word_set("p t k f th s sh ch hh")
_SIBILANTS = word_set("s z sh zh ch jh")
_CONTRACTIONS = {
    "n't": "ax n t",
    "'ll": "ax l",
    "'ve": "v",
    "'re": "er",
    "'m": "m",
}
_STRETCHED = re.compile(r"([a-z])\1{2,}")
_LEAST_STEM = 3
_LONGEST_BUILT = 30
_MOST_APOSTROPHES = 3


@lru_cache(maxsize=50_000)
def pronounce(word: str) -> tuple[Phone, ...]:
    """Return the phones of a word in small letters."""
    built = _known(word) or _unstretched(word)
    built = built or (_built(word) if len(word) <= _LONGEST_BUILT else None)
    if built is None and 0 < word.count("'") <= _MOST_APOSTROPHES:
        stem, _, ending = word.rpartition("'")
        built = pronounce(stem) if stem else ()
        built = add_s(built) if ending == "s" and built else built + _letters(ending)
    return built or _letters(word)


def _letters(word: str) -> tuple[Phone, ...]:
    letters = word.replace("'", "")
    return say_letters(letters) if letters else ()


def _known(word: str) -> tuple[Phone, ...] | None:
    return supplement(word) or look_up(word)


def _unstretched(word: str) -> tuple[Phone, ...] | None:
    """Return the phones of "sooo" and "hellooo", said as "so" and "hello", or `None`."""
    if not _STRETCHED.search(word):
        return None
    return _first([_STRETCHED.sub(kept, word) for kept in (r"\1\1", r"\1")])


def _built(word: str) -> tuple[Phone, ...] | None:
    """Return the phones of a known word with an ending, or `None`.

    Only endings that this says better than the letter-to-sound net does (MODEL_CARD.md): "-ing",
    "-er", "-ly", prefixes and compounds are not among them.
    """
    return _contraction(word) or _plural(word) or _past(word)


def _contraction(word: str) -> tuple[Phone, ...] | None:
    for ending, said in _CONTRACTIONS.items():
        stem = _known(word.removesuffix(ending)) if word.endswith(ending) else None
        if stem:
            return stem + _plain(said)
    if word.endswith("'d"):
        stem = _known(word[:-2])
        return add_d(stem) if stem else None
    return None


def _plural(word: str) -> tuple[Phone, ...] | None:
    if not word.endswith("s") or len(word) <= _LEAST_STEM or word.endswith("ss"):
        return None
    stems = [word[:-2] if word[-2:] == "'s" else word[:-1]]
    stems += [f"{word[:-3]}y"] if word.endswith("ies") else []
    stems += [word[:-2]] if word.endswith("es") else []
    stem = _first(stems)
    return add_s(stem) if stem else None


def _past(word: str) -> tuple[Phone, ...] | None:
    if not word.endswith("ed") or len(word) <= _LEAST_STEM + 1:
        return None
    stems = [f"{word[:-3]}y"] if word.endswith("ied") else _stems(word[:-2])
    stem = _first(stems)
    return add_d(stem) if stem else None


def _stems(cut: str) -> list[str]:
    """Return what a word may have been before an ending: "walk", "bake", "tap", "happy"."""
    stems = [cut, f"{cut}e"]
    stems += [cut[:-1]] if len(cut) > _LEAST_STEM and cut[-1:] == cut[-2:-1] else []
    return [*stems, f"{cut[:-1]}y"] if cut.endswith("i") else stems


def _first(stems: list[str]) -> tuple[Phone, ...] | None:
    return next((known for stem in stems if len(stem) > 1 and (known := _known(stem))), None)


def _plain(symbols: str) -> tuple[Phone, ...]:
    return tuple(phone(symbol) for symbol in symbols.split())


def add_s(stem: tuple[Phone, ...]) -> tuple[Phone, ...]:
    """Return a plural, possessive or third person: "ih z", "s" or "z" by the last phone."""
    last = stem[-1].symbol
    if last in _SIBILANTS:
        return stem + _plain("ih z")
    return stem + _plain("s" if last in _VOICELESS else "z")


def add_d(stem: tuple[Phone, ...]) -> tuple[Phone, ...]:
    """Return a past tense: "ih d", "t" or "d" by the last phone."""
    last = stem[-1].symbol
    if last in ("t", "d"):
        return stem + _plain("ih d")
    return stem + _plain("t" if last in _VOICELESS else "d")


def starts_with_vowel(phones: tuple[Phone, ...]) -> bool:
    """Return whether a word begins with the sound of a vowel: "hour" does, "use" does not."""
    return phones[0].symbol in VOWELS
