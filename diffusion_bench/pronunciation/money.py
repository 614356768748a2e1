"""Sums of money: $3.50, EUR 12, £1.2m, ¥500, $5-10."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from diffusion_bench.pronunciation.numbers import NUMBER, cardinal, is_adjective, is_one, number


@dataclass(frozen=True)
class _Currency:
    one: str
    many: str
    small_one: str = ""
    small_many: str = ""


_DOLLAR = _Currency("dollar", "dollars", "cent", "cents")
_EURO = _Currency("euro", "euros", "cent", "cents")
_POUND = _Currency("pound", "pounds", "penny", "pence")
_YEN = _Currency("yen", "yen")
_CURRENCIES = {
    "$": _DOLLAR,
    "USD": _DOLLAR,
    "€": _EURO,
    "EUR": _EURO,
    "£": _POUND,
    "GBP": _POUND,
    "¥": _YEN,
    "JPY": _YEN,
    "₹": _Currency("rupee", "rupees"),
    "₩": _Currency("won", "won"),
    "₽": _Currency("ruble", "rubles"),
    "₿": _Currency("bitcoin", "bitcoins"),
    "INR": _Currency("rupee", "rupees"),
    "CHF": _Currency("swiss franc", "swiss francs"),
    "CNY": _Currency("yuan", "yuan"),
    "CAD": _Currency("canadian dollar", "canadian dollars", "cent", "cents"),
    "AUD": _Currency("australian dollar", "australian dollars", "cent", "cents"),
}
_COUNTRY = {
    "US": "U S ",
    "CA": "canadian ",
    "C": "canadian ",
    "AU": "australian ",
    "A": "australian ",
    "NZ": "new zealand ",
    "HK": "hong kong ",
}
_SCALES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
    "tn": "trillion",
}
MAGNITUDES = "thousand|million|billion|trillion|mn|bn|tn|[kKmMbBT]"
SIGNS = "$£€¥₹₩₽₿"
COUNTRIES = "|".join(_COUNTRY)
_MAGNITUDE = rf"(?:[ ]?(?P<magnitude>{MAGNITUDES})\b)?"
_CODE = "|".join(code for code in _CURRENCIES if code.isalpha())
_AMOUNT = rf"(?P<amount>{NUMBER}|\.\d\d(?!\d)){_MAGNITUDE}"
# "$5 dollars" says it twice.
_AGAIN = r"(?: (?:dollars?|euros?|pounds?|yen|rupees?)\b)?"
_RANGE = re.compile(
    rf"(?P<symbol>[{SIGNS}])(?P<low>{NUMBER})[ ]?[-–][ ]?(?P=symbol)?"
    rf"(?P<amount>{NUMBER}){_MAGNITUDE}"
)
_BEFORE = re.compile(
    rf"(?<![\w.])(?P<minus>-)?(?P<country>{COUNTRIES})?"
    rf"(?P<symbol>[{SIGNS}])(?P<minus_after>-)?[ ]?{_AMOUNT}{_AGAIN}"
)
_CODE_BEFORE = re.compile(rf"\b(?P<symbol>{_CODE})[ ]?{_AMOUNT}")
_AFTER = re.compile(rf"(?<![\w.]){_AMOUNT}[ ]?(?P<symbol>[{SIGNS}](?!\d)|(?:{_CODE})\b)")
_EACH = re.compile(r"\b(dollars?|euros?|pounds?|yen|cents?|rupees?)/(?=[A-Za-z])")
_RUPEES = re.compile(r"\bRs\.?[ ]?(?=\d)")
_CENTS = re.compile(rf"(?<![\w.])(?P<amount>{NUMBER})[ ]?¢")


def say_money(text: str) -> str:
    """Return a text with its sums of money in words."""
    text = _RUPEES.sub("₹", text)
    if not re.search(rf"[{SIGNS}¢]|{_CODE}", text):
        return text
    text = _RANGE.sub(_range, text)
    for pattern in (_BEFORE, _CODE_BEFORE, _AFTER):
        text = pattern.sub(_sum, text)
    return _EACH.sub(r"\1 per ", _CENTS.sub(_cents, text))


def _cents(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} {'cent' if is_one(match['amount']) else 'cents'}"


def _range(match: re.Match[str]) -> str:
    currency = _CURRENCIES[match["symbol"]]
    said = _words(match["amount"], match["magnitude"], currency)
    low = number(match["low"])
    if "." in match["low"] and not match["magnitude"]:
        low = _words(match["low"], None, currency)
    return f"{low} to {said}"


def _sum(match: re.Match[str]) -> str:
    found = match.groupdict()
    minus = "minus " if found.get("minus") or found.get("minus_after") else ""
    usual = _CURRENCIES[match["symbol"]]
    one = f"{_COUNTRY.get(found.get('country') or '', '')}{usual.one}"
    currency = replace(usual, one=one, many=one.removesuffix(usual.one) + usual.many)
    if is_adjective(match):  # a $20 bill
        currency = replace(currency, many=one, small_many=usual.small_one)
    return f"{minus}{_words(match['amount'], match['magnitude'], currency)}"


def _words(amount: str, magnitude: str | None, currency: _Currency) -> str:
    if magnitude:
        scale = _SCALES.get(magnitude.lower(), magnitude)
        return f"{number(amount)} {scale} {currency.many}"
    whole, _, fraction = amount.partition(".")
    if len(fraction) != 2 or not currency.small_one:
        return f"{number(amount)} {currency.one if is_one(amount) else currency.many}"
    small = int(fraction)
    big_words = f"{number(whole)} {currency.one if is_one(whole) else currency.many}"
    small_words = f"{cardinal(small)} {currency.small_one if small == 1 else currency.small_many}"
    if not small and whole:
        return big_words
    return small_words if whole in ("", "0") else f"{big_words} and {small_words}"
