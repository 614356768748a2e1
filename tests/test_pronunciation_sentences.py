"""Long texts in chunks: nothing lost, nothing too long, nothing cut in two."""

from __future__ import annotations

import random

import pytest
from machine_pace import piece_s, timed

from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.pronunciation.marks import WIDE_CHARS, spoken_chars
from diffusion_bench.pronunciation.sentences import (
    MAX_CHARS,
    SHORT_CHARS,
    SOON_CHARS,
    split_text,
    split_to_hear,
)

STORY = (
    "Dr. Smith moved to St. Louis on Nov. 25, 2026, at 5 p.m. because of the weather. "
    '"Why there?" he was asked. "It was, e.g., cheap," he said; the rent was $1,234.50 a month. '
    "J. K. Rowling wrote to him, and so did others. See https://example.com/a,b.c?d=1. Yes! "
    "The U.S. Army came vs. nobody; cf. Fig. 3 and No. 5 of the series, etc. Then it was over. "
)
UNBROKEN = (
    "Dr. Smith", "St. Louis", "Nov. 25", "5 p.m.", "e.g., cheap", "$1,234.50", "J. K. Rowling",
    "https://example.com/a,b.c?d=1.", "U.S. Army", "vs. nobody", "Fig. 3", "No. 5",
)  # fmt: skip


@pytest.mark.parametrize("max_chars", [40, 60, 100, 280, 1000])
def test_no_word_is_lost_no_chunk_too_long_and_nothing_that_belongs_together_cut(
    max_chars: int,
) -> None:
    chunks = split_text(STORY * 5, max_chars)
    assert " ".join(chunks).split() == (STORY * 5).split()
    assert max(map(len, chunks)) <= max_chars
    for unit in UNBROKEN:
        assert sum(chunk.count(unit) for chunk in chunks) == 5, unit


def test_cuts_are_at_ends_of_sentences_where_those_fit() -> None:
    told = "The value that was found is 3.14. She had read it on example.com. So it was."
    assert split_text(told, 40) == (
        "The value that was found is 3.14.",
        "She had read it on example.com.",
        "So it was.",
    )
    assert split_text(STORY, 100) == (
        "Dr. Smith moved to St. Louis on Nov. 25, 2026, at 5 p.m. because of the weather.",
        '"Why there?" he was asked. "It was, e.g., cheap," he said; the rent was $1,234.50 '
        "a month.",
        "J. K. Rowling wrote to him, and so did others. See https://example.com/a,b.c?d=1. Yes!",
        "The U.S. Army came vs. nobody; cf. Fig. 3 and No. 5 of the series, etc. Then it was over.",
    )


def test_a_long_sentence_is_cut_at_clauses_into_parts_of_about_one_length() -> None:
    clause = "the river ran on past the old mill, "
    chunks = split_text(clause * 9 + "and that was all.", 280)
    assert len(chunks) == 2
    assert all(chunk.endswith((",", ".")) for chunk in chunks)
    assert max(map(len, chunks)) - min(map(len, chunks)) <= 2 * len(clause)


def test_a_sentence_without_clauses_is_cut_between_words() -> None:
    chunks = split_text("word " * 200, 100)
    assert {word for chunk in chunks for word in chunk.split()} == {"word"}
    assert sum(len(chunk.split()) for chunk in chunks) == 200


@pytest.mark.parametrize("max_chars", range(25, 60, 3))
def test_between_words_a_title_its_name_and_a_number_its_unit_stay_together(max_chars: int) -> None:
    chunks = split_text("so Dr. Smith ran 5 km and " * 12, max_chars)
    assert max(map(len, chunks)) <= max_chars
    assert sum(chunk.count("Dr. Smith") for chunk in chunks) == 12
    assert sum(chunk.count("ran 5 km") for chunk in chunks) == 12


def test_short_neighbours_are_joined_and_long_ones_are_not() -> None:
    assert split_text("Yes. No. Why? Well.") == ("Yes. No. Why? Well.",)
    long = "This sentence is long enough to stand alone as a chunk."
    assert len(long) > SHORT_CHARS
    assert split_text(f"{long} {long}") == (long, long)
    assert split_text(f"{long} Yes.") == (f"{long} Yes.",)


def test_a_paragraph_ends_a_sentence_and_a_line_does_not() -> None:
    heading = "A heading that is as long as a chunk on its own"
    text = "a line\nof text that goes on over its end and then on and on."
    assert split_text(f"{heading}\n\n{text}") == (f"{heading}.", text.replace("\n", " "))


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("Chapter One\n\nIt was night.", ("Chapter One. It was night.",)),
        ("Chapter (1)\r\n\r\nNight", ("Chapter (1). Night",)),
        ("Who?\n\nWell,\n\nme", ("Who? Well, me",)),
        ("\n\nNight\n\n", ("Night.",)),
        ("第一章\n\n河水很平静。", ("第一章。 河水很平静。",)),
    ],
)
def test_a_heading_does_not_run_on_into_the_text_it_is_said_with(
    text: str, chunks: tuple[str, ...]
) -> None:
    assert split_text(text) == chunks


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("", ()),
        (" \n\n ", ()),
        ("😀 !!! …", ()),
        ("Hello", ("Hello",)),
        ('"Go!" she said.', ('"Go!" she said.',)),
        ("x" * 50, ("x" * 20, "x" * 20, "x" * 10)),
    ],
)
def test_small_and_odd_texts(text: str, chunks: tuple[str, ...]) -> None:
    assert split_text(text, 20) == chunks


def test_a_limit_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="max_chars is 19; the least is 20"):
        split_text("hello", 19)


def random_text(source: random.Random) -> str:
    words = (
        "a",
        "Dr.",
        "Smith",
        "1,234.5",
        "e.g.",
        "yes!",
        "no;",
        "well,",
        "—",
        "\n\n",
        "x" * 30,
        '"Oh."',
    )
    return " ".join(source.choice(words) for _ in range(source.randint(0, 80)))


def test_any_text_keeps_its_words_and_the_limit() -> None:
    source = random.Random(0)
    for _ in range(500):
        text, max_chars = random_text(source), source.randint(30, 120)
        chunks = split_text(text, max_chars)
        kept, given = (
            [word for word in told.split() if word != "—"] for told in (" ".join(chunks), text)
        )
        # A paragraph that ends in no mark gets a full stop; nothing else is other than it was.
        assert all(a in (b, f"{b}.") for a, b in zip(kept, given, strict=True))
        assert all(len(chunk) <= max_chars for chunk in chunks)


@pytest.mark.parametrize(
    "text", [STORY * 60, "a" * 20_000, "a " * 10_000, "1, " * 6_600, ". " * 9_999]
)
def test_the_longest_text_is_cut_without_growing_pains(text: str) -> None:
    chunks, taken_s = timed(lambda: split_text(text))
    assert taken_s < 75 * piece_s()  # a quadratic loop takes minutes
    assert all(len(chunk) <= MAX_CHARS for chunk in chunks)


def test_the_first_chunk_of_a_long_sentence_is_short_and_no_word_is_lost():
    clause = "the river was quiet, and a thin mist lay over the fields, "
    long = f"{clause * 4}as always. It was cold."
    first, second, *rest = split_to_hear(long, 280)
    assert len(first) <= SOON_CHARS
    assert first.endswith(",")
    assert " ".join([first, second, *rest]).split() == long.split()
    assert rest == list(split_text(long, 280)[1:])


def test_a_text_of_one_breath_is_said_in_one():
    text = "The river was quiet that morning, and a thin mist lay over the fields, as always."
    assert split_to_hear(text, 280) == (text,)
    assert split_to_hear("", 280) == ()


TOLD = (
    "那天早上河水很平静。",
    "薄雾笼罩着整片田野，路上一个人也没有。",
    "船静静地停在那座古老的石桥下面！",
    "你知道他们什么时候会回来吗？",
    "他说：“明天早上十点左右，我们大概就能到家了。”",
    "大家都笑了；天也慢慢亮了。",
    "村口的老人、孩子和几个年轻的女人，都站在树下等着消息。",
)
CHINESE = "".join(TOLD * 3)[: -len(TOLD[-1])]  # of 20 sentences


def test_chinese_is_cut_where_its_sentences_end_and_leaves_longcat_time_to_say_it() -> None:
    from diffusion_bench.backends.voice.longcat import SLOWEST, WINDOW_S, expected_s

    entry = find_voice_model("longcat")
    for split in (split_text, split_to_hear):
        chunks = split(CHINESE, entry.max_chars)
        assert "".join(chunks) == CHINESE
        assert len(chunks) > 8
        for chunk in chunks:
            assert chunk.endswith(("。", "！", "？", "；", "。”")), chunk
            assert expected_s(chunk) * SLOWEST + entry.reference_s[1] <= WINDOW_S


def test_a_long_chinese_sentence_is_cut_at_its_commas_and_one_without_any_where_it_must_be() -> (
    None
):
    clause = "河水一直流过那座老磨坊，"
    chunks = split_text(clause * 9 + "就是这样。", 120)
    assert all(chunk.endswith(("，", "。")) for chunk in chunks)
    assert max(map(len, chunks)) * WIDE_CHARS <= 120
    bare = "河" * 50
    parts = split_text(bare, 120)
    assert ("".join(parts), [len(part) for part in parts]) == (bare, [25, 25])


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("会议在上午10：30开始，晚上9点结束。", ("会议在上", "午10：30开始，", "晚上9点结束。")),
        ("他问：“好吗？”她说好。", ("他问：“好吗？”", "她说好。")),
        ("好。 Yes it is. 不好。", ("好。 Yes it is.", "不好。")),
        ("你好 世界，这里很好", ("你好 世界，", "这里很好")),
    ],
)
def test_chinese_keeps_its_times_its_quotes_and_its_spaces(
    text: str, chunks: tuple[str, ...]
) -> None:
    assert split_text(text, 20) == chunks


NARROW = "我很好.今天天气不错.第一，我们去公园玩.第二，我们回家吃饭."


@pytest.mark.parametrize("mark", [".", "!", "?", "…", "……", "。"])
@pytest.mark.parametrize("quote", ["", "”"])
def test_chinese_with_narrow_marks_is_cut_where_its_sentences_end(mark: str, quote: str) -> None:
    text = NARROW.replace(".", mark + quote) * 5
    chunks = split_text(text, 90)
    assert "".join(chunks) == text
    assert len(chunks) > 2
    for chunk in chunks[:-1]:
        assert chunk.endswith(mark + quote), chunk
        assert not chunk.endswith("，")


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("我们去公园玩……“好的，”她说.", ("我们去公园玩……", "“好的，”她说.")),
        ("河水一直流过,那座老磨坊", ("河水一直流过,", "那座老磨坊")),
        ("河水流过3.5公里到磨坊", ("河水流过3.5公", "里到磨坊")),
    ],
)
def test_narrow_marks_between_wide_characters_cut_and_those_of_numbers_do_not(
    text: str, chunks: tuple[str, ...]
) -> None:
    assert split_text(text, 20) == chunks


def test_any_mixed_text_keeps_its_characters_and_the_limit() -> None:
    source = random.Random(1)
    parts = (
        "河水，",
        "你好。",
        "GPU",
        " ",
        "3.5",
        "、",
        "：",
        "“",
        "”",
        "！",
        "Dr. Smith ",
        "天" * 9,
        "\n\n",
    )
    for _ in range(300):
        text = "".join(source.choice(parts) for _ in range(source.randint(0, 60)))
        max_chars = source.randint(30, 120)
        chunks = split_text(text, max_chars)
        kept, given = ("".join(filter(str.isalnum, one)) for one in ("".join(chunks), text))
        assert kept == given
        assert all(spoken_chars(chunk) <= max_chars for chunk in chunks)
