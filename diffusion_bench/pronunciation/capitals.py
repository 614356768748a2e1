"""Words in capitals, CamelCase, Roman numerals, and letters mixed with digits."""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.initials import LETTER, initials
from diffusion_bench.pronunciation.numbers import cardinal, digits, ordinal, pairs, plural, roman
from diffusion_bench.pronunciation.supplement import is_word
from diffusion_bench.pronunciation.word_lists import word_list, word_set

# Words too, but not in capitals.
_LETTERED = word_set(
    "ac ad afaik ai aka am apa api ar asap atm aws bc btw ca cd ce ceo cgi cia co coo cpi cpu csi "
    "ct cv dc dea diy dj dna dob dvd ed eeg ein ent eod er est eta eu eula ev fao faq fbi fda fyi "
    "gao gdp ged gi gmo gps gpu hd hiv hr html id ide ieee il imo ip iq ir ira irs it jfk jpg ko "
    "kpi la lan lax lcd led llm lol lp md mia mit ml mp mri ms msn mtv nba nbc nfl nlp nyc oem "
    "omg os ot pa pc pdf pe phd pi pm pos pr ps qa rip rna roi rsvp rv sat sec sf sms sos sp sql "
    "ssd suv tb tbd tts tv uefi ufo ui uk ul un ups url us usa usb ux va vip vr wan who xl xml"
)
_REGNAL = word_list(
    "Henry Louis George Edward Charles James William Richard Philip Elizabeth Mary John Paul Pius "
    "Leo Benedict Gregory Clement Urban Innocent Alexander Nicholas Catherine Peter Ivan Gustav "
    "Frederick Napoleon Ferdinand Francis Felipe Otto Wilhelm Ramesses Ptolemy Xerxes Darius"
)
_NUMBERED = word_list(
    "Chapter Part Volume Vol Book Act Scene Section Phase Type Class Title Appendix Article Level "
    "War Bowl Fantasy Mark Stage Group Episode Figure Table Tier Grade Apollo"
)
_AFTER_NAME = re.compile(
    rf"\b(?P<name>{'|'.join(_REGNAL)}) (?P<roman>[IVX]{{1,6}})(?P<of>'s)?\b(?!\.?[A-Za-z])"
)
_AFTER_NOUN = re.compile(
    rf"\b(?P<name>{'|'.join(_NUMBERED)}) (?P<roman>[IVXLC]{{1,8}})\b(?!')", re.I
)
_CENTURY = re.compile(r"\b(?P<roman>[IVX]{1,5})(?:st|nd|rd|th)?(?= centur(?:y|ies)\b)")
_PLAIN_ROMAN = re.compile(
    r"(?<=[A-Za-z] )(?:II|III|IV|VI|VII|VIII|IX|XI|XII|XIII|XIV|XV|XVI|XVII|XVIII|XIX)\b(?!')"
)
_AFTER_FIRST = re.compile(r"$|[.,;:!?)\"]| (?:of|is|was|and|or|to|errors?|diabetes|trials?)\b")
_DRIP = re.compile(r" (?:drips?|lines?|bags?|fluids?|antibiotics|therapy|infusions?|injections?)\b")
_BEFORE_DRIPS = word_set("a an the by via with on per")
_MODEL = re.compile(
    rf"(?P<maker>\b[A-Z]{{2,5}}|{LETTER})[ -](?P<number>[1-9]\d{{2,3}})(?![\w,]|\.\d)"
)
_JOINED = re.compile(r"\b([A-Z]{1,3})\s?&\s?([A-Z]{1,3})\b")  # R&D, AT&T
_MIXED = re.compile(r"(?<!\w)(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{2,}(?:-\d+)?\b")
_RUN = re.compile(r"[A-Za-z]+|\d+")
_HYPHENED = re.compile(r"(?<=[A-Za-z])-(?=\d)")
_WORD = re.compile(rf"{LETTER}|[A-Za-z]+(?:'[A-Za-z]+)*")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z]{2})|[A-Z]?[a-z]+|[A-Z]+")
_SENTENCE = re.compile(r"[^.?!]+[.?!]*")
_AFTER_ARTICLE = re.compile(r" (?!(?:versus|and|or|to|is|was|in)\b)[\"'(]?\w")
_LETTER_NOUNS = word_set(
    "vitamin plan grade type class section hepatitis appendix option group exhibit series level "
    "an letter model point side team"
)
_PLAIN_WORDS = word_set("the is are was to of and in on for this that you not be with at by my")
_VOWEL_LETTERS = set("aeiouy")


def say_capitals(text: str) -> str:
    """Return a text in small letters, with initialisms, numerals and mixtures as they are said."""
    text = _SENTENCE.sub(_calm, text)
    text = _AFTER_NAME.sub(_reign, _CENTURY.sub(_century, text))
    text = _AFTER_NOUN.sub(_counted, text)
    text = _PLAIN_ROMAN.sub(_plain_roman, text)
    text = _MIXED.sub(_mixed, _HYPHENED.sub(" ", text))
    return _WORD.sub(_word, text)


def say_models(text: str) -> str:
    """Return a text with model numbers after capitals as they are read: RTX 4090, HTTP 404."""
    text = _JOINED.sub(lambda m: f"{initials(m[1])} and {initials(m[2])}", text)
    return _MODEL.sub(lambda m: f"{m['maker']} {pairs(m['number'])}", text)


def _calm(match: re.Match[str]) -> str:
    """Return a sentence that is all in capitals in small letters: it is shouted, not spelled."""
    words = re.findall(r"[A-Za-z']{2,}", match[0])
    shouted = [word for word in words if word.isupper()]
    loud = len(words) >= 3 and len(shouted) >= 0.8 * len(words)
    # A list of initialisms has no such word.
    if loud and _PLAIN_WORDS.intersection(map(str.lower, shouted)):
        return re.sub(r"[A-Za-z']+", _small, match[0])
    return match[0]


def _small(match: re.Match[str]) -> str:
    """Return a shouted word in small letters, but for an initialism: THE GPU IS HERE."""
    small = match[0].lower()
    return match[0] if small in _LETTERED and not is_word(small) else small


def _century(match: re.Match[str]) -> str:
    value = roman(match["roman"])
    return match[0] if value is None else ordinal(value)


def _reign(match: re.Match[str]) -> str:
    value = roman(match["roman"])
    following = match.string[match.end() : match.end() + 3]
    # "Charles I" is the first, but "when Charles I think" is not.
    if value is None or (match["roman"] == "I" and not re.match(r"$|[.,;:!?)]| of|'s", following)):
        return match[0]
    return f"{match['name']} the {ordinal(value)}{match['of'] or ''}"


def _counted(match: re.Match[str]) -> str:
    name, numeral = match["name"], match["roman"]
    # "Part I" is the first, "the part I like" is not; a class C is no hundredth.
    pronoun = (
        numeral == "I" and name.islower() and not _AFTER_FIRST.match(match.string, match.end())
    )
    value = roman(numeral) if numeral.isupper() else None
    if value is None or pronoun or numeral in ("C", "L"):
        return match[0]
    return f"{name} {cardinal(value)}"


def _plain_roman(match: re.Match[str]) -> str:
    before = match.string[: match.start()].rstrip().rpartition(" ")[2].lower()
    drips = before in _BEFORE_DRIPS or _DRIP.match(match.string, match.end())
    if match[0] == "IV" and drips:  # intravenous
        return match[0]
    return cardinal(roman(match[0]) or 0)


def _mixed(match: re.Match[str]) -> str:
    """Return RTX4090, MP3, 4K, B2B, x86 and 1080p in words and letters."""
    *runs, last = _RUN.findall(match[0])
    said = [_run(run) for run in runs]
    if last == "s":  # MP3s
        return " ".join([*said[:-1], plural(said[-1])])
    return " ".join([*said, _run(last)])


def _run(run: str) -> str:
    if run.isdigit():
        if run.startswith("0") or len(run) > 4:
            return digits(run)
        return pairs(run) if len(run) > 2 else cardinal(int(run))
    small = run.lower()
    whole_word = len(run) > 2 and is_word(small) and small not in _LETTERED
    return small if whole_word or (len(run) > 3 and not run.isupper()) else initials(run)


def _word(match: re.Match[str]) -> str:
    word = match[0]
    if not word[0].isascii():
        return word
    if word.islower():
        return _lettered(word) or word
    if word == "A":
        return _article(match)
    if word == "I" or word.startswith("I'"):
        return word.lower()
    if len(word) == 1:
        return initials(word)
    if len(word) == 2 and word[1] == "s" and not is_word(word.lower()):  # two Cs
        return f"{initials(word[0])}'s"
    if word[1:].islower() or "'" in word[:2]:
        return word.lower()
    return _capitals(word)


def _article(match: re.Match[str]) -> str:
    """Return "a", or the letter at the end of a phrase and after words such as "vitamin"."""
    before = match.string[: match.start()].rstrip().rpartition(" ")[2].lower()
    goes_on = _AFTER_ARTICLE.match(match.string, match.end())
    return "a" if goes_on and before not in _LETTER_NOUNS else initials("a")


def _lettered(word: str) -> str:
    """Return the letters of "gpu", "urls" or "api's"; nothing of what is a word."""
    if is_word(word):
        return ""
    stem, _, ending = word.partition("'")
    plural = "" if stem in _LETTERED else "s"
    stem = stem.removesuffix(plural)
    if stem not in _LETTERED or is_word(stem) or ending not in ("", "s"):
        return ""
    return initials(stem) + ("'s" if plural or ending else "")


def _capitals(word: str) -> str:
    """Return GPU, GPUs, NASA's, OpenAI, iPhone and McDonald as they are said."""
    if "'" in word and is_word(word.lower()):  # IT'S
        return word.lower()
    stem, apostrophe, suffix = word.partition("'")
    ending = f"'{suffix.lower()}" if apostrophe else ""
    if stem.isupper():
        return f"{_initialism(stem)}{ending}"
    if is_word(stem.lower()):
        return f"{stem.lower()}{ending}"
    if stem[:-1].isupper() and stem.endswith("s"):
        return f"{_initialism(stem[:-1])}'s"
    pieces = _CAMEL.findall(stem)
    said = [_initialism(p) if p.isupper() else p.lower() for p in pieces]
    return f"{' '.join(said)}{ending}"


def _initialism(letters: str) -> str:
    """Return a string of capitals as a word when it is one, else its letters marked."""
    small = letters.lower()
    if small not in _LETTERED and is_word(small):
        return small
    sayable = len(small) > 4 and _VOWEL_LETTERS & set(small[1:-1])
    return small if sayable and small not in _LETTERED else initials(letters)
