"""From text to phones: what a voice model is told, and that nothing makes it fall over."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from machine_pace import piece_s, timed

from diffusion_bench.pronunciation.front_end import NOTHING_TO_SAY, is_speakable, phonemes
from diffusion_bench.pronunciation.phones import (
    MARKS,
    PAUSE,
    PHONES,
    VOWELS,
    Phone,
    merge,
    read_arpabet,
)


def words(text: str) -> list[str]:
    """Return each word's phones, pauses left out: ["dh ax", "ae p ax l"]."""
    said: list[list[str]] = []
    for one in phonemes(text):
        if one.symbol == PAUSE:
            continue
        if one.word_start:
            said.append([])
        said[-1].append(one.symbol)
    return [" ".join(word) for word in said]


def word_of(text: str, index: int) -> str:
    return words(text)[index]


def test_the_inventory_is_flites_and_its_indices_stay() -> None:
    assert len(PHONES) == 42
    assert len(set(PHONES)) == 42
    assert PHONES[0] == ""
    assert PHONES[:5] == ("", "pau", "aa", "ae", "ah")
    assert PHONES[-1] == "zh"
    assert Phone("zh").index == 41
    assert Phone("aa", phrase_end="?").mark_index == MARKS.index("?")


def test_a_text_begins_and_ends_with_a_pause_and_each_phone_knows_its_phrase() -> None:
    phones = phonemes("Hello, world. Is it? Yes!")
    pauses = [one.phrase_end for one in phones if one.symbol == PAUSE]
    assert phones[0].symbol == phones[-1].symbol == PAUSE
    assert pauses == [",", ",", ".", "?", "!"]
    marks = [one.phrase_end for one in phones if one.word_start]
    assert marks == [",", ".", "?", "?", "!"]
    between_pauses = "".join("|" if p.symbol == PAUSE else p.phrase_end for p in phones)
    assert [set(part) for part in between_pauses.strip("|").split("|")] == [*map(set, ",.?!")]


def test_stress_and_word_starts_are_where_they_belong() -> None:
    phones = phonemes("Hello world")
    told = [(p.symbol, p.stress, p.word_start) for p in phones if p.symbol != PAUSE]
    assert told[:4] == [("hh", 0, True), ("ax", 0, False), ("l", 0, False), ("ow", 1, False)]
    assert told[4] == ("w", 0, True)
    assert all(not one.stress or one.symbol in VOWELS for one in phones)
    assert phones[-1].phrase_end == "."


def test_of_marks_in_a_row_the_strongest_counts() -> None:
    assert phonemes("Really?!")[-1].phrase_end == "?"
    assert phonemes("Really!?")[-1].phrase_end == "?"
    assert phonemes("No!!!, yes")[-1].phrase_end == "."
    assert [p.phrase_end for p in phonemes("No!... Yes") if p.symbol == PAUSE][1] == "!"


@pytest.mark.parametrize(
    ("text", "index", "said"),
    [
        ("The apple", 0, "dh iy"),
        ("The pear", 0, "dh ax"),
        ("The hour", 0, "dh iy"),
        ("The union", 0, "dh ax"),
        ("go to it", 1, "t uw"),
        ("go to bed", 1, "t ax"),
        ("what is it for", 3, "f ao r"),
        ("a letter", 0, "ax"),
        ("plan A", 1, "ey"),
        ("the GPU", 1, "jh iy"),
        ("John's", 0, "jh aa n z"),
        ("the wishlists", 1, "w ih sh l ih s t s"),
        ("he upvoted", 1, "ah p v ow t ih d"),
        ("it'll", 0, "ih t ax l"),
        ("the photo's", 1, "f ow t ow z"),
        ("sofa", 0, "s ow f ax"),
        ("bird", 0, "b er d"),
        ("noooo", 0, "n ow"),
        ("helloooo", 0, "hh ax l ow"),
        ("wifi", 0, "w ay f ay"),
        ("your id", 1, "ay d iy"),
        ("my gpu", 1, "jh iy"),
        ("eta", 0, "ey t ax"),
        ("η", 0, "ey t ax"),
        ("sci-fi", 0, "s ay"),
        ("iOS", 0, "ay ow eh s"),
        ("Résumé attached", 0, "r eh z ax m ey"),
        ("two re\u0301sume\u0301s", 1, "r eh z ax m ey z"),
        ("rosé", 0, "r ow z ey"),
        ("an exposé", 1, "eh k s p ow z ey"),
        ("pâté", 0, "p aa t ey"),
        ("déjà vu", 0, "d ey zh aa"),
        ("crème brûlée", 1, "b r uw l ey"),
        ("touché", 0, "t uw sh ey"),
        ("Airbnb", 0, "eh r b iy ax n b iy"),
    ],
)
def test_words_are_said_as_in_american_english(text: str, index: int, said: str) -> None:
    assert word_of(text, index) == said


@pytest.mark.parametrize(
    ("text", "index", "said"),
    [
        ("Please record the song", 1, "r ax k ao r d"),
        ("Play the record", 2, "r eh k er d"),
        ("to present it", 1, "p r iy z eh n t"),
        ("a present", 1, "p r eh z ax n t"),
        ("I read a book", 1, "r iy d"),
        ("I have read it", 2, "r eh d"),
        ("I read it yesterday", 1, "r eh d"),
        ("lead the way", 0, "l iy d"),
        ("a lead pipe", 1, "l eh d"),
        ("we live here", 1, "l ih v"),
        ("live music", 0, "l ay v"),
        ("use it", 0, "y uw z"),
        ("the use of it", 1, "y uw s"),
        ("close the door", 0, "k l ow z"),
        ("too close", 1, "k l ow s"),
        ("their lives", 1, "l ay v z"),
        ("she lives here", 1, "l ih v z"),
        ("the wind blows", 1, "w ih n d"),
        ("a minute detail", 1, "m ih n ax t"),
        ("the wound healed", 1, "w uw n d"),
        ("a quick refund", 2, "r iy f ah n d"),
        ("the records show", 1, "r eh k er d z"),
        ("she records it", 1, "r ax k ao r d z"),
        ("the app uses it", 2, "y uw z ih z"),
        ("many uses", 1, "y uw s ih z"),
        ("we used it", 1, "y uw z d"),
        ("we used to go", 1, "y uw s t"),
        ("it is used to cut", 2, "y uw z d"),
        ("a class used to parse text", 2, "y uw z d"),
        ("it was also used to sign", 3, "y uw z d"),
        ("Used to find files", 0, "y uw z d"),
        ("as life used to be", 2, "y uw s t"),
        ("you get used to cold", 2, "y uw s t"),
        ("this increases the risk", 1, "ih n k r iy s ih z"),
        ("each uses two", 1, "y uw z ih z"),
        ("demand increases", 1, "ih n k r iy s ih z"),
        ("the licence permits use", 2, "p er m ih t s"),
        ("the permits expired", 1, "p er m ih t s"),
        ("this separates them", 1, "s eh p er ey t s"),
        ("the server rejects requests", 2, "r ih jh eh k t s"),
        ("an invalid option", 1, "ih n v ae l ax d"),
        ("my resume", 1, "r eh z ax m ey"),
        ("resume it", 0, "r ih z uw m"),
        ("her tears", 1, "t ih r z"),
        ("I was content", 2, "k ax n t eh n t"),
        ("a moped", 1, "m ow p eh d"),
        ("two mopeds", 1, "m ow p eh d z"),
        ("he moped about", 1, "m ow p t"),
        ("his red moped broke", 2, "m ow p eh d"),
        ("we refuse", 1, "r ax f y uw z"),
    ],
)
def test_words_of_two_ways_are_told_apart_by_their_neighbours(
    text: str, index: int, said: str
) -> None:
    assert word_of(text, index) == said


def test_phones_of_other_tools_are_brought_to_the_inventory() -> None:
    assert merge("axr") == ("er",)
    assert merge("en") == ("ax", "n")
    assert merge("dx") == ("t",)
    assert [p.symbol for p in read_arpabet("AH0 AH1 EL")] == ["ax", "ah", "ax", "l"]
    with pytest.raises(ValueError, match="is no phone; there are pau aa"):
        merge("q")


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("JH IH1 Q", "'q' is no phone"),
        ("", "a word needs at least one phone"),
        ("JH1 IH F", "'JH1' is no phone"),
        ("pau", "'pau' is no phone"),
    ],
)
def test_a_mistake_in_a_words_phones_is_named(written: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_arpabet(written)


@pytest.mark.parametrize(
    "text", ["", " \n", "😀", "...", "中文。", "\u200b\u202e", "?!,", "'", "–"]
)
def test_nothing_to_say_is_one_clear_line(text: str) -> None:
    with pytest.raises(ValueError, match="no English word to say") as caught:
        phonemes(text)
    assert str(caught.value) == NOTHING_TO_SAY
    assert not is_speakable(text)


HOSTILE = {
    "20,000 characters": "The quick brown fox, at 3:45 pm, paid $3.50 for 5 km. " * 370,
    "one letter": "a" * 20_000,
    "no vowels": "x" * 20_000,
    "5,000 letters": "abcde" * 1000,
    "digits": "1" * 20_000,
    "digits with commas": "1," * 10_000,
    "digits with dots": "1." * 10_000,
    "digits with dashes": "12-" * 6_600,
    "digits with slashes": "1/" * 10_000,
    "digits with colons": "1:" * 10_000,
    "grouped digits": "1" + ",234" * 5_000,
    "spaces": "a" + " " * 19_998 + "b",
    "newlines": "a\n\n" * 6_600,
    "stops": "a" + "." * 19_999,
    "apostrophes": "a'" * 10_000,
    "quotes": '"' * 10_000 + "a" + '"' * 9_999,
    "ats": "a@" * 10_000,
    "an endless address": "http://" + "a." * 9_990,
    "hashes": "#a" * 10_000,
    "capitals": "AB" * 10_000,
    "camel case": "Ab" * 10_000,
    "initials": "A." * 10_000,
    "spaced initials": "A. " * 6_600,
    "dollars": "$1" * 10_000,
    "hyphens": "a-" * 10_000,
    "parentheses": "(" * 10_000 + "a" + ")" * 9_999,
    "control characters": "a\x00\x01\x1b[31m\x7f" * 2_000,
    "combining marks": "a" + "\u0301" * 19_999,
    "zero width": "a\u200b\u200d" * 6_600,
    "right to left": "\u202eabc שלום " * 1_600,
    "emoji": "😀 a " * 5_000,
    "roman": "Henry I" + "V" * 19_990,
    "carets": "a^" * 10_000,
    "private use": "\ue000" * 10_000 + "a",
    "surrogate": "a \ud800 b",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_said_fast(kind: str) -> None:
    phonemes("warm xyloph")
    # Of them the net of letters takes up to 50; what grows with the square of a text takes more.
    phones, taken_s = timed(lambda: phonemes(HOSTILE[kind]))
    assert taken_s < 150 * piece_s()
    assert {one.symbol for one in phones} <= set(PHONES[1:])


def random_text(source: random.Random) -> str:
    pools = (
        "abcdefghij klmnopqrst uvwxyz",
        "ABCIVXLM .,;:!?'\"-–—/()",
        "0123456789.,:-/$£€%°#@&+=^ ",
        "".join(map(chr, range(0x20, 0x250))),
    )
    letters = []
    for _ in range(source.randint(0, 60)):
        pool = source.choice([*pools, ""])
        letters.append(source.choice(pool) if pool else chr(source.randrange(0x110000)))
    return "".join(letters)


def said_or_complaint(text: str) -> tuple[tuple[Phone, ...], str]:
    try:
        return phonemes(text), ""
    except ValueError as error:
        return (), str(error)


def test_any_unicode_gives_phones_or_the_one_complaint() -> None:
    source = random.Random(0)
    told = [
        (text, *said_or_complaint(text)) for text in (random_text(source) for _ in range(3_000))
    ]
    for text, phones, complaint in told:
        if complaint:
            assert complaint == NOTHING_TO_SAY, repr(text)
            continue
        assert phones[0].symbol == phones[-1].symbol == PAUSE
        assert len(phones) > 2
        assert all(0 < one.index < len(PHONES) for one in phones)
    assert sum(not complaint for _, _, complaint in told) > 1_500


def test_the_same_text_has_the_same_phones_in_another_process() -> None:
    text = "Zyxomatic frobnicators read 3 records at 5 p.m."
    script = (
        f"from diffusion_bench.pronunciation.front_end import phonemes; print(phonemes({text!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == str(phonemes(text))


def test_known_words_need_no_torch() -> None:
    script = (
        "import sys; from diffusion_bench.pronunciation.front_end import phonemes;"
        "phonemes('The 2 GPUs cost $3.50.'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"


def test_a_sentence_takes_a_few_milliseconds() -> None:
    text = "On 3/4/2025 Dr. Smith paid $3.50 for 5 km of the GPU's copper wire, and read it twice."
    phonemes(text)
    assert min(timed(lambda: phonemes(text))[1] for _ in range(20)) < 0.5 * piece_s()
