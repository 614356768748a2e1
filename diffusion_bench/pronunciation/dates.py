"""Dates, times of day, decades and years."""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.initials import initials
from diffusion_bench.pronunciation.numbers import cardinal, ordinal, pairs, plural
from diffusion_bench.pronunciation.word_lists import word_list, word_set

MONTHS = word_list(
    "january february march april may june july august september october november december"
)
_WEEK = word_list("monday tuesday wednesday thursday friday saturday sunday")
_NAMES = (
    r"Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
MONTH_NAME = rf"(?:{_NAMES})\b\.?"
_MONTH = rf"(?P<month>{_NAMES})\b\.?"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?P<year>[12]\d{3})(?!\d)"
_ISO = re.compile(
    r"(?<![\w/-])(?P<year>[12]\d{3})(?P<join>[-/])(?P<number>0[1-9]|1[0-2])(?P=join)"
    r"(?P<day>0[1-9]|[12]\d|3[01])(?:T(?=\d\d:)|(?![\w/-]))"
)
_SLASHED = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\d/])")
# Not the fraction of "on 1/2 acre", nor 9/11, which has a name.
_ON_DAY = re.compile(
    r"(?<=\b[Oo]n )(?!9/11)(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])"
    r"(?=$|[.,;!?)](?!\d)| (?:at|and|from)\b)"
)
_DOTTED = re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.([12]\d{3})(?!\.?\d)")
_MONTH_FIRST = re.compile(rf"\b{_MONTH}[ ]{_DAY}(?:st|nd|rd|th)?(?!\d|[.:/]\d|\w)(?:,?[ ]{_YEAR})?")
_DAY_FIRST = re.compile(
    rf"(?P<the>\b[Tt]he[ ])?(?<![\d.,:/$-]){_DAY}(?:st|nd|rd|th)?[ ](?:of[ ])?{_MONTH}"
    rf"(?:,?[ ]{_YEAR})?"
)
_MONTH_YEAR = re.compile(rf"\b{_MONTH},?[ ]{_YEAR}")
_MONTHS = re.compile(rf"\b{_MONTH} ?[-–] ?(?P<last>{_NAMES})\b\.?")
# Without a stop, "Sat" and "Sun" are days before a date or a time only.
_WEEKDAY = re.compile(
    r"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)"
    rf"(?=,? (?:(?:{_NAMES})\b\.? ?\d"
    rf"|\d{{1,2}}(?::\d\d|[ ]?[ap]\.?m|st|nd|rd|th|[ ](?:{_NAMES})\b)))"
)
_CLOCK = re.compile(
    r"(?<![\d:.])(?P<hour>[01]?\d|2[0-3]|24(?=:00)):(?P<minute>[0-5]\d)"
    r"(?::(?P<second>[0-5]\d))?(?![\d:])Z?"
    r"(?:[ ]?(?P<half>[AaPp])(?:\.[ ]?[Mm]\b\.?|[Mm]\b))?"
)
_HOUR = re.compile(
    r"(?<![\d:.])(?P<hour>1[0-2]|0?[1-9])[ ]?(?P<half>[AaPp])(?:\.[ ]?[Mm]\b\.?|[Mm]\b)"
)
_DECADE = re.compile(r"(?<![\w.,])(?P<century>1\d|20)(?P<tens>\d)0'?s\b")
_SHORT_DECADE = re.compile(r"(?<![\w.,])'?(?P<tens>[2-9])0'?s\b")
_ROUND_OF = re.compile(r"(?<![\w.,])(10{1,2}(?=s of\b)|1000)s\b")
_YEARS = re.compile(r"(?<![\w.,:/$€£-])(1\d{3}|20\d\d)[ ]?[-–][ ]?(1\d{3}|20\d\d|\d\d)(?![\d-])")
_SEASON = re.compile(r"(?<![\w.,:/$€£-])(19\d\d|20\d\d)/(\d\d)(?![\w/-]|[.,]\d)")
_SINCE = re.compile(r"(?<!\w)'0(\d)(?!\w)")  # class of '05
_CIRCA = re.compile(r"\bca?\.\s?(?=1\d{3}|20\d\d)")
_FOUNDED = re.compile(r"\b[Ee]st\.\s?(?=(?:1\d{3}|20\d\d)\b)")
_PLAIN_YEAR = re.compile(
    r"(?P<before>\b[A-Za-z]+[ -]|\()?(?:(?<![\w.,:/$€£-])|(?<=[a-z]-))(?P<year>1\d{3}|20\d\d)"
    r"(?![\w/%]|:\S|-(?![a-z])|[.,]\d)(?P<after>[ ][a-z]+)?"
)
_BEFORE_YEARS = word_set(
    "in since until till before after during year years circa early mid late pre post spring "
    "summer autumn fall winter copyright"
)
_OFTEN_BEFORE_YEARS = word_set("by from to around of class and between the")
_NOT_PLURAL = word_set("was is as has this his its always across perhaps")
_PLURAL = word_set("people men women children")
_ROUND = {"10": "tens", "100": "hundreds", "1000": "thousands"}


def say_dates(text: str) -> str:
    """Return a text with its dates, times and decades in words."""
    text = _WEEKDAY.sub(lambda m: weekday(m[0]), _MONTHS.sub(_months, text))
    if not re.search(r"\d", text):
        return text
    text = _ISO.sub(_iso, text)
    text = _SLASHED.sub(_slashed, text)
    text = _ON_DAY.sub(lambda m: _dated(MONTHS[int(m[1]) - 1], int(m[2]), None), text)
    text = _DOTTED.sub(lambda m: _numeric(m, int(m[2]), int(m[1])), text)
    text = _MONTH_FIRST.sub(_named, text)
    text = _DAY_FIRST.sub(_day_first, text)
    text = _MONTH_YEAR.sub(lambda m: f"{_month(m['month'])} {pairs(m['year'])}", text)
    text = _HOUR.sub(_clock, _CLOCK.sub(_clock, text))
    text = _DECADE.sub(_decade, _ROUND_OF.sub(lambda m: _ROUND[m[1]], text))
    return _SHORT_DECADE.sub(lambda m: plural(cardinal(int(m["tens"]) * 10)), text)


def say_years(text: str) -> str:
    """Return a text with its numbers that are years read as pairs: "nineteen eighty four".

    A number from 1100 to 2099 is one after a word such as "in"; elsewhere from 1900 on, or when it
    ends in 00, unless a plural follows it ("2048 tokens").
    """
    text = _FOUNDED.sub("established ", _CIRCA.sub("circa ", text))
    text = _SEASON.sub(_season, _SINCE.sub(lambda m: f" oh {cardinal(int(m[1]))}", text))
    text = _YEARS.sub(lambda m: f"{pairs(m[1])} to {pairs(m[2])}", text)
    return _PLAIN_YEAR.sub(_year, text)


def _year(match: re.Match[str]) -> str:
    before, year, after = match["before"] or "", match["year"], match["after"] or ""
    word = before.strip(" -").lower()
    told = word in _BEFORE_YEARS
    noun = after.strip()
    counted = (noun.endswith("s") and noun not in _NOT_PLURAL) or noun in _PLURAL
    likely = year >= "1900" or word == "(" or word in _OFTEN_BEFORE_YEARS
    if told or (likely and not counted) or (year >= "1100" and year.endswith("00")):
        return f"{before}{pairs(year)}{after}"
    return match[0]


def _season(match: re.Match[str]) -> str:
    """Return "twenty twenty three twenty four" of 2023/24; other years do not follow each other."""
    following = int(match[2])
    if not following or following != (int(match[1]) + 1) % 100:
        return match[0]
    return f"{pairs(match[1])} {'oh ' if following < 10 else ''}{cardinal(following)}"


def weekday(name: str) -> str:
    """Return the whole name of a day of which the first letters are given."""
    return next(day for day in _WEEK if day.startswith(name.lower()))


def _month(name: str) -> str:
    return next(month for month in MONTHS if month.startswith(name.lower()[:3]))


def _months(match: re.Match[str]) -> str:
    """Return Jan-Mar with its names in full, which later rules read with a day or a year."""
    first, last = (_month(match[name]).capitalize() for name in ("month", "last"))
    return f"{first}–{last}"


def _dated(month: str, day: int, year: str | None) -> str:
    said = f"{month} {ordinal(day)}"
    return f"{said}, {pairs(year)}" if year else said


def _iso(match: re.Match[str]) -> str:
    said = _dated(MONTHS[int(match["number"]) - 1], int(match["day"]), match["year"])
    return f"{said} " if match[0].endswith("T") else said


def _slashed(match: re.Match[str]) -> str:
    month, day = int(match[1]), int(match[2])
    return _numeric(match, day, month) if month > 12 else _numeric(match, month, day)


def _numeric(match: re.Match[str], month: int, day: int) -> str:
    """Return a date in figures in words; what is no date stays as it is."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    year = match[3]
    if len(year) == 2:
        year = f"{'19' if year >= '70' else '20'}{year}"
    return _dated(MONTHS[month - 1], day, year)


def _named(match: re.Match[str]) -> str:
    return _dated(_month(match["month"]), int(match["day"]), match["year"])


def _day_first(match: re.Match[str]) -> str:
    said = f"the {ordinal(int(match['day']))} of {_month(match['month'])}"
    return f"{said} {pairs(match['year'])}" if match["year"] else said


def _clock(match: re.Match[str]) -> str:
    found = match.groupdict()
    hour, minute, second = int(found["hour"]), found.get("minute"), found.get("second")
    half = " " + initials(found["half"] + "m") if found["half"] else ""
    # The full stop of "p.m." may end the sentence as well.
    ends = match[0].endswith(".") and re.match(r" [A-Z]|$", match.string[match.end() :])
    words = cardinal(hour)
    if (hour, minute) == (0, "00") and not half:
        words = "midnight"
    elif minute and minute != "00":
        words += f" {'oh ' if minute < '10' else ''}{cardinal(int(minute))}"
    elif minute and not half:
        words += " hundred" if hour > 12 else " o'clock"
    if second and second != "00":
        words += f" and {cardinal(int(second))} second{'' if second == '01' else 's'}"
    return f"{words}{half}{'.' if ends else ''}"


def _decade(match: re.Match[str]) -> str:
    century, tens = match["century"], match["tens"]
    if tens == "0":
        return "two thousands" if century == "20" else f"{cardinal(int(century))} hundreds"
    return f"{cardinal(int(century))} {plural(cardinal(int(tens) * 10))}"
