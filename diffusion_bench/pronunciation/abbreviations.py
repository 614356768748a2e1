"""Abbreviations with a full stop, and initials: Dr., St., e.g., etc., U.S., J. K."""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.dates import weekday
from diffusion_bench.pronunciation.initials import initials
from diffusion_bench.pronunciation.marks import CLOSING, SENTENCE_ENDS, WIDE_SENTENCE_ENDS
from diffusion_bench.pronunciation.word_lists import word_set

# Before a name; the stop never ends a sentence.
_TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor",
    "gen": "general", "sen": "senator", "rep": "representative", "gov": "governor",
    "capt": "captain", "cpt": "captain", "lt": "lieutenant", "col": "colonel", "maj": "major",
    "sgt": "sergeant", "cmdr": "commander", "rev": "reverend", "hon": "honorable",
    "pres": "president", "mt": "mount", "ft": "fort", "messrs": "messers",
    "drs": "doctors", "adm": "admiral", "pvt": "private", "mme": "madame",
}  # fmt: skip
# Anywhere; before a capital or at the end the stop also ends the sentence.
_ANYWHERE = {
    "jr": "junior", "sr": "senior", "etc": "et cetera", "vs": "versus", "approx": "approximately",
    "dept": "department", "inc": "incorporated", "ltd": "limited", "corp": "corporation",
    "bros": "brothers", "ave": "avenue", "blvd": "boulevard", "rd": "road", "hwy": "highway",
    "apt": "apartment", "assn": "association", "govt": "government", "intl": "international",
    "cf": "compare", "esp": "especially", "incl": "including", "excl": "excluding",
    "max": "maximum", "min": "minimum", "misc": "miscellaneous", "tel": "telephone",
    "ext": "extension", "ln": "lane", "ct": "court", "pkwy": "parkway", "rte": "route",
    "esq": "esquire",
    "mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday",
    "thur": "thursday", "thurs": "thursday", "fri": "friday", "jan": "january", "feb": "february",
    "apr": "april", "aug": "august", "sept": "september", "sep": "september", "oct": "october",
    "nov": "november", "dec": "december", "co": "company", "al": "al", "univ": "university",
}  # fmt: skip
# Words in their own right without the capital: "a max.", "they wed.", "the rep."
_CAPITAL_ONLY = word_set("gen rep col hon pres mon wed thu fri jan apr dec nov sen rev maj")
# Names or words too, where the sentence ends: "I met Max.", "The name is apt."
_WORDS_AT_ENDS = word_set("max apt")
# Something always follows, so the stop ends no sentence.
_BEFORE_MORE = word_set("vs approx cf esp incl excl")
# Only before a number.
_NUMBERED = {
    "no": "number", "nos": "numbers", "fig": "figure", "figs": "figures", "vol": "volume",
    "p": "page", "pp": "pages", "ch": "chapter", "sec": "section", "eq": "equation",
    "art": "article", "ver": "version", "rm": "room", "approx": "approximately", "ca": "circa",
}  # fmt: skip
_WITHOUT_STOP = {
    "Mr": "mister", "Mrs": "missus", "vs": "versus", "etc": "et cetera", "eg": "for example",
    "ie": "that is",
}  # fmt: skip
# Before a name, or after one, the stop is often left out.
_TITLES_WITHOUT_STOP = "Ms|Dr|Prof|Gov|Capt|Lt|Col|Sgt|Maj|Cmdr|Mt|Ft"
_ROADS_WITHOUT_STOP = {"Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Hwy": "highway"}

_ENDS = re.compile(r"['\")\]]*(?:$|\s+['\"(]*[A-Z])")
_LATIN = re.compile(r"\b(?:([eE])\.\s?g|([iI])\.\s?e)\b\.?,?")
_BEFORE_NUMBER = re.compile(
    rf"\b({'|'.join(_NUMBERED)})\.\s?(?=\d|(?<=eq\. )\(\d|(?-i:[IVXLC]{{2,}})\b)", re.IGNORECASE
)
_SAINT = re.compile(r"(?P<before>[A-Za-z\d']+ )?\bSt\b\.?(?P<name>(?= ?[A-Z]))?")
_DRIVE = re.compile(r"(?<=[a-z] )Dr\.(?! ?[A-Z])")
_STOPPED = re.compile(
    rf"\b({'|'.join(sorted(_TITLES | _ANYWHERE, key=len, reverse=True))})\.", re.IGNORECASE
)
_UNSTOPPED = re.compile(rf"(?<![\w.])({'|'.join(_WITHOUT_STOP)})\b(?![.\w])")
_TITLE = re.compile(rf"\b({_TITLES_WITHOUT_STOP})(?= [A-Z])")
_ROAD = re.compile(rf"(?<=[a-z\d] )({'|'.join(_ROADS_WITHOUT_STOP)})\b(?!\.| Maria\b)")
_DAY = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:[a-z]*day|s|r|rs)?\b\.?"
_DAYS = re.compile(rf"\b{_DAY}[ ]?[-–][ ]?{_DAY}")
_SCIENCE = re.compile(r"\b([BM])\.? ?Sc\b\.?")
_DEGREE = re.compile(r"\bPh\.? ?D(?:\.?(s)\b|\b\.?)")
_INITIALS = re.compile(r"\b(?:[A-Za-z]\.){2,}(?:[A-Z]\b)?")
# E. coli, C. elegans: no sentence begins with a small letter.
_GENUS = re.compile(r"(?<![\w'.])([A-Z])\.(?= [a-z]{3,})")
_INITIAL = re.compile(r"(?<![\w'.])([A-HJ-Z])\.(?= [A-Z])|(?<=[a-z] )I\.(?= [A-Z][a-z])")
_DOTTED_LETTERS = re.compile(r"[a-z](?:\.[a-z])+|ph\.d")
_NOT_NAMES = word_set("on at in near from to of the by and")
# After a name or the first word of a sentence: East St. Louis, Happy St. Patrick's Day.
_SAINTS = word_set(
    "Louis Paul Pauls Petersburg Patrick John Johns Mary Marys Joseph Peter Peters George Andrew "
    "Andrews Francis Nicholas Helens Helena Lucia Lucie Martin Thomas James Michael Moritz Tropez "
    "Bernard Augustine Cloud Clair Charles Catherine Catharines Kitts Vincent Pancras Albans Ives "
    "Gallen Lawrence Barts Croix Germain Jude Stephen Valentine Elmo Anthony"
)
# Of them those who may begin the next sentence, when a small letter follows: Main St. John lives.
_PEOPLE = word_set(
    "Paul Patrick John Mary Joseph Peter George Andrew Francis Nicholas Helena Martin Thomas James "
    "Michael Charles Catherine Vincent Lawrence Jude Stephen Anthony"
)
_NAME = re.compile(r" ?([A-Z][a-z]+)(?P<does> [a-z])?")


def say_abbreviations(text: str) -> str:
    """Return a text with its abbreviations in full, and only the full stops that end sentences."""
    text = _DAYS.sub(_days, _UNSTOPPED.sub(lambda m: _WITHOUT_STOP[m[0]], text))
    text = _ROAD.sub(lambda m: _ROADS_WITHOUT_STOP[m[0]], text)
    text = _TITLE.sub(lambda m: _TITLES[m[0].lower()], _SAINT.sub(_saint, text))
    text = _SCIENCE.sub(_of_science, text)
    if "." not in text:
        return text
    text = _GENUS.sub(lambda m: initials(m[1]), _INITIAL.sub(_initial, text))
    text = _LATIN.sub(lambda m: "for example," if m[1] else "that is,", text)
    text = _BEFORE_NUMBER.sub(lambda m: f"{_NUMBERED[m[1].lower()]} ", text)
    text = _DRIVE.sub(lambda m: f"drive{_stop(m)}", text)
    text = _STOPPED.sub(_full, text)
    text = _DEGREE.sub(_doctor, text)
    return _INITIALS.sub(lambda m: f"{initials(m[0].replace('.', ''))}{_last_stop(m)}", text)


def is_sentence_end(word: str, following: str) -> bool:
    """Return whether a sentence ends after a word with its marks, before the word that follows.

    Not after "Dr.", "J.", "U.S." or "e.g."; after "etc." and "p.m." before a capital only. After a
    wide mark whatever follows.
    """
    bare = word.rstrip(CLOSING)
    if bare.endswith(WIDE_SENTENCE_ENDS):
        return True
    opening = following.lstrip("\"'“‘«([")[:1]
    if not bare.endswith(SENTENCE_ENDS) or opening.islower():
        return False
    stem = bare.rstrip(".").lstrip("\"'“‘«([")
    if not bare.endswith(".") or bare.endswith("..."):
        return True
    short = stem.lower()
    if short in _TITLES or short in _BEFORE_MORE or short == "st" or _is_initial(stem):
        return False
    if _DOTTED_LETTERS.fullmatch(short):
        return short in ("a.m", "p.m")
    return not (opening.isdigit() and (short in _NUMBERED or short in _ANYWHERE))


def _is_initial(stem: str) -> bool:
    return len(stem) == 1 and stem.isupper() and stem != "I"


def _initial(match: re.Match[str]) -> str:
    """Return the initial of a name without its stop; "plan A. Then" is none."""
    before = match.string[: match.start()].rstrip().rpartition(" ")[2]
    another = match.string[match.end() + 2 : match.end() + 3] == "."
    lone = before.isalpha() and before.islower() and not another
    return match[0] if lone else initials(match[1] or "i")


def _stop(match: re.Match[str]) -> str:
    """Return the full stop when the abbreviation's own also ends a sentence."""
    if not match[0].endswith("."):
        return ""
    return "." if _ENDS.match(match.string, match.end()) else ""


def _doctor(match: re.Match[str]) -> str:
    """Return the letters of Ph.D., and of Ph.D.s."""
    return initials("phd") + ("'s" if match[1] else _stop(match))


def _of_science(match: re.Match[str]) -> str:
    """Return the letters of B.Sc. and M.Sc."""
    return f"{initials(match[1] + 'sc')}{_stop(match)}"


def _last_stop(match: re.Match[str]) -> str:
    """Return the stop of initials such as U.S. at the end; "the U.S. Army" goes on."""
    return "." if match[0].endswith(".") and match.end() == len(match.string) else ""


def _days(match: re.Match[str]) -> str:
    first, last = map(weekday, match.groups())
    return f"{first} to {last}{_stop(match)}"


def _full(match: re.Match[str]) -> str:
    short = match[1].lower()
    if short in _CAPITAL_ONLY and match[1].islower():
        return match[0]
    if short in _WORDS_AT_ENDS and _stop(match):
        return match[0]
    if short in _TITLES:
        return _TITLES[short]
    return f"{_ANYWHERE[short]}{'' if short in _BEFORE_MORE else _stop(match)}"


def _saint(match: re.Match[str]) -> str:
    """Return "street" after a name or ordinal (Main St., 5th St.), "saint" before a name.

    A plain number is a house's or a count: 12 St. John St., 3 St. Bernard dogs. Known saints are
    saints after a name too.
    """
    before, named = match["before"] or "", match["name"] is not None
    after_name = before[:1].isupper() or (before[:1].isdigit() and not before.strip().isdigit())
    name = _NAME.match(match.string, match.end())
    known = (
        name is not None
        and name[1] in _SAINTS
        and not (name["does"] and name[1] in _PEOPLE)
        and not before[:1].isdigit()
    )
    if named and (known or not after_name or before.strip().lower() in _NOT_NAMES):
        return f"{before}saint"
    return f"{before}street{_stop(match)}"
