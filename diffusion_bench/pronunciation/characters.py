"""From any Unicode to the plain characters that the rules of English are written for."""

from __future__ import annotations

import re
import unicodedata

# Before compatibility decomposition, which would turn 3½ into 31/2 and m² into m2.
_FRACTIONS = {
    character: f" {unicodedata.normalize('NFKC', character).replace(chr(0x2044), '/')} "
    for character in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒↉"
}
_NAMED = {
    "’": "'", "‘": "'", "‛": "'", "´": "'", "`": "'", "′": "'", "“": '"', "”": '"', "„": '"',
    "«": '"', "»": '"', "″": '"', "‐": "-", "‑": "-", "‒": "-", "−": "-", "―": "—",
    "…": "...", "²": "^2 ", "³": "^3 ", "·": " ", "•": ", ", "™": "", "®": "", "©": "",
    "ª": "", "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l",
    "Ł": "L", "đ": "d", "Đ": "D", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D", "ı": "i",
    "×": " x ", "÷": " divided by ", "±": " plus or minus ", "≈": " about ", "≠": " is not ",
    "≤": " at most ", "≥": " at least ", "∞": " infinity ", "√": " root of ", "№": " number ",
    "§": " section ", "º": "°", "￥": "¥", "。": ". ", "、": ", ", "，": ", ", "！": "! ",
    "？": "? ", "ʼ": "'", "ʻ": "'", "→": " to ", "‽": "?!", "¿": "", "¡": "", "⁄": "/",
    "‰": " per thousand ", "ẞ": "SS", "㎠": "cm^2 ", "㎡": "m^2 ", "㎢": "km^2 ", "㎥": "m^3 ",
}  # fmt: skip
# Words that another word is without their accents: named as the supplement to the lexicon has them.
_FRENCH = {
    "résumé": "rezumay", "resumé": "rezumay", "rosé": "rozay", "pâté": "patay", "exposé": "exposay",
}  # fmt: skip
_ACCENTED = re.compile(rf"\b(?:{'|'.join(_FRENCH)})(?=s?\b)", re.IGNORECASE)
# What the characters alone would turn into other numbers: 10⁶ into 106, 1 000 with a space that no
# line ends at into two numbers; and units into other words.
_GREEK_MICRO = re.compile(r"(?<=[\d ])μ(?=[A-Za-z])")
_POWER = re.compile(r"(?<=\d)([⁺⁻]?)([⁰¹²³⁴-⁹]+)")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:[\u00a0\u2009\u202f]\d{3})+(?!\d)")
_OHM = re.compile(r"(?<=[\d ])([kM]?)[Ω\u2126](?!\w)")
_ANGSTROM = re.compile(r"(?<=\d)(\s?)[Å\u212b](?!\w)")
_SPOKEN = str.maketrans(_FRACTIONS | _NAMED)
# What survives beyond ASCII: dashes, currencies, degrees and micro, which later rules read.
_KEPT = frozenset("–—€£¥₹₩₽₿¢°µ")
_LONE_GREEK = re.compile(r"(?<![\u0370-\u03ff])[\u0391-\u03c9](?![\u0370-\u03ff])")
_GREEK_NAME = re.compile(r"GREEK (?:SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)")
_IN_WORDS = "'’-‐·"
_DROPPED = re.compile(r"x(?:[x+-]*[x+])?")
_PARAGRAPH = re.compile(r"[ \t]*\n\s*\n\s*")
# More of one sign says no more, and would cost the later rules time with the square of its length.
_REPEATED = re.compile(r"([^\w\s])\1{3,}")
_ENDED = re.compile(r"[.?!,:;]\s*$")


def plain(text: str) -> str:
    """Return text in ASCII and `–—€£¥₹₩₽₿¢°µ`, spaces single, paragraphs ended by a full stop.

    Accents are folded, lone Greek letters named, and what has no place in English is a space.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = _ACCENTED.sub(lambda m: _FRENCH[m[0].lower()], text)
        text = _POWER.sub(lambda m: f"^{m[0].translate(_SUPERSCRIPTS).lstrip('+')} ", text)
        text = _GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), text)
        text = _ANGSTROM.sub(r"\1angstrom", _OHM.sub(r"\1ohm", text))
        text = _GREEK_MICRO.sub("µ", text.translate(_SPOKEN))
        text = _LONE_GREEK.sub(_greek, text)
        text = "".join(map(_fold, text)) if not text.isascii() else text
    paragraphs = _PARAGRAPH.split(text.replace("\r\n", "\n").replace("\r", "\n"))
    ended = [p if not p or _ENDED.search(p) else f"{p}." for p in paragraphs[:-1]]
    text = " ".join([*ended, paragraphs[-1]])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _REPEATED.sub(r"\1\1\1", text)


def left_out(text: str) -> tuple[str, ...]:
    """Return the stretches of a text whose letters English has not, which `plain` drops."""
    if text.isascii():
        return ()
    greek = {match.start() for match in _LONE_GREEK.finditer(text)}
    kinds = "".join(" " if at in greek else _kind(c) for at, c in enumerate(text))
    return tuple(text[slice(*match.span())].strip() for match in _DROPPED.finditer(kinds))


def _kind(character: str) -> str:
    """Return "x" for a letter or digit that is dropped, "-" for what may join two, else a space."""
    if character.isalnum():
        is_said = ord(character) in _SPOKEN or _fold(character) != " "
        return " " if is_said else "x"
    is_mark = unicodedata.category(character).startswith("M")
    return "+" if is_mark else "-" if character.isspace() or character in _IN_WORDS else " "


def _greek(match: re.Match[str]) -> str:
    name = _GREEK_NAME.match(unicodedata.name(match[0], ""))
    return f" {name[1].lower()} " if name else " "


def _fold(character: str) -> str:
    """Return one character without accents, or a space for what is not Latin."""
    if character.isascii() or character in _KEPT:
        return character
    if unicodedata.category(character) in ("Mn", "Cf", "Me"):
        return ""  # accents, zero-width joiners, directions: nothing stands in their place
    whole = unicodedata.normalize("NFKD", character)
    ascii_part = "".join(c for c in whole if c.isascii() or c in _KEPT)
    return ascii_part if ascii_part else " "
