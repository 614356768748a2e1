"""E-mail addresses, web addresses, hashtags, handles and phone numbers."""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.initials import LETTER, initials
from diffusion_bench.pronunciation.numbers import digits
from diffusion_bench.pronunciation.word_lists import word_list, word_set

_TOP_LEVEL = word_list(
    "com org net edu gov mil int info biz io ai co uk de fr eu ch nl se no jp cn in au ca us ru it "
    "es dev app xyz tech online site blog shop me tv"
)
_SAID_AS_WORDS = word_set("com org net gov mil info biz dev app tech online site blog shop me")
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_WEB = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>\"]+", re.IGNORECASE)
_BARE = re.compile(
    rf"(?<![\w.@/-])(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}(?:{'|'.join(_TOP_LEVEL)})\b(?![.-]?\w)"
    r"(?:/[^\s<>\"]*)?"
)
_TRAILING = re.compile(r"[.,!?;:)'\]]+$")
_PIECE = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]")
_SYMBOLS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", ":": "colon", "#": "hash",
    "?": "question mark", "=": "equals", "&": "and", "%": "percent", "+": "plus", "~": "tilde",
}  # fmt: skip
_HASHTAG = re.compile(r"(?<![\w&])#(?=\w*[A-Za-z])(\w+)")
_HANDLE = re.compile(r"(?<![\w.])@(?=\w*[A-Za-z])(\w+)")
_PHONES = (
    re.compile(
        r"(?<![\w.-])(?:\+?\d{1,3}[ .-])?(?:\(\d{3}\)[ ]?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-]|\.\d)"
    ),
    re.compile(r"(?<!\w)\+\d{1,3}(?:[ ]?\(0\))?(?:[ .-]?\(?\d{2,4}\)?){2,5}(?![\w-])"),
    # With the zero of calls within a country: 020 7946 0958, 01 23 45 67 89.
    re.compile(r"(?<![\w.,-])(?:\(0\d{2,4}\)|0\d{2,4})(?:[ ]\d{3,6}){1,2}(?![\w-]|[.,]\d)"),
    re.compile(r"(?<![\w.,-])0[1-9](?:[ .]\d\d){4}(?![\w-]|[.,]\d)"),
    re.compile(r"(?<![\w.-])\d{3}-\d{4}(?![\w-])"),
    # Numbers of things rather than of people: ISBN 978-3-16-148410-0.
    re.compile(r"(?<![\w.-])\d{1,9}(?:-\d{1,9}){3,8}(?![\w-])"),
    re.compile(r"(?<![\w.,-])(?:\d{4}(?: \d{4}){3}|\d{3}-\d{2}-\d{4})(?![\w-]|[.,]\d)"),
)
# After the letters of a state.
_ZIP = re.compile(rf"(?:(?<=\b[A-Z]{{2}} )|(?<={LETTER} ))\d{{5}}(?:-\d{{4}})?(?![\w,]|\.\d)")
_CALLED = re.compile(
    r"\b(?:(?:call|dial)(?:s|ed|ing|ling)? )(?:911|112|999|988|211|311|411|511|611|711|811|000)"
    r"(?![\w,.-]\w)|(?<![\w$.,-])911(?= (?:calls?|operators?|dispatchers?)\b)",
    re.IGNORECASE,
)
# After a town, where some are words as well: Portland, OR 97201.
_STATE = re.compile(
    r"(?<=[a-z], )(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]"
    r"|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])(?= \d{5}\b|,|;|\.?$|\. [A-Z])"
)
_SIDES = {"N": "north", "S": "south", "E": "east", "W": "west"}
_STREET_SIDE = re.compile(
    r"(?:(?<=\d )|(?<=\b(?:on|at|to|of|in) )|^)([NS]?[EW]|[NS])\.? "
    r"(?=(?:\d{1,3}(?:st|nd|rd|th)|[A-Z][a-z]+(?: [A-Z][a-z]+)?) (?:St|Ave|Blvd|Rd|Dr|Ln|Ct|Street"
    r"|Avenue|Boulevard|Road|Drive|Lane|Court)\b)"
)


def say_addresses(text: str) -> str:
    """Return a text with its addresses, hashtags, handles, phone numbers and ZIP codes in words."""
    if "@" in text:
        text = _EMAIL.sub(lambda m: _spoken(m[0]), text)
        text = _HANDLE.sub(lambda m: f"at {_spoken(m[1])}", text)
    text = _BARE.sub(_web, _WEB.sub(_web, text))
    text = _HASHTAG.sub(lambda m: f"hashtag {m[1].replace('_', ' ')}", text)
    text = _STATE.sub(lambda m: initials(m[0]), text)
    for pattern in (*_PHONES, _ZIP):
        text = pattern.sub(_phone, text)
    text = _CALLED.sub(lambda m: re.sub(r"\d+", lambda number: digits(number[0]), m[0]), text)
    return _STREET_SIDE.sub(lambda m: f"{''.join(_SIDES[side] for side in m[1])} ", text)


def _web(match: re.Match[str]) -> str:
    trailing = _TRAILING.search(match[0])
    end = trailing.start() if trailing else len(match[0])
    address = re.sub(r"^(?:\w+://)?(?:www\.)?", "", match[0][:end], flags=re.IGNORECASE)
    return f"{_spoken(address.rstrip('/'))}{match[0][end:]}"


def _spoken(address: str) -> str:
    """Return the pieces of an address, its signs named and its top-level domain as it is said."""
    pieces = _PIECE.findall(address)
    return " ".join(_piece(piece, place, pieces) for place, piece in enumerate(pieces))


def _piece(piece: str, place: int, pieces: list[str]) -> str:
    if not piece.isalnum():
        return _SYMBOLS.get(piece, "")
    after_dot = place > 0 and pieces[place - 1] == "."
    if after_dot and piece in _TOP_LEVEL and piece not in _SAID_AS_WORDS:
        return initials(piece)
    return digits(piece) if piece.isdigit() and len(piece) > 4 else piece


def _phone(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(digits(group) for group in groups)
