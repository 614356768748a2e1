"""Words that are said in two ways: which of them, by the words next to them.

No part-of-speech tagger: a few words before and after decide, and the commoner way is the default.
Ways are named as in the lexicon: "record(2)" is CMUdict's second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_bench.pronunciation.word_lists import word_set

# Stressed in front as a noun or adjective, at the end as a verb; or -ate, -use, -ose.
_NOUN_OR_VERB = {
    "abuse": ("abuse", "abuse(2)"), "address": ("address", "address(2)"),
    "advocate": ("advocate", "advocate(2)"), "affiliate": ("affiliate(2)", "affiliate"),
    "aggregate": ("aggregate", "aggregate(3)"), "alternate": ("alternate", "alternate(2)"),
    "animate": ("animate", "animate(2)"), "appropriate": ("appropriate", "appropriate(2)"),
    "approximate": ("approximate", "approximate(2)"),
    "articulate": ("articulate(2)", "articulate"), "associate": ("associate", "associate(4)"),
    "attribute": ("attribute", "attribute(2)"), "bow": ("bow(2)", "bow"),
    "combine": ("combine", "combine(2)"), "compound": ("compound", "compound(2)"),
    "conduct": ("conduct", "conduct(2)"), "conflict": ("conflict", "conflict(2)"),
    "console": ("console", "console(2)"),
    "contest": ("contest", "contest(2)"), "contract": ("contract", "contract(2)"),
    "contrast": ("contrast", "contrast(2)"), "convert": ("convert", "convert(2)"),
    "convict": ("convict", "convict(2)"), "coordinate": ("coordinate", "coordinate(2)"),
    "decrease": ("decrease(2)", "decrease"), "delegate": ("delegate(2)", "delegate"),
    "deliberate": ("deliberate", "deliberate(2)"), "desert": ("desert", "desert(2)"),
    "digest": ("digest(2)", "digest"), "discount": ("discount(2)", "discount"),
    "duplicate": ("duplicate", "duplicate(2)"),
    "elaborate": ("elaborate", "elaborate(2)"), "escort": ("escort(2)", "escort"),
    "estimate": ("estimate", "estimate(2)"), "excuse": ("excuse", "excuse(2)"),
    "exploit": ("exploit", "exploit(2)"), "extract": ("extract", "extract(2)"),
    "graduate": ("graduate", "graduate(2)"), "impact": ("impact(2)", "impact"),
    "import": ("import(2)", "import"), "increase": ("increase(2)", "increase"),
    "insult": ("insult(2)", "insult"), "intimate": ("intimate", "intimate(2)"),
    "lives": ("lives(2)", "lives"), "moderate": ("moderate", "moderate(2)"),
    "object": ("object", "object(2)"), "perfect": ("perfect(2)", "perfect"),
    "permit": ("permit(2)", "permit"), "predicate": ("predicate(2)", "predicate"),
    "present": ("present", "present(2)"), "produce": ("produce(2)", "produce"),
    "progress": ("progress", "progress(2)"), "project": ("project", "project(2)"),
    "protest": ("protest", "protest(2)"), "rebel": ("rebel", "rebel(2)"),
    "record": ("record(2)", "record"),
    "refund": ("refund(2)", "refund"), "refuse": ("refuse(2)", "refuse"),
    "reject": ("reject(2)", "reject"), "resume": ("resume(3)", "resume"),
    "separate": ("separate(3)", "separate"), "sow": ("sow", "sow(2)"),
    "subject": ("subject(2)", "subject"),
    "survey": ("survey(2)", "survey"), "suspect": ("suspect(2)", "suspect"),
    "tear": ("tear(2)", "tear"), "transfer": ("transfer(2)", "transfer"),
    "transport": ("transport(2)", "transport"), "update": ("update(2)", "update"),
    "upgrade": ("upgrade(2)", "upgrade"), "upset": ("upset(2)", "upset"), "use": ("use", "use(2)"),
    "wind": ("wind(2)", "wind"),
}  # fmt: skip
_MOSTLY_VERBS = word_set(
    "use refuse reject import permit produce transfer upset lives resume sow animate"
)

_DETERMINERS = word_set(
    "the a an this that these those my your his her its our their some any no every each another "
    "one two three many such what whose"
)
_BEFORE_NOUNS = _DETERMINERS | word_set("of in on with by new old first last from under per")
_BEFORE_VERBS = word_set(
    "to will would can could should shall must may might cannot won't don't didn't doesn't can't "
    "couldn't shouldn't wouldn't i you we they let's please not never always i'll you'll we'll "
    "they'll he'll she'll i'd you'd we'd they'd did do does who"
)
_AFTER_VERBS = word_set("the a an this that it them him me us my your his her our their all")
_HAVE_BEEN = word_set(
    "have has had having was were been be is are i've you've we've they've he's she's it's already "
    "ever never just he she it who"
)
_VERBS_IN_S = word_set(
    "use refuse produce resume sow animate increase decrease permit reject separate combine conduct"
)
# "This" and "each" go with no plural.
_BEFORE_THIRD_PERSONS = word_set("he she it who which that never always also often this each every")
_BE = word_set("is are was were be been being am")
# Elsewhere "used to" is mostly of a thing, and of what it is for: "a tool used to cut".
_BEFORE_HABITS = word_set(
    "i you he she it we they there who people not never i'm you're we're he's she's "
    "get gets got getting gotten become becomes became becoming"
)
_AFTER_HABITS = word_set("be have")
_PAST = word_set("yesterday ago last once previously")


@dataclass(frozen=True)
class _Rule:
    """`other` is said when a word before or after is one of these, `usual` elsewhere."""

    usual: str
    other: str
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()


_RULES = {
    "buffet": _Rule("buffet(2)", "buffet"),
    "content": _Rule("content", "content(2)", before=_BE | word_set("feel felt quite perfectly")),
    "dove": _Rule("dove", "dove(2)", after=word_set("into down under off deep")),
    "invalid": _Rule("invalid(3)", "invalid"),
    "lead": _Rule(
        "lead(2)",
        "lead",
        before=word_set("molten metal of"),
        after=word_set("pipe pipes paint poisoning acid bullet bullets weights"),
    ),
    "live": _Rule(
        "live(2)",
        "live",
        before=word_set("is was are were be been go goes went going broadcast streamed"),
        after=word_set(
            "music concert concerts show shows stream streams streaming broadcast broadcasts tv "
            "television audience performance performances event events video coverage wire wires "
            "animals bait demo recording recordings"
        ),
    ),
    "polish": _Rule(
        "polish",
        "polish(2)",
        before=word_set("nail shoe floor furniture french to and will can please then a some"),
        after=_AFTER_VERBS | word_set("up off"),
    ),
    "moped": _Rule(
        "moped(2)",
        "moped",
        before=word_set("i you he she it we they who just"),
        after=word_set("around about"),
    ),
    "minute": _Rule("minute", "minute(3)", after=word_set("details amounts particles traces")),
    "wound": _Rule("wound(2)", "wound", after=word_set("up around down through")),
    "bass": _Rule(
        "bass(2)",
        "bass",
        before=word_set("sea striped largemouth smallmouth"),
        after=word_set("fish fishing"),
    ),
}
_SO = word_set(
    "so too very is was are were be been how as get got getting came come comes stay stayed pretty "
    "quite really"
)
_CLOSE_TO = word_set("to by enough friend friends call together relative relatives")


def way_of(words: Sequence[str], place: int) -> tuple[str, bool]:
    """Return the lexicon's entry for a word of a phrase, and whether an -s comes after it.

    "record" is "record(2)" in "a record", and "records" that with an -s in "the records".
    """
    word = words[place]
    stem = word.removesuffix("s")
    if stem != word and stem in _NOUN_OR_VERB and word not in _NOUN_OR_VERB:
        before, after = _around(words, place)
        noun, verb = _NOUN_OR_VERB[stem]
        return verb if _is_third_person(stem, before, after) else noun, True
    return _way_of(words, place), False


def _around(words: Sequence[str], place: int) -> tuple[str, str]:
    """Return the words before and after one, empty where there is none."""
    return (
        words[place - 1] if place else "",
        words[place + 1] if place + 1 < len(words) else "",
    )


def _way_of(words: Sequence[str], place: int) -> str:
    word = words[place]
    before, after = _around(words, place)
    if word in _NOUN_OR_VERB:
        noun, verb = _NOUN_OR_VERB[word]
        earlier = words[place - 2] if place > 1 else ""
        return verb if _is_verb(word, earlier, before, after) else noun
    if word in _RULES:
        rule = _RULES[word]
        return rule.other if before in rule.before or after in rule.after else rule.usual
    if word == "read":
        return "read" if before in _HAVE_BEEN or _PAST.intersection(words) else "read(2)"
    if word == "used" and after == "to":
        is_habit = before in _BEFORE_HABITS or (
            before not in _BE and _AFTER_HABITS.intersection(words[place + 2 : place + 3])
        )
        return "used(2)" if is_habit else "used"
    if word == "close":
        near = before in _SO or after in _CLOSE_TO
        return "close" if near or before in _DETERMINERS else "close(2)"
    return word


def _is_verb(word: str, earlier: str, before: str, after: str) -> bool:
    if before in _BEFORE_VERBS:
        return True
    if before in _BEFORE_NOUNS:
        return False
    if after in _AFTER_VERBS and not (earlier in _DETERMINERS and before):
        return True
    return word in _MOSTLY_VERBS and earlier not in _DETERMINERS


def _is_third_person(stem: str, before: str, after: str) -> bool:
    if before in _BEFORE_THIRD_PERSONS:
        return True
    return before not in _BEFORE_NOUNS and (stem in _VERBS_IN_S or after in _AFTER_VERBS)
